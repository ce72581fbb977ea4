"""Packed listing: all of a small complete listing in one `bytes`, and back.

Pure. Python objects cost a directory some 2 kB, however few files it has; packed it costs some 100
bytes and its columns. Invariant: what is unpacked equals what was packed, but for what others have
since changed of the listing's source. All of it is as old as the oldest of its requests.
"""

from array import array
from struct import Struct
from sys import byteorder
from typing import Final, NamedTuple

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Columns, EntryPage
from s3mount.filesystem.listing.listing_state import ListingSource, ListingState
from s3mount.filesystem.names import decode, encode

ENTRIES_MAX: Final = 128  # of more, the objects of a directory cost little for each
# flags, entries, bytes of the prefix, breaks, number of the source, time of use, inode, time
_HEADER: Final = Struct("=BBHIIQQd")
_ENTRIES_AT: Final = 1  # in the header
_PREFIX_LENGTH: Final = slice(2, 4)
_ETAG: Final = 16  # bytes of an MD5
_LENGTH_MAX: Final = (1 << 16) - 1
_NUMBER_MAX: Final = (1 << 32) - 1
_ETAG_MAX: Final = _LENGTH_MAX // 4  # characters
_DERIVED, _PARTIAL, _ORDERED, _UNREFERENCED, _LARGE, _PACKED_ETAGS = (1 << bit for bit in range(6))
_DETACHED: Final = 1 << 6
_SMALL_SIZES: Final = 1 << 31  # sizes below are kept in four bytes


class PackedHeader(NamedTuple):
    """Fields of a packed listing that are read without unpacking it."""

    flags: int
    entry_count: int
    prefix_length: int
    subtree_breaks: int
    source: int
    used_at: int
    inode: int
    requested_at: float

    @property
    def is_unreferenced(self) -> bool:
        return bool(self.flags & _UNREFERENCED)


def header(packed: bytes) -> PackedHeader:
    return PackedHeader._make(_HEADER.unpack_from(packed))


def pack(
    state: ListingState, page: EntryPage | None, *, source: int, used_at: int, inode: int
) -> bytes | None:
    """Pack a listing, with what the header has beside it; None if it does not fit."""
    prefix = encode(state.prefix)
    columns = None if page is None else page.columns()
    count = 0 if page is None else len(page)
    is_small = count <= ENTRIES_MAX and len(prefix) <= _LENGTH_MAX
    is_small = is_small and max(state.subtree_breaks, source) <= _NUMBER_MAX
    if not is_small or not (page is None or _fits(columns)):
        return None
    flags = state.is_derived * _DERIVED | state.is_partial * _PARTIAL
    flags |= state.is_ordered * _ORDERED | state.is_unreferenced * _UNREFERENCED
    body = b""
    if columns is not None:
        packed_etags = isinstance(columns.etags, bytes)
        is_large = max(columns.sizes) >= _SMALL_SIZES
        flags |= packed_etags * _PACKED_ETAGS | is_large * _LARGE
        body = _pack_columns(columns, "q" if is_large else "i")
    fields = flags, count, len(prefix), state.subtree_breaks, source, used_at, inode
    return b"%b%b%b" % (_HEADER.pack(*fields, state.requested_at), prefix, body)


def _fits(columns: Columns | None) -> bool:
    """Whether all lengths in *columns* fit into 16 bits."""
    if columns is None:
        return False
    return isinstance(columns.etags, bytes) or max(map(len, columns.etags)) <= _ETAG_MAX


def _pack_columns(columns: Columns, size_type: str) -> bytes:
    names, stops, sizes, mtimes, inodes, etags = columns
    if isinstance(etags, bytes):
        packed_etags = etags
    else:
        texts = [encode(etag) for etag in etags]
        packed_etags = array("H", map(len, texts)).tobytes() + b"".join(texts)
    return b"".join(
        (
            inodes.tobytes(),
            mtimes.tobytes(),
            array(size_type, sizes).tobytes(),
            array("H", stops[1:]).tobytes(),
            packed_etags,
            names,
        )
    )


def prefix_of(packed: bytes) -> bytes:
    """The prefix of the directory."""
    return packed[_HEADER.size : _HEADER.size + header(packed).prefix_length]


def is_of(packed: bytes, prefix: str) -> bool:
    """Whether it is likely to be the listing of the directory *prefix*, and not detached."""
    return not is_detached(packed) and packed.startswith(encode(prefix), _HEADER.size)


def is_below(packed: bytes, prefix: bytes) -> bool:
    """Whether it is the listing of the directory *prefix*, or of one in it."""
    if not packed.startswith(prefix, _HEADER.size):
        return False
    # what follows the prefix may look like it
    return int.from_bytes(packed[_PREFIX_LENGTH], byteorder) >= len(prefix)


def entry_count(packed: bytes) -> int:
    """The number of entries: as in the header, but faster."""
    return packed[_ENTRIES_AT]


def is_detached(packed: bytes) -> bool:
    """Whether it is no directory's any more, and kept for the kernel, which refers to entries."""
    return bool(packed[0] & _DETACHED)


def detached(packed: bytes) -> bytes:
    """The same, detached."""
    return bytes((packed[0] | _DETACHED,)) + packed[1:]


def inodes_of(packed: bytes) -> "array[int]":
    """The inode numbers of the entries, by index."""
    start = _HEADER.size + header(packed).prefix_length
    return array("Q", packed[start : start + 8 * header(packed).entry_count])


def unpack_page(packed: bytes, bucket: str) -> EntryPage | None:
    """The page; None if there is no entry."""
    flags, count, prefix_length, _, _, _, _, requested_at = header(packed)
    if not count:
        return None
    at = _HEADER.size + prefix_length
    prefix = decode(packed[_HEADER.size : at])
    columns = _unpack_columns(
        packed[at:], count, "q" if flags & _LARGE else "i", has_md5s=bool(flags & _PACKED_ETAGS)
    )
    return EntryPage.of_columns(bucket, prefix, columns, requested_at)


def _unpack_columns(body: bytes, count: int, size_type: str, *, has_md5s: bool) -> Columns:
    inodes = array("Q", body[: 8 * count])
    mtimes = array("q", body[8 * count : 16 * count])
    sizes, at = array(size_type), 16 * count
    sizes.frombytes(body[at : at + sizes.itemsize * count])
    at += sizes.itemsize * count
    stops = array("I", (0, *array("H", body[at : at + 2 * count])))
    at += 2 * count
    etags: bytes | tuple[str, ...]
    if has_md5s:
        etags = body[at : at + _ETAG * count]
        at += _ETAG * count
    else:
        lengths = array("H", body[at : at + 2 * count])
        at += 2 * count
        texts = []
        for length in lengths:
            texts.append(decode(body[at : at + length]))
            at += length
        etags = tuple(texts)
    return Columns(body[at:], stops, array("q", sizes), mtimes, inodes, etags)


def unpack(packed: bytes, source: ListingSource) -> DirectoryListing:
    """The listing, of its *source*."""
    flags, _, prefix_length, breaks, _, _, _, requested_at = header(packed)
    prefix = decode(packed[_HEADER.size : _HEADER.size + prefix_length])
    state = ListingState(
        prefix,
        requested_at,
        breaks,
        is_derived=bool(flags & _DERIVED),
        is_partial=bool(flags & _PARTIAL),
        is_ordered=bool(flags & _ORDERED),
        is_unreferenced=bool(flags & _UNREFERENCED),
    )
    return DirectoryListing.of_state(source, state, unpack_page(packed, source.bucket))
