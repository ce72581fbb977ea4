"""Expected failures, each with its errno.

Named for what the user sees. Translated exactly twice: a store's answer becomes one of these in `s3/`, and one of these
becomes an errno in `fuse/` (or a line on stderr in `cli/`). A bug is never one of these.
"""

import errno
from typing import Self

from s3mount.printable import printable


class S3MountError(Exception):
    """An expected failure; `errno` is what the kernel is told, the rest is what the log is told.

    *status*, *code* and *request_id* are the store's own (HTTP status, S3 error code, x-amz-request-id), where it said them; the two
    texts are kept as `printable` has them. *key* is kept as it is.
    """

    errno = errno.EIO

    def __init__(
        self,
        message: str,
        *,
        bucket: str | None = None,
        key: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.bucket = bucket
        self.key = key
        self.status = status
        self.code = code and printable(code)
        self.request_id = request_id and printable(request_id)

    def detached(self) -> Self:
        """The same failure as a new exception, without traceback, cause and context.

        For a failure that is kept, or raised to several callers: tracebacks grow with each raise, and hold all that their frames do.
        """
        return type(self)(
            str(self),
            bucket=self.bucket,
            key=self.key,
            status=self.status,
            code=self.code,
            request_id=self.request_id,
        )


class NotFound(S3MountError):
    """No such key, prefix or name."""

    errno = errno.ENOENT
    valid_for = 0.0  # seconds for which a lookup's answer may be kept by the kernel


class AccessDenied(S3MountError):
    """Refused: 403 on GET, HEAD or LIST, KMS refused, or archived and not restored."""

    errno = errno.EACCES


class StaleVersion(S3MountError):
    """The version being read was replaced (412, or another ETag) or deleted (404)."""

    errno = errno.ESTALE


class ReplacedBeforeOpen(StaleVersion):
    """A file was replaced between its lookup and its open.

    The kernel looks its name up again, and opens what is there now (fs/namei.c: do_filp_open, LOOKUP_REVAL).
    """


class NameTooLong(S3MountError):
    """A name of more than 255 bytes was looked up."""

    errno = errno.ENAMETOOLONG


class NotADirectory(S3MountError):
    """A directory was needed and a file found."""

    errno = errno.ENOTDIR


class IsADirectory(S3MountError):
    """A file was needed and a directory found."""

    errno = errno.EISDIR


class ReadOnly(S3MountError):
    """An attempt to write, create, delete, rename or change attributes."""

    errno = errno.EROFS


class StoreError(S3MountError):
    """Throttled, 5xx, network down, truncated or corrupt answer, after retries."""

    errno = errno.EIO


class DeadlineExceeded(S3MountError):
    """No answer within `--timeout`."""

    errno = errno.ETIMEDOUT


class TooManyRequests(S3MountError):
    """So many requests of one user wait for the store already that this one is refused."""

    errno = errno.EAGAIN


class UsageError(S3MountError):
    """What was typed, or stands in a configuration file, is wrong; exit status 2."""


class SetupError(S3MountError):
    """The mount cannot begin (bucket missing, credentials, mount point, FUSE …); exit status 1.

    The message is one line: what is wrong, and what to do about it.
    """
