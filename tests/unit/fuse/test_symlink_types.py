"""Which entries are symbolic links, and of which that is not known."""

import pytest

from s3mount.config import Symlinks
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.fuse.symlink_names import link_name
from s3mount.fuse.symlink_types import EntryType, SymlinkTypes
from s3mount.s3.model import TARGET_MAX, ObjectStat, ObjectVersion, PosixAttributes

RCLONE, S3FS, GCSFUSE, GEESEFS = Symlinks
OTHER, SYMLINK, UNKNOWN = EntryType
PLAIN = PosixAttributes()
IN_BODY = PosixAttributes(target="")
IN_METADATA = PosixAttributes(target="there")


class Known:
    """`PosixSource` that knows *attributes* of every version."""

    def __init__(self, attributes: PosixAttributes | None) -> None:
        self._attributes = attributes

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        assert version.size >= 0
        return self._attributes


def types_of(*conventions: Symlinks, known: PosixAttributes | None = None) -> SymlinkTypes:
    async def head(version: ObjectVersion) -> ObjectStat:
        etag = "other" if version.key == "replaced" else version.etag
        return ObjectStat(ObjectVersion("b", version.key, etag, version.size), 0)

    return SymlinkTypes(conventions, Known(known), head)


def page_of(name: bytes, size: int) -> EntryPage:
    return EntryPage("b", "", [Entry(name, size, 0, "etag")], 0.0)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        (b"a.rclonelink", b"a"),
        (b"a.rclonelink.rclonelink", b"a.rclonelink"),
        (b"...rclonelink", None),
        (b"..rclonelink", None),
        (b".rclonelink", None),
        (b"a.rclonelink2", None),
        (b"a", None),
    ],
)
def test_the_name_of_a_link_of_rclone_is_without_its_suffix(
    name: bytes, link: bytes | None
) -> None:
    assert link_name(name) == link


@pytest.mark.parametrize(
    ("size", "kind"), [(-1, OTHER), (0, OTHER), (1, SYMLINK), (TARGET_MAX, SYMLINK), (4096, OTHER)]
)
def test_a_link_of_rclone_is_known_by_name_and_size(size: int, kind: EntryType) -> None:
    assert types_of(RCLONE).type_of(page_of(b"a.rclonelink", size), 0) is kind
    assert types_of(RCLONE).type_of(page_of(b"a", size), 0) is OTHER


@pytest.mark.parametrize(
    ("convention", "sizes"),
    [(S3FS, {1, TARGET_MAX}), (GCSFUSE, {0, 1, TARGET_MAX}), (GEESEFS, {0}), (RCLONE, set())],
)
def test_the_type_is_unknown_only_of_files_that_may_be_links(
    convention: Symlinks, sizes: set[int]
) -> None:
    asked = {
        size
        for size in (-1, 0, 1, TARGET_MAX, 4096)
        if types_of(convention).type_of(page_of(b"a", size), 0) is UNKNOWN
    }

    assert asked == sizes


@pytest.mark.parametrize(
    ("known", "size", "kind"),
    [
        (PLAIN, 0, OTHER),
        (PLAIN, 1, OTHER),
        (IN_BODY, 1, SYMLINK),
        (IN_BODY, 0, OTHER),
        (IN_METADATA, 0, SYMLINK),
        (IN_METADATA, 1, SYMLINK),
    ],
)
def test_a_link_has_a_target(known: PosixAttributes, size: int, kind: EntryType) -> None:
    types = types_of(GCSFUSE, known=known)

    assert types.type_of(page_of(b"a", size), 0) is kind
    assert types.target(page_of(b"a", size), 0) == (known.target or "")


def test_the_target_of_a_link_of_rclone_is_its_body_whatever_the_metadata_says() -> None:
    types = types_of(RCLONE, GCSFUSE, known=IN_METADATA)

    assert types.target(page_of(b"a.rclonelink", 1), 0) == ""


def test_an_empty_file_with_the_suffix_of_rclone_is_a_link_by_its_metadata_only() -> None:
    types, page = types_of(RCLONE, GCSFUSE, known=IN_METADATA), page_of(b"a.rclonelink", 0)

    assert types.type_of(page, 0) is SYMLINK
    assert (types.target(page, 0), types.link_name(page, 0)) == ("there", None)


async def test_a_response_about_another_version_tells_no_type() -> None:
    types = types_of(S3FS)

    assert await types.request(ObjectVersion("b", "a", "etag", 1))
    assert not await types.request(ObjectVersion("b", "replaced", "etag", 1))
