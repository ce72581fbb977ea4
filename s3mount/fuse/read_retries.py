"""Tracker of failed reads: the kernel retries them, and for the user both reads are one.

The kernel reads ahead in large requests. If one fails, it drops the error, and requests the one
page that a user waits for. For a page fault it does so twice (mm/filemap.c: filemap_fault, after
VM_FAULT_RETRY). All share the deadline of the first, or a user would wait twice as long as
promised. So does a new read of what was read ahead in vain: whether another thread waits for it
cannot be told. Pure.

What is kept is bounded in number and age, and holds neither frames nor buffers of failed reads.
"""

from typing import Final, NamedTuple

from s3mount.errors import S3MountError

RETRIED_WITHIN = (
    1.0  # seconds after a failure; the kernel has retried by then on a busy machine too
)
FILES_MAX: Final = (
    1024  # with failed reads within that time; a read beyond has a deadline of its own
)
READS_MAX: Final = 256  # of a file: as many as the kernel has in flight at once (BACKGROUND_MAX)


class FailedRead(NamedTuple):
    """A read of [*start*, *stop*) of an open file, its time in seconds of one clock, and why.

    *started* is that of the first read if it is a retry.
    """

    start: int
    stop: int
    started: float
    ended: float
    failure: S3MountError
    is_retry: bool = False


class ReadRetryTracker:
    """Failed reads that the kernel is about to retry, by the handle of the open file."""

    def __init__(self) -> None:
        # in the order of the latest failure; no list is empty
        self._failed: dict[int, list[FailedRead]] = {}

    def record(self, handle: int, failed: FailedRead, *, retried: FailedRead | None = None) -> None:
        """Expect a retry of a part of *failed*, which has just ended, and has retried *retried*.

        After a second retry, the next read is the user's own.
        """
        if retried is not None:
            if retried.is_retry:
                return
            failed = failed._replace(started=retried.started, is_retry=True)
        horizon = failed.ended - RETRIED_WITHIN
        recent = [each for each in self._failed.pop(handle, ()) if each.ended >= horizon]
        kept = failed._replace(failure=failed.failure.detached())
        self._failed[handle] = [*recent[1 - READS_MAX :], kept]
        self._drop_old(horizon)

    def take(self, handle: int, start: int, stop: int, now: float) -> FailedRead | None:
        """The failed read that a read of [*start*, *stop*) retries, if it does; then forgotten."""
        of_file = self._failed.get(handle, [])
        for failed in of_file:
            if (
                now <= failed.ended + RETRIED_WITHIN
                and failed.start <= start
                and stop <= failed.stop
            ):
                of_file.remove(failed)
                if not of_file:
                    del self._failed[handle]
                return failed
        return None

    def forget(self, handle: int) -> None:
        """The file is closed."""
        self._failed.pop(handle, None)

    def _drop_old(self, horizon: float) -> None:
        while self._failed:
            oldest, failed = next(iter(self._failed.items()))
            if failed[-1].ended >= horizon and len(self._failed) <= FILES_MAX:
                return
            del self._failed[oldest]
