"""Expiring credentials: renewal by `credential_process`, and its failures."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.bucket import Bucket
from tests.faults.faulty_mount import BUCKET, PATIENCE, FaultyMount, MountOptions
from tests.faults.hostile_store import Exchange, Step, behave
from tests.faults.http_faults import refused
from tests.faults.workloads import SMALL
from tests.waiting import wait_until

EXPIRED = refused(400, "ExpiredToken", "The provided token has expired.")
TIMEOUT = 4.0  # seconds, of the mounts


class Issuer:
    """A `credential_process` program, as an organization's login tool is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config"
        self._credentials = folder / "credentials.json"
        self._program = folder / "bin" / "issue"
        self._program.parent.mkdir()
        self.named(str(self._program))
        self.does()
        self.issue("first-token")

    def named(self, command: str) -> None:
        """Make the profile run *command*."""
        self.config.write_text(f"[default]\ncredential_process = {command}\n")

    def issue(self, token: str, expires: str = "2099-01-01T00:00:00Z") -> None:
        """Issue *token* from now on."""
        credentials = {"AccessKeyId": "AKIDISSUED", "SecretAccessKey": "s", "SessionToken": token}
        self._credentials.write_text(
            json.dumps({"Version": 1, **credentials, "Expiration": expires})
        )

    def does(self, text: str = "{give}") -> None:
        """Make the program run the script *text*, in which *{give}* prints the credentials."""
        program = self._program.with_suffix(".new")
        program.write_text("#!/bin/sh\n" + text.format(give=f"cat {self._credentials}") + "\n")
        program.chmod(0o755)
        program.rename(self._program)

    def hangs(self) -> None:
        """Make the program hang without output; `pid` is its process."""
        self.does(
            f"echo $$ >{self.folder}/pid.new\n"
            f"mv {self.folder}/pid.new {self.folder}/pid\n"
            "exec sleep 1000"
        )

    @property
    def has_hung(self) -> bool:
        return (self.folder / "pid").exists()

    @property
    def pid(self) -> int:
        """The process that hangs."""
        return int((self.folder / "pid").read_text())


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture(params=["native", "boto3"])
def options(request: pytest.FixtureRequest) -> MountOptions:
    return MountOptions(request.param, 60, TIMEOUT)


@pytest.fixture
def mount(options: MountOptions, issuer: Issuer) -> Iterator[FaultyMount]:
    with _faulty_mount(options, issuer) as running:
        yield running


def _faulty_mount(options: MountOptions, issuer: Issuer) -> FaultyMount:
    bucket = Bucket(BUCKET)
    bucket.put("before", SMALL)
    for key in ("after", "deep/down"):
        bucket.put(key, SMALL)
    search = f"{issuer.folder}/first:{issuer.folder}/bin:{os.environ['PATH']}"
    return FaultyMount(options, bucket, {"AWS_CONFIG_FILE": str(issuer.config), "PATH": search})


def _expire(mount: FaultyMount, token: str) -> None:
    def fault(exchange: Exchange) -> None:
        is_expired = exchange.request.headers.get("x-amz-security-token") == token
        (EXPIRED if is_expired else behave)(exchange)

    mount.store.misbehave(Step(None, fault))


def _reading(path: Path) -> subprocess.Popen[str]:
    """Start a process that reads *path*; it is killed if it hangs."""
    program = f"open({str(path)!r}, 'rb').read()"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stderr=subprocess.PIPE, text=True
    )


def _failure(path: Path) -> str:
    """Read *path*, and return how that fails."""
    with _reading(path) as reader:
        try:
            _, said = reader.communicate(timeout=PATIENCE)
        finally:
            reader.kill()
    number = re.search(r"\[Errno (\d+)\]", said)
    return errno.errorcode[int(number[1])] if number else ""


def _wait_gone(pid: int) -> None:
    wait_until(
        lambda: not Path(f"/proc/{pid}").exists() or b"\0State:\tZ" in _status(pid), PATIENCE
    )


def _status(pid: int) -> bytes:
    try:
        return b"\0" + Path(f"/proc/{pid}/status").read_bytes().replace(b"\n", b"\0")
    except ProcessLookupError:
        return b"\0State:\tZ"


def test_credentials_that_expire_are_requested_again(mount: FaultyMount, issuer: Issuer) -> None:
    assert (mount.mountpoint / "before").read_bytes() == SMALL

    issuer.issue("second-token")
    _expire(mount, "first-token")

    assert (mount.mountpoint / "after").read_bytes() == SMALL
    assert mount.store.requests[-1].headers["x-amz-security-token"] == "second-token"


def test_credentials_that_are_not_renewed_are_reported_as_no_access(mount: FaultyMount) -> None:
    assert (mount.mountpoint / "before").read_bytes() == SMALL

    _expire(mount, "first-token")
    with pytest.raises(PermissionError):
        (mount.mountpoint / "after").read_bytes()

    mount.store.end_faults()
    assert (mount.mountpoint / "after").read_bytes() == SMALL
    assert "first-token" not in mount.log_text


