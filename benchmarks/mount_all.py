"""Time of `mount -a` for ten lines of fstab: ten mount helpers, one after another.

Calls `mount.s3mount` as mount(8) does, so that it need not be installed. As root, or with fuse3.

python -m benchmarks.mount_all        prints {"seconds": …} for each of three rounds
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.datasets import DATASETS
from benchmarks.seed import seed
from benchmarks.servers import REGION, seaweedfs
from benchmarks.system import command_environment

MOUNTS = 10
ROUNDS = 3


def main() -> None:
    """Measure, and print each round."""
    with tempfile.TemporaryDirectory(prefix="s3mount-bench-") as directory:
        scratch, data = Path(directory), Path(directory, "data")
        data.mkdir()
        with seaweedfs(data, scratch) as store:
            seed(store, {"few"}, data / "seeded.json")
            for _ in range(ROUNDS):
                print(json.dumps({"seconds": round(_mount_all(store.url, scratch), 3)}), flush=True)


def _mount_all(url: str, scratch: Path) -> float:
    """Return the seconds until the last of the mounts has answered."""
    points = [scratch / f"mnt-{number}" for number in range(MOUNTS)]
    for point in points:
        point.mkdir(exist_ok=True)
    begin = time.perf_counter()
    try:
        for point in points:
            _mount(point, url)
            point.stat()
        return time.perf_counter() - begin
    finally:
        for point in points:
            if point.is_mount():
                subprocess.run(["fusermount3", "-u", point], check=True)


def _mount(point: Path, url: str) -> None:
    options = f"ro,endpoint_url={url},path_style,region={REGION}"
    program = "from s3mount.cli.mount_helper import main; main()"
    bucket = DATASETS["few"].bucket
    subprocess.run(
        [sys.executable, "-c", program, bucket, point, "-o", options],
        check=True,
        env=command_environment(None),
    )


if __name__ == "__main__":
    main()
