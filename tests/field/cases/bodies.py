"""Reports about bodies: cut, packed, flipped, whole for a range."""

import gzip

from tests.field import kinds
from tests.field.case import Case, right_or_fails

LARGE = {"large": bytes(range(256)) * (8 << 12), "small": b"a few bytes\n" * 40}
PACKED = {"log.gz": gzip.compress(b"a line of a log\n" * 500, mtime=0), "plain": b"plain\n"}

CASES = (
    Case(
        "ranges are ignored",
        "A cache answers 200 with the whole object to each Range.",
        oddities=(kinds.without_ranges(200),),
        objects=LARGE,
        options=("--part-size", "1MiB"),
        may_log=("large",),
    ),
    Case(
        "ranges are not implemented and the object exceeds the memory",
        "An Object Lambda access point answers 501 to each Range of a large object.",
        oddities=(kinds.without_ranges(501),),
        objects={"large": bytes(range(256)) * (24 << 12)},
        options=("--part-size", "1MiB", "--memory-limit", "16MiB"),
        steps=(right_or_fails("EIO|EFBIG|ENOTSUP", "large"),),
        may_log=("large|[Rr]ange",),
    ),
)
