"""A start imports few modules, and the others are there when they are used."""

import subprocess
import sys

# what a start has imported when it begins to serve
START = """\
import sys
import s3mount.cli.main, s3mount.cli.mount_helper
from s3mount.deferred_imports import deferred_imports, import_deferred
with deferred_imports():
    import s3mount.daemon.startup, s3mount.daemon.wiring
"""
UNWANTED = {
    *("boto3", "botocore", "click", "urllib3", "idna", "ctypes.util", "importlib.metadata"),
    *("configparser", "html", "shutil", "subprocess"),
}


def _words(program: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", START + program], capture_output=True, text=True, check=True
    ).stdout.split()


def test_a_start_imports_nothing_that_few_mounts_use() -> None:
    imported = {*_words("print(*sys.modules)")}

    assert {"trio", "pyfuse3", "s3mount.daemon.wiring"} <= imported
    assert UNWANTED & imported == set()


def test_a_stand_in_imports_its_module_when_it_is_used() -> None:
    program = """
from s3mount.daemon.mounting import fusermount_mounter
print(fusermount_mounter.shutil.which("sh"), "shutil" in sys.modules, "idna" in sys.modules)
print(fusermount_mounter.shutil.which is sys.modules["shutil"].which)
"""

    path, *answers = _words(program)

    assert path.endswith("/sh")
    assert answers == ["True", "False", "True"]


def test_all_modules_can_be_imported_at_once() -> None:
    program = """
import_deferred()
print(*sys.modules, sys.modules["shutil"].__file__, sys.modules["ctypes.util"].__file__)
"""

    imported = _words(program)

    assert {"idna", "shutil", "ctypes.util", "importlib.metadata"} <= {*imported}
    assert imported[-2].endswith("/shutil.py")
    assert imported[-1].endswith("/util.py")


def test_a_name_that_is_imported_out_of_a_deferred_module_is_the_real_one() -> None:
    program = """
del sys.modules["s3mount.deferred_imports"], sys.modules["s3mount.daemon.startup"]
with deferred_imports():
    from subprocess import PIPE
print(PIPE, sys.modules["subprocess"].__file__)
"""

    assert "-1" == _words(program)[0]


def test_stand_ins_answer_only_while_modules_are_imported() -> None:
    program = """
import ctypes, importlib
print(hasattr(ctypes, "util"), hasattr(importlib, "metadata"))
import ctypes.util, importlib.metadata
print(importlib.metadata.version("trio") == "unknown", callable(ctypes.util.test))
"""

    assert ["False", "False", "False", "True"] == _words(program)


def test_threads_have_names() -> None:
    program = """
import trio
from pathlib import Path
path = Path("/proc/thread-self/comm")
async def name():
    return await trio.to_thread.run_sync(path.read_text, thread_name="named")
print(trio.run(name), end="")
"""

    assert ["named"] == _words(program)
