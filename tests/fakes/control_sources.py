"""Sources of the control socket's commands, without a mount."""

from collections.abc import Sequence

from s3mount.cache.file_activity import FileActivity
from s3mount.config import PriceConfig
from s3mount.control.sources import Requests, Sources, StoreState
from s3mount.filesystem.namespace.path_lookup import FoundPath
from s3mount.metrics import Metrics
from s3mount.s3.model import ObjectVersion

# what the bill is reckoned from
COUNTED = (
    *("get_requests", "head_requests", "list_requests", "bytes_received", "reads"),
    *("lookup_hits", "lookup_misses", "listing_pages_read", "bytes_served"),
)


class OneFile:
    """The open files of a mount."""

    def activity(self, most: int) -> list[FileActivity]:  # noqa: ARG002
        return [FileActivity("k", 1, 2, 3, 4, 5)]


class NoNames:
    """A tree in which nothing is cached."""

    def refresh(self, names: object) -> int:  # noqa: ARG002
        return 0


class OnePath:
    """A tree with one file at each path."""

    async def find(self, names: Sequence[bytes]) -> FoundPath:
        key = b"/".join(names).decode()
        return FoundPath(key, ObjectVersion("bucket", key, "etag", 7))


async def _at_once(_most: float) -> bool:
    return True


def make_sources(requests: Requests, state: StoreState) -> Sources:
    metrics = Metrics()
    for name in COUNTED:
        metrics.counter(name, "things", "", lambda: 1)
    return Sources(
        store=lambda: state,
        requests=requests,
        files=OneFile(),
        metrics=metrics,
        tree=NoNames(),
        paths=OnePath(),
        wait_dropped=_at_once,
        prices=PriceConfig(),
        set_log_level=lambda level: level,
    )
