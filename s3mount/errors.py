"""Expected failures, each with its errno.

Named for what the user sees. Translated exactly twice: `s3/` makes them from a store's response,
and `fuse/` maps them to an errno (`cli/` to a line on stderr). A bug is never one of these.
"""

import errno
from typing import Self

from s3mount.printable import printable


class S3MountError(Exception):
    """An expected failure: `errno` for the kernel, `exit_status` for shells, the rest for the log.

    *status*, *code* and *request_id* are from the store's response (HTTP status, S3 error code,
    x-amz-request-id), if it has them; both texts are escaped by `printable`. *key* is as it is.
    """

    errno = errno.EIO
    exit_status = 1

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
        """Return the same failure as a new exception, without traceback, cause and context.

        For a failure that is kept, or raised to several callers: a traceback grows with each
        raise, and keeps all objects of its frames alive.
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
    valid_for = 0.0  # seconds for which the kernel may cache the negative dentry


class AccessDenied(S3MountError):
    """Access is denied: 403 on GET, HEAD or LIST, or KMS refused."""

    errno = errno.EACCES


class Archived(AccessDenied):
    """The object is archived, and has to be restored before it can be read."""


class CredentialsRefused(AccessDenied):
    """The store refused these credentials; others may be accepted."""


class StaleVersion(S3MountError):
    """The version being read was replaced (412, or another ETag) or deleted (404)."""

    errno = errno.ESTALE


class ReplacedBeforeOpen(StaleVersion):
    """A file was replaced between its lookup and its open.

    The kernel looks its name up again, and opens the new file (fs/namei.c: do_filp_open,
    LOOKUP_REVAL).
    """


class UnknownHandle(StaleVersion):
    """A file handle (of NFS, or open_by_handle_at) whose file is not known, or was replaced."""


class UnknownVersion(StaleVersion):
    """A response that does not tell which version it is of, so it may be of another."""

    errno = errno.EIO


class SizeCorrected(StaleVersion):
    """A read was requested by a size that was told, and that proved to be too large.

    The kernel requests the page that a user waits for again (mm/filemap.c: filemap_update_page).
    """


class NameTooLong(S3MountError):
    """A name of more than 255 bytes was looked up."""

    errno = errno.ENAMETOOLONG


class NotADirectory(S3MountError):
    """A directory is needed, and the name is a file."""

    errno = errno.ENOTDIR


class IsADirectory(S3MountError):
    """A file is needed, and the name is a directory."""

    errno = errno.EISDIR


class ReadOnly(S3MountError):
    """An attempt to write, create, delete, rename or change attributes."""

    errno = errno.EROFS


class NoSuchAttribute(S3MountError):
    """A file or directory has no extended attribute of that name."""

    errno = errno.ENODATA


class NotSupported(S3MountError):
    """The store has not what is needed."""

    errno = errno.ENOTSUP


class StoreError(S3MountError):
    """Throttled, 5xx, network down, or a truncated or corrupt response, after retries."""

    errno = errno.EIO


class NoPast(StoreError):
    """The bucket, one of many, keeps no versions: what it was at a time (`--at`) is not known."""


class Unreachable(StoreError):
    """No response from the store: no connection, or one that broke, after retries."""


class CredentialsUnavailable(StoreError):
    """The source of the credentials does not answer, or fails for now: no request can be sent."""


class ChecksumMismatch(StoreError):
    """The bytes of a whole object do not match its checksum, however often they are requested."""


class DeadlineExceeded(S3MountError):
    """No response within `--timeout`."""

    errno = errno.ETIMEDOUT


class TooManyRequests(S3MountError):
    """Too many requests of one user are waiting for the store."""

    errno = errno.EAGAIN


class UsageError(S3MountError):
    """An argument, or a configuration file, is wrong."""

    exit_status = 2


class SetupError(S3MountError):
    """The mount cannot begin (bucket missing, credentials, mount point, FUSE …).

    The message is one line: what is wrong, and what to do about it.
    """


class CacheDirectoryError(SetupError):
    """The directory of the disk cache cannot be used: it is another user's, or not private, say."""


class CacheDiskError(CacheDirectoryError):
    """The disk of the cache directory is full, read-only or failing: a mount goes on without it."""


class NotServed(S3MountError):
    """No mount is there, or it does not respond to commands."""

    exit_status = 3


class CommandFailed(S3MountError):
    """A mount could not do what s3mountctl asked of it; the message is the mount's."""
