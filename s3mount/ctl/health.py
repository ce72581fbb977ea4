"""Health of mounts: does each one's process send its greeting within a second?

All are asked at once, in threads, so that ten mounts that hang take a second in all.
"""

import os
import threading
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from s3mount.ctl.client import (
    GREETING_LIMIT,
    BusyError,
    Client,
    Greeting,
    OtherVersionError,
    RefusedError,
    UntrustedError,
    open_socket,
)
from s3mount.ctl.mounts import Mount
from s3mount.errors import S3MountError
from s3mount.frozen_dataclass import dataclass


class State(StrEnum):
    """State of a mount, as far as its socket tells."""

    HEALTHY = "healthy"  # it responds, if only to say that it is busy or of another version
    HANGING = "not-responding"  # it accepts, or not even that, and sends no greeting
    DEAD = "dead"  # its process has ended
    UNKNOWN = "unknown"  # no control socket, or another user's


@dataclass(frozen=True, slots=True)
class Health:
    """State of *mount*, and the greeting if it sends one."""

    mount: Mount
    state: State
    greeting: Greeting | None = None


UNHEALTHY: Final = frozenset((State.HANGING, State.DEAD))


def check_all(mounts: Sequence[Mount]) -> list[Health]:
    """Return the health of each of *mounts*, within two seconds in all."""
    found = {index: Health(mount, State.HANGING) for index, mount in enumerate(mounts)}

    def check(index: int) -> None:
        found[index] = check_one(mounts[index])

    if len(mounts) == 1:
        check(0)
        return [*found.values()]
    threads = [threading.Thread(target=check, args=(index,), daemon=True) for index in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * GREETING_LIMIT)
    return [found[index] for index in range(len(mounts))]


def check_one(mount: Mount) -> Health:
    """Return the health of *mount*; takes up to GREETING_LIMIT to connect, and again to greet."""
    if not any(os.access(path, os.W_OK) for path in mount.sockets):
        return Health(mount, State.UNKNOWN)
    try:
        with open_socket(mount) as connection:
            return Health(mount, State.HEALTHY, Client(connection, mount).greeting)
    except RefusedError:
        return Health(mount, State.DEAD)
    except UntrustedError:
        return Health(mount, State.UNKNOWN)
    except (BusyError, OtherVersionError):
        return Health(mount, State.HEALTHY)
    except (OSError, S3MountError):
        return Health(mount, State.HANGING)
