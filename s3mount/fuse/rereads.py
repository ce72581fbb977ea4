"""The kernel's second asking: a read that failed is asked for again, and to the user both are one.

The kernel reads ahead in large requests. Where one fails it forgets why, and asks once more for the one page that a user waits
for. Both share the first one's deadline, or a user would wait twice as long as was promised. Pure.
"""

from typing import NamedTuple

from s3mount.errors import S3MountError
from s3mount.s3.values import Span

PROMPTLY = 1.0  # seconds after a failure in which the kernel has asked again, on a busy machine too


class FailedRead(NamedTuple):
    """A read of an open file: when it began and ended, in seconds of one clock, and why."""

    span: Span
    began: float
    ended: float
    failure: S3MountError


class Rereads:
    """Failed reads whose second asking is to come, by the handle of the open file."""

    def __init__(self) -> None:
        self._failed: dict[int, list[FailedRead]] = {}

    def expect(self, handle: int, failed: FailedRead) -> None:
        """Note that the kernel will ask again for a part of *failed*."""
        self._failed.setdefault(handle, []).append(failed)

    def take(self, handle: int, span: Span, now: float) -> FailedRead | None:
        """The failed read that *span* asks for again, if it does. What failed beside it was read ahead for nobody, and is forgotten."""
        for failed in self._failed.get(handle, ()):
            if now <= failed.ended + PROMPTLY and failed.span.start <= span.start and span.stop <= failed.span.stop:
                del self._failed[handle]
                return failed
        return None

    def forget(self, handle: int) -> None:
        """The file is closed."""
        self._failed.pop(handle, None)
