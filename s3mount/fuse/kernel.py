"""The kernel's side of the mount, tuned through sysfs where it is permitted.

Blocking: to be called from a thread, when the mount answers already. Nothing here is needed for the mount to be right.
"""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

READ_AHEAD_KIB = 1024  # the largest read that libfuse asks for; the kernel's own default is 128
BACKGROUND = 64  # reads that the kernel has under way at once; its own default is 12


def tune(mountpoint: str) -> None:
    """Have the kernel read ahead in large pieces, many at once."""
    device = Path(mountpoint).stat().st_dev
    _set(Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"), READ_AHEAD_KIB)
    _set(Path(f"/sys/fs/fuse/connections/{os.minor(device)}/max_background"), BACKGROUND)


def _set(path: Path, value: int) -> None:
    try:
        path.write_text(str(value))
    except OSError as exc:
        log.debug("kernel setting stays as it is: %s", exc)
