"""Rows of programs that go through whole trees: archives, searches, copies, millions of names."""

from benchmarks.datasets import DATASETS
from benchmarks.row import FAR, MILLION_KEYS, RCLONE, SERIAL, TWO_MILLION, Limits, Row

_FILES = 10_000
_REQUESTS = int(1.03 * _FILES)
_WITHOUT_PEERS = frozenset({"s3mount", "floor"})  # the others take a round trip a file: minutes

TREE_ROWS = (
    Row(
        name="tar",
        title="tar, 10,000 small files in 1,100 directories",
        workload="tar_tree",
        dataset="mixed",
        seen=DATASETS["mixed"].size,
        beside=RCLONE,
        links={FAR: Limits(seconds=4.5, requests=_REQUESTS)},
        systems=_WITHOUT_PEERS,
    ),
    Row(
        name="grep",
        title="grep -r, 10,000 small files in 1,100 directories",
        workload="grep_tree",
        dataset="mixed",
        seen=_FILES,
        beside=RCLONE,
        links={FAR: Limits(seconds=4.5, requests=_REQUESTS)},
        systems=_WITHOUT_PEERS,
    ),
    Row(
        name="cp",
        title="cp -a, 10,000 small files in 1,100 directories",
        workload="cp_tree",
        dataset="mixed",
        seen=DATASETS["mixed"].size,
        beside=RCLONE,
        links={FAR: Limits(seconds=6, requests=_REQUESTS)},
        systems=_WITHOUT_PEERS,
    ),
    Row(
        name="rsync",
        title="rsync -a, 10,000 small files in 1,100 directories",
        workload="rsync_tree",
        dataset="mixed",
        seen=DATASETS["mixed"].size,
        beside=RCLONE,
        links={FAR: Limits(seconds=6, requests=_REQUESTS)},
        systems=_WITHOUT_PEERS,
        packages=("rsync",),
    ),
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
