"""Verdicts on objects with right bytes, and with wrong ones in the store, in memory, on the way."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import pytest
import trio
import trio.testing

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import FetchSizes
from s3mount.config import BlockConfig
from s3mount.errors import AccessDenied, ChecksumMismatch, StaleVersion
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_parts import ObjectParts
from s3mount.s3.object_store import Priority
from s3mount.verification.comparison import IN_THE_EVENT_LOOP, Progress
from s3mount.verification.object_verifier import ObjectVerifier
from s3mount.verification.part_layouts import PartLayouts
from s3mount.verification.verdict import Fault, Verdict
from tests.fakes.memory_store import Request, hook, respond_at_once
from tests.fakes.multipart_store import MultipartStore, digest_of

UNIT = 1 << 12
LIMIT = 256 * UNIT
SIZES = FetchSizes(part=4 * UNIT, block=UNIT, small=UNIT, piece=UNIT)


def octets(size: int, seed: int = 0) -> bytes:
    return bytes((number * 7 + seed) % 251 for number in range(size))


EVEN = [octets(4 * UNIT, 1), octets(4 * UNIT, 2), octets(4 * UNIT, 3), octets(100, 4)]
UNEVEN = [octets(5 * UNIT, 1), octets(6 * UNIT, 2), octets(4 * UNIT, 3), octets(100, 4)]
# parts of the first one's size would make up the object as well
NEARLY_EVEN = [octets(8 * UNIT, 1), octets(6 * UNIT, 2), octets(7 * UNIT, 3)]


@dataclass
class Rig:
    """A verifier over a cache over a store."""

    store: MultipartStore
    cache: BlockCache
    guess: int | None = None
    verifier: ObjectVerifier = field(init=False)

    def __post_init__(self) -> None:
        layouts = PartLayouts(ObjectParts(self.store), lambda _size, _count: self.guess)
        self.verifier = ObjectVerifier(self.store, self.cache, layouts)

    async def verify(self, version: ObjectVersion) -> Verdict:
        verdict = await self.verifier.verify(version, Progress())
        assert not self.cache._loader.in_flight
        return verdict

    async def read_all(self, version: ObjectVersion) -> bytes:
        reader = self.cache.open(version)
        read = bytes(await reader.read(0, version.size))
        reader.close()
        return read

    @property
    def gets(self) -> list[Request]:
        return [request for request in self.store.requests if request.kind == "GET"]


@asynccontextmanager
async def rig(**options: Any) -> AsyncIterator[Rig]:
    store = MultipartStore(**options)
    async with trio.open_nursery() as nursery:
        cache = BlockCache(store, nursery, BlockConfig(memory_limit=LIMIT), SIZES)
        yield Rig(store, cache)
        nursery.cancel_scope.cancel()


def flip(at: int) -> Any:
    """Return what flips a bit of the byte *at* in each read."""

    def corrupt(span: ByteRange, into: memoryview) -> None:
        if span.start <= at < span.stop:
            into[at - span.start] ^= 1

    return corrupt


def checksum(algorithm: str, content: bytes) -> Mapping[str, str]:
    digest = digest_of(algorithm, content)
    return {f"Checksum{algorithm}": base64.b64encode(digest).decode()}


@pytest.mark.parametrize("size", [0, 1, UNIT, 4 * UNIT, 4 * UNIT + 1, 30 * UNIT + 7])
async def test_an_md5_etag_matches(size: int) -> None:
    async with rig() as each:
        version = each.store.put("a", octets(size))

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.method, verdict.fault) == (True, "MD5 ETag", None)
        assert verdict.expected == verdict.actual == version.etag
        assert each.store.heads == [None]


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "CRC32", "SHA1", "SHA256"])
async def test_a_checksum_of_the_whole_object_comes_before_the_etag(algorithm: str) -> None:
    async with rig() as each:
        content = octets(9 * UNIT)
        version = each.store.put("a", content, fields=checksum(algorithm, content))

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.method) == (True, algorithm)
        assert verdict.actual == digest_of(algorithm, content).hex()


@pytest.mark.parametrize("tells_part_etags", [False, True])
async def test_a_multipart_etag_with_parts_of_one_size_takes_one_request(
    tells_part_etags: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with rig() as each:
        each.store.tells_part_etags = tells_part_etags
        version = each.store.upload("a", EVEN)

        verdict = await each.verify(version)
        await each.verify(version)

        assert (verdict.matches, verdict.method) == (True, "multipart ETag")
        assert (verdict.parts, verdict.part_size) == (4, 4 * UNIT)
        assert [number for number in each.store.heads if number] == [1]


@pytest.mark.parametrize("algorithm", ["", "CRC32C", "SHA256"])
async def test_parts_of_several_sizes_take_a_request_each(algorithm: str) -> None:
    async with rig() as each:
        version = each.store.upload("a", UNEVEN, algorithm)

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.parts, verdict.part_size) == (True, 4, None)
        assert verdict.method == (f"composite {algorithm}" if algorithm else "multipart ETag")
        assert sorted(filter(None, each.store.heads)) == [1, 1, 2, 3, 4]


async def test_parts_that_only_seem_to_have_one_size_are_asked_for_before_a_mismatch() -> None:
    async with rig() as each:
        version = each.store.upload("a", NEARLY_EVEN)

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.part_size) == (True, None)
        assert sorted(filter(None, each.store.heads)) == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("guess", "matches"), [(4 * UNIT, True), (4 * UNIT + 9, None), (None, None)]
)
async def test_a_guess_of_the_part_size_may_match_and_never_mismatches(
    guess: int | None,
    matches: bool | None,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with rig() as each:
        each.store.knows_parts = False
        each.guess = guess
        version = each.store.upload("a", EVEN)

        verdict = await each.verify(version)

        assert verdict.matches is matches
        assert (verdict.reason is None) == (matches is True)


async def test_a_damaged_part_is_named_by_its_checksum() -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN, "CRC64NVME")
        each.store.corrupt = flip(9 * UNIT)

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.fault) == (False, Fault.OBJECT)
        [bad] = verdict.bad_ranges
        assert (bad.part, bad.byte_range) == (3, ByteRange(8 * UNIT, 12 * UNIT))
        assert bad.expected == digest_of("CRC64NVME", EVEN[2])
        assert bad.actual not in (None, bad.expected)
        assert verdict.expected != verdict.actual


async def test_where_a_damaged_object_is_wrong_is_not_known_from_its_etag() -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN)
        each.store.corrupt = flip(9 * UNIT)

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.fault, verdict.bad_ranges) == (False, Fault.OBJECT, ())
        assert "not known whether the ETags" in (verdict.reason or "")
        each.store.has_md5_etags = True
        assert (await each.verify(version)).reason is None


async def test_wrong_bytes_in_memory_are_found_and_dropped() -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN)
        each.store.corrupt = flip(5 * UNIT)
        wrong = await each.read_all(version)
        each.store.corrupt = flip(-1)

        verdict = await each.verify(version)

        assert wrong != b"".join(EVEN)
        assert (verdict.matches, verdict.fault) == (False, Fault.CACHE)
        [bad] = verdict.bad_ranges
        assert (bad.part, bad.byte_range) == (2, ByteRange(4 * UNIT, 8 * UNIT))
        assert bad.expected == digest_of("MD5", EVEN[1])
        assert await each.read_all(version) == b"".join(EVEN)
        assert (await each.verify(version)).matches


async def test_bytes_that_were_wrong_once_are_the_fault_of_the_transfer() -> None:
    async with rig() as each:
        content = octets(9 * UNIT)
        version = each.store.put("a", content, fields=checksum("CRC32C", content))
        wrong_once = flip(UNIT)

        def corrupt(span: ByteRange, into: memoryview) -> None:
            wrong_once(span, into)
            if span.start <= UNIT < span.stop:
                each.store.corrupt = flip(-1)

        each.store.corrupt = corrupt

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.fault) == (False, Fault.TRANSFER)
        assert [bad.byte_range for bad in verdict.bad_ranges] == [ByteRange(0, 9 * UNIT)]
        assert verdict.expected == digest_of("CRC32C", content).hex()


async def test_bytes_that_change_from_read_to_read_are_the_fault_of_the_transfer() -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN)
        count = iter(range(1000))

        def corrupt(_span: ByteRange, into: memoryview) -> None:
            into[0] = next(count) % 256

        each.store.corrupt = corrupt

        assert (await each.verify(version)).fault is Fault.TRANSFER


async def test_a_damaged_object_with_other_wrong_bytes_in_memory_is_the_objects_fault() -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN)
        each.store.corrupt = flip(0)
        await each.read_all(version)
        each.store.corrupt = flip(5 * UNIT)

        verdict = await each.verify(version)

        assert verdict.fault is Fault.OBJECT
        assert "read first" in (verdict.reason or "")


@pytest.mark.parametrize("size", [1, 2, UNIT])
async def test_bytes_that_the_mount_itself_refuses_are_told_in_pieces(size: int) -> None:
    """A read of a whole object is verified on its way, and fails if it does not match."""
    async with rig() as each:
        version = each.store.put("a", octets(size))
        each.store.corrupt = flip(0)

        def refuse(request: Request) -> None:
            if request.span == ByteRange(0, size):
                raise ChecksumMismatch("the bytes do not match")

        each.store.before = hook(refuse)

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.fault) == (False, Fault.OBJECT)
        assert verdict.expected == version.etag
        assert (verdict.actual is None) == (size == 1)


async def test_etags_that_prove_to_be_no_md5s_are_nothing_to_verify_with() -> None:
    async with rig(etag_salt=b"salt") as each:
        version = each.store.put("a", octets(UNIT))
        each.store.before = hook(lambda _: setattr(each.store, "has_md5_etags", False))

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.fault) == (None, None)
        assert "ETag" in (verdict.reason or "")


async def test_an_encrypted_object_without_a_checksum_is_not_read() -> None:
    async with rig() as each:
        each.store.has_md5_etags = False
        version = each.store.put("a", octets(UNIT), fields={"ServerSideEncryption": "aws:kms"})

        verdict = await each.verify(version)

        assert verdict.matches is None
        assert "aws:kms" in (verdict.reason or "")
        assert each.gets == []


async def test_an_archived_object_is_an_error_that_says_what_to_do() -> None:
    async with rig() as each:
        version = each.store.put("a", octets(UNIT), storage_class="GLACIER")
        with pytest.raises(AccessDenied, match="restore it"):
            await each.verify(version)


async def test_a_version_that_is_replaced_before_is_verified_as_it_is_now() -> None:
    async with rig() as each:
        former = each.store.put("a", octets(9 * UNIT))
        version = each.store.put("a", octets(10 * UNIT, 1))

        verdict = await each.verify(former)

        assert verdict.matches
        assert verdict.version == version


async def test_a_version_that_is_replaced_meanwhile_is_an_error() -> None:
    async with rig() as each:
        version = each.store.put("a", octets(30 * UNIT))

        def act(request: Request) -> None:
            if request.number == 5:
                each.store.put("a", octets(7))

        each.store.before = hook(act)
        with pytest.raises(StaleVersion, match="verify it again"):
            await each.verify(version)
        await trio.testing.wait_all_tasks_blocked()  # a read that is cancelled ends a little later
        assert not each.cache._loader.in_flight
        assert not each.cache._blocks_of(version).readers


async def test_what_head_tells_is_no_evidence_if_get_brings_another_version() -> None:
    """Some gateways tell other ETags by HEAD than by GET: nothing was replaced."""

    def refuse(_range: ByteRange, _into: memoryview) -> None:
        raise StaleVersion("another version")

    async with rig() as each:
        version = each.store.put("a", octets(30 * UNIT))
        each.store.corrupt = refuse

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.version) == (None, version)
        assert "contradicts itself" in (verdict.reason or "")


async def test_parts_of_another_version_are_an_error() -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN)

        def act(_request: Request) -> None:
            if each.store.heads[-1] == 1:
                each.store.upload("a", UNEVEN)

        each.store.before = hook(act)
        with pytest.raises(StaleVersion, match="verify it again"):
            await each.verify(version)


async def test_other_evidence_of_the_same_version_is_of_other_parts() -> None:
    """Some stores make ETags of the bytes alone: an upload in other parts keeps the version."""
    async with rig() as each:
        content = b"".join(UNEVEN)
        other = [content[: 7 * UNIT], content[7 * UNIT : 9 * UNIT], content[9 * UNIT :], b""]
        for parts in (UNEVEN, other):
            each.store.upload("a", parts, "CRC32C")
            stored = each.store._objects["a"]
            version = ObjectVersion(stored.stat.version.bucket, "a", "of-the-bytes", len(content))
            each.store._objects["a"] = replace(stored, stat=replace(stored.stat, version=version))

            verdict = await each.verify(version)

            assert (verdict.matches, verdict.method) == (True, "composite CRC32C")


async def test_requests_are_behind_those_of_readers_and_memory_is_left_as_it_was() -> None:
    async with rig() as each:
        version = each.store.put("a", octets(60 * UNIT))
        other = each.store.put("b", octets(60 * UNIT))
        await each.read_all(other)
        used = each.cache._loader.memory.used
        each.store.requests.clear()

        await each.verify(version)

        assert {request.priority for request in each.gets} == {Priority.PREFETCH}
        assert not each.cache._blocks_of(version)
        assert each.cache._blocks_of(other).gaps(ByteRange(0, other.size)) == []
        idle = each.cache._loader.memory._idle.octets
        assert each.cache._loader.memory.used - idle <= used


async def test_what_is_in_memory_is_not_requested() -> None:
    async with rig() as each:
        version = each.store.put("a", octets(10 * UNIT))
        await each.read_all(version)
        each.store.requests.clear()

        assert (await each.verify(version)).matches
        assert each.gets == []
        assert each.cache._blocks_of(version).gaps(ByteRange(0, version.size)) == []


async def test_one_object_is_verified_at_a_time() -> None:
    async with rig() as each:
        versions = [each.store.put(key, octets(30 * UNIT)) for key in "abc"]
        progress = [Progress() for _ in versions]
        seen: set[tuple[str, ...]] = set()

        async def before(request: Request) -> None:
            seen.add(tuple(sorted(one.phase for one in progress)))
            await respond_at_once(request)

        each.store.before = before
        async with trio.open_nursery() as nursery:
            for version, one in zip(versions, progress, strict=True):
                nursery.start_soon(each.verifier.verify, version, one)

        assert all(sum(phase not in ("waiting", "reading") for phase in one) <= 1 for one in seen)
        assert len([*groupby(request.key for request in each.gets)]) == len(versions)


@pytest.mark.parametrize("number", range(1, 8))
async def test_a_cancelled_verification_leaves_nothing_behind(number: int) -> None:
    async with rig() as each:
        version = each.store.upload("a", EVEN)
        scope = trio.CancelScope()

        async def before(request: Request) -> None:
            if request.number == number:
                scope.cancel()
            await respond_at_once(request)

        each.store.before = before
        with scope:
            await each.verifier.verify(version, Progress())
        each.store.before = respond_at_once
        await trio.testing.wait_all_tasks_blocked()

        blocks = each.cache._blocks_of(version)
        assert (each.cache._loader.in_flight, blocks.readers) == (0, 0)
        assert not any(block.waiters for block in blocks.overlapping(0, version.size))
        assert (await each.verify(version)).matches


async def test_a_digest_of_many_bytes_does_not_hold_the_event_loop() -> None:
    content = octets(2 * IN_THE_EVENT_LOOP)
    async with trio.open_nursery() as nursery:
        store = MultipartStore()
        version = store.put("a", content)
        each = Rig(store, BlockCache(store, nursery, BlockConfig()))

        assert (await each.verify(version)).matches
        nursery.cancel_scope.cancel()


async def test_parts_that_do_not_make_up_the_object_are_no_evidence() -> None:
    async with rig() as each:
        version = each.store.upload("a", NEARLY_EVEN)
        each.store._parts["a"] = [*NEARLY_EVEN[:2], NEARLY_EVEN[2] + b"more"]

        verdict = await each.verify(version)

        assert (verdict.matches, verdict.fault) == (None, None)
        assert "sizes of the 3 parts" in (verdict.reason or "")


async def test_a_newer_version_is_told_if_the_old_one_is_read_by_its_id() -> None:
    async with rig(keeps_versions=True) as each:
        version = each.store.put("a", octets(30 * UNIT))
        blocks = each.cache._blocks_of(version)

        def act(request: Request) -> None:
            if request.number == 5:
                each.store.put("a", octets(7))
                blocks.version = version.with_version_id("v0", is_replaced=True)

        each.store.before = hook(act)
        verdict = await each.verify(version)

        assert verdict.matches
        assert verdict.as_object()["replaced"]
        assert verdict.version.version_id == "v0"
