"""The few questions a store answers, as the rest of the house asks them.

Whatever is awaited is a checkpoint, always, ends within the store's deadline, and raises only `S3MountError`s:
`NotFound`, `AccessDenied`, `StaleVersion`, `StoreError`, `DeadlineExceeded`.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

import trio

from s3mount.s3.model import ByteRange, ListPage, ListQuery, ObjectStat, ObjectVersion, Revalidation


class Priority(IntEnum):
    """Who waits: a reader, or nobody yet. The first never queues behind the second."""

    DEMANDED = 0
    AHEAD = 1


class Demand:
    """How urgent one question is: asked ahead of everybody, it may be demanded later, while it is under way; never less again.

    *on_rise* is set, and told of it, by what the question waits for.
    """

    __slots__ = ("on_rise", "urgency")

    def __init__(self, urgency: Priority = Priority.DEMANDED) -> None:
        self.urgency = urgency
        self.on_rise: Callable[[], None] | None = None

    def rise(self) -> None:
        """Somebody waits for the answer from now on."""
        if self.urgency is Priority.AHEAD:
            self.urgency = Priority.DEMANDED
            if self.on_rise is not None:
                self.on_rise()


OnToken = Callable[[str | None], None]
"""Is told, as a hint, where the next page of a listing begins; only the page itself is to be believed."""


class StartedRead(Protocol):
    """A `get_range` whose first attempt was sent without waiting. *is_done*: it has ended, and the bytes are there."""

    @property
    def is_done(self) -> bool: ...

    async def see_through(self, has_ended: trio.Event) -> None:
        """Wait for *has_ended*, as who needs the bytes: meanwhile the store may be asked again, if it is late."""
        ...

    def cancel(self) -> None:
        """End the attempt: nobody needs the bytes. `ended` is called all the same, as soon as nobody writes to the buffer.

        Does nothing once the attempt has ended.
        """
        ...

    async def finish(self) -> None:
        """`get_range` from here on, where the attempt has ended without the bytes; the same failures."""
        ...


class ObjectStore(Protocol):
    """Objects of one bucket."""

    async def head(self, key: str) -> ObjectStat:
        """What is known of *key* now (HeadObject)."""
        ...

    async def list_page(
        self, query: ListQuery, demand: Demand | None = None, on_token: OnToken | None = None
    ) -> ListPage:
        """One page of a listing (ListObjectsV2); *demand* is its own, None: it is demanded. *on_token* may be told the next page's token before this page has been read. AccessDenied where listing is refused, NotFound where the bucket is gone."""
        ...

    async def get_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        demand: Demand | None = None,
    ) -> None:
        """Fill *into*, of the length of *span*, with these bytes of exactly this version; *demand* is its own, None: it is demanded.

        *span* is not empty and lies within the object. StaleVersion where the store has another version by now, and this
        one cannot be had by its version id either. After an
        error, or a cancellation, the content of *into* is undefined; a cancellation ends the request, and the call then waits
        until no thread writes to *into* any more, so a returned call always hands the buffer back.
        """
        ...

    def has_place(self) -> bool:
        """Whether a request that nobody waits for would be sent at once."""
        ...

    def begin_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        demand: Demand,
        ended: Callable[[], None],
    ) -> "StartedRead | None":
        """One attempt at `get_range`, sent at once and left to itself; None, and nothing was done, where it would have to wait.

        *ended* is called, later and in the run, when nobody writes to *into* any more.
        """
        ...

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        """Ask with If-None-Match whether *version* is current still; if not, bring the first *head_size* bytes of the new one.

        NotFound where the object is gone.
        """
        ...
