"""The few questions a store answers, as the rest of the house asks them.

Every method is a checkpoint, always. Every method ends within the store's deadline and raises only `S3MountError`s:
`NotFound`, `AccessDenied`, `VersionGone`, `StoreFailed`, `DeadlineExceeded`.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from s3mount.s3.values import ListPage, ListQuery, ObjectStat, ObjectVersion, Revalidation, Span


class Urgency(IntEnum):
    """Who waits: a reader, or nobody yet. The first never queues behind the second."""

    DEMANDED = 0
    AHEAD = 1


OnToken = Callable[[str | None], None]
"""Is told, as a hint, where the next page of a listing begins; only the page itself is to be believed."""


class ObjectStore(Protocol):
    """Objects of one bucket."""

    async def head(self, key: str) -> ObjectStat:
        """What is known of *key* now (HeadObject)."""
        ...

    async def list_page(
        self, query: ListQuery, urgency: Urgency = Urgency.DEMANDED, on_token: OnToken | None = None
    ) -> ListPage:
        """One page of a listing (ListObjectsV2). *on_token* may be told the next page's token before this page has been read. AccessDenied where listing is refused, NotFound where the bucket is gone."""
        ...

    async def get_range(
        self, version: ObjectVersion, span: Span, into: memoryview, urgency: Urgency = Urgency.DEMANDED
    ) -> None:
        """Fill *into*, of the length of *span*, with these bytes of exactly this version.

        *span* is not empty and lies within the object. VersionGone where the store has another version by now, and this
        one cannot be had by its version id either. After an
        error, or a cancellation, the content of *into* is undefined; on cancellation the call first waits until no thread
        writes to *into* any more, so a returned call always hands the buffer back.
        """
        ...

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        """Ask with If-None-Match whether *version* is current still; if not, bring the first *head_size* bytes of the new one.

        NotFound where the object is gone.
        """
        ...
