"""The seam between the life of a mount and what is served: who calls whom, and with what.

`run` owns the process, the mount and its end; a `Serve` owns the store, the caches and the session with the kernel.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from s3mount.config import Config
from s3mount.metrics import Metrics


class Served(Protocol):
    """What a mount that is being served can be asked; each call returns at once, in the loop's thread."""

    def invalidate_all(self) -> None:
        """Invalidate all cached metadata, so that the next lookup asks the store."""
        ...


class Host(Protocol):
    """What whoever serves asks of the process around it."""

    @property
    def metrics(self) -> Metrics:
        """The registry of the mount, which `serve` fills before it is ready."""
        ...

    def attach(self) -> str:
        """Mount now, and return the path for `pyfuse3.init`: `/dev/fd/N`, open until the session closes it.

        To be called once, after the store has answered, so that no mount stands that nobody will serve. Raises SetupError.
        """
        ...

    def ready(self, served: Served) -> None:
        """The session's loop is about to start. The host then asks the mount itself, from a thread, before it tells anyone."""
        ...


Serve = Callable[[Config, Host], Awaitable[None]]
"""Serve until the kernel ends the session (then return), or until cancelled. Raises S3MountErrors.

It never unmounts: `pyfuse3.close(unmount=False)`. The host does, and may do what a dropped user may not.
"""