@pytest.mark.parametrize(
    "end", [FaultyMount.unmount, FaultyMount.terminate], ids=["unmounted", "SIGTERM"]
)
def test_a_program_that_hangs_fails_reads_in_time_and_does_not_prevent_unmounting(
    end: Callable[[FaultyMount], None], mount: FaultyMount, issuer: Issuer
) -> None:
    assert (mount.mountpoint / "before").read_bytes() == SMALL
    issuer.hangs()
    issuer.issue("second-token")
    _expire(mount, "first-token")

    began = time.monotonic()
    failures = [_failure(mount.mountpoint / "after"), _failure(mount.mountpoint / "deep/neither")]
    took = time.monotonic() - began
    cached = (mount.mountpoint / "before").read_bytes()
    end(mount)
    status = mount.wait_ended()

    assert failures == ["ETIMEDOUT", "ETIMEDOUT"]
    assert took < 2 * TIMEOUT + PATIENCE / 4
    assert cached == SMALL
    assert status == 0
    assert "does not answer (credential_process)" in mount.log_text
    _wait_gone(issuer.pid)


@pytest.mark.parametrize(
    "options",
    [MountOptions("native", 60, 1000.0), MountOptions("boto3", 60, 1000.0)],
    ids=["native", "boto3"],
)
def test_readers_that_wait_for_credentials_do_not_prevent_unmounting(
    mount: FaultyMount, issuer: Issuer
) -> None:
    issuer.hangs()
    _expire(mount, "first-token")
    with _reading(mount.mountpoint / "before") as reader:
        wait_until(lambda: issuer.has_hung or reader.poll() is not None, PATIENCE)
        assert reader.poll() is None
        mount.terminate()
        status = mount.wait_ended()
        reader.kill()

    assert status == 0
    _wait_gone(issuer.pid)


def test_the_mount_recovers_when_a_hanging_program_ends(mount: FaultyMount, issuer: Issuer) -> None:
    issuer.hangs()
    _expire(mount, "first-token")
    failure = _failure(mount.mountpoint / "after")

    issuer.does()
    issuer.issue("second-token")
    os.kill(issuer.pid, signal.SIGKILL)
    _wait_gone(issuer.pid)
    seen = [failure]

    def has_recovered() -> bool:
        seen.append(_failure(mount.mountpoint / "after"))
        return seen[-1] != "EACCES"  # the failure is shared with other readers for a moment

    wait_until(has_recovered, PATIENCE)

    assert (failure, seen[-1]) == ("ETIMEDOUT", "")


@pytest.mark.parametrize("number", ["ALRM", "TERM"])
def test_a_program_receives_its_signals(number: str, mount: FaultyMount, issuer: Issuer) -> None:
    issuer.does(f"trap '{{give}}; exit 0' {number}\nkill -{number} $$\nexit 1")
    issuer.issue("second-token")
    _expire(mount, "first-token")

    assert _failure(mount.mountpoint / "after") == ""


def test_a_program_is_found_by_a_search_path_through_the_mount(
    mount: FaultyMount, issuer: Issuer
) -> None:
    """The program starts only after the mount, which waits for it, has served a lookup."""
    issuer.named("issue")
    issuer.issue("second-token")
    (issuer.folder / "first").symlink_to(mount.mountpoint)
    _expire(mount, "first-token")

    assert _failure(mount.mountpoint / "after") in ("", "ETIMEDOUT", "EACCES", "EIO")
    mount.terminate()
    assert mount.wait_ended() == 0


def test_a_refresh_that_fails_ahead_of_time_harms_no_request_and_is_not_quoted(
    options: MountOptions, issuer: Issuer
) -> None:
    issuer.issue("first-token", (datetime.now(UTC) + timedelta(minutes=12)).isoformat())
    once = issuer.folder / "once"
    issuer.does(
        f"[ ! -e {once} ] || {{{{ echo first-token >&2; exit 1; }}}}\ntouch {once}\n{{give}}"
    )

    with _faulty_mount(options, issuer) as mount:
        body = (mount.mountpoint / "before").read_bytes()
        log = mount.log_text

    assert body == SMALL
    assert "first-token" not in log


@pytest.mark.parametrize("options", [[], ["--foreground"]], ids=["background", "foreground"])
def test_a_program_that_hangs_at_the_start_is_reported_in_one_line(
    options: list[str], issuer: Issuer
) -> None:
    issuer.hangs()
    began = time.monotonic()

    done = subprocess.run(
        _command(issuer, *options),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=_environment(issuer),
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no credentials within 1.5 s" in done.stderr
    assert "credential_process" in done.stderr
    assert time.monotonic() - began < PATIENCE / 2
    _wait_gone(issuer.pid)


def test_a_program_that_hangs_at_the_start_does_not_prevent_stopping(issuer: Issuer) -> None:
    os.mkfifo(issuer.folder / "began")
    issuer.does(f"echo $$ >{issuer.folder}/began\nexec sleep 1000")
    with subprocess.Popen(
        [*_command(issuer, "--foreground"), "--timeout", "1000"],
        stderr=subprocess.PIPE,
        env=_environment(issuer),
    ) as command:
        pid = int((issuer.folder / "began").read_text())
        command.terminate()
        _, said = command.communicate(timeout=PATIENCE)

    assert (command.returncode, said) == (0, b"")
    _wait_gone(pid)


def _command(issuer: Issuer, *options: str) -> list[str]:
    at = issuer.folder / "mnt"
    at.mkdir()
    spelled = shlex.split(f"{BUCKET} {at} --endpoint-url http://127.0.0.1:1 --timeout 1.5")
    return [sys.executable, "-m", "s3mount", *spelled, *options]


def _environment(issuer: Issuer) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**inherited, "AWS_CONFIG_FILE": str(issuer.config), "AWS_EC2_METADATA_DISABLED": "true"}
