"""Error mapping and deadlines of request handlers.

pyfuse3 ends the mount on any exception but FUSEError, and on FUSEError too in a handler without a reply. It delivers no
interrupts. So every handler is `maps_errors` or `unanswered` (a test enumerates them), and whatever may wait does so `request_deadline`.
The second of the two places that translate errors, and the place that logs raised ones.
"""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyfuse3
import trio

from s3mount.errors import NameTooLong, NotADirectory, NotFound, ReplacedBeforeOpen, S3MountError
from s3mount.printable import printable

log = logging.getLogger(__name__)

# Seconds that a question's own deadline, which can say what was asked and of which key, comes before the request's.
GRACE = 0.25
_EVERYDAY = (
    NotFound,
    NameTooLong,
    NotADirectory,
)  # answers rather than failures: nobody should act on them

Arguments = ParamSpec("Arguments")
Reply = TypeVar("Reply")


class Guarded(Protocol):
    """What the guard asks of the one it guards."""

    timeout: float  # seconds


Subject = TypeVar("Subject", bound=Guarded)


def maps_errors(
    handler: Callable[Concatenate[Subject, Arguments], Coroutine[Any, Any, Reply]],
) -> Callable[Concatenate[Subject, Arguments], Coroutine[Any, Any, Reply]]:
    """A request handler that raises nothing but FUSEError; TooSlowError becomes ETIMEDOUT."""

    @functools.wraps(handler)
    async def guard(self: Subject, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Reply:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except S3MountError as exc:
            _log_failure(handler.__name__, exc)
            raise pyfuse3.FUSEError(exc.errno) from exc
        except trio.TooSlowError as exc:
            kind = {"operation": handler.__name__, "errno": "ETIMEDOUT"}
            log.warning("%s: no answer within %g s", handler.__name__, self.timeout, extra=kind)
            raise pyfuse3.FUSEError(errno.ETIMEDOUT) from exc
        except Exception as exc:  # a bug must not end the mount
            log.exception(
                "%s failed: this is a bug", handler.__name__, extra={"operation": handler.__name__}
            )
            raise pyfuse3.FUSEError(errno.EIO) from exc

    return guard


def unanswered(
    handler: Callable[Concatenate[Subject, Arguments], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[Subject, Arguments], Coroutine[Any, Any, None]]:
    """A handler of a request that has no reply: it raises nothing at all."""

    @functools.wraps(handler)
    async def guard(self: Subject, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            await handler(self, *args, **kwargs)
        except Exception:  # a bug must not end the mount, and nobody waits for an errno
            log.exception("%s failed: this is a bug", handler.__name__)

    return guard


def request_deadline(timeout: float) -> AbstractContextManager[trio.CancelScope]:
    """The block ends within *timeout* seconds and a moment of grace, else by TooSlowError.

    It costs as much as all the rest of a request that waits for nothing, so it stands only round what may wait.
    """
    return trio.fail_after(timeout + GRACE)


def _log_failure(operation: str, exc: S3MountError) -> None:
    if isinstance(exc, _EVERYDAY):
        log.debug("%s: %s: %r", operation, exc, exc.key)
        return
    said: dict[str, Any] = {
        name: value
        for name in ("bucket", "key", "status", "code", "request_id")
        if (value := getattr(exc, name)) is not None
    }
    told = " ".join(f"{name}={printable(repr(value))}" for name, value in said.items())
    level = (
        logging.INFO if isinstance(exc, ReplacedBeforeOpen) else logging.WARNING
    )  # of that one nobody sees anything
    said |= {
        "operation": operation,
        "errno": errno.errorcode[exc.errno],
    }  # what the log's limit counts by
    log.log(level, "%s: %s: %s %s", operation, errno.errorcode[exc.errno], exc, told, extra=said)
