"""Directories around and above 65,535 names, in any key order: every name once, with its own file.

No real store of the tests lists out of order, so the store is scripted. One bucket has the name of
a directory bucket, which announces that there is no order. With the other name, an unordered
directory is read first, which must not affect the ordered ones.
"""

import bisect
import hashlib
import os
from collections.abc import Iterator, Mapping

import pytest

from tests.faults.bucket import Blob, Bucket, Request, Response, _untoken, document
from tests.faults.hostile_store import HostileStore
from tests.mount.filesystem_access import read_file
from tests.mount.mount_process import Mount, mounted

SIZES = (65_535, 65_536, 65_537, 200_000)
ODD = ("odd/b", "odd/a")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDHUGE", "AWS_SECRET_ACCESS_KEY": "secret"}


def body_of(key: str) -> bytes:
    return f"{key}\n".encode()


class NumberedBucket(Bucket):
    """Bucket of directories such as `d65535/` with as many files, generated on request.

    Version 1 of the API begins behind a marker, as version 2 does behind StartAfter.

    Each file contains its key. `odd/` is always unordered; without order all directories are, and
    StartAfter is ignored.
    """

    def __init__(self, name: str, *, is_ordered: bool) -> None:
        super().__init__(name)
        self._is_ordered = is_ordered
        self._items_of: dict[str, list[str]] = {}
        self._positions: dict[str, int] = {}

    def _bucket(self, request: Request) -> Response:
        if "session" not in request.query:
            return super()._bucket(request)
        keys = "".join(
            f"<{name}>x</{name}>" for name in ("SessionToken", "SecretAccessKey", "AccessKeyId")
        )
        keys += "<Expiration>2099-01-01T00:00:00Z</Expiration>"
        return document("CreateSessionResult", f"<Credentials>{keys}</Credentials>")

    def _current(self, key: str) -> Blob | None:
        directory, _, name = key.partition("/")
        size = int(directory[1:]) if directory[1:].isdigit() else 0
        if key not in ODD and not (name[1:].isdigit() and int(name[1:]) < size):
            return None
        body = body_of(key)
        return Blob(body, f'"{hashlib.md5(body).hexdigest()}"', "v1", mtime=1.0)

    def _items(self, query: Mapping[str, str]) -> Iterator[tuple[str, Blob | None]]:
        items = self._listed(
            query.get("prefix", "") if query.get("delimiter") else "no such prefix"
        )
        start = (
            self._positions[_untoken(query["continuation-token"])] + 1
            if "continuation-token" in query
            else 0
        )
        if not start and self._is_ordered:
            start = bisect.bisect_right(items, query.get("start-after", ""))
        for item in items[start:]:
            yield item, None if item.endswith("/") else self._current(item)

    def _listed(self, prefix: str) -> list[str]:
        """Return the names that a delimited listing of *prefix* has."""
        if prefix not in self._items_of:
            items = self._made(prefix)
            self._items_of[prefix] = items
            self._positions.update((item, position) for position, item in enumerate(items))
        return self._items_of[prefix]

    def _made(self, prefix: str) -> list[str]:
        if prefix == "odd/":
            return list(ODD)
        size = next((size for size in SIZES if prefix == f"d{size}/"), 0)
        items = [f"d{size}/" for size in SIZES] + ["odd/"] if not prefix else []
        items += [f"{prefix}f{number:06}" for number in range(size)]
        return (
            items
            if self._is_ordered
            else sorted(items, key=lambda item: hashlib.md5(item.encode()).digest())
        )


@pytest.fixture(
    scope="module",
    params=[("huge", "2"), ("huge", "1"), ("huge--use1-az4--x-s3", "2")],
    ids="-".join,
)
def mount(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    name, version = request.param
    at = tmp_path_factory.mktemp("huge") / "mnt"
    with HostileStore(NumberedBucket(name, is_ordered=name == "huge")) as store:
        options = (
            "--endpoint-url",
            store.url,
            "--region",
            "us-east-1",
            "--path-style",
            "--metadata-ttl",
            "10m",
            "--list-version",
            version,
        )
        with mounted(name, at, *options, env=CREDENTIALS) as mount:
            assert sorted(os.listdir(mount / "odd")) == ["a", "b"]
            yield mount


@pytest.mark.parametrize("size", SIZES)
def test_a_huge_directory_has_every_name_once_and_each_file_its_own_bytes(
    mount: Mount, size: int
) -> None:
    directory = mount / f"d{size}"
    names = os.listdir(directory)

    assert len(names) == size
    assert set(names) == {f"f{number:06}" for number in range(size)}
    for number in {0, 7, 999, 1000, 65_534, 65_535, 65_536, size // 2, size - 1} & set(range(size)):
        path = directory / f"f{number:06}"
        expected = body_of(f"d{size}/f{number:06}")
        assert path.stat().st_size == len(expected)
        assert read_file(path) == expected
    with pytest.raises(FileNotFoundError):
        (directory / f"f{size:06}").stat()


def test_huge_directories_share_no_entries(mount: Mount) -> None:
    for size in SIZES:
        for number in range(0, size, size // 40):
            assert read_file(mount / f"d{size}/f{number:06}") == body_of(f"d{size}/f{number:06}")
