"""Error mapping and deadlines of request handlers.

pyfuse3 ends the mount on any exception but FUSEError, and in a handler without a reply on FUSEError
too. It delivers no interrupts. So every handler has one of two decorators: `maps_errors` if the
kernel waits for a reply, else `logs_errors`; a test enumerates the handlers. A handler that may
wait does so within a `request_deadline`.

This module is the second of the two places that translate errors, and logs each error once.
"""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from s3mount.errors import (
    DeadlineExceeded,
    NameTooLong,
    NoSuchAttribute,
    NotADirectory,
    NotFound,
    NotSupported,
    ReplacedBeforeOpen,
    S3MountError,
    SizeCorrected,
    UnknownHandle,
)
from s3mount.printable import printable

log = logging.getLogger(__name__)

GRACE = 0.25  # seconds; the deadline of the store comes first, and its error names the key
_EXPECTED = (
    NotFound,
    NameTooLong,
    NotADirectory,
    NoSuchAttribute,
    NotSupported,
    UnknownHandle,
)  # correct replies; nothing has failed

Arguments = ParamSpec("Arguments")
Reply = TypeVar("Reply")


def maps_errors(
    handler: Callable[Arguments, Coroutine[Any, Any, Reply]],
) -> Callable[Arguments, Coroutine[Any, Any, Reply]]:
    """Make a request handler raise nothing but FUSEError, with the errno of what it raised."""

    @functools.wraps(handler)
    async def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Reply:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as exc:  # a bug must not end the mount
            raise pyfuse3.FUSEError(_log_and_map(handler.__name__, exc)) from exc

    return wrapper


def logs_errors(
    handler: Callable[Arguments, Coroutine[Any, Any, None]],
) -> Callable[Arguments, Coroutine[Any, Any, None]]:
    """Make a handler without a reply raise nothing: whatever it raises is a bug, and is logged."""

    @functools.wraps(handler)
    async def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            await handler(*args, **kwargs)
        except Exception as exc:  # noqa: BLE001  # a bug must not end the mount
            _log_bug(handler.__name__, exc)

    return wrapper


@contextmanager
def request_deadline(
    timeout: float, key: Callable[[], str | None], *, spent: float = 0.0
) -> Iterator[None]:
    """Raise DeadlineExceeded if the block takes more than *timeout* seconds and a moment of grace.

    *key* returns what the error is about. *spent* are seconds that the request has waited before.
    It costs as much CPU as the rest of a request that does not wait, so only what may wait has one.
    """
    with trio.move_on_after(max(0.0, timeout - spent) + GRACE) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceeded(f"no answer within {timeout:g} s (--timeout)", key=key())


def _log_and_map(operation: str, exc: Exception) -> int:
    """Log that *operation* failed; the errno for the kernel."""
    if isinstance(exc, S3MountError):
        _log_failure(operation, exc)
        return exc.errno
    _log_bug(operation, exc)
    return errno.EIO


def _log_bug(operation: str, exc: Exception) -> None:
    fields = {"operation": operation}
    log.error("%s failed: this is a bug", operation, exc_info=exc, extra=fields)


def _log_failure(operation: str, exc: S3MountError) -> None:
    if isinstance(exc, _EXPECTED):
        log.debug("%s: %s: %r", operation, exc, exc.key)
        return
    known: dict[str, Any] = {
        name: value
        for name in ("bucket", "key", "status", "code", "request_id")
        if (value := getattr(exc, name)) is not None
    }
    text = " ".join(f"{name}={printable(repr(value))}" for name, value in known.items())
    code = errno.errorcode[exc.errno]
    # the kernel repeats the lookup, or the read, so its user sees no failure
    is_repeated = isinstance(exc, ReplacedBeforeOpen | SizeCorrected)
    level = logging.INFO if is_repeated else logging.WARNING
    fields = known | {"operation": operation, "errno": code}  # the log's rate limit counts by these
    log.log(level, "%s: %s: %s %s", operation, code, exc, text, extra=fields)
