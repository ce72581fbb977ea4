"""The disk cache of a mount in one line, for `s3mountctl top`. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from s3mount.ctl import units

Part = str | tuple[str, str]


def disk_summary(disk: Mapping[str, Any]) -> Iterator[Part]:
    """Yield parts of a text, some with their style: size, hits, evictions and damage."""
    if disk.get("bypassed"):
        yield "bypassed  ", "bold yellow"
    hits, misses = disk.get("hits") or 0, disk.get("misses") or 0
    if disk.get("used") is None:
        yield "it does not respond", "bold yellow"
    else:
        yield f"{units.size(disk['used'])} of {units.size(disk.get('limit') or 0)}"
    yield f", hits {units.share(hits, hits + misses)}"
    yield f", evictions {units.number(disk.get('evictions') or 0)}"
    bad = disk.get("bad") or 0
    yield f", damaged extents {units.number(bad)}", "bold red" if bad else ""
