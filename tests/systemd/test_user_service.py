"""The user unit, as shipped, under a real manager of a real user, who is not root."""

from collections.abc import Iterator

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox
from tests.systemd.service import BODY, Service


@pytest.fixture(scope="module")
def user(sandbox: Sandbox) -> str:
    """A user who is logged in, for systemd."""
    sandbox.run("useradd", "--create-home", "alice")
    sandbox.run("systemctl", "start", f"user@{sandbox.output('id', '-u', 'alice')}.service")
    return "alice"


@pytest.fixture
def service(
    sandbox: Sandbox, user: str, name: str, server: S3Server, bucket: str
) -> Iterator[Service]:
    service = Service(sandbox, name, user)
    service.configure(server, bucket)
    yield service
    service.stop()
    assert not service.is_mounted


def test_only_the_user_can_read_their_mount(service: Service, bucket: str) -> None:
    service.start()

    assert service.read() == BODY.decode().strip()
    assert service.show("StatusText") == f"serving s3://{bucket} at {service.mountpoint}"
    assert "Permission denied" in service.sandbox.run("ls", service.mountpoint, check=False).stderr
    uid = service.sandbox.output("id", "-u", "alice")
    assert service.control_sockets[0].startswith(f"/run/user/{uid}/s3mount/")
    assert service.greeting["pid"] == int(service.pid)


def test_a_users_mount_is_restarted_after_a_kill(service: Service) -> None:
    service.override(RestartSec="100ms")
    service.start()
    killed = service.pid

    service.kill("--kill-whom=all", "--signal=KILL")

    service.wait_restarted(killed)
    assert service.read() == BODY.decode().strip()


def test_a_users_mount_is_restarted_when_it_hangs(service: Service) -> None:
    service.override(WatchdogSec="2s", RestartSec="100ms")
    service.start()
    hanging = service.pid

    service.kill("--kill-whom=main", "--signal=STOP")

    service.wait_restarted(hanging)
    assert service.read() == BODY.decode().strip()


def test_a_stop_of_a_users_mount_is_a_success(service: Service) -> None:
    service.start()

    service.stop()

    assert not service.is_mounted
    assert (service.state, service.show("Result"), service.show("ExecMainStatus")) == (
        "inactive",
        "success",
        "0",
    )
