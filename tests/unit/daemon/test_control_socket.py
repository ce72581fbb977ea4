"""The control socket in the life of a mount: a server that ends leaves nobody waiting."""

import socket
from collections.abc import Collection
from pathlib import Path

import pytest
import trio

from s3mount.control import locations
from s3mount.control.listening_socket import ListeningSocket
from s3mount.daemon.control_socket import ControlSocket
from s3mount.daemon.interfaces import MountIdentity

CONNECTION = 52


def socket_in(folder: Path) -> Path | None:
    return next(folder.rglob("*.socket"), None)


class FailingServed:
    """A mount whose control socket cannot be served, say after an upgrade of its program."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    async def serve_control(
        self, listening: ListeningSocket, identity: MountIdentity, allowed: Collection[int]
    ) -> None:
        del listening, identity, allowed
        await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise self._failure

    def answered(self) -> None:
        """Nothing was put off."""

    def invalidate_all(self) -> None:
        """Nothing is cached."""


@pytest.mark.parametrize("failure", [ImportError("cannot import name"), None])
async def test_no_client_waits_for_a_server_that_has_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected_warnings: list[str],
    failure: Exception | None,
) -> None:
    """Else `s3mountctl list` calls the mount hanging, and says how to end it."""
    if failure is not None:
        expected_warnings.append("the control socket is not served")
    monkeypatch.setattr(locations, "SYSTEM", tmp_path / "s3mount")
    control = ControlSocket({"XDG_RUNTIME_DIR": str(tmp_path)}, None)
    control.open("s3://b", "/m", CONNECTION)
    path = socket_in(tmp_path)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(10)
        waiting.connect(str(path))

        await control.serve(FailingServed(failure))

        with pytest.raises(ConnectionResetError):
            waiting.recv(1)
        assert socket_in(tmp_path) is None
    control.close()
