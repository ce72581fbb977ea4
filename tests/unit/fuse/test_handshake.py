"""Flags that are added to libfuse's reply to INIT."""

import struct

import pytest

from s3mount.fuse.handshake import BACKGROUND_MAX, CONGESTED_FROM, amended

PARALLEL_DIROPS = 1 << 18
ASYNC_READ = 1
REST = bytes(range(40))


def request(*, opcode: int = 26, offered: int = PARALLEL_DIROPS | ASYNC_READ) -> bytes:
    return struct.pack("=IIQQIIIHH", 104, opcode, 2, 0, 0, 0, 0, 0, 0) + struct.pack(
        "=IIII", 7, 45, 1 << 17, offered
    )


def reply(
    *, flags: int = ASYNC_READ, background: int = 0, congested: int = 0, error: int = 0
) -> bytes:
    init = struct.pack("=IIIIHH", 7, 31, 1 << 17, flags, background, congested)
    return struct.pack("=IiQ", 80, error, 2) + init + REST


def amended_reply(flags: int) -> bytes:
    return reply(flags=flags, background=BACKGROUND_MAX, congested=CONGESTED_FROM)


def test_parallel_directory_operations_and_more_reads_in_flight_are_requested() -> None:
    assert amended(request(), reply()) == amended_reply(ASYNC_READ | PARALLEL_DIROPS)


def test_only_offered_flags_are_requested() -> None:
    assert amended(request(offered=ASYNC_READ), reply()) == amended_reply(ASYNC_READ)


@pytest.mark.parametrize(
    ("init", "answer"),
    [
        (request(opcode=1), reply()),
        (request(), reply(error=-71)),
        (request()[:40], reply()),
        (request(), reply()[:16]),
    ],
)
def test_an_unexpected_request_or_reply_is_passed_on_unchanged(init: bytes, answer: bytes) -> None:
    assert amended(init, answer) == answer
