"""Timestamps that outlive the boot: when something was requested, for another process.

Pure. A timestamp has the seconds since the boot with the boot's id, which no change of the time of
day affects, and the time of day, for another boot. Invariant: what seems to come from the future is
of no known age, and so has expired. See docs/decisions/persistent-metadata.md.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from s3mount.filesystem.persistence.record_fields import FieldReader, FieldWriter, MalformedRecord

BOOT_SIZE: Final = 16  # bytes


class BootClock(NamedTuple):
    """The clocks of a machine: *now* since its boot, as the tree has it, and the time of day.

    *boot* is the id of the boot, of BOOT_SIZE bytes: `now` of two boots cannot be compared.
    """

    now: Callable[[], float]
    time_of_day: Callable[[], float]
    boot: bytes


class Timestamps:
    """Writes and reads times of *clock*, in seconds."""

    def __init__(self, clock: BootClock) -> None:
        self._clock = clock

    def write(self, writer: FieldWriter, time: float) -> None:
        """Add *time*, of the tree's clock."""
        writer.raw(self._clock.boot)
        writer.f64(time)
        writer.f64(self._clock.time_of_day() - (self._clock.now() - time))

    def read(self, reader: FieldReader) -> float | None:
        """The same time on this boot's clock; None if it is of no known age. MalformedRecord."""
        boot, time, time_of_day = reader.raw(BOOT_SIZE), reader.f64(), reader.f64()
        if not (math.isfinite(time) and math.isfinite(time_of_day)):
            raise MalformedRecord("a time is not finite")
        now = self._clock.now()
        is_same_boot = boot == self._clock.boot
        age = now - time if is_same_boot else self._clock.time_of_day() - time_of_day
        if age < 0:
            return None
        return time if is_same_boot else now - age
