"""Bucket contents: uploads of many objects, and listings of what a server holds."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.servers import S3Server
from tests.servers.running import program

WRITERS = 16


def fill(server: S3Server, bodies: Mapping[str, bytes], bucket: str | None = None) -> str:
    """Put all *bodies* into *bucket*, or into a new one, and return its name."""
    bucket = bucket or server.make_bucket()
    client = _client(server)
    with ThreadPoolExecutor(WRITERS) as writers:
        done = [
            writers.submit(client.put_object, Bucket=bucket, Key=key, Body=body)
            for key, body in bodies.items()
        ]
    for each in done:
        each.result()
    return bucket


def fill_with_many(server: S3Server, keys: Iterable[str], body: bytes) -> str:
    """Make a bucket with thousands of *keys* that are paths, all with one *body*."""
    with TemporaryDirectory() as source:
        for key in keys:
            path = Path(source, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return fill_from(server, Path(source))


def fill_from(server: S3Server, source: Path) -> str:
    """Make a bucket with every file below *source*; returns its name.

    Uses rclone, which takes a tenth of boto3's time.
    """
    bucket = server.make_bucket()
    subprocess.run(
        [
            *(
                program("rclone"),
                "copy",
                str(source),
                f":s3:{bucket}",
                "--config",
                os.devnull,
                "--links=false",
            ),
            *("--transfers", str(WRITERS), "--no-traverse", "--s3-no-head", "--s3-no-check-bucket"),
        ],
        env={
            **os.environ,
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": server.endpoint_url,
            "RCLONE_S3_ACCESS_KEY_ID": server.access_key,
            "RCLONE_S3_SECRET_ACCESS_KEY": server.secret_key,
            "RCLONE_S3_REGION": server.region,
        },
        capture_output=True,
        timeout=300,
        check=True,
    )
    return bucket


def fill_as_far_as_it_can(server: S3Server, keys: Sequence[str]) -> tuple[str, dict[str, bytes]]:
    """Make a bucket with those of *keys* that *server* takes; return it with its contents.

    Each key is its own body. Keys with a common start are put one after another.
    """
    bucket = server.make_bucket()
    client = _client(server, retries={"total_max_attempts": 1})

    def put(group: Iterable[str]) -> None:
        for key in group:
            with suppress(BotoCoreError, ClientError):  # tests know what each server cannot hold
                client.put_object(Bucket=bucket, Key=key, Body=_body_of(key))

    alike = [list(group) for _, group in groupby(keys, lambda key: key.partition("/")[0])]
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(put, alike))
    return bucket, {
        key: client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in keys_in(server, bucket)
    }


def _body_of(key: str) -> bytes:
    """Return a body that identifies the object: empty for a marker, as file managers make them."""
    return b"" if key.endswith("/") else key.encode("utf-8", "surrogateescape")


def keys_in(server: S3Server, bucket: str) -> list[str]:
    """Return every key that *server* lists, as botocore parses it."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [listed["Key"] for page in pages for listed in page.get("Contents", ())]


def _client(server: S3Server, **config: Any) -> Any:
    return server.client(max_pool_connections=WRITERS, **config)
