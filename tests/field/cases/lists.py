"""Reports about listings: odd rows, odd pages, old versions of the API."""

from tests.field import kinds
from tests.field.case import (
    Case,
    is_absent,
    reads,
    reads_all,
)

MANY = {f"d/{number:03}": b"%d" % number for number in range(25)} | {"e/x": b"x", "f": b"f"}
NULL_TIME = "0001-01-01T00:00:00.000Z"

CASES = (
    Case("a store is ordinary", "No report: an ordinary store, small pages.", page_size=2),
    Case(
        "truncated pages have no row",
        "A store with many delete markers sends truncated pages without rows first.",
        oddities=(kinds.empty_pages_first(2),),
        objects={"a.txt": b"first\n", "photos/x": b"x", "z": b"last\n"},
        options=("--no-prefetch", "all"),
        steps=(reads("a.txt"), is_absent("b"), is_absent("photo"), reads_all()),
    ),
)
