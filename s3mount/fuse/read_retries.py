"""The kernel's second asking: a read that failed is asked for again, and to the user both are one.

The kernel reads ahead in large requests. Where one fails it forgets why, and asks once more for the one page that a user waits
for. Both share the first one's deadline, or a user would wait twice as long as was promised. Pure.

What is kept is bounded in number and age, and holds no frames of the reads that failed, nor their buffers.
"""

from typing import Final, NamedTuple

from s3mount.errors import S3MountError
from s3mount.s3.model import ByteRange

PROMPTLY = 1.0  # seconds after a failure in which the kernel has asked again, on a busy machine too
FILES_MAX: Final = 1024  # whose reads failed within that time; one beyond is asked for anew, with a deadline of its own
READS_MAX: Final = 16  # of a file; the kernel has 12 on the way at once (FUSE's max_background)


class FailedRead(NamedTuple):
    """A read of an open file: when it began and ended, in seconds of one clock, and why."""

    span: ByteRange
    began: float
    ended: float
    failure: S3MountError


class ReadRetryTracker:
    """Failed reads whose second asking is to come, by the handle of the open file."""

    def __init__(self) -> None:
        self._failed: dict[int, list[FailedRead]] = {}  # in the order of the latest failure

    def expect(self, handle: int, failed: FailedRead) -> None:
        """Note that the kernel will ask again for a part of *failed*, which has just ended."""
        horizon = failed.ended - PROMPTLY
        recent = [each for each in self._failed.pop(handle, ()) if each.ended >= horizon]
        kept = failed._replace(failure=failed.failure.detached())
        self._failed[handle] = [*recent[1 - READS_MAX :], kept]
        self._drop_old(horizon)

    def take(self, handle: int, span: ByteRange, now: float) -> FailedRead | None:
        """The failed read that *span* asks for again, if it does. What failed beside it was read ahead for nobody, and is forgotten."""
        for failed in self._failed.get(handle, ()):
            if (
                now <= failed.ended + PROMPTLY
                and failed.span.start <= span.start
                and span.stop <= failed.span.stop
            ):
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
