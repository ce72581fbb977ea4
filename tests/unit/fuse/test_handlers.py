"""A bug in any handler fails its request, and the mount lives on."""

import errno
import inspect
import logging
import math
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pyfuse3
import pytest

from s3mount.config import TreeConfig
from s3mount.filesystem.facade import FileSystem
from s3mount.fuse import operations
from s3mount.fuse.operations import Operations
from s3mount.fuse.user_limiter import UserLimiter
from s3mount.fuse.xattr_operations import XattrOperations

CONTEXT = SimpleNamespace(uid=0, gid=0, pid=1, umask=0)
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "lookup": (1, b"name", CONTEXT),
    "getattr": (1, CONTEXT),
    "forget": ([(2, 1), (3, 1)],),
    "opendir": (1, CONTEXT),
    "readdir": (1, 0, None),
    "releasedir": (1,),
    "open": (2, 0, CONTEXT),
    "read": (1, 0, 4096),
    "release": (1,),
    "statfs": (CONTEXT,),
    "getxattr": (2, b"user.s3.etag", CONTEXT),
    "listxattr": (2, CONTEXT),
}
UNLIMITED = UserLimiter(share=math.inf, queue=math.inf, total=math.inf)
WITHOUT_REPLY = {"forget"}


class Broken:
    """Object whose every attribute raises, as a bug would."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ZeroDivisionError(name)


def handlers(operations: type[Operations]) -> set[str]:
    """The handlers of pyfuse3 that *operations* overrides."""
    return {
        name
        for name in vars(operations)
        if inspect.iscoroutinefunction(getattr(pyfuse3.Operations, name, None))
    }


def broken(monkeypatch: pytest.MonkeyPatch) -> Operations:
    """Operations whose every part is broken."""
    part = cast("Any", Broken())
    made = XattrOperations(
        FileSystem(part, part, part, part),
        TreeConfig(uid=0, gid=0),
        timeout=1.0,
        limiter=UNLIMITED,
        invalidator=cast("Any", None),
        attributes=part,
    )
    monkeypatch.setattr(operations, "pyfuse3", part)
    return made


def test_every_handler_is_tried_here() -> None:
    assert set(ARGUMENTS) == handlers(Operations) | handlers(XattrOperations)


@pytest.mark.parametrize("name", sorted(set(ARGUMENTS) - WITHOUT_REPLY))
async def test_a_bug_in_a_handler_is_eio_and_one_traceback(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expected_warnings: list[str],
) -> None:
    expected_warnings.append(f"{name} failed: this is a bug")
    failing = broken(monkeypatch)

    with pytest.raises(pyfuse3.FUSEError) as raised:
        await getattr(failing, name)(*ARGUMENTS[name])

    assert raised.value.errno == errno.EIO
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


@pytest.mark.parametrize("name", sorted(WITHOUT_REPLY))
async def test_a_bug_in_a_handler_without_a_reply_raises_nothing(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expected_warnings: list[str],
) -> None:
    expected_warnings.append(f"{name} failed: this is a bug")

    await getattr(broken(monkeypatch), name)(*ARGUMENTS[name])

    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_a_reference_that_cannot_be_released_keeps_no_other(
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("forget failed: this is a bug")
    forgotten = []

    def forget(inode: int, count: int) -> None:
        if inode in (3, 5):
            raise KeyError(inode)
        forgotten.append((inode, count))

    tree = cast("Any", SimpleNamespace(inodes=SimpleNamespace(forget=forget)))
    made = Operations(
        FileSystem(tree, cast("Any", None), cast("Any", None), cast("Any", None)),
        TreeConfig(uid=0, gid=0),
        timeout=1.0,
        limiter=UNLIMITED,
        invalidator=cast("Any", None),
    )

    await made.forget([(2, 1), (3, 1), (4, 7), (5, 2), (6, 1)])

    assert forgotten == [(2, 1), (4, 7), (6, 1)]
