"""Directories of real stores by each version of the listing API: whole, walked, changed, stat'ed.

moto is none of them: by version 1 it encodes no common prefixes, and its NextMarker is no key.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mount.buckets import fill, fill_with_many
from tests.mount.filesystem_access import output_of, read_tree
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import Traffic, relay
from tests.mount.test_directories import KEYS, LONG, NESTED, Stream
from tests.reference import tree_of
from tests.servers import S3Server


class Listed(NamedTuple):
    """A mount of a bucket with KEYS, which lists by *version*, and what it sends."""

    mount: Mount
    traffic: Traffic
    server: S3Server
    bucket: str
    version: str


@pytest.fixture(scope="module")
def buckets() -> dict[str, str]:
    """Bucket of each server so far: pytest makes `store` anew for each version."""
    return {}


@pytest.fixture(scope="module", params=["seaweedfs", "versitygw", "rclone", "gofakes3"])
def store(request: pytest.FixtureRequest, buckets: dict[str, str]) -> tuple[S3Server, str]:
    server: S3Server = request.getfixturevalue(request.param)
    if server.name not in buckets:
        buckets[server.name] = fill_with_many(server, KEYS, b"x")
    return server, buckets[server.name]


@pytest.fixture(scope="module", params=["1", "2"])
def listed(
    request: pytest.FixtureRequest,
    store: tuple[S3Server, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Listed]:
    server, bucket = store
    at = tmp_path_factory.mktemp("listed") / "mnt"
    options = ("--list-version", request.param)
    with relay(server) as traffic, mount_of(traffic.server, bucket, at, *options) as mount:
        yield Listed(mount, traffic, server, bucket, request.param)


def test_a_listing_of_several_pages_has_every_name_once(listed: Listed) -> None:
    assert sorted(os.listdir(listed.mount / "long")) == LONG

    pages = [request.query for request in listed.traffic.take() if "prefix" in request.query]
    assert sum(query["prefix"] == "long/" for query in pages) >= 3
    assert {"list-type" in query for query in pages} == {listed.version == "2"}


def test_a_tree_is_walked_and_read_whole(listed: Listed) -> None:
    keys = output_of("find", ".", "-type", "f", "-printf", "%P\\n", cwd=listed.mount.path)

    assert sorted(keys.split()) == sorted(KEYS)
    assert read_tree(listed.mount / "nested") == tree_of(dict.fromkeys(NESTED, b"x"))


def test_walkers_at_once_see_the_whole_tree(listed: Listed) -> None:
    expected = tree_of(dict.fromkeys(NESTED, b"x"))
    with ThreadPoolExecutor(8) as walkers:
        for tree in walkers.map(read_tree, [listed.mount / "nested"] * 8):
            assert tree == expected


def test_a_stream_returns_to_a_position_and_goes_on(listed: Listed) -> None:
    with Stream(listed.mount / "long") as stream:
        before = [stream.next() for _ in range(1500)]
        position = stream.tell()
        after = stream.rest()
        stream.seek(position)

        assert stream.rest() == after
        assert sorted(map(str, [*before, *after])) == LONG


def test_a_directory_that_grows_is_seen_anew(listed: Listed, tmp_path: Path) -> None:
    bucket = fill(listed.server, {"d/a": b"x"})
    options = ("--list-version", listed.version, "--metadata-ttl", "0")
    with mount_of(listed.server, bucket, tmp_path / "mnt", *options) as mount:
        assert os.listdir(mount / "d") == ["a"]
        fill(listed.server, {"d/b": b"x", "e/c": b"x"}, bucket)

        assert sorted(os.listdir(mount / "d")) == ["a", "b"]
        assert sorted(os.listdir(mount.path)) == ["d", "e"]


def test_a_mount_of_a_prefix_shows_only_what_is_below_it(listed: Listed, tmp_path: Path) -> None:
    source, options = f"{listed.bucket}/nested/b", ("--list-version", listed.version)
    with mount_of(listed.server, source, tmp_path / "mnt", *options) as mount:
        assert sorted(os.listdir(mount.path), key=int) == [str(number) for number in range(12)]
