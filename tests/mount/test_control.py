"""The control socket of a real mount of a real server."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from s3mount.control.admission import CLIENTS_MAX, STREAMS_MAX
from s3mount.control.locations import SYSTEM
from s3mount.s3.request_records import RequestKind
from tests.mount.buckets import fill
from tests.mount.control_client import ControlClient, ask, connected, control_client, control_socket
from tests.mount.filesystem_access import failure_of, read_file
from tests.mount.memory_mount import memory_mount
from tests.mount.mount_process import Mount, is_mounted, mount_of
from tests.mount.mount_runner import AS_NOBODY, NOBODY, MountRunner, helper_of, wait_exit
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

READERS = 64
SIZE = 3 << 20
BODIES = {"a/one": b"1", "a/two": b"22", "a/deep/three": b"333", "b/four": b"4444"}


@contextmanager
def mount_through_relay(
    server: S3Server, bucket: str, at: Path, *options: str
) -> Iterator[tuple[Mount, Traffic]]:
    with relay(server) as traffic, mount_of(traffic.server, bucket, at, *options) as mount:
        yield mount, traffic


def test_the_greeting_tells_which_mount_it_is(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with (
        mount_of(seaweedfs, f"{bucket}/a", tmp_path / "mnt") as mount,
        control_client(mount.path) as client,
    ):
        greeting = client.greeting
        identity = client.ask("status")["identity"]

        assert greeting["protocol"] == 1
        assert greeting["source"] == f"s3://{bucket}/a"
        assert greeting["mountpoint"] == str(mount.path)
        assert greeting["pid"] == mount.process.pid
        assert greeting["since"] == identity["since"]
        assert (identity["bucket"], identity["prefix"]) == (bucket, "a/")
        assert identity["endpoint"] == seaweedfs.endpoint_url.replace("localhost", "127.0.0.1")
        assert identity["credentials"] == {"source": "the environment", "expires": None}


def test_status_counts_what_the_store_was_asked(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, {**BODIES, "large": os.urandom(SIZE)})
    with mount_through_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        for path in [*BODIES, "large"]:
            read_file(mount / path)
        assert failure_of(lambda: os.stat(mount / "a/none")) == "ENOENT"
        os.listdir(mount / "a")

        status = ask(mount.path, "status")

        counted = [request.kind for request in traffic.take()]
        sent = {kind: each["sent"] for kind, each in status["requests"].items()}
        assert sent == {kind: counted.count(kind) for kind in RequestKind}
        assert sum(status["reasons"].values()) == len(counted)
        size = SIZE + sum(map(len, BODIES.values()))
        # an open may have looked at a first byte
        assert 0 <= status["bytes"]["served"] - size <= len(BODIES) + 1
        assert status["bytes"]["fetched"] >= size
        assert status["memory"]["resident"] > status["memory"]["blocks"]["used"] > 0
        assert status["latency"]["GET"]["all"]["count"] == sent["GET"]
        assert status["bill"]["total"] > 0
        assert status["errors"] == []


def test_no_secret_is_in_any_reply(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    secrets = {"AWS_SESSION_TOKEN": "", "HTTPS_PROXY": "http://joe:swordfish@127.0.0.1:9"}
    with mount_of(seaweedfs, bucket, tmp_path / "mnt", **secrets) as mount:
        read_file(mount / "a/one")

        told = "".join(json.dumps(ask(mount.path, name)) for name in ("status", "activity"))

        assert bucket in told
        for secret in (seaweedfs.secret_key, seaweedfs.access_key, "swordfish"):
            assert secret not in told


def test_activity_shows_open_files_and_their_readers(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, {"large": os.urandom(SIZE)})
    with mount_of(seaweedfs, bucket, tmp_path / "mnt") as mount, ExitStack() as opened:
        files = [opened.enter_context(open(mount / "large", "rb")) for _ in range(2)]
        files[0].read(SIZE // 2)

        (file,) = ask(mount.path, "activity")["files"]

        assert (file["key"], file["readers"], file["size"]) == ("large", 2, SIZE)
        assert SIZE // 2 <= file["position"] <= SIZE
        assert SIZE // 2 <= file["served"] <= SIZE + len(files)


def test_trace_tells_requests_as_they_end(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with (
        mount_of(seaweedfs, bucket, tmp_path / "mnt") as mount,
        control_client(mount.path) as all_of_them,
        control_client(mount.path) as of_b,
    ):
        all_of_them.send("trace")
        of_b.send("trace", key="b/f*")
        all_of_them.send("status")  # never reached: one command after another
        read_file(mount / "b/four")

        item = of_b.receive_item()
        assert (item["key"], item["kind"], item["bytes"]) == ("b/four", "GET", 4)
        assert item["status"] in (200, 206)
        item = all_of_them.receive_item()
        assert item["kind"] in ("GET", "HEAD", "LIST")
        assert item["error"] is None
        assert item["seconds"] > 0


def test_a_refresh_shows_what_is_new_at_a_path_and_only_there(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_through_relay(
        seaweedfs, bucket, tmp_path / "mnt", "--metadata-ttl", "indefinite"
    ) as (mount, traffic):
        for directory in ("", "a", "a/deep", "b"):
            os.listdir(mount / directory)
        assert failure_of(lambda: os.stat(mount / "a/new")) == "ENOENT"
        fill(seaweedfs, {"a/new": b"new", "a/one": b"longer", "b/new": b"new"}, bucket)
        seaweedfs.client().delete_object(Bucket=bucket, Key="a/two")
        traffic.take()

        assert ask(mount.path, "refresh", path="a")["forgotten"] >= 4

        assert (mount / "a/one").stat().st_size == len("longer")
        assert sorted(os.listdir(mount / "a")) == ["deep", "new", "one"]
        assert read_file(mount / "a/new") == b"new"
        traffic.take()
        assert os.listdir(mount / "b") == ["four"]
        assert traffic.take() == []
        assert ask(mount.path, "refresh")["forgotten"] > 0
        assert sorted(os.listdir(mount / "b")) == ["four", "new"]


def test_a_refresh_reaches_the_kernel_beside_open_files(tmp_path: Path) -> None:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as mount:
        mount.command("put", "d/file", "bytes")
        assert failure_of(lambda: os.stat(mount / "d/absent")) == "ENOENT"
        with open(mount / "d/file", "rb"):  # an open file keeps the directory in the kernel
            mount.command("put", "d/absent", "here")
            mount.command("put", "d/file", "changed")

            ask(mount.path, "refresh", path="d")

            assert (mount / "d/absent").exists()
            assert (mount / "d/file").stat().st_size == len("changed")


def test_a_name_that_is_no_utf_8_can_be_refreshed(tmp_path: Path) -> None:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as mount:
        path = os.fsencode(mount.path) + b"/caf\xe9"
        assert failure_of(lambda: os.stat(path)) == "ENOENT"

        assert ask(mount.path, "refresh", path="caf\udce9") == {"forgotten": 1}


def test_the_level_of_the_log_changes_at_once(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_of(seaweedfs, bucket, tmp_path / "mnt") as mount:
        assert ask(mount.path, "log-level", level="debug") == {"level": "debug", "before": "info"}
        read_file(mount / "a/one")
        assert ask(mount.path, "log-level", level="error") == {"level": "error", "before": "debug"}

        assert "DEBUG" in {record["level"] for record in mount.records()}


def test_it_answers_while_the_store_is_away_and_every_connection_busy(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bodies = {f"f{number}": os.urandom(1 << 10) for number in range(READERS)}
    bucket = fill(seaweedfs, bodies)
    options = ("--max-connections", "2", "--timeout", "30")
    with mount_through_relay(seaweedfs, bucket, tmp_path / "mnt", *options) as (mount, traffic):
        os.listdir(mount.path)
        mount.allow("ETIMEDOUT", "EIO")
        traffic.is_silent = True
        readers = [
            threading.Thread(target=failure_of, args=(lambda at=mount / name: read_file(at),))
            for name in bodies
        ]
        for reader in readers:
            reader.start()
        try:
            wait_until(lambda: len(ask(mount.path, "activity")["requests"]) >= 2)

            with control_client(mount.path) as client:
                assert client.ask("status")["open"]["files"] > 0
                assert client.ask("refresh", path="f1")["forgotten"] == 1
                assert client.ask("log-level", level="info")["before"] == "info"
        finally:
            traffic.is_silent = False
            os.kill(mount.process.pid, signal.SIGTERM)
            for reader in readers:
                reader.join()
        mount.is_left = True
        assert mount.process.wait(20) == 0


def test_two_mounts_of_one_bucket_have_a_socket_each(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with (
        mount_of(seaweedfs, bucket, tmp_path / "one") as one,
        mount_of(seaweedfs, bucket, tmp_path / "two") as two,
        control_client(one.path) as of_one,
        control_client(two.path) as of_two,
    ):
        assert of_one.greeting["pid"] == one.process.pid
        assert of_two.greeting["pid"] == two.process.pid
        assert of_one.greeting["connection"] != of_two.greeting["connection"]


def test_clients_that_behave_badly_harm_no_mount(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_of(seaweedfs, bucket, tmp_path / "mnt") as mount:
        path = control_socket(mount.path)
        for _ in range(3):
            with connected(path) as garbage:
                garbage.socket.sendall(b"\0\xff GET / HTTP/1.1\r\n\r\n\n")
                assert garbage.receive()["error"]["code"] == "bad-request"
            with connected(path) as flooding:
                assert _flood(flooding) < 1 << 20
            with connected(path) as vanishing:
                vanishing.send("trace")
        with ExitStack() as stack:
            for _ in range(STREAMS_MAX):
                stack.enter_context(connected(path)).send("trace")
            for _ in range(STREAMS_MAX, CLIENTS_MAX):
                stack.enter_context(connected(path))
            with connected(path) as refused:
                assert refused.greeting["error"]["code"] == "busy"
            assert read_file(mount / "a/one") == b"1"

            wait_until(lambda: "identity" in _try(mount.path))  # an idle one makes room


def _flood(client: ControlClient) -> int:
    """Send up to 1 GiB without a newline; return how many bytes were taken."""
    for number in range(1 << 14):
        try:
            client.socket.sendall(b"x" * (1 << 16))
        except OSError:
            return number << 16
    return 1 << 30


def _try(at: Path) -> dict[str, Any]:
    with control_client(at) as client:
        return {} if "error" in client.greeting else client.ask("status")


def test_the_socket_ends_with_the_mount(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_of(seaweedfs, bucket, tmp_path / "mnt") as mount:
        path = control_socket(mount.path)
        with control_client(mount.path) as client:
            os.kill(mount.process.pid, signal.SIGTERM)

            assert mount.process.wait(20) == 0
            assert client.receive() == {}
        mount.is_left = True

    assert not path.exists()


def test_without_it_the_mount_is_served_all_the_same(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_of(seaweedfs, bucket, tmp_path / "mnt", "--no-control") as mount:
        with pytest.raises(ValueError, match="unpack"):
            control_socket(mount.path)

        assert read_file(mount / "a/one") == b"1"


# ---- users, and the ends of processes; over a mount of one file, without a store -----------------


def test_it_is_of_the_user_who_serves_and_root_is_heard(runner: MountRunner) -> None:
    pid = runner.mount("--run-as", "nobody", "--allow-root")
    path = control_socket(runner.mountpoint)

    status = path.lstat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, NOBODY)
    assert path.parent == SYSTEM / "nobody"
    folder = path.parent.lstat()
    assert (folder.st_mode & 0o777, folder.st_uid) == (0o700, NOBODY)
    with connected(path) as client:
        assert client.greeting["pid"] == pid


@pytest.mark.parametrize(("uid", "is_heard"), [(NOBODY, True), (4711, False)])
def test_no_other_user_is_heard(runner: MountRunner, uid: int, *, is_heard: bool) -> None:
    """Not even one who may pass the file's permissions."""
    runner.mount("--run-as", "nobody")
    path = control_socket(runner.mountpoint)
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "print(len(s.recv(1000)) > 0)"
    )
    capability = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")

    said = subprocess.run(
        [
            *("setpriv", f"--reuid={uid}", "--regid=4711", "--clear-groups", *capability),
            *(sys.executable, "-c", script, path),
        ],
        check=True,
        capture_output=True,
        text=True,
    )

    assert said.stdout.strip() == str(is_heard)


