"""Mount of a bucket with archived objects, s3mountctl beside it, and requests for them."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mount.control_client import control_client
from tests.mount.mount_process import Mount, environment, mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.terminal import WITHIN

COMMAND = [sys.executable, "-c", "from s3mount.ctl.main import main; main()"]
KEYS = [f"d/{number:02}" for number in range(30)]
COLD = ["d/04", "d/11", "d/12", "d/13", "d/29"]
BODIES = {key: key.encode() * 1000 for key in KEYS}


def fill(server: S3Server, storage_class: str = "GLACIER") -> str:
    """Make a bucket of which *COLD* are archived."""
    bucket, client = server.make_bucket(), server.client()
    for key, body in BODIES.items():
        options = {"StorageClass": storage_class} if key in COLD else {}
        client.put_object(Bucket=bucket, Key=key, Body=body, **options)
    return bucket


@contextmanager
def cold_mount(
    server: S3Server, at: Path, *options: str, storage_class: str = "GLACIER"
) -> Iterator[tuple[Mount, Traffic]]:
    """Mount such a bucket behind a relay."""
    bucket = fill(server, storage_class)
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, at, *options) as mount,
    ):
        traffic.take()
        yield mount, traffic


def run(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(),
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def bucket_of(mount: Mount) -> str:
    status = json.loads(run("status", "--json", mount.path).stdout)
    return str(status["identity"]["bucket"])


def requests_for(traffic: Traffic, *keys: str) -> Counter[str]:
    """Return the kinds of the requests for *keys* since the last look."""
    paths = tuple(f"/{key}" for key in keys)
    return Counter(
        each.kind for each in traffic.take() if each.path.partition("?")[0].endswith(paths)
    )


def warm(mount: Mount, **options: object) -> dict[str, Any]:
    with control_client(mount.path) as client:
        client.send("warm", paths=[""], **options)
        while "item" in (reply := client.receive()):
            pass
    result: dict[str, Any] = reply["result"]
    return result
