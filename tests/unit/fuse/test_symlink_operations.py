"""Handlers of symbolic links: failures and cancellations leave no reference, and no wrong type."""

import errno
import math
import stat
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest
import trio

from s3mount.config import Symlinks, TreeConfig
from s3mount.errors import NotFound, StoreError
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.filesystem.namespace.tree import Attributes
from s3mount.fuse.symlink_operations import ATTEMPTS, SymlinkOperations
from s3mount.fuse.symlink_types import SymlinkTypes
from s3mount.fuse.user_limiter import UserLimiter
from s3mount.s3.model import ObjectStat, ObjectVersion, PosixAttributes

CONTEXT = cast("pyfuse3.RequestContext", SimpleNamespace(uid=0, gid=0, pid=1, umask=0))
Head = Callable[[ObjectVersion], Awaitable[ObjectStat]]


class OneFile:
    """Tree of one small file, `l`; the metadata of its versions is known when it is *told*."""

    def __init__(self) -> None:
        self.inodes = InodeTable()
        self.page = EntryPage("b", "", [Entry(b"l", 6, 0, "one")], 0.0)
        self.told: dict[ObjectVersion, PosixAttributes] = {}
        self.absent: dict[bytes, float] = {}  # names, and how long they are known to be
        self.valid_for = 60.0
        self.invalidated = 0

    def lookup_nowait(self, _: int, name: bytes) -> Attributes:
        if name in self.absent:
            absent = NotFound("absent", key=name.decode())
            absent.valid_for = self.absent[name]
            raise absent
        return self.attributes(self.inodes.add_reference(self.page, 0))

    def attributes(self, inode: int) -> Attributes:
        return Attributes(inode, 6, 0, self.valid_for)

    def key(self, _: int, __: bytes = b"") -> str:
        return "l"

    def invalidate(self, _: ObjectVersion) -> None:
        self.invalidated += 1

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        return self.told.get(version)

    def operations(self, head: Head, convention: Symlinks = Symlinks.S3FS) -> SymlinkOperations:
        part = cast(
            "Any",
            SimpleNamespace(may_have_bytes=lambda _: False, add_absent=lambda *_: True),
        )
        return SymlinkOperations(
            FileSystem(cast("Any", self), part, part, part),
            TreeConfig(uid=0, gid=0),
            timeout=10.0,
            invalidator=part,
            types=SymlinkTypes((convention,), self, head),
            posix=self,
            limiter=UserLimiter(share=math.inf, queue=math.inf, total=math.inf),
        )


def is_link(reply: pyfuse3.EntryAttributes) -> bool:
    return stat.S_ISLNK(reply.st_mode)


async def test_a_head_that_fails_is_the_failure_of_the_lookup(expected_warnings: list[str]) -> None:
    async def head(_: ObjectVersion) -> ObjectStat:
        await trio.lowlevel.checkpoint()
        raise StoreError("down", key="l")

    expected_warnings.append("lookup: EIO")
    tree = OneFile()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await tree.operations(head).lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)

    assert caught.value.errno == errno.EIO
    assert len(tree.inodes) == 0


async def test_a_cancelled_lookup_keeps_no_reference(autojump_clock: object) -> None:
    del autojump_clock

    async def head(_: ObjectVersion) -> ObjectStat:
        await trio.sleep_forever()
        raise AssertionError

    tree = OneFile()
    with trio.move_on_after(1):
        await tree.operations(head).lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)

    assert len(tree.inodes) == 0


async def test_a_file_that_is_replaced_again_and_again_gets_no_type(
    expected_warnings: list[str],
) -> None:
    async def head(version: ObjectVersion) -> ObjectStat:
        await trio.lowlevel.checkpoint()
        return ObjectStat(ObjectVersion("b", version.key, "another", 6), 0)

    expected_warnings.append("lookup: ESTALE")
    tree = OneFile()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await tree.operations(head).lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)

    assert caught.value.errno == errno.ESTALE
    assert (tree.invalidated, len(tree.inodes)) == (ATTEMPTS, 0)


@pytest.mark.parametrize("target", ["", None])
async def test_a_link_stays_one_until_the_kernel_forgets_it(target: str | None) -> None:
    tree = OneFile()
    heads = 0

    async def head(version: ObjectVersion) -> ObjectStat:
        nonlocal heads
        heads += 1
        await trio.lowlevel.checkpoint()
        tree.told[version] = PosixAttributes(target=target)
        return ObjectStat(version, 0)

    operations = tree.operations(head)
    first = await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)
    tree.told.clear()  # as when others were told since
    again = await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)
    inode = pyfuse3.InodeT(first.st_ino)
    await operations.forget([(inode, 1)])
    shown = await operations.getattr(inode, CONTEXT)
    await operations.forget([(inode, 1)])

    assert [is_link(each) for each in (first, again, shown)] == [target == ""] * 3
    assert heads == 2
    assert len(tree.inodes) == 0
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await operations.readlink(inode, CONTEXT)
    assert caught.value.errno == errno.EINVAL


