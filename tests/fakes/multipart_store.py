"""Store in memory with objects that were uploaded in parts, and with wrong bytes.

It tells the parts as AWS does: their sizes, and their checksums if those of the object are
composite.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from s3mount.errors import StoreError
from s3mount.s3.model import ByteRange, ObjectMetadata, ObjectVersion, Reason
from s3mount.s3.object_store import Priority
from s3mount.verification.digests import new_digest
from tests.fakes.memory_store import MemoryStore

Corrupt = Callable[[ByteRange, memoryview], None]


def digest_of(algorithm: str, content: bytes) -> bytes:
    """Return the digest of *content*."""
    digest = new_digest(algorithm)
    digest.update(memoryview(content))
    return digest.digest()


def multipart_etag(parts: Sequence[bytes]) -> str:
    md5s = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{hashlib.md5(md5s).hexdigest()}-{len(parts)}"


class MultipartStore(MemoryStore):
    """The fake, with `upload`; *corrupt* changes the bytes of each read."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.corrupt: Corrupt = lambda _range, _bytes: None
        self.knows_parts = True
        self.tells_part_etags = False
        self.has_md5_etags: bool | None = None
        self.heads: list[int | None] = []
        self._parts: dict[str, Sequence[bytes]] = {}
        self._algorithms: dict[str, str] = {}

    def upload(self, key: str, parts: Sequence[bytes], algorithm: str = "") -> ObjectVersion:
        """Store *parts* as one object, with a composite checksum if *algorithm* is given."""
        fields = {}
        if algorithm:
            whole = digest_of(algorithm, b"".join(digest_of(algorithm, part) for part in parts))
            fields[f"Checksum{algorithm}"] = f"{base64.b64encode(whole).decode()}-{len(parts)}"
            fields["ChecksumType"] = "COMPOSITE"
        version = self.put(key, b"".join(parts), fields=fields)
        stored = self._objects[key]
        version = ObjectVersion(version.bucket, key, multipart_etag(parts), version.size)
        self._objects[key] = replace(stored, stat=replace(stored.stat, version=version))
        self._parts[key], self._algorithms[key] = parts, algorithm
        return version

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        self.heads.append(part_number)
        found = await super().metadata(key, version_id=version_id, reason=reason)
        found = replace(found, has_md5_etag=self.has_md5_etags)
        if part_number is None or key not in self._parts:
            return found
        if not self.knows_parts:
            raise StoreError("HEAD refused (HTTP 501)", status=501)
        part, algorithm = self._parts[key][part_number - 1], self._algorithms[key]
        fields = {"ContentLength": str(len(part)), "PartsCount": str(len(self._parts[key]))}
        if algorithm:
            checksum = base64.b64encode(digest_of(algorithm, part)).decode()
            fields[f"Checksum{algorithm}"] = checksum
        stat = found.stat
        if self.tells_part_etags:
            own = ObjectVersion(self.bucket, key, hashlib.md5(part).hexdigest(), len(part))
            stat = replace(stat, version=own)
        return replace(found, stat=stat, fields=fields)

    async def _read(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        priority: Priority = Priority.DEMAND,
    ) -> None:
        await super()._read(version, span, into, priority)
        self.corrupt(span, into)
