"""The socket of the metrics: its address, its file, and what is said when it cannot listen."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from s3mount.config import MetricsAddress
from s3mount.errors import SetupError
from s3mount.exposition.listening_socket import MetricsSocket

LOOPBACK = MetricsAddress("127.0.0.1", 0)


@contextmanager
def _at(path: Path) -> Iterator[MetricsSocket]:
    with closing(MetricsSocket(MetricsAddress(path=str(path)))) as listening:
        yield listening


def test_a_port_is_that_of_the_address_only() -> None:
    with closing(MetricsSocket(LOOPBACK)) as listening:
        host, port = listening.socket.getsockname()

        assert host == "127.0.0.1"
        assert listening.shown == f"http://127.0.0.1:{port}/metrics"


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    with closing(MetricsSocket(MetricsAddress("::1", 0))) as listening:
        assert listening.shown.startswith("http://[::1]:")


def test_a_port_that_is_taken_is_refused_with_a_remedy() -> None:
    with closing(MetricsSocket(LOOPBACK)) as listening:
        taken = MetricsAddress("127.0.0.1", listening.socket.getsockname()[1])

        with pytest.raises(SetupError, match=f"--metrics {taken}: another process listens there"):
            MetricsSocket(taken)


def test_an_address_of_no_interface_is_refused_with_a_remedy() -> None:
    with pytest.raises(SetupError, match="this machine has no such address"):
        MetricsSocket(MetricsAddress("192.0.2.1", 0))


def test_a_unix_socket_is_its_users_alone_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    umask = os.umask(0)
    try:
        with _at(path) as listening:
            found = path.lstat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o600
            assert listening.shown == f"unix:{path}"
    finally:
        assert os.umask(umask) == 0
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))

    with _at(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_unix_socket_on_which_a_process_listens_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with _at(path):
        before = path.lstat().st_ino
        with pytest.raises(SetupError, match="another process listens there"), _at(path):
            pass

        assert path.lstat().st_ino == before


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_no_socket_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "socket"
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()

    with pytest.raises(SetupError, match="it exists and is no socket"), _at(path):
        pass

    assert os.path.lexists(path)


def test_a_socket_of_a_later_process_is_left(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with _at(path):
        path.unlink()
        path.write_text("of another process")

    assert path.read_text() == "of another process"


def test_a_missing_directory_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="RuntimeDirectory="), _at(tmp_path / "none" / "socket"):
        pass
