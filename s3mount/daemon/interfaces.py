"""Interface between the life of a mount and what is served: who calls whom, and with what.

`startup.run` owns the process, the mount and its end. `Serve` owns the store, the caches and the
session with the kernel.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from s3mount.config import Config
from s3mount.control.listening_socket import ListeningSocket
from s3mount.frozen_dataclass import dataclass
from s3mount.metrics import Metrics


@dataclass(frozen=True, slots=True)
class MountIdentity:
    """A mount as its clients know it: *connection* is its number, *since* a Unix time."""

    source: str
    mountpoint: str
    connection: int
    since: float


class Served(Protocol):
    """A mount that is served. Called in the event loop; what is not async returns at once."""

    async def serve_control(
        self, listening: ListeningSocket, identity: MountIdentity, allowed: Collection[int]
    ) -> None:
        """Serve the control socket to the users *allowed*, until cancelled."""
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

    def ended(self) -> None:
        """Hear no more commands: the session has ended, and its number may be another mount's."""
        ...


Serve = Callable[[Config, Host], Awaitable[None]]
"""Serve until the kernel ends the session, or until cancelled. Raises S3MountError.

It never unmounts (`pyfuse3.close(unmount=False)`): the host does, perhaps with
privileges that were dropped here.
"""
