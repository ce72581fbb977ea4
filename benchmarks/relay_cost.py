"""Cost of the relay: the time of reads through it over that of the same reads without it."""

import os
import subprocess
import time

from benchmarks.content import MIB
from benchmarks.environment import Bench
from benchmarks.row import NEAR
from benchmarks.servers import ACCESS_KEY, REGION, SECRET_KEY


def relay_cost(bench: Bench) -> float:
    """Return the time of four parallel ranges of 1 GiB through the near relay over that without it.

    Both are the best of three.
    """
    direct, relayed = bench.store.url, bench.addresses[NEAR, False].url
    times = [(_parallel_ranges(direct), _parallel_ranges(relayed)) for _ in range(3)]
    return min(through for _, through in times) / min(without for without, _ in times)


def _parallel_ranges(url: str) -> float:
    """Return the seconds that four curls take together, each for a quarter of the 1 GiB object."""
    signed = ["--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{ACCESS_KEY}:{SECRET_KEY}"]
    quarter = 256 * MIB
    start = time.perf_counter()
    curls = [
        subprocess.Popen(
            [
                "curl",
                "-sf",
                *signed,
                "-o",
                os.devnull,
                "-r",
                f"{at}-{at + quarter - 1}",
                f"{url}/bench/gibibyte/file.bin",
            ]
        )
        for at in range(0, 4 * quarter, quarter)
    ]
    statuses = [curl.wait() for curl in curls]
    if any(statuses):
        raise SystemExit(f"curl could not read from {url}")
    return time.perf_counter() - start
