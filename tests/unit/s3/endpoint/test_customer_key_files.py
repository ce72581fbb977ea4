"""Files of customer keys (SSE-C): what is read, and what is refused without a word of a key."""

import base64
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import SetupError
from s3mount.s3.endpoint.customer_key import CustomerKey
from s3mount.s3.endpoint.customer_key_files import read_customer_keys

SECRET = bytes(range(100, 132))
BASE64 = base64.b64encode(SECRET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_bytes(SECRET)
    file.chmod(0o600)
    return file


def message(*files: Path) -> str:
    with pytest.raises(SetupError) as failure:
        read_customer_keys(files)
    text = str(failure.value)
    assert "\n" not in text
    assert text.startswith("--sse-c-key-file ")
    for shown in (BASE64.decode(), SECRET.hex(), repr(SECRET)[2:-1], BASE64.decode()[:20]):
        assert shown not in text
        assert shown not in repr(failure.value.__cause__)
        assert failure.value.__cause__ is None or isinstance(failure.value.__cause__, OSError)
    return text


@pytest.mark.parametrize(
    "content", [SECRET, BASE64, BASE64 + b"\n", b"  " + BASE64 + b"\r\n"], ids=repr
)
def test_a_key_is_32_bytes_or_base64_of_them(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    (key,) = read_customer_keys([file])

    assert key.is_same(CustomerKey(SECRET))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", SECRET[:31], SECRET + b"\n", BASE64[:-1], BASE64 * 2, BASE64[:40]),
        *(SECRET.hex().encode(), base64.encodebytes(SECRET[:24]), BASE64 + b" # a comment"),
        b"\xff" * 5000,
    ],
    ids=repr,
)
def test_anything_else_is_no_key(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    assert "it has no key: write 32 bytes, or base64" in message(file)


@given(content=st.binary(max_size=100) | st.binary(max_size=60).map(base64.b64encode))
def test_any_content_is_a_key_of_32_bytes_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("keys") / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    try:
        (key,) = read_customer_keys([file])
    except SetupError:
        return

    decoded = content if len(content) == 32 else base64.b64decode(content)
    assert key.is_same(CustomerKey(decoded))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_only_the_owner_may_access_it(file: Path, mode: int) -> None:
    file.chmod(mode)

    assert len(read_customer_keys([file])) == 1


@pytest.mark.parametrize(
    "mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o700 | 1]
)
def test_a_mode_that_lets_others_in_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)

    assert f"(mode {mode:04o}): chmod 600 {file}" in message(file)


def test_a_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file, 65534, 65534)

    assert "it belongs to another user (uid 65534)" in message(file)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert len(read_customer_keys([file])) == 1
    os.chown(file, 0, 0)
    assert len(read_customer_keys([file])) == 1  # of root, if its rights let the user read it


def test_what_is_no_regular_file_is_refused_at_once(file: Path, tmp_path: Path) -> None:
    link, fifo, folder, there = (tmp_path / name for name in ("link", "fifo", "folder", "socket"))
    link.symlink_to(file)
    os.mkfifo(fifo, 0o600)
    folder.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(there))

        assert "it is a symbolic link: name the file that it leads to" in message(link)
        assert "it is not a regular file" in message(fifo)
        assert "it is not a regular file" in message(folder)
        assert "No such device" in message(there)
    assert "it is not a regular file" in message(Path("/dev/zero"))
    assert "No such file" in message(tmp_path / "absent")


def test_several_files_are_read_in_order_each_key_once(file: Path, tmp_path: Path) -> None:
    other, same = tmp_path / "other", tmp_path / "same"
    other.write_bytes(bytes(32))
    same.write_bytes(BASE64)
    for each in (other, same):
        each.chmod(0o600)

    keys = read_customer_keys([file, other, same])

    assert [CustomerKey(SECRET).fingerprint, CustomerKey(bytes(32)).fingerprint] == [
        key.fingerprint for key in keys
    ]
