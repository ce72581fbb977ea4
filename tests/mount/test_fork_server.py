"""Fork server of the tests: its mounts are as those of the command `python -m s3mount`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.control_client import ask
from tests.mount.filesystem_access import read_tree
from tests.mount.forked_process import BOTO_MODULES, ForkedProcess, can_fork, fork_server
from tests.mount.mount_process import (
    S3MOUNT,
    Mount,
    environment,
    is_mounted,
    mount_of,
    mounted,
    served,
)
from tests.reference import tree_of
from tests.servers import S3Server
from tests.waiting import WITHIN, wait_until

BODIES = {"a": b"a", "d/b": b"b"}
# modules of dateutil.parser that it imports from its package, which `-X importtime` does not report
UNREPORTED = {"dateutil.tz", "dateutil.relativedelta"}
IMPORTED = """
import sys, tests.mount.fork_server
for name in sys.argv[1:]:
    __import__(name)
print(*(name for name, module in sys.modules.items() if getattr(module, "__file__", None)))
"""


def mount_options(server: S3Server) -> list[str]:
    return ["--endpoint-url", server.endpoint_url]


@pytest.mark.parametrize(("transport", "modules"), [("native", ()), ("boto3", BOTO_MODULES)])
def test_the_server_imports_nothing_that_the_command_does_not(
    transport: str, modules: tuple[str, ...], seaweedfs: S3Server, tmp_path: Path
) -> None:
    at = tmp_path / "mnt"
    words = [*S3MOUNT, fill(seaweedfs, BODIES), str(at), "--foreground", "--log-format", "json"]
    words[1:1] = ["-X", "importtime"]
    words += [*mount_options(seaweedfs), "--transport", transport]
    with served(words, at, env=seaweedfs.environment()) as mount:
        mount.allow("import time:")
        assert read_tree(mount.path) == tree_of(BODIES)
        ask(mount.path, "status")

    imported = set(re.findall(r"\|\s+([\w.]+)$", mount.log_file.read_text(), re.MULTILINE))
    by_server = subprocess.run(
        [sys.executable, "-c", IMPORTED, *modules],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {name for name in by_server if name.partition(".")[0] not in sys.stdlib_module_names}
    assert len(ours) > 100
    assert ours - imported <= UNREPORTED | {"tests", "tests.mount", "tests.mount.fork_server"}


def test_a_forked_mount_has_the_descriptors_of_the_command(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, BODIES)
    options, env = mount_options(seaweedfs), seaweedfs.environment()
    with (
        mounted(bucket, tmp_path / "started", *options, env=env, is_forked=False) as started,
        mounted(bucket, tmp_path / "forked", *options, env=env) as forked,
    ):
        assert not isinstance(started.process, ForkedProcess)
        assert isinstance(forked.process, ForkedProcess)
        for mount in (started, forked):
            assert read_tree(mount.path) == tree_of(BODIES)
            ask(mount.path, "status")  # by then nothing more is imported, from files
        targets = [descriptors_of(mount) for mount in (started, forked)]

    assert targets[0][:3] == targets[1][:3] == ["/dev/null", "LOG", "LOG"]
    assert {*targets[1]} <= {*targets[0]}


def descriptors_of(mount: Mount) -> list[str]:
    """Return what the descriptors are, without numbers."""
    names = sorted(os.listdir(f"/proc/{mount.process.pid}/fd"), key=int)
    found = [os.readlink(f"/proc/{mount.process.pid}/fd/{name}") for name in names]
    return [re.sub(r"\d+", "N", each.replace(str(mount.log_file), "LOG")) for each in found]


def test_the_status_of_a_forked_process_is_that_of_the_command(tmp_path: Path) -> None:
    server = fork_server(tuple(environment().items()))
    with open(tmp_path / "log", "wb") as log:
        descriptors = [log.fileno()] * 3
        asked, refused = (
            server.start(words, environment(), descriptors) for words in (["--version"], ["--no"])
        )
        assert (asked.wait(WITHIN), refused.wait(WITHIN), refused.poll()) == (0, 2, 2)
    assert "no such option" in (tmp_path / "log").read_text().lower()


def test_a_killed_process_has_the_signal_as_its_status(seaweedfs: S3Server, tmp_path: Path) -> None:
    with mount_of(seaweedfs, fill(seaweedfs, BODIES), tmp_path / "mnt") as mount:
        mount.is_left = True
        assert mount.process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            mount.process.wait(0)

        mount.process.kill()

        assert mount.process.wait(WITHIN) == -signal.SIGKILL
        mount.process.kill()  # nothing
        wait_until(lambda: not is_mounted(mount.path))


@pytest.mark.parametrize("name", ["PYTHONPATH", "LD_PRELOAD", "LC_ALL", "OPENSSL_CONF"])
def test_variables_that_the_start_of_python_may_read_need_a_start(name: str) -> None:
    assert can_fork({"AWS_REGION": "x", "HOME": "/x", "https_proxy": "http://x"})
    assert not can_fork({"HOME": "/x", name: "x"})
