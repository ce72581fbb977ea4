"""Upload of datasets into SeaweedFS, each once."""

import contextlib
import http.client
import itertools
import json
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from benchmarks.content import MIB, Body, body
from benchmarks.datasets import DATASETS, Dataset
from benchmarks.servers import ACCESS_KEY, REGION, SECRET_KEY, SeaweedFS

PART = 8 * MIB
_THREADS = 8
_READABLE_TIMEOUT = 60.0  # seconds
_SMALL = 4 * MIB  # larger objects are uploaded in parts through S3, as people do


def seed(store: SeaweedFS, names: set[str], ledger: Path) -> None:
    """Upload the datasets *names*, except those in the file *ledger* beside the store's data."""
    # late: scripts/bench --help runs on a machine that has only Python
    import boto3  # noqa: PLC0415
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    seeded = set(json.loads(ledger.read_text())) if ledger.exists() else set()
    client = boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )
    for name in sorted(names - seeded):
        dataset = DATASETS[name]
        print(f"seeding {name} …", flush=True)
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=dataset.bucket)
        objects = list(dataset.objects())
        _put_small(store, dataset.bucket, [(key, size) for key, size in objects if size <= _SMALL])
        large = ((key, Body(size)) for key, size in objects if size > _SMALL)
        transfer = TransferConfig(multipart_chunksize=PART, max_concurrency=4)
        for key, content in itertools.chain(large, _made(name, dataset)):
            client.upload_fileobj(cast("IO[bytes]", content), dataset.bucket, key, Config=transfer)
        seeded.add(name)
        ledger.write_text(json.dumps(sorted(seeded)))
    for name in names:
        _await_readable(client, name, DATASETS[name])


def _made(name: str, dataset: Dataset) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the files that the dataset *name* makes, with their keys."""
    if dataset.make is None:
        return
    with tempfile.TemporaryDirectory(prefix="s3mount-bench-input-") as directory:
        folder = Path(directory)
        dataset.make(folder)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    yield f"{name}/{path.relative_to(folder)}", file


def _await_readable(client: Any, name: str, dataset: Dataset) -> None:
    """Wait the seconds until a restarted SeaweedFS can read the objects that it lists."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    key, _ = next(dataset.objects(), (None, 0))
    if key is None:
        found = client.list_objects_v2(Bucket=dataset.bucket, Prefix=f"{name}/", MaxKeys=1)
        key = found["Contents"][0]["Key"]
    deadline = time.monotonic() + _READABLE_TIMEOUT
    while True:
        try:
            client.get_object(Bucket=dataset.bucket, Key=key, Range="bytes=0-0")["Body"].read()
        except (ClientError, BotoCoreError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _put_small(store: SeaweedFS, bucket: str, objects: list[tuple[str, int]]) -> None:
    """Upload through SeaweedFS's filer, which is much faster than signed PUTs."""
    with ThreadPoolExecutor(_THREADS) as pool:
        shares = [
            pool.submit(_put_share, store, bucket, objects[n::_THREADS]) for n in range(_THREADS)
        ]
        for share in shares:
            share.result()


def _put_share(store: SeaweedFS, bucket: str, objects: list[tuple[str, int]]) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(store.filer_url).netloc)
    for key, size in objects:
        content_type = {"Content-Type": "application/octet-stream"}
        connection.request("PUT", f"/buckets/{bucket}/{key}", body(0, size), content_type)
        with connection.getresponse() as answer:
            answer.read()
            if answer.status >= 300:
                raise SystemExit(f"SeaweedFS refused {key!r} with status {answer.status}")
    connection.close()