async def no_head(_: ObjectVersion) -> ObjectStat:
    await trio.lowlevel.checkpoint()
    raise AssertionError


@pytest.mark.parametrize(("absent_for", "link_for"), [(5.0, 50.0), (50.0, 5.0), (0.0, 50.0)])
async def test_a_link_of_rclone_is_kept_as_long_as_it_and_the_absence_of_its_name_are_known(
    absent_for: float, link_for: float
) -> None:
    tree = OneFile()
    tree.page = EntryPage("b", "", [Entry(b"l.rclonelink", 6, 0, "one")], 0.0)
    tree.absent = {b"l": absent_for}
    tree.valid_for = link_for

    found = await tree.operations(no_head, Symlinks.RCLONE).lookup(
        pyfuse3.ROOT_INODE, b"l", CONTEXT
    )

    assert (is_link(found), found.entry_timeout) == (True, min(absent_for, link_for))


@pytest.mark.parametrize(
    ("name_for", "link_for"), [(5.0, 50.0), (50.0, 5.0), (0.0, 50.0), (50.0, 0.0)]
)
async def test_an_absence_is_kept_as_long_as_that_of_a_link_of_rclone_is_known_too(
    name_for: float, link_for: float
) -> None:
    tree = OneFile()
    tree.absent = {b"l": name_for, b"l.rclonelink": link_for}
    operations = tree.operations(no_head, Symlinks.RCLONE)

    if 0.0 in (name_for, link_for):
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)
        assert caught.value.errno == errno.ENOENT
    else:
        found = await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)
        assert (found.st_ino, found.entry_timeout) == (0, 5.0)


async def test_a_file_with_the_name_of_a_link_that_is_none_leaves_an_absence() -> None:
    tree = OneFile()
    tree.page = EntryPage("b", "", [Entry(b"l.rclonelink", 4096, 0, "one")], 0.0)
    tree.absent = {b"l": 5.0}
    operations = tree.operations(no_head, Symlinks.RCLONE)

    found = await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)

    assert (found.st_ino, found.entry_timeout, len(tree.inodes)) == (0, 5.0, 0)


async def test_a_later_upload_of_equal_bytes_is_asked_for_and_told() -> None:
    tree = OneFile()
    heads = 0
    told = [PosixAttributes(target=""), PosixAttributes(), PosixAttributes(target="")]

    async def head(version: ObjectVersion) -> ObjectStat:
        nonlocal heads
        await trio.lowlevel.checkpoint()
        tree.told[version] = told[heads]._replace(uploaded_at=heads)
        heads += 1
        return ObjectStat(version, 0)

    operations = tree.operations(head)
    for time, expected in enumerate([True, False, True]):
        tree.page = EntryPage("b", "", [Entry(b"l", 6, time * 10**9 + 5, "one")], time)
        for _ in range(2):
            found = await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)
            shown = await operations.getattr(pyfuse3.InodeT(found.st_ino), CONTEXT)
            assert (is_link(found), is_link(shown), heads) == (expected, expected, time + 1)


async def test_a_store_that_tells_another_time_by_head_is_asked_each_time() -> None:
    tree = OneFile()
    tree.page = EntryPage("b", "", [Entry(b"l", 6, 10**9, "one")], 0.0)
    heads = 0

    async def head(version: ObjectVersion) -> ObjectStat:
        nonlocal heads
        heads += 1
        await trio.lowlevel.checkpoint()
        tree.told[version] = PosixAttributes(target="")
        return ObjectStat(version, 0)

    operations = tree.operations(head)
    for number in (1, 2):
        assert is_link(await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT))
        assert heads == number


async def test_a_bug_in_readlink_is_eio(expected_warnings: list[str]) -> None:
    async def head(version: ObjectVersion) -> ObjectStat:
        await trio.lowlevel.checkpoint()
        tree.told[version] = PosixAttributes(target="")
        return ObjectStat(version, 0)

    expected_warnings.append("readlink failed: this is a bug")
    tree = OneFile()
    operations = tree.operations(head)
    found = await operations.lookup(pyfuse3.ROOT_INODE, b"l", CONTEXT)

    with pytest.raises(pyfuse3.FUSEError) as caught:  # there are no open files here
        await operations.readlink(pyfuse3.InodeT(found.st_ino), CONTEXT)

    assert caught.value.errno == errno.EIO
