"""Keys of metadata records, and the formats of the records but for their entries.

Pure. A listing is one *header*, and its pages; all of them carry one *generation*, so that a set of
records of two listings is none. A key is a digest: what it stands for cannot be told from it.
"""

from hashlib import blake2b
from typing import Final, NamedTuple

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.names import encode
from s3mount.filesystem.namespace.invalidations import DirectoryKey
from s3mount.filesystem.persistence.page_record import read_entries, write_entries
from s3mount.filesystem.persistence.record_fields import (
    FieldReader,
    FieldWriter,
    MalformedRecord,
)
from s3mount.filesystem.persistence.record_store import RecordStore
from s3mount.filesystem.persistence.timestamps import Timestamps

FORMAT: Final = 1
GENERATION_SIZE: Final = 8  # bytes
PAGES_MAX: Final = 0xFFFF
_KEY_SIZE: Final = 32  # bytes
_IS_DERIVED: Final = 1


class RecordKeys:
    """Keys of the records of one *namespace*: of what is seen alike, by whatever mount."""

    def __init__(self, namespace: bytes) -> None:
        self._namespace = namespace

    def header(self, directory: DirectoryKey) -> bytes:
        """Key of the header of a listing."""
        return self._key(b"listing", directory)

    def page(self, directory: DirectoryKey, number: int) -> bytes:
        """Key of one page of a listing."""
        return self._key(b"page", directory, number.to_bytes(4, "little"))

    def dentry(self, directory: DirectoryKey, name: bytes) -> bytes:
        """Key of the dentry of one name."""
        return self._key(b"dentry", directory, name)

    def refresh(self, directory: DirectoryKey) -> bytes:
        """Key of the time since which a directory, and all below, is to be requested anew."""
        return self._key(b"refresh", directory)

    def names(self, directory: DirectoryKey) -> bytes:
        """Key of the time since which a directory itself is to be listed anew."""
        return self._key(b"names", directory)

    def disorder(self, bucket: str) -> bytes:
        """Key of the time of the last listing that was in no order: what was derived is void."""
        return self._key(b"disorder", (bucket, ""))

    def _key(self, kind: bytes, directory: DirectoryKey, rest: bytes = b"") -> bytes:
        digest = blake2b(digest_size=_KEY_SIZE)
        for part in (self._namespace, kind, *map(encode, directory), rest):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.digest()


class ListingHeader(NamedTuple):
    """Header of a listing: *bounds* are the first and the last name of each of its pages.

    *requested_at* is None if it is of no known age. *inline* is the record of its only page.
    """

    generation: bytes
    requested_at: float | None
    is_derived: bool
    hidden_count: int
    bounds: tuple[tuple[bytes, bytes], ...]
    inline: bytes = b""


class PageRecord(NamedTuple):
    """Entries of one page, requested at *requested_at*; None if they are of no known age."""

    generation: bytes
    requested_at: float | None
    entries: list[Entry]


class RecordFormat:
    """Writes and reads records. Readers raise MalformedRecord."""

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps

    def write_header(self, header: ListingHeader, requested_at: float) -> bytes:
        writer = self._writer(requested_at)
        writer.raw(header.generation)
        writer.u8(_IS_DERIVED if header.is_derived else 0)
        writer.u32(header.hidden_count)
        writer.u16(len(header.bounds))
        writer.texts([name for bound in header.bounds for name in bound])
        writer.raw(header.inline)
        return writer.content()

    def read_header(self, content: bytes) -> ListingHeader:
        reader, requested_at = self._reader(content)
        generation, flags = reader.raw(GENERATION_SIZE), reader.u8()
        hidden_count, count = reader.u32(), reader.u16()
        names = [name or b"" for name in reader.texts(2 * count)]
        bounds = tuple(zip(names[::2], names[1::2], strict=True))
        inline = reader.rest()
        if flags & ~_IS_DERIVED or bool(inline) != (count == 1):
            raise MalformedRecord("a header that no listing has")
        return ListingHeader(
            generation, requested_at, bool(flags & _IS_DERIVED), hidden_count, bounds, inline
        )

    def write_page(self, generation: bytes, page: EntryPage) -> bytes:
        """The record of *page*; UnwritableField if it cannot be kept."""
        writer = self._writer(page.requested_at)
        writer.raw(generation)
        write_entries(writer, page)
        return writer.content()

    def read_page(self, content: bytes) -> PageRecord:
        reader, requested_at = self._reader(content)
        generation = reader.raw(GENERATION_SIZE)
        entries = read_entries(reader)
        reader.end()
        return PageRecord(generation, requested_at, entries)

    def write_dentry(self, page: EntryPage | None, requested_at: float) -> bytes:
        """The record of the only entry of *page*; None: of an absence."""
        writer = self._writer(requested_at)
        if page is not None:
            write_entries(writer, page)
        return writer.content()

    def read_dentry(self, content: bytes) -> tuple[float | None, Entry | None]:
        """When it was requested, and the entry; None if it was absent."""
        reader, requested_at = self._reader(content)
        if reader.is_at_end:
            return requested_at, None
        entries = read_entries(reader)
        reader.end()
        if len(entries) != 1:
            raise MalformedRecord("a dentry is one entry")
        return requested_at, entries[0]

    def write_time(self, time: float) -> bytes:
        return self._writer(time).content()

    def read_time(self, content: bytes) -> float | None:
        reader, time = self._reader(content)
        reader.end()
        return time

    def _writer(self, time: float) -> FieldWriter:
        writer = FieldWriter()
        writer.u8(FORMAT)
        self._timestamps.write(writer, time)
        return writer

    def _reader(self, content: bytes) -> tuple[FieldReader, float | None]:
        reader = FieldReader(content)
        if reader.u8() != FORMAT:
            raise MalformedRecord("another format")
        return reader, self._timestamps.read(reader)


class MetadataRecords(NamedTuple):
    """Records of metadata: where they are kept, by which keys, in which format."""

    store: RecordStore
    keys: RecordKeys
    format: RecordFormat
