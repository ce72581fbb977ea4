"""`--show-hidden` with the rest of a mount: walks, warm-ups, refreshes and traces."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.s3.views.key_escape import key_of
from tests.mount.buckets import fill
from tests.mount.control_client import ask, control_client
from tests.mount.filesystem_access import read_file, read_tree
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import Traffic, relay
from tests.reference import files_of
from tests.servers import S3Server

LONG = "n" * 240
ODD = ["{}/a", "{}/a/b", "{}//c", "{}/.", "{}/./d", "{}/", "{}/" + LONG + "e" * 40, "{}/plain"]
BODIES = {
    key: key.encode()
    for number in range(40)
    for key in (odd.format(f"d{number:02}") for odd in ODD)
}


@pytest.fixture(scope="module")
def bucket(moto: S3Server) -> str:
    return fill(moto, BODIES)


@pytest.fixture
def traffic(moto: S3Server) -> Iterator[Traffic]:
    with relay(moto) as traffic:
        yield traffic


@pytest.fixture
def mount(traffic: Traffic, bucket: str, tmp_path: Path) -> Iterator[Mount]:
    with mount_of(
        traffic.server, bucket, tmp_path / "mnt", "--show-hidden", "--metadata-ttl", "indefinite"
    ) as mount:
        traffic.take()
        yield mount


def lists(traffic: Traffic) -> int:
    return sum(request.kind == "LIST" for request in traffic.take())


def path_of(mount: Mount, path: bytes) -> bytes:
    return os.path.join(os.fsencode(mount.path), path)


def test_a_walk_is_prefetched_and_what_it_found_needs_no_request(
    mount: Mount, traffic: Traffic
) -> None:
    found = {path: os.stat(path_of(mount, path)).st_size for path in _walk(mount)}

    assert sorted(found.values()) == sorted(map(len, BODIES.values()))
    assert lists(traffic) < 40  # of 240 directories


def _walk(mount: Mount) -> list[bytes]:
    top = os.fsencode(mount.path)
    return [
        os.path.relpath(os.path.join(above, name), top)
        for above, _, names in os.walk(top)
        for name in names
    ]


def test_what_was_warmed_is_read_without_a_request(mount: Mount, traffic: Traffic) -> None:
    with control_client(mount.path) as client:
        client.send("warm", paths=[""])
        while "item" in (reply := client.receive()):
            pass
    traffic.take()

    found = {}
    for path, body in files_of(read_tree(mount.path)):
        own = key_of(path.decode())
        assert own is not None
        found[own.key] = body

    assert reply["result"]["files"] == len(BODIES)
    assert found == BODIES
    assert traffic.take() == []


def test_a_refresh_of_an_escaped_path_shows_what_is_in_the_store_now(
    moto: S3Server, bucket: str, mount: Mount
) -> None:
    client = moto.client()
    paths = {"d07//c": "d07/%dir=/c", "d08/a": "d08/%file=a", "d09/./d": "d09/%dir=./d"}
    try:
        for key, path in paths.items():
            assert read_file(mount / path) == BODIES[key]
            client.put_object(Bucket=bucket, Key=key, Body=b"replaced")
            assert read_file(mount / path) == BODIES[key]
            ask(mount.path, "refresh", path=path)
            assert read_file(mount / path) == b"replaced"
    finally:
        for key in paths:
            client.put_object(Bucket=bucket, Key=key, Body=BODIES[key])


def test_a_trace_names_the_keys_of_the_store(mount: Mount) -> None:
    with control_client(mount.path) as client:
        client.send("trace", key="d03/./d")
        read_file(mount / "d03/%dir=./d")

        assert client.receive_item()["key"] == "d03/./d"
