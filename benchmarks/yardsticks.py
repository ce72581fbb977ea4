"""Yardsticks: the same work on local files, or by a plain client, without a mount of S3."""

from pathlib import Path

from benchmarks import measure
from benchmarks.content import GIB, MIB, body
from benchmarks.mounted import mounted
from benchmarks.row import COLD_FILE, LOCAL, MOUNTED
from benchmarks.system import Target
from benchmarks.systems import LOCAL_MOUNT
from benchmarks.workload_process import workload_report


def yardstick_seconds(name: str, workload: str, scratch: Path, url: str) -> float:
    """Return the time of *workload* on a local file, or of a plain client of the bucket *url*."""
    if name == LOCAL:
        root = _local_copy(scratch, "quarters/file-0.bin", 256 * MIB)
        workload_report(workload, root)
        done = workload_report(workload, root)
    elif name == COLD_FILE:
        root = _local_copy(scratch, "gibibyte/file.bin", GIB)
        measure.drop_caches()
        done = workload_report(workload, root)
    elif name == MOUNTED:
        _local_copy(scratch, "gibibyte/file.bin", GIB)
        measure.drop_caches()
        target = Target("", "", scratch / "mnt", scratch)
        with mounted(LOCAL_MOUNT, target) as mount:
            done = workload_report(workload, mount.root)
    else:
        done = workload_report("serial_list", url)
    return done["seconds"]


def _local_copy(scratch: Path, name: str, size: int) -> Path:
    """Return a directory that has the object *name*, of *size* bytes, as a file."""
    root = scratch / "local"
    path = root / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, size, 8 * MIB):
                file.write(body(start, start + 8 * MIB))
    return root
