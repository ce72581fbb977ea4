"""Datasets of the workloads: names, sizes and bodies, and their upload into SeaweedFS.

Each 4 KiB of an object start with their own offset, so that a workload can check what it read.
"""

import contextlib
import http.client
import itertools
import json
import random
import struct
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.servers import ACCESS_KEY, REGION, SECRET_KEY, SeaweedFS

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4 * KIB
PART = 8 * MIB
_THREADS = 8
_READABLE_TIMEOUT = 60.0  # seconds
_SMALL = 4 * MIB  # larger objects are uploaded in parts through S3, as people do

Sizes = Iterator[tuple[str, int]]  # keys with their sizes


def flat() -> Sizes:
    """10,000 in one directory."""
    return ((f"flat/file-{n:05}.txt", 500 + n * 37 % 3000) for n in range(10_000))


def tree() -> Sizes:
    """10,000 in 1,100 directories: 100, with ten each, with ten files each."""
    numbers = itertools.product(range(100), range(10), range(10))
    return (
        (f"tree/{a:03}/{b:02}/file-{c}.txt", 500 + (a * 100 + b * 10 + c) * 37 % 3000)
        for a, b, c in numbers
    )


def deep() -> Sizes:
    """2,000 in 100 nested directories."""
    paths = itertools.accumulate((f"level-{n:03}/" for n in range(1, 100)), initial="deep/")
    return ((f"{path}file-{n:02}.txt", 600) for path in paths for n in range(20))


def few() -> Sizes:
    """50 in one directory, for lookups of absent names beside them."""
    return ((f"few/file-{n:02}.txt", 600) for n in range(50))


def wide() -> Sizes:
    """One directory of 100,000, and 1,000 directories of three, in the root."""
    big = ((f"big/file-{n:06}.txt", 600) for n in range(100_000))
    return itertools.chain(
        big, ((f"small-{n:04}/file-{m}.txt", 600) for n in range(1000) for m in range(3))
    )


def small() -> Sizes:
    """1,000 of 0.5 to 300 KB, 27 MiB in all, in ten directories; most are small, as files are."""
    curve = 1.82  # makes it 27 MiB
    return (
        (f"small/{n % 10}/file-{n // 10:02}.bin", int(500 * 600 ** ((n / 999) ** curve)))
        for n in range(1000)
    )


def gibibyte() -> Sizes:
    yield "gibibyte/file.bin", GIB


def quarters() -> Sizes:
    """Four of 256 MiB."""
    return ((f"quarters/file-{n}.bin", 256 * MIB) for n in range(4))


def many() -> Sizes:
    """64 of 16 MiB: four times the default memory limit."""
    return ((f"many/file-{n:02}.bin", 16 * MIB) for n in range(64))


def tens() -> Sizes:
    """Ten of 50 MiB, and one of 500 MiB."""
    yield "tens/whole.bin", 500 * MIB
    yield from ((f"tens/file-{n}.bin", 50 * MIB) for n in range(10))


def mixed() -> Sizes:
    """10,000 in 1,100 directories, files beside directories on each level."""
    directories = [
        "mixed",
        *(f"mixed/dir-{a:02}" for a in range(100)),
        *(f"mixed/dir-{a:02}/part-{b}" for a in range(100) for b in range(10)),
    ]
    files = (
        f"{directory}/file-{n:03}.txt"
        for directory in directories
        for n in range(100 if directory == "mixed" else 9)
    )
    return ((file, 500 + n * 37 % 3000) for n, file in enumerate(files))


SEED = 20240501  # every system gets the same random names and offsets
CHOSEN = frozenset(
    f"flat/file-{n:05}.txt" for n in random.Random(SEED).sample(range(10_000), 20)
)  # of flat


@dataclass(frozen=True, slots=True)
class Dataset:
    bucket: str
    objects: Callable[[], Sizes]


DATASETS: Mapping[str, Dataset] = {
    **{
        make.__name__: Dataset("bench", make)
        for make in (flat, tree, deep, few, small, gibibyte, quarters, many, tens, mixed)
    },
    "wide": Dataset("wide", wide),
}


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
        for key, size in objects:
            if size > _SMALL:
                transfer = TransferConfig(multipart_chunksize=PART, max_concurrency=4)
                client.upload_fileobj(
                    cast("IO[bytes]", Body(size)), dataset.bucket, key, Config=transfer
                )
        seeded.add(name)
        ledger.write_text(json.dumps(sorted(seeded)))
    for name in names:
        _await_readable(client, DATASETS[name])


def _await_readable(client: Any, dataset: Dataset) -> None:
    """Wait the seconds until a restarted SeaweedFS can read the objects that it lists."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    key, _ = next(dataset.objects())
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


def body(start: int, stop: int) -> bytes:
    """Return the bytes of any object from *start* (a multiple of 4 KiB) to *stop*."""
    pages = bytearray(_PAGE_REST * -(-(stop - start) // PAGE))
    for at in range(0, len(pages), PAGE):
        struct.pack_into("<Q", pages, at, start + at)
    return bytes(pages[: stop - start])


_PAGE_REST = bytes(
    n * 167 & 0xFF for n in range(PAGE)
)  # nearly patternless, and without runs of zeros


SEARCHED = body(0, PAGE)[470:486]  # each object of 500 bytes or more has them; no line ends in them


class Body:
    """File-like object of *size* bytes for an upload."""

    def __init__(self, size: int) -> None:
        self._at, self._size = 0, size

    def read(self, count: int = -1) -> bytes:
        """Read *count* bytes, a multiple of 4 KiB as boto3 requests."""
        start, self._at = self._at, self._size if count < 0 else min(self._at + count, self._size)
        return body(start, self._at)


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
