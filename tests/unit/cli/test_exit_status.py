"""The end of the process."""

import subprocess
import sys

PROGRAM = """
import atexit, sys, threading
from s3mount.cli.exit_status import end_process

threading.Thread(target=threading.Event().wait).start()
atexit.register(print, "Python's own end")
sys.stdout.write("what was said")
end_process(3)
"""


def test_the_process_ends_at_once_despite_its_threads_and_its_output_is_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (3, "what was said", "")
