"""Verifier of objects: reads one behind all readers, and holds it against what the store tells.

Invariants:

1. One object is verified at a time, so that the memory in use is bounded; others wait their turn.
2. A verdict is on one version, which HeadObject tells at the beginning. If that is replaced, it is
   read on by its version id, or the verification fails. If HeadObject goes on to tell a version
   that GET does not bring, what it tells is no evidence.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

import trio

from s3mount.errors import Archived, NotFound, StaleVersion
from s3mount.s3.model import ObjectStat, ObjectVersion, Reason
from s3mount.s3.object_store import MetadataSource
from s3mount.verification.comparison import Comparison, Content, Progress, unknown_parts
from s3mount.verification.evidence import Evidence, NoEvidence, evidence_in
from s3mount.verification.part_layouts import PartLayout, PartLayouts
from s3mount.verification.verdict import Verdict

_CONTRADICTION: Final = "the store contradicts itself: HEAD tells another version than GET brings"


class Blocks(Protocol):
    """Memory of the mount."""

    def open_background(self, version: ObjectVersion) -> Content: ...


class ObjectVerifier:
    """Verifies objects of *store*, through *blocks*."""

    def __init__(self, store: MetadataSource, blocks: Blocks, layouts: PartLayouts) -> None:
        self._store = store
        self._blocks = blocks
        self._layouts = layouts
        self._turn = trio.Lock()

    def begin(self, found: ObjectVersion) -> "Verification":
        """A verification of the current version of the key of *found*, to be run once."""
        return Verification(self, found)

    async def verify(self, found: ObjectVersion, progress: Progress) -> Verdict:
        """The verdict on the current version of the key of *found*, which is in the caches.

        Raises NotFound, AccessDenied, StaleVersion, or the store's other failures.
        """
        async with self._turn:
            progress.phase = "asking"
            try:
                return await self._verify(found, progress)
            except StaleVersion as exc:
                raise StaleVersion(
                    "it was replaced while it was verified: verify it again", key=found.key
                ) from exc

    async def _verify(self, found: ObjectVersion, progress: Progress) -> Verdict:
        metadata = await self._store.metadata(found.key, reason=Reason.VERIFY)
        if metadata.stat.is_archived:
            raise Archived("it is archived: restore it, then verify it", key=found.key)
        version = _pinned(found, metadata.stat)
        evidence = evidence_in(metadata)
        if isinstance(evidence, NoEvidence):
            return Verdict(version, None, reason=evidence.reason)
        layout = None
        if evidence.parts is not None:
            layout = await self._layouts.layout(version, evidence, evidence.parts)
            if layout is None:
                return unknown_parts(version, evidence)
        try:
            return await self._compare(version, evidence, layout, progress)
        except StaleVersion:
            current = await self._store.metadata(found.key, reason=Reason.VERIFY)
            if not version.is_same(current.stat.version):
                raise
            return Verdict(version, None, reason=_CONTRADICTION)

    async def _compare(
        self,
        version: ObjectVersion,
        evidence: Evidence,
        layout: PartLayout | None,
        progress: Progress,
    ) -> Verdict:
        content = self._blocks.open_background(version)
        try:
            verdict = await Comparison(
                self._store,
                self._layouts,
                content,
                evidence=evidence,
                layout=layout,
                progress=progress,
            ).verdict()
        finally:
            content.close()
        return replace(verdict, version=await self._as_it_is_now(content.version))

    async def _as_it_is_now(self, version: ObjectVersion) -> ObjectVersion:
        """*version* with whether it is still current, if a read has met another."""
        if not version.is_replaced:
            return version
        try:
            metadata = await self._store.metadata(version.key, reason=Reason.VERIFY)
            is_replaced = not version.is_same(metadata.stat.version)
        except NotFound:
            is_replaced = True
        return version.with_version_id(version.version_id, is_replaced=is_replaced)


class Verification:
    """One verification of *found* by *verifier*, and its progress."""

    def __init__(self, verifier: ObjectVerifier, found: ObjectVersion) -> None:
        self._verifier = verifier
        self._found = found
        self._progress = Progress()

    def progress(self) -> Mapping[str, object]:
        return self._progress.as_object()

    async def run(self) -> Mapping[str, object]:
        """`ObjectVerifier.verify`; the verdict as JSON has it."""
        return (await self._verifier.verify(self._found, self._progress)).as_object()


def _pinned(found: ObjectVersion, stat: ObjectStat) -> ObjectVersion:
    """The version of *stat*, as *found* spells it if it is the same: its bytes may be cached."""
    if not found.is_same(stat.version):
        return stat.version.with_version_id(stat.version_id)
    return found.with_version_id(stat.version_id or found.version_id)
