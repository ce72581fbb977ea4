"""Rows of programs that go through whole trees: archives, searches, copies, millions of names."""

from benchmarks.datasets import DATASETS
from benchmarks.row import FAR, MILLION_KEYS, RCLONE, SERIAL, TWO_MILLION, Limits, Row

_BYTES = sum(size for _, size in DATASETS["mixed"].objects())
_FILES = 10_000
_REQUESTS = int(1.03 * _FILES)
_WITHOUT_PEERS = frozenset({"s3mount", "floor"})  # the others take a round trip a file: minutes


def _tree_row(
    name: str, command: str, seconds: float, *, seen: int = _BYTES, packages: tuple[str, ...] = ()
) -> Row:
    return Row(
        name=name,
        title=f"{command}, 10,000 small files in 1,100 directories",
        workload=f"{name}_tree",
        dataset="mixed",
        seen=seen,
        beside=RCLONE,
        links={FAR: Limits(seconds=seconds, requests=_REQUESTS)},
        systems=_WITHOUT_PEERS,
        packages=packages,
    )


TREE_ROWS = (
    _tree_row("tar", "tar", 4.5),
    _tree_row("grep", "grep -r", 4.5, seen=_FILES),
    _tree_row("cp", "cp -a", 6),
    _tree_row("rsync", "rsync -a", 6, packages=("rsync",)),
    Row(
        name="two-million",
        title="find, 2,000,000 objects in 20,000 directories",
        workload="find_wide",
        dataset=TWO_MILLION,
        seen=2 * MILLION_KEYS,
        beside=(SERIAL,),
        links={FAR: Limits(ratio=1.25, growth=200)},
        ttl=600,
        systems=_WITHOUT_PEERS,
    ),
)