def test_a_mount_that_was_killed_leaves_a_socket_that_the_next_one_replaces(
    runner: MountRunner,
) -> None:
    pid = runner.mount()
    path = control_socket(runner.mountpoint)
    helper = helper_of(pid)
    os.kill(pid, signal.SIGKILL)
    assert wait_exit(pid) == -signal.SIGKILL
    assert wait_exit(helper) == 0
    wait_until(lambda: not is_mounted(runner.mountpoint))
    assert path.is_socket()

    pid = runner.mount()

    with connected(control_socket(runner.mountpoint)) as client:
        assert client.greeting["pid"] == pid
    path.unlink(missing_ok=True)


@pytest.mark.usefixtures("open_device")
def test_a_user_without_a_runtime_directory_has_none(runner: MountRunner) -> None:
    runner.environment.pop("XDG_RUNTIME_DIR", None)
    runner.mountpoint.chmod(0o777)
    log = runner.mountpoint.parent / "log"

    runner.mount("--log-file", log, prefix=AS_NOBODY)

    text = log.read_text()
    assert "INFO s3mount.daemon.control_socket: there is no control socket" in text


@pytest.mark.usefixtures("open_device")
def test_a_users_own_is_in_their_runtime_directory(runner: MountRunner) -> None:
    runner.mountpoint.chmod(0o777)
    runtime = runner.mountpoint.parent / "runtime"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, NOBODY, NOBODY)
    runner.environment["XDG_RUNTIME_DIR"] = str(runtime)

    pid = runner.mount(prefix=AS_NOBODY)

    (path,) = (runtime / "s3mount").iterdir()
    with connected(path) as client:
        assert client.greeting["pid"] == pid


