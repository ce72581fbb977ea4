"""Failures that no caller awaits: logged once, and kept away from the event loop.

trio ends the run, and with it the mount, if a callback (`run_sync_soon`) or a system task raises.
"""

import logging
from collections.abc import Callable
from typing import ParamSpec

from s3mount.errors import S3MountError

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")


class ExpectedError(Exception):
    """A failure that is no bug, though it is not an S3MountError: it never reaches the user."""


def report(what: str, exc: BaseException) -> None:
    """Log that *what* failed: a bug with its traceback, an expected failure at debug."""
    if isinstance(exc, S3MountError):
        log.debug("%s failed: %s: %r", what, exc, exc.key)
    elif isinstance(exc, ExpectedError):
        log.debug("%s failed: %s", what, exc)
    else:
        log.error("%s failed: this is a bug", what, exc_info=exc)


def call(
    what: str,
    callback: Callable[Arguments, object],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> None:
    """Call *callback*, and report its failure instead of raising it."""
    try:
        callback(*args, **kwargs)
    except Exception as exc:  # noqa: BLE001 - the event loop must not meet it, whatever it is
        report(what, exc)


def drop_frames(exc: BaseException) -> None:
    """Remove the traceback from *exc* and from each exception in its chain.

    Local variables of the frames hold buffers and connections, and often *exc* itself. Such a
    cycle lives until the garbage collector runs.
    """
    chain: list[BaseException] = [exc]
    for each in chain:
        each.__traceback__ = None
        chain += [
            link
            for link in (each.__cause__, each.__context__)
            if link is not None and link not in chain
        ]
