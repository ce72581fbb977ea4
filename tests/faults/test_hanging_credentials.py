"""A `credential_process` that hangs: reads fail in time, and the mount can end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.faults.faulty_mount import BUCKET, PATIENCE, FaultyMount, MountOptions
from tests.faults.issuer import TIMEOUT, Issuer, expire, read_failure, reading, wait_gone
from tests.faults.workloads import SMALL
from tests.waiting import wait_until


@pytest.mark.parametrize(
    "end", [FaultyMount.unmount, FaultyMount.terminate], ids=["unmounted", "SIGTERM"]
)
def test_a_program_that_hangs_fails_reads_in_time_and_does_not_prevent_unmounting(
    end: Callable[[FaultyMount], None], mount: FaultyMount, issuer: Issuer
) -> None:
    assert (mount.mountpoint / "before").read_bytes() == SMALL
    issuer.hangs()
    issuer.issue("second-token")
    expire(mount, "first-token")

    began = time.monotonic()
    failures = [
        read_failure(mount.mountpoint / "after"),
        read_failure(mount.mountpoint / "deep/neither"),
    ]
    took = time.monotonic() - began
    cached = (mount.mountpoint / "before").read_bytes()
    end(mount)
    status = mount.wait_ended()

    assert failures == ["ETIMEDOUT", "ETIMEDOUT"]
    assert took < 2 * TIMEOUT + PATIENCE / 4
    assert cached == SMALL
    assert status == 0
    assert "does not answer (credential_process)" in mount.log_text
    wait_gone(issuer.pid)


@pytest.mark.parametrize(
    "options",
    [MountOptions("native", 60, 1000.0), MountOptions("boto3", 60, 1000.0)],
    ids=["native", "boto3"],
)
def test_readers_that_wait_for_credentials_do_not_prevent_unmounting(
    mount: FaultyMount, issuer: Issuer
) -> None:
    issuer.hangs()
    expire(mount, "first-token")
    with reading(mount.mountpoint / "before") as reader:
        wait_until(lambda: issuer.has_hung or reader.poll() is not None, PATIENCE)
        assert reader.poll() is None
        mount.terminate()
        status = mount.wait_ended()
        reader.kill()

    assert status == 0
    wait_gone(issuer.pid)


def test_the_mount_recovers_when_a_hanging_program_ends(mount: FaultyMount, issuer: Issuer) -> None:
    issuer.hangs()
    expire(mount, "first-token")
    failure = read_failure(mount.mountpoint / "after")

    issuer.does()
    issuer.issue("second-token")
    os.kill(issuer.pid, signal.SIGKILL)
    wait_gone(issuer.pid)
    seen = [failure]

    def has_recovered() -> bool:
        seen.append(read_failure(mount.mountpoint / "after"))
        return seen[-1] != "EACCES"  # the failure is shared with other readers for a moment

    wait_until(has_recovered, PATIENCE)

    assert (failure, seen[-1]) == ("ETIMEDOUT", "")


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
    wait_gone(issuer.pid)


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
    wait_gone(pid)


def _command(issuer: Issuer, *options: str) -> list[str]:
    at = issuer.folder / "mnt"
    at.mkdir()
    spelled = shlex.split(f"{BUCKET} {at} --endpoint-url http://127.0.0.1:1 --timeout 1.5")
    return [sys.executable, "-m", "s3mount", *spelled, *options]


def _environment(issuer: Issuer) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**inherited, "AWS_CONFIG_FILE": str(issuer.config), "AWS_EC2_METADATA_DISABLED": "true"}
