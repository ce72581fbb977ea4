"""Progress of a command that takes long: told while it runs, by a task of its own.

It is told at most INTERVAL apart, and a slow client delays nothing. When the client goes, nothing
of the command goes on.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from s3mount.control.commands import Send
from s3mount.control.protocol import Object
from s3mount.errors import S3MountError

INTERVAL: Final = 0.25  # seconds between items

T = TypeVar("T")


async def run_and_tell(
    run: Callable[[], Awaitable[T]], progress: Callable[[], Object], send: Send
) -> T:
    """Return what *run* returns, while its *progress* is sent; at last that of its end.

    Raises the S3MountError of *run*, not a group of it.
    """
    failure: S3MountError | None = None
    results: list[T] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, progress, send)
        try:
            results.append(await run())
        except S3MountError as exc:
            failure = exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    await send([progress()])
    return results[0]


async def _tell(progress: Callable[[], Object], send: Send) -> None:
    while True:
        await send([progress()])
        await trio.sleep(INTERVAL)
