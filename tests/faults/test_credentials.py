"""Expiring credentials: renewal by `credential_process`, and its failures."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.faulty_mount import FaultyMount, MountOptions
from tests.faults.issuer import Issuer, expire, faulty_mount, read_failure
from tests.faults.workloads import SMALL


def test_credentials_that_expire_are_requested_again(mount: FaultyMount, issuer: Issuer) -> None:
    assert (mount.mountpoint / "before").read_bytes() == SMALL

    issuer.issue("second-token")
    expire(mount, "first-token")

    assert (mount.mountpoint / "after").read_bytes() == SMALL
    assert mount.store.requests[-1].headers["x-amz-security-token"] == "second-token"


def test_credentials_that_are_not_renewed_are_reported_as_no_access(mount: FaultyMount) -> None:
    assert (mount.mountpoint / "before").read_bytes() == SMALL

    expire(mount, "first-token")
    with pytest.raises(PermissionError):
        (mount.mountpoint / "after").read_bytes()

    mount.store.end_faults()
    assert (mount.mountpoint / "after").read_bytes() == SMALL
    assert "first-token" not in mount.log_text


@pytest.mark.parametrize("number", ["ALRM", "TERM"])
def test_a_program_receives_its_signals(number: str, mount: FaultyMount, issuer: Issuer) -> None:
    issuer.does(f"trap '{{give}}; exit 0' {number}\nkill -{number} $$\nexit 1")
    issuer.issue("second-token")
    expire(mount, "first-token")

    assert read_failure(mount.mountpoint / "after") == ""


def test_a_program_is_found_by_a_search_path_through_the_mount(
    mount: FaultyMount, issuer: Issuer
) -> None:
    """The program starts only after the mount, which waits for it, has served a lookup."""
    issuer.named("issue")
    issuer.issue("second-token")
    (issuer.folder / "first").symlink_to(mount.mountpoint)
    expire(mount, "first-token")

    assert read_failure(mount.mountpoint / "after") in ("", "ETIMEDOUT", "EACCES", "EIO")
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

    with faulty_mount(options, issuer) as mount:
        body = (mount.mountpoint / "before").read_bytes()
        log = mount.log_text

    assert body == SMALL
    assert "first-token" not in log
