"""s3mountctl beside real mounts of a real server."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.mount.control_client import control_socket
from tests.mount.mount_process import Mount, environment, is_mounted, mount_of
from tests.mount.mount_runner import helper_of
from tests.mount.relay import relay
from tests.servers import S3Server
from tests.terminal import WITHIN, terminal

COMMAND = [sys.executable, "-c", "from s3mount.ctl.main import main; main()"]
CLEAR = [sys.executable, "-c", "from s3mount.cli.clear import main; main()"]
READERS = 64
SIZE = 1 << 20


@pytest.fixture
def bucket(seaweedfs: S3Server) -> str:
    name = seaweedfs.make_bucket()
    for number in range(4):
        seaweedfs.client().put_object(Bucket=name, Key=f"dir/{number}", Body=bytes(SIZE))
    return name


@pytest.fixture
def mount(seaweedfs: S3Server, bucket: str, directory: Path) -> Iterator[Mount]:
    with mount_of(seaweedfs, bucket, directory / "m", "--metadata-ttl", "indefinite") as mount:
        yield mount


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def answer(*arguments: object) -> Any:
    """Return the object that a successful command prints."""
    done = run(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def listed(path: Path) -> dict[str, Any]:
    """Return what `list` says of the mount at *path*; there may be mounts of others."""
    mounts = json.loads(run("list", "--json").stdout)["mounts"]
    return next(each for each in mounts if each["mountpoint"] == str(path))


def test_list_and_status_say_who_serves(mount: Mount, bucket: str) -> None:
    (mount / "dir/1").read_bytes()

    found = listed(mount.path)
    status = answer("status", mount / "dir")

    assert (found["state"], found["pid"]) == ("healthy", mount.process.pid)
    assert status["identity"]["bucket"] == bucket
    assert status["identity"]["pid"] == mount.process.pid
    assert status["bytes"]["served"] >= SIZE


def test_status_is_drawn_of_a_real_mount(mount: Mount) -> None:
    (mount / "dir/1").read_bytes()

    with terminal([*COMMAND, "status", str(mount.path)], environment(), 120, 60) as screen:
        assert screen.wait_end() == 0

    for text in ("Requests", "Bytes and caches", "Bill so far", "Last errors", "GET"):
        assert text in screen.text


def test_top_shows_an_open_file(mount: Mount) -> None:
    with (
        (mount / "dir/2").open("rb") as file,
        terminal([*COMMAND, "top", str(mount.path)], environment(), 120, 30) as screen,
    ):
        file.read(1)
        screen.wait_for("dir/2", "1.0 MiB")
        screen.press("q")
        assert screen.wait_end() == 0


def test_refresh_shows_what_is_in_the_store_now(
    mount: Mount, seaweedfs: S3Server, bucket: str
) -> None:
    assert len([*(mount / "dir").iterdir()]) == 4
    seaweedfs.client().put_object(Bucket=bucket, Key="dir/new", Body=b"new")
    assert not (mount / "dir/new").exists()

    assert answer("refresh", mount / "dir")["forgotten"] > 0

    assert (mount / "dir/new").read_bytes() == b"new"


def test_log_level_takes_effect(mount: Mount) -> None:
    assert answer("log-level", "debug", mount.path) == {"level": "debug", "before": "info"}

    (mount / "dir/3").read_bytes()

    assert any(record["level"] == "DEBUG" for record in mount.records())


def test_trace_prints_requests_as_they_end(mount: Mount) -> None:
    process = subprocess.Popen(
        [*COMMAND, "trace", "--key", "dir/*", str(mount.path)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as lines:
        while not select.select([lines], [], [], 0)[0]:  # until it listens
            answer("refresh", mount.path)
            (mount / "absent").exists()
            os.listdir(mount / "dir")
            (mount / "dir" / os.urandom(4).hex()).exists()
        line = lines.readline()
        process.send_signal(signal.SIGINT)

    assert line.split()[1] in {"GET", "HEAD", "LIST"}
    assert " dir/" in line
    assert process.returncode == 130


def test_two_mounts_of_a_bucket_are_told_apart(
    mount: Mount, seaweedfs: S3Server, bucket: str, directory: Path
) -> None:
    with mount_of(seaweedfs, bucket, directory / "second") as second:
        first_pid = answer("status", mount.path)["identity"]["pid"]
        second_pid = answer("status", second.path)["identity"]["pid"]
        by_source = run("status", f"s3://{bucket}")
        without = run("status")

    assert (first_pid, second_pid) == (mount.process.pid, second.process.pid)
    assert (by_source.returncode, "is mounted 2 times" in by_source.stderr) == (2, True)
    assert without.returncode == 2
    assert str(second.path) in without.stderr


def test_status_answers_while_the_store_is_silent(
    seaweedfs: S3Server, bucket: str, directory: Path
) -> None:
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, directory / "m", "--timeout", "5") as mount,
    ):
        mount.allow(".*")
        traffic.is_silent = True
        reader = threading.Thread(target=_try_to_list, args=(mount,))
        reader.start()

        assert listed(mount.path)["state"] == "healthy"
        assert answer("status", mount.path)["identity"]["bucket"] == bucket

        traffic.is_silent = False
        reader.join()


def test_status_answers_beside_64_readers(mount: Mount) -> None:
    is_over = threading.Event()

    def read(number: int) -> None:
        while not is_over.is_set():
            (mount / f"dir/{number % 4}").read_bytes()

    readers = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        statuses = [answer("status", mount.path) for _ in range(3)]
    finally:
        is_over.set()
        for reader in readers:
            reader.join()

    assert [status["identity"]["pid"] for status in statuses] == [mount.process.pid] * 3


def test_a_killed_mount_is_dead_and_its_remedy_clears_it(mount: Mount) -> None:
    mount.is_left = True
    socket = control_socket(mount.path)
    os.kill(helper_of(mount.process.pid), signal.SIGKILL)  # else it would unmount
    mount.process.kill()
    mount.process.wait()

    found = listed(mount.path)
    status = run("status", mount.path)

    assert (found["state"], found["remedy"]) == ("dead", f"s3mount-clear {mount.path}")
    assert (status.returncode, "is dead" in status.stderr) == (3, True)
    subprocess.run([*CLEAR, str(mount.path)], env=environment(), check=True, timeout=WITHIN)
    assert not is_mounted(mount.path)
    socket.unlink()


def test_a_stopped_mount_does_not_respond(mount: Mount) -> None:
    mount.process.send_signal(signal.SIGSTOP)
    try:
        found = listed(mount.path)
        status = run("status", mount / "dir/1")
    finally:
        mount.process.send_signal(signal.SIGCONT)

    assert found["state"] == "not-responding"
    assert (status.returncode, "does not respond" in status.stderr) == (3, True)


def _try_to_list(mount: Mount) -> None:
    with suppress(OSError):
        os.listdir(mount / "dir")
