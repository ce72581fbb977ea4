"""Why requests are sent, as `trace` tells it: each reason from a real mount of a real server."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.s3.model import Reason
from tests.mount.buckets import fill
from tests.mount.control_client import ControlClient, control_client
from tests.mount.filesystem_access import failure_of, read_file, read_tree
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

MIB = 1 << 20
BIG = 24 * MIB
PIECE = 128 << 10
SMALL_FILES = 40
EXPIRY = ("--metadata-ttl", "0")  # every open revalidates


@dataclass
class Traced:
    """A mount behind a relay, and a client that traces it."""

    mount: Mount
    traffic: Traffic
    client: ControlClient

    def wait_for(self, reason: Reason) -> dict[str, object]:
        """Return the first request that was sent for *reason*."""
        while (item := self.client.receive_item())["reason"] != reason:
            pass
        return item


@pytest.fixture
def traced(seaweedfs: S3Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Traced]:
    bodies = {f"small/{number:03}": b"x" * 100 for number in range(SMALL_FILES)}
    bodies |= {f"tree/{top}/{sub}/file": b"x" for top in range(4) for sub in range(4)}
    bucket = fill(seaweedfs, {**bodies, "big": os.urandom(BIG)})
    options = EXPIRY if Reason.REVALIDATE in request.node.name else ()
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
        control_client(mount.path) as client,
    ):
        client.send("trace")
        yield Traced(mount, traffic, client)


def _list(traced: Traced) -> None:
    os.listdir(traced.mount / "tree/1")


def _look_up(traced: Traced) -> None:
    assert failure_of(lambda: os.stat(traced.mount / "small/absent")) == "ENOENT"


def _read(traced: Traced) -> None:
    read_file(traced.mount / "small/007")


def _read_sequentially(traced: Traced) -> None:
    read_file(traced.mount / "big")


def _read_small_files(traced: Traced) -> None:
    for path in sorted((traced.mount / "small").iterdir()):
        read_file(path)


def _walk(traced: Traced) -> None:
    read_tree(traced.mount / "tree")


def _revalidate(traced: Traced) -> None:
    for _ in range(2):
        read_file(traced.mount / "small/007")


def _wait_for_a_late_response(traced: Traced) -> None:
    """Read pieces until it is known what is late; one request is then lost on its way."""
    offsets = random.Random(0).sample(range(0, BIG, 2 * PIECE), 90)
    file = os.open(traced.mount / "big", os.O_RDONLY)
    try:
        for offset in offsets[1:]:
            os.pread(file, 1000, offset)
        traced.traffic.take()
        traced.traffic.is_silent = True
        late = threading.Thread(target=os.pread, args=(file, 1000, offsets[0]))
        late.start()
        wait_until(lambda: bool(traced.traffic.take()))
        traced.traffic.is_silent = False
        late.join()
    finally:
        os.close(file)


@pytest.mark.parametrize(
    ("reason", "kinds", "act"),
    [
        (Reason.LISTING, "LIST", _list),
        (Reason.LOOKUP, "HEAD LIST", _look_up),
        (Reason.READ, "GET", _read),
        (Reason.READAHEAD, "GET", _read_sequentially),
        (Reason.SIBLING, "GET", _read_small_files),
        (Reason.WALK, "LIST", _walk),
        (Reason.REVALIDATE, "GET", _revalidate),
        (Reason.HEDGE, "GET", _wait_for_a_late_response),
    ],
    ids=lambda value: value if isinstance(value, Reason) else "",
)
def test_a_trace_says_why_a_request_was_sent(
    traced: Traced, reason: Reason, kinds: str, act: Callable[[Traced], None]
) -> None:
    act(traced)

    found = traced.wait_for(reason)

    assert found["kind"] in kinds.split()
    assert found["error"] is None