def test_a_folder_that_cannot_be_made_is_one_warning(runner: MountRunner) -> None:
    """A machine, or a container, whose /run is read-only: the same mount namespace is kept."""
    log = runner.mountpoint.parent / "log"
    folder = SYSTEM / "daemon"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way of a directory")
    try:
        runner.mount("--log-file", log, "--run-as", "daemon", "--allow-other")
    finally:
        folder.unlink()

    warnings = [line for line in log.read_text().splitlines() if " WARNING " in line]
    assert len(warnings) == 1
    assert "there is no control socket for s3mountctl: daemon: Not a directory" in warnings[0]
    assert (runner.mountpoint / "hello").read_text() == "Hello, world\n"


def test_a_passed_descriptor_has_one_as_well(runner: MountRunner) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    subprocess.run(
        ["mount", "-i", "-t", "fuse.s3mount", "-o", options, "passed", runner.mountpoint],
        pass_fds=(device,),
        check=True,
    )
    place, runner.mountpoint = runner.mountpoint, Path(f"/dev/fd/{device}")
    pid = runner.mount(pass_fds=(device,))
    os.close(device)

    with connected(control_socket(place)) as client:
        assert client.greeting["pid"] == pid
        assert client.greeting["mountpoint"] == str(place)
    runner.mountpoint = place
