"""Commands `cache-list`, `cache-verify`, `cache-clear`, `cache-pin`: care of the cache directory.

What is in it may be of other mounts too, which go on. Nothing of it makes a request.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from s3mount.control.commands import Command, Commands, Send
from s3mount.control.progress import run_and_tell
from s3mount.control.protocol import Arguments, Object, ProtocolError, names_in

log = logging.getLogger(__name__)

Names = Sequence[bytes]


class Limits(Protocol):
    """Limits of the directory, in bytes."""

    @property
    def size(self) -> int: ...
    @property
    def free_space(self) -> int: ...


class Usage(Protocol):
    """Usage of the directory: see `disk.usage`."""

    @property
    def used(self) -> int: ...
    @property
    def objects(self) -> int | None: ...
    @property
    def pinned_bytes(self) -> int: ...
    @property
    def evictions(self) -> int: ...
    @property
    def bad_extents(self) -> int: ...


class Verification(Protocol):
    """Verification of the directory, or of a path."""

    def progress(self) -> Mapping[str, object]: ...
    async def run(self) -> Mapping[str, object]: ...


class DiskContents(Protocol):
    """Contents of the cache directory, see `cache.disk_tier.contents`. Names None choose all."""

    @property
    def folder(self) -> Path: ...
    @property
    def limits(self) -> Limits: ...
    async def usage(self) -> Usage | None: ...
    async def list(
        self,
        names: Names | None,
        send: Callable[[Sequence[Mapping[str, object]]], Awaitable[None]],
    ) -> int: ...
    def begin_verification(self, names: Names | None) -> Verification: ...
    async def clear(self, names: Names | None) -> int: ...
    async def pin(self, names: Names, *, is_pinned: bool) -> int: ...


def disk_commands(contents: DiskContents | None) -> Commands:
    """Return the commands; without a disk cache each is refused."""
    commands: Mapping[str, Callable[[DiskContents], Command]] = {
        "cache-list": _list_command,
        "cache-verify": _verify_command,
        "cache-clear": _clear_command,
        "cache-pin": _pin_command,
    }
    return {
        name: _refuse if contents is None else make(contents) for name, make in commands.items()
    }


async def _refuse(_arguments: Arguments, _send: Send) -> Object:
    raise ProtocolError("failed", "this mount has no disk cache: mount it with --cache-dir")


def _list_command(contents: DiskContents) -> Command:
    async def list_objects(arguments: Arguments, send: Send) -> Object:
        return {"objects": await contents.list(_names(arguments), send)}

    return list_objects


def _verify_command(contents: DiskContents) -> Command:
    async def verify(arguments: Arguments, send: Send) -> Object:
        verification = contents.begin_verification(_names(arguments))
        result = await run_and_tell(verification.run, verification.progress, send)
        if result["bad_extents"]:
            log.warning(
                "the disk cache %s had %s damaged extents, which are dropped: look at the disk",
                contents.folder,
                result["bad_extents"],
            )
        return result

    return verify


def _clear_command(contents: DiskContents) -> Command:
    async def clear(arguments: Arguments, _send: Send) -> Object:
        count = await contents.clear(_names(arguments))
        log.info("cleared by the control socket: %d segments of the disk cache", count)
        return {"segments": count}

    return clear


def _pin_command(contents: DiskContents) -> Command:
    async def pin(arguments: Arguments, _send: Send) -> Object:
        names, is_pinned = names_in(arguments["path"]), arguments["pinned"]
        return {"objects": await contents.pin(names, is_pinned=is_pinned), "pinned": is_pinned}

    return pin


def _names(arguments: Arguments) -> Names | None:
    return None if arguments["path"] is None else names_in(arguments["path"])
