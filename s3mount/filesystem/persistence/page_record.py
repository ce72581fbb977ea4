"""Record of the entries of one page, in columns. Pure.

Layout: the count, the names, the sizes, the mtimes, the ETags (16 bytes each if all are MD5s, else
texts), then version ids, storage classes and owners, each with a flag: a column that no entry needs
is left out. See `record_fields`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from s3mount.filesystem.listing.entry_page import DIRECTORY, ENTRIES_MAX, Entry, EntryPage
from s3mount.filesystem.names import decode, encode, is_valid
from s3mount.filesystem.persistence.record_fields import (
    FieldReader,
    FieldWriter,
    MalformedRecord,
    UnwritableField,
)
from s3mount.s3.model import STANDARD

_NO_COLUMN: Final = 0
_TEXTS: Final = 1
_MD5S: Final = 2
_MD5_SIZE: Final = 16  # bytes


def write_entries(writer: FieldWriter, page: EntryPage) -> None:
    """Add the entries of *page*. UnwritableField if one is corrected, or too long."""
    entries = range(len(page))
    if any(map(page.is_corrected, entries)):  # another listing may tell otherwise
        raise UnwritableField
    writer.u32(len(page))
    writer.texts([page.name(index) for index in entries])
    writer.column("q", page.sizes)
    writer.column("q", page.mtimes)
    _write_etags(writer, [None if page.is_directory(at) else page.etag(at) for at in entries])
    _write_words(writer, [page.version_id(index) for index in entries])
    classes = [page.storage_class(index) for index in entries]
    _write_words(writer, [None if each == STANDARD else each for each in classes])
    _write_words(writer, [page.owner(index) for index in entries])


def read_entries(reader: FieldReader) -> list[Entry]:
    """The entries that `write_entries` has added, whose names rise. MalformedRecord."""
    count = reader.u32()
    if count > ENTRIES_MAX:
        raise MalformedRecord("a page has too many entries")
    names = _read_names(reader, count)
    sizes, mtimes = reader.column("q", count), reader.column("q", count)
    if any(size < DIRECTORY for size in sizes):
        raise MalformedRecord("a size is negative")
    etags = _read_etags(reader, count)
    version_ids, classes, owners = (_read_words(reader, count) for _ in range(3))
    return [
        Entry(
            names[at],
            sizes[at],
            mtimes[at],
            "" if sizes[at] == DIRECTORY else etags[at],
            version_ids[at],
            classes[at] or STANDARD,
            owners[at],
        )
        for at in range(count)
    ]


def _read_names(reader: FieldReader, count: int) -> list[bytes]:
    names = [name for name in reader.texts(count) if name is not None and _is_name(name)]
    if len(names) != count or any(one >= other for one, other in pairwise(names)):
        raise MalformedRecord("a page has names that no page has")
    return names


def _is_name(name: bytes) -> bool:
    return is_valid(name) and b"/" not in name


def _write_etags(writer: FieldWriter, etags: Sequence[str | None]) -> None:
    packed = [_packed_md5(etag) for etag in etags]
    if None in packed:
        writer.u8(_TEXTS)
        writer.texts([None if etag is None else encode(etag) for etag in etags])
    else:
        writer.u8(_MD5S)
        writer.raw(b"".join(each for each in packed if each is not None))


def _packed_md5(etag: str | None) -> bytes | None:
    """The 16 bytes of an MD5, or in place of the ETag of a directory; None if *etag* is no MD5."""
    if etag is None:
        return bytes(_MD5_SIZE)
    try:
        packed = bytes.fromhex(etag)
    except ValueError:
        return None
    # upper case and blanks would not come back as they were
    return packed if len(packed) == _MD5_SIZE and packed.hex() == etag else None


def _read_etags(reader: FieldReader, count: int) -> list[str]:
    kind = reader.u8()
    if kind == _MD5S:
        packed = reader.raw(count * _MD5_SIZE)
        return [packed[at : at + _MD5_SIZE].hex() for at in range(0, len(packed), _MD5_SIZE)]
    if kind != _TEXTS:
        raise MalformedRecord("an unknown kind of ETags")
    return ["" if text is None else decode(text) for text in reader.texts(count)]


def _write_words(writer: FieldWriter, words: Sequence[str | None]) -> None:
    if not any(words):
        writer.u8(_NO_COLUMN)
        return
    writer.u8(_TEXTS)
    writer.texts([None if word is None else encode(word) for word in words])


def _read_words(reader: FieldReader, count: int) -> list[str | None]:
    kind = reader.u8()
    if kind == _NO_COLUMN:
        return [None] * count
    if kind != _TEXTS:
        raise MalformedRecord("an unknown kind of column")
    return [None if text is None else decode(text) for text in reader.texts(count)]
