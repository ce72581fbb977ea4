"""Reads over a store whose bodies break off, are packed, flipped, replaced or whole for a part.

Each read brings exactly the bytes of its version, or fails. The transport is in memory, the
scheduling and the operations are the real ones.
"""

import base64
import contextlib
import gzip
import hashlib
import itertools
import random
import zlib
from dataclasses import dataclass, replace
from types import TracebackType

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.errors import S3MountError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.store_traits import StoreTraits
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.pauses import INVALID_ATTEMPTS
from s3mount.s3.transport import InvalidResponseError, StoreRequest

LATE = 0.001  # seconds
MODIFIED = "Sun, 22 Nov 2026 12:31:47 GMT"


@dataclass
class Message:
    """`Response`. Its body raises *failure* after *breaks_at* bytes."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    breaks_at: int = 1 << 30
    failure: type[Exception] = ConnectionResetError
    received: int = 0

    def read_into(self, buffer: memoryview) -> None:
        stop = min(self.received + len(buffer), len(self.body), self.breaks_at)
        count = stop - self.received
        buffer[:count] = self.body[self.received : stop]
        self.received = stop
        if count < len(buffer):
            raise self.failure if stop == self.breaks_at else InvalidResponseError("cut short")

    def read_all(self, limit: int) -> bytes:
        whole = bytearray(min(len(self.body) - self.received, limit + 1))
        self.read_into(memoryview(whole))
        if len(whole) > limit:
            raise InvalidResponseError("without end")
        return bytes(whole)

    def skip(self, count: int) -> None:
        self.read_into(memoryview(bytearray(count)))

    def is_at_end(self) -> bool:
        return self.received == len(self.body)


class Exchange:
    """`Exchange` of one request with the store."""

    def __init__(self, store: "OddStore", request: StoreRequest) -> None:
        self._store = store
        self._request = request

    def __enter__(self) -> Message:
        return self._store.answer(self._request)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class OddStore:
    """`Transport` to one object among others, odd by *chance*; some oddities are its own for good.

    *cuts*, *flips* and *replaces* are how often a response does so.
    """

    def __init__(self, seed: int, *, cuts: float, flips: float, replaces: float) -> None:
        self._chance = chance = random.Random(seed)
        self._cuts, self._flips, self._replaces = cuts, flips, replaces
        self._etags = chance.choice(("md5", "random", "parts"))
        self._checksums = chance.choice((True, False))
        self._ranges = chance.choice((206, 206, 200, 501, 400, 416))
        self._packs = chance.choice((0.0, 0.0, 0.3, 1.0))
        self._unsized = chance.choice((0.0, 0.2))
        self._refuses_checksums = chance.choice((0, 0, 400, 501))
        size = chance.choice((33, 1000, 70_000, 300_000))
        self._serial = itertools.count()
        self.bodies: dict[str, bytes] = {}
        self.current = self.replace(size)

    def replace(self, size: int) -> ObjectVersion:
        body = self._chance.randbytes(size)
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if self._etags != "md5":
            salted = f"{digest}{next(self._serial)}".encode()
            digest = hashlib.md5(salted, usedforsecurity=False).hexdigest()
        etag = digest + ("-2" if self._etags == "parts" else "")
        self.bodies[etag] = body
        self.current = ObjectVersion("b", "key", etag, size)
        return self.current

    def send(
        self,
        request: StoreRequest,
        *,
        deadline: float,  # noqa: ARG002 - the protocol's
        cancel_token: CancelToken | None = None,  # noqa: ARG002
    ) -> Exchange:
        return Exchange(self, request)

    def send_nowait(self, *_: object, **__: object) -> None: ...
    def preconnect(self, *, deadline: float) -> None: ...
    def close(self) -> None: ...

    def renew_credentials(
        self,
        since: float,  # noqa: ARG002 - the protocol's
        deadline: float,  # noqa: ARG002
        *,
        is_expired: bool,  # noqa: ARG002
    ) -> bool:
        return False

    def adjust_clock(self, date: str | None) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def answer(self, request: StoreRequest) -> Message:
        chance = self._chance
        if chance.random() < self._replaces:
            self.replace(chance.choice((self.current.size, 33, 1000)))
        given = dict(request.headers + request.signed_headers)
        if status := self._refused(request, given):
            return refusal(status)
        message = self._whole(given)
        if self._can_be_checked(given) and chance.random() < self._flips:
            message = flipped(message, chance.randrange(len(message.body) * 8))
        if "range" in given and self._ranges == 206:
            message = part_of(message, given["range"])
        if chance.random() < self._packs and request.accept_encoding == "gzip":
            message = packed(message, has_length=chance.random() < 0.3)
        elif chance.random() < self._unsized and message.status == 200:
            message.headers.pop("content-length", None)
        if chance.random() < self._cuts:
            message.breaks_at = chance.randrange(len(message.body) + 1)
            message.failure = chance.choice((ConnectionResetError, TimeoutError))
        return message

    def _refused(self, request: StoreRequest, given: dict[str, str]) -> int:
        """Return the status of a refusal, or 0."""
        etag = f'"{self.current.etag}"'
        refusals = {
            403: request.key is None or request.method == "HEAD",
            self._refuses_checksums: "x-amz-checksum-mode" in given,
            self._ranges: "range" in given and self._ranges >= 400,
            412: given.get("if-match", etag) != etag,
        }
        return next((status for status, is_so in refusals.items() if is_so), 0)

    def _can_be_checked(self, given: dict[str, str]) -> bool:
        """Whether a whole object was wanted, not sent for a part of it, and there is a checksum."""
        is_told = self._checksums and "x-amz-checksum-mode" in given
        return self._ranges == 206 and "range" not in given and (is_told or self._etags == "md5")

    def _whole(self, given: dict[str, str]) -> Message:
        body = self.bodies[self.current.etag]
        headers = {
            "etag": f'"{self.current.etag}"',
            "last-modified": MODIFIED,
            "content-length": str(len(body)),
        }
        if self._checksums and "x-amz-checksum-mode" in given:
            checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
            headers["x-amz-checksum-crc32"] = checksum
        return Message(200, headers, body)


def refusal(status: int) -> Message:
    body = b"<Error><Code>Refused</Code></Error>"
    return Message(status, {"content-length": str(len(body))}, body)


def part_of(message: Message, text: str) -> Message:
    first, last = map(int, text.removeprefix("bytes=").split("-"))
    body = message.body[first : last + 1]
    headers = message.headers | {
        "content-length": str(len(body)),
        "content-range": f"bytes {first}-{first + len(body) - 1}/{len(message.body)}",
    }
    return Message(206, headers, body)


def flipped(message: Message, bit: int) -> Message:
    body = bytearray(message.body)
    body[bit // 8] ^= 1 << bit % 8
    return replace(message, body=bytes(body))


def packed(message: Message, *, has_length: bool) -> Message:
    """Pack a body on its way, whole or in part, as a proxy does that knows no better."""
    body = gzip.compress(message.body, compresslevel=0 if len(message.body) % 2 else 9)
    headers = message.headers | {"content-encoding": "gzip"}
    headers.pop("content-length")
    if has_length and message.status == 200:
        headers["content-length"] = str(len(body))
    return replace(message, headers=headers, body=body)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.sampled_from((0.0, 0.4, 0.9)),
    flips=st.sampled_from((0.0, 0.3, 1.0)),
    replaces=st.sampled_from((0.0, 0.1)),
)
def test_a_read_brings_the_bytes_of_its_version_or_fails(
    seed: int, cuts: float, flips: float, replaces: float
) -> None:
    trio.run(_play, seed, cuts, flips, replaces)


async def _play(seed: int, cuts: float, flips: float, replaces: float) -> None:
    odd = OddStore(seed, cuts=cuts, flips=flips, replaces=replaces)
    traits = StoreTraits()
    store = RemoteStore(
        BucketOperations(odd, "b", traits=traits),
        max_connections=4,
        timeout=20,
        pauses=lambda: iter([0.0] * 9),
        invalid_pauses=lambda: iter([0.0] * (INVALID_ATTEMPTS - 1)),
    )
    store._reads.hedge_policy.latency.late_after = LATE
    chance = random.Random(seed)
    try:
        async with trio.open_nursery() as readers:
            for _ in range(4):
                readers.start_soon(_read, store, odd, odd.current, chance)
    finally:
        store.close()
    assert not (traits.has_md5_etags is False and odd._etags == "md5")


async def _read(
    store: RemoteStore, odd: OddStore, version: ObjectVersion, chance: random.Random
) -> None:
    start = chance.choice((0, 0, chance.randrange(version.size)))
    stop = (
        version.size
        if start == 0 or chance.random() < 0.5
        else chance.randint(start + 1, version.size)
    )
    into, ended = bytearray(stop - start), trio.Event()
    failures: list[BaseException] = []

    def on_end(_: ObjectVersion, error: BaseException | None) -> None:
        failures.extend([error] if error is not None else [])
        ended.set()

    with contextlib.suppress(S3MountError):
        store.start_read(version, ByteRange(start, stop), memoryview(into), on_end, Priority.DEMAND)
        await ended.wait()
        if failures:
            raise failures[0]
        assert odd.bodies[version.etag][start:stop] == into
