"""Interface between the life of a mount and what is served: who calls whom, and with what.

`startup.run` owns the process, the mount and its end. `Serve` owns the store, the caches and the
session with the kernel.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from s3mount.config import Config
from s3mount.control.commands import Commands
from s3mount.control.protocol import Greeting
from s3mount.metrics import Metrics


class Served(Protocol):
    """A mount that is served. Called in the event loop; each call returns at once."""

    def commands(self, greeting: Greeting) -> Commands:
        """Return the commands of its control socket, by name; *greeting* says what mount it is."""
        ...

    def answered(self) -> None:
        """Begin what was put off until the mount had answered; called once."""
        ...

    def invalidate_all(self) -> None:
        """Invalidate all cached metadata, so that the next lookup asks the store."""
        ...


class Host(Protocol):
    """The process around what is served."""

    @property
    def metrics(self) -> Metrics:
        """The registry of the mount; `Serve` registers its metrics before it calls `ready`."""
        ...

    def attach(self) -> str:
        """Mount now, and return the path for `pyfuse3.init`: `/dev/fd/N`, which the session closes.

        To be called once, after the bucket was checked, so that no mount is left without a server.
        Raises SetupError.
        """
        ...

    def ready(self, served: Served) -> None:
        """Announce that the session is about to start.

        The host then waits for the mount's first answer, in a thread, and announces the mount.
        """
        ...


Serve = Callable[[Config, Host], Awaitable[None]]
"""Serve until the kernel ends the session, or until cancelled. Raises S3MountError.

It never unmounts (`pyfuse3.close(unmount=False)`): the host does, perhaps with
privileges that were dropped here.
"""
