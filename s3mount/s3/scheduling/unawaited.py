"""Failures that no caller awaits: logged once, and kept away from the event loop.

trio ends the run, and with it the mount, if a callback that it was handed (`run_sync_soon`) or a system task raises.
"""

import logging
from collections.abc import Callable
from typing import ParamSpec

from s3mount.errors import S3MountError
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.transport import Retryable

log = logging.getLogger(__name__)

_EXPECTED = (S3MountError, Retryable, RequestCancelledError)

Arguments = ParamSpec("Arguments")


def report(what: str, exc: BaseException) -> None:
    """Log that *what* failed, which nobody is told otherwise: a bug with its traceback, the rest at debug."""
    if isinstance(exc, _EXPECTED):
        log.debug("%s failed: %s", what, exc)
    else:
        log.error("bug in %s", what, exc_info=exc)


def call(
    what: str,
    callback: Callable[Arguments, object],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> None:
    """Call *callback*, and report its failure instead of raising it."""
    try:
        callback(*args, **kwargs)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the event loop must not meet it
        report(what, exc)


def drop_frames(exc: BaseException) -> None:
    """Forget through which calls *exc* came, and what it was raised from.

    Their local variables hold buffers and connections, and often *exc* itself: such a cycle lives until the collector runs.
    """
    chain: list[BaseException] = [exc]
    for each in chain:
        each.__traceback__ = None
        chain += [
            link
            for link in (each.__cause__, each.__context__)
            if link is not None and link not in chain
        ]
