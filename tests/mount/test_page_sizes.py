"""Stores that refuse pages of a thousand names, or send more: each name is there once.

No server of the tests has such a limit, so the stores are scripted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.bucket import Bucket, Kind, Request, Response, failure
from tests.faults.hostile_store import HostileStore
from tests.mount.filesystem_access import read_file
from tests.mount.mount_process import Mount, mounted, run_command

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDPAGES", "AWS_SECRET_ACCESS_KEY": "secret"}
MANY = 25_000


class StrictBucket(Bucket):
    """Bucket that refuses to list more than *page_size* names at once."""

    def _respond(self, request: Request) -> Response:
        if request.kind is Kind.LIST and int(request.query["max-keys"]) > self.page_size:
            return failure(400, "InvalidArgument", "max-keys is out of range")
        return super()._respond(request)


def options(store: HostileStore, *more: str) -> tuple[str, ...]:
    return ("--endpoint-url", store.url, "--region", "us-east-1", "--path-style", *more)


@contextmanager
def mount_with(bucket: Bucket, at: Path, *more: str) -> Iterator[tuple[Mount, HostileStore]]:
    with (
        HostileStore(bucket) as store,
        mounted(bucket.name, at, *options(store, *more), env=CREDENTIALS) as mount,
    ):
        yield mount, store


def listings(store: HostileStore) -> list[Request]:
    return [request for request in store.requests if request.kind is Kind.LIST]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_a_store_that_refuses_many_names_at_once_is_listed_by_few(
    transport: str, version: str, tmp_path: Path
) -> None:
    bucket = StrictBucket("strict", page_size=100)
    names = {f"f{number:04}" for number in range(3_000)}  # beyond what starts parallel listing
    for name in names:
        bucket.put(f"d/{name}", name.encode())
    bucket.put("e/deep/er", b"1")
    more = ("--list-page-size", "100", "--list-version", version, "--transport", transport)
    with mount_with(bucket, tmp_path / "mnt", *more) as (mount, store):
        found = os.listdir(mount / "d")
        assert len(found) == len(names)
        assert set(found) == names
        assert read_file(mount / "d/f2999") == b"f2999"
        assert os.listdir(mount / "e/deep") == ["er"]
        assert not (mount / "d/f3000").exists()
        assert {request.query["max-keys"] for request in listings(store)} == {"100"}


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_store_that_sends_ten_thousand_names_at_once_is_listed_by_few_requests(
    version: str, tmp_path: Path
) -> None:
    bucket = Bucket("generous", page_size=10_000)
    names = {f"f{number:05}" for number in range(MANY)}
    for name in names:
        bucket.put(f"d/{name}", name.encode())
    more = ("--list-page-size", "10000", "--list-version", version, "--metadata-limit", "2MiB")
    with mount_with(bucket, tmp_path / "mnt", *more) as (mount, store):
        found = os.listdir(mount / "d")
        assert len(found) == MANY
        assert set(found) == names
        pages = [request for request in listings(store) if request.query["prefix"] == "d/"]
        assert len(pages) <= 2 * (MANY // 10_000 + 1)  # once more, if the limit evicts it
        for number in (0, 999, 1_000, 9_999, 10_000, 20_001, MANY - 1):
            assert read_file(mount / f"d/f{number:05}") == f"f{number:05}".encode()
        assert not (mount / f"d/f{MANY}").exists()


def test_a_store_that_refuses_the_size_of_pages_names_the_option(tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    with HostileStore(StrictBucket("strict", page_size=100)) as store:
        result = run_command("strict", at, *options(store), env=CREDENTIALS)

    assert result.returncode == 1
    assert "try --list-page-size 100" in result.stderr
