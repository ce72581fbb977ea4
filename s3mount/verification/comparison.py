"""Comparison of an object's bytes with the evidence of them, and where the fault is.

Invariants:

1. Bytes that do not match are dropped from memory and fetched again before that is said. So the
   verdict can tell wrong bytes in memory from wrong bytes in the store.
2. No guess becomes a mismatch: if the sizes of the parts were guessed, there is nothing to verify
   with; if they follow from the first part's, all are asked for first.
3. Digests are calculated in a thread, but for short pieces.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import trio

from s3mount.errors import ChecksumMismatch
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import MetadataSource
from s3mount.verification.digests import MD5
from s3mount.verification.evidence import Evidence, NoEvidence, evidence_in
from s3mount.verification.part_layouts import PartLayout, PartLayouts, Source
from s3mount.verification.stream_digest import StreamDigest
from s3mount.verification.verdict import BadRange, Fault, Verdict, bad_parts, differing_parts

IN_THE_EVENT_LOOP: Final = 32 << 10  # bytes, of which a digest takes 50 µs


class Content(Protocol):
    """Reader of all of one version; see `cache.background_reader`."""

    @property
    def version(self) -> ObjectVersion: ...
    @property
    def cached(self) -> Sequence[ByteRange]: ...
    async def read_all(
        self, use: Callable[[memoryview], Awaitable[None]], *, is_split: bool = False
    ) -> None: ...
    async def drop(self) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Progress:
    """Progress of a verification. *phase*: waiting, asking, reading, or reading again."""

    phase: str = "waiting"
    octets: int = 0
    octets_done: int = 0

    def as_object(self) -> Mapping[str, object]:
        return {"phase": self.phase, "bytes": self.octets, "bytes_done": self.octets_done}


class Comparison:
    """Comparison of *content* with *evidence*; reads it once if it matches."""

    def __init__(
        self,
        store: MetadataSource,
        layouts: PartLayouts,
        content: Content,
        *,
        evidence: Evidence,
        layout: PartLayout | None,
        progress: Progress,
    ) -> None:
        self._store = store
        self._layouts = layouts
        self._content = content
        self._version = content.version
        self._evidence = evidence
        self._layout = layout
        self._progress = progress
        self._is_md5_certain = False  # if the evidence is an ETag

    async def verdict(self) -> Verdict:
        first = await self._read_first()
        if self._is_match(first):
            return self._verdict(matches=True)
        if (doubt := await self._doubt()) is not None:
            return doubt
        sizes = self._layout and self._layout.sizes
        if not await self._complete_layout():
            return unknown_parts(self._version, self._evidence)
        if self._layout is not None and self._layout.sizes != sizes:
            first = await self._read_first()
            if self._is_match(first):
                return self._verdict(matches=True)
        return await self._second_verdict(first)

    async def _second_verdict(self, first: StreamDigest | None) -> Verdict:
        """The verdict after a read that does not match."""
        cached = [*self._content.cached]
        second = await self._read_again()
        if second is not None and self._is_match(second):
            return self._not_in_the_store(first, second, cached)
        if first is not None and second is not None and first.differences(second):
            return await self._third_verdict(second)
        return self._of_the_store(second)

    async def _third_verdict(self, second: StreamDigest) -> Verdict:
        """The verdict after two reads that differ, and do not match either."""
        third = await self._read_again()
        if third is None or third.differences(second):
            return self._verdict(matches=False, fault=Fault.TRANSFER, actual=second)
        verdict = self._of_the_store(third)
        return replace(verdict, reason="what was read first was wrong in another way, too")

    def _not_in_the_store(
        self, first: StreamDigest | None, second: StreamDigest, cached: Sequence[ByteRange]
    ) -> Verdict:
        """The verdict if the bytes that were fetched again match."""
        if first is None:
            return self._verdict(matches=False, fault=Fault.TRANSFER)
        differences = first.differences(second)
        is_cached = all(
            any(each.start < have.stop and have.start < each.stop for have in cached)
            for each in differences
        )
        fault = Fault.CACHE if is_cached else Fault.TRANSFER
        bad = tuple(map(BadRange, differences))
        if self._layout is not None:
            bad = differing_parts(self._layout.sizes, first.part_digests, second.part_digests)
        return self._verdict(matches=False, fault=fault, actual=first, bad=bad)

    def _of_the_store(self, read: StreamDigest | None) -> Verdict:
        bad: tuple[BadRange, ...] = ()
        if self._layout is not None and read is not None:
            bad = bad_parts(self._layout.sizes, self._layout.checksums, read.part_digests)
        verdict = self._verdict(matches=False, fault=Fault.OBJECT, actual=read, bad=bad)
        if self._evidence.algorithm == MD5 and not self._is_md5_certain:
            reason = "it is not known whether the ETags of this store are MD5s"
            return replace(verdict, reason=reason)
        return verdict

    async def _doubt(self) -> Verdict | None:
        """The verdict if what does not match is no evidence after all."""
        if self._evidence.algorithm == MD5:  # reads may have found out what the ETags are
            metadata = await self._store.metadata(self._version.key, reason=Reason.VERIFY)
            if metadata.has_md5_etag is False and self._version.is_same(metadata.stat.version):
                evidence = evidence_in(metadata)
                reason = evidence.reason if isinstance(evidence, NoEvidence) else None
                return Verdict(self._version, None, reason=reason)
            self._is_md5_certain = bool(metadata.has_md5_etag)
        if self._layout is not None and self._layout.source is Source.GUESS:
            return unknown_parts(self._version, self._evidence)
        return None

    async def _complete_layout(self) -> bool:
        """Ask for all parts, if only the first was asked for; False if they are unknown then."""
        layout, parts = self._layout, self._evidence.parts
        if layout is None or parts is None or layout.source is not Source.FIRST_PART:
            return True
        self._progress.phase = "asking"
        self._layout = await self._layouts.complete_layout(
            self._content.version, self._evidence, parts
        )
        return self._layout is not None

    async def _read_first(self) -> StreamDigest | None:
        return await self._read("reading", is_split=False)

    async def _read_again(self) -> StreamDigest | None:
        """Read it from the store, in pieces that are not verified on the way."""
        await self._content.drop()
        return await self._read("reading again", is_split=True)

    async def _read(self, phase: str, *, is_split: bool) -> StreamDigest | None:
        """Read all of it; None if the mount itself has found that the bytes do not match."""
        progress = self._progress
        progress.phase, progress.octets, progress.octets_done = phase, self._version.size, 0
        sizes = None if self._layout is None else self._layout.sizes
        digest = StreamDigest(self._evidence.algorithm, sizes)

        async def use(content: memoryview) -> None:
            if len(content) <= IN_THE_EVENT_LOOP:
                digest.update(content)
            else:
                await trio.to_thread.run_sync(digest.update, content)
            progress.octets_done += len(content)

        try:
            await self._content.read_all(use, is_split=is_split)
        except ChecksumMismatch:
            return None
        return digest

    def _is_match(self, read: StreamDigest | None) -> bool:
        return read is not None and read.digest() == self._evidence.expected

    def _verdict(
        self,
        *,
        matches: bool,
        fault: Fault | None = None,
        actual: StreamDigest | None = None,
        bad: tuple[BadRange, ...] = (),
    ) -> Verdict:
        evidence = self._evidence
        sizes = () if self._layout is None else self._layout.sizes
        is_uniform = len({*sizes[:-1]}) <= 1
        shown = None if actual is None else evidence.shown(actual.digest())
        return Verdict(
            self._content.version,
            matches,
            method=evidence.method,
            parts=evidence.parts,
            part_size=sizes[0] if sizes and is_uniform else None,
            expected=evidence.shown(evidence.expected),
            actual=evidence.shown(evidence.expected) if matches else shown,
            fault=fault,
            bad_ranges=bad,
        )


def unknown_parts(version: ObjectVersion, evidence: Evidence) -> Verdict:
    """Return the verdict if the store does not tell the sizes of the parts."""
    reason = f"the store does not tell the sizes of the {evidence.parts} parts of the upload"
    return Verdict(version, None, method=evidence.method, parts=evidence.parts, reason=reason)
