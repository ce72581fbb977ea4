"""Extended attributes of inodes: their names and values.

What a listing tells takes no request, and wins over a HEAD, so that a value does not depend on
whether one was sent. `user.s3.parts_count` and `user.s3.part_size` take a HEAD of their own: they
are answered by name, and not listed.
"""

from s3mount.errors import NoSuchAttribute, NotSupported
from s3mount.filesystem.attributes import attribute_names as names
from s3mount.filesystem.attributes.listing_states import ListingStates
from s3mount.filesystem.attributes.metadata_reader import MetadataReader, entry_stat
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import encode
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Tree
from s3mount.s3.model import ObjectStat
from s3mount.s3.object_store import KeySource

_PARTS = (names.PARTS_COUNT, names.PART_SIZE)
_FOREIGN = (names.FOREIGN_ETAG, names.FOREIGN_STORAGE_CLASS)


class ExtendedAttributes:
    """Extended attributes of the inodes of *tree*."""

    def __init__(self, tree: Tree, metadata: MetadataReader, keys: KeySource) -> None:
        self._tree = tree
        self._keys = keys
        self._metadata = metadata
        self._listings = ListingStates(tree)

    def names_nowait(self, inode: int) -> list[bytes] | None:
        """The names of *inode*; None if that takes a request."""
        entry = self._file(inode)
        if entry is None:
            return list(self._of_directory(inode))
        metadata = self._metadata.get_nowait(_stat(*entry))
        return None if metadata is None else list(names.values_of(metadata) | _listed(*entry))

    async def names(self, inode: int) -> list[bytes]:
        """The names of *inode*; of a store without HEAD those that listings tell."""
        entry = self._file(inode)
        if entry is None:
            return list(self._of_directory(inode))
        try:
            metadata = await self._metadata.get(_stat(*entry))
        except NotSupported:
            return list(_listed(*entry))
        return list(names.values_of(metadata) | _listed(*entry))

    def value_nowait(self, inode: int, name: bytes) -> bytes | None:
        """The value of *name*; None if that takes a request. NoSuchAttribute."""
        entry = self._file(inode)
        if entry is None:
            return _value(self._of_directory(inode), name)
        if name in _FOREIGN:
            return _value(_foreign(*entry), name)
        value = _listed(*entry).get(name)
        if value is not None or name in _PARTS:
            return value
        if not names.takes_head(name):
            raise NoSuchAttribute("no such attribute")
        metadata = self._metadata.get_nowait(_stat(*entry))
        return None if metadata is None else _value(names.values_of(metadata), name)

    async def value(self, inode: int, name: bytes) -> bytes:
        """The value of *name*. NoSuchAttribute, or what `MetadataReader.get` raises."""
        found = self.value_nowait(inode, name)
        if found is not None:
            return found
        stat = _stat(*self._tree.inodes.resolve(inode))
        if name not in _PARTS:
            return _value(names.values_of(await self._metadata.get(stat)), name)
        parts = await self._metadata.parts(stat)
        if parts is None:
            raise NoSuchAttribute("not uploaded in parts", key=stat.version.key)
        return str(parts.number if name == names.PARTS_COUNT else parts.size).encode()

    def _file(self, inode: int) -> tuple[EntryPage, int] | None:
        """The entry of a file; None for a directory."""
        if inode == ROOT:
            return None
        page, index = self._tree.inodes.resolve(inode)
        return None if page.is_directory(index) else (page, index)

    def _of_directory(self, inode: int) -> dict[bytes, bytes]:
        prefix = self._tree.prefix(inode)
        values = {names.DIRECTORY_PREFIX: encode(self._keys.store_key(prefix))}
        known = self._listings.find(prefix)
        if known is not None:
            values[names.ENTRIES] = b"%d" % known.entries
            values[names.HIDDEN_KEYS] = b"%d" % known.hidden_keys
            values[names.LISTING_AGE] = b"%d" % known.age
        return values


def _stat(page: EntryPage, index: int) -> ObjectStat:
    return entry_stat(page.version(index), page.mtimes[index])


def _listed(page: EntryPage, index: int) -> dict[bytes, bytes]:
    """The attributes that the listing tells of a file, or the lookup of its name."""
    told = {
        names.ETAG: names.told_etag(page.etag(index)),
        names.STORAGE_CLASS: page.storage_class(index),
        names.VERSION_ID: page.version_id(index),
        names.OWNER: page.owner(index),
    }
    return {name: names.value_of(text) for name, text in told.items() if text is not None}


def _foreign(page: EntryPage, index: int) -> dict[bytes, bytes]:
    """The attributes that goofys and GeeseFS have, as they show them: the ETag in quotes."""
    values, etag = _listed(page, index), names.told_etag(page.etag(index))
    quoted = {} if etag is None else {names.FOREIGN_ETAG: names.value_of(f'"{etag}"')}
    return quoted | {names.FOREIGN_STORAGE_CLASS: values[names.STORAGE_CLASS]}


def _value(values: dict[bytes, bytes], name: bytes) -> bytes:
    value = values.get(name)
    if value is None:
        raise NoSuchAttribute("no such attribute")
    return value
