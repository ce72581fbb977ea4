"""Command `verify`: read one file, and hold its bytes against what the store tells of them.

Bytes that do not match are logged too, since readers may have got them.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from s3mount.control.commands import Command, Send
from s3mount.control.progress import run_and_tell
from s3mount.control.protocol import Arguments, Object, names_in
from s3mount.control.sources import Paths
from s3mount.errors import IsADirectory
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_store import KeySource

log = logging.getLogger(__name__)


class Verification(Protocol):
    """Verification of one file: see `verification.object_verifier`."""

    def progress(self) -> Mapping[str, object]: ...
    async def run(self) -> Mapping[str, object]: ...


BeginVerification = Callable[[ObjectVersion], Verification]


def verify_command(paths: Paths, keys: KeySource, begin: BeginVerification) -> Command:
    """Return the command `verify`."""

    async def verify(arguments: Arguments, send: Send) -> Object:
        found = await paths.find(names_in(arguments["path"]))
        if found.version is None:
            raise IsADirectory("a directory: give its files, as find DIRECTORY -type f does")
        verification = begin(found.version)
        result = await run_and_tell(verification.run, verification.progress, send)
        key = keys.store_key(found.key, found.version.version_id)
        if result["matches"] is False:
            log.warning(
                "the bytes of %r do not match its %s, which is the fault of: %s",
                key,
                result["method"],
                result["fault"],
            )
        return {**result, "key": key}

    return verify
