"""Description of a test server: its address, its credentials and its quirks."""

import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import botocore.config

from s3mount.config import StoreConfig

_CREATING = threading.Lock()  # a session may be used by one thread at a time, its clients by all
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # version 1.0


class Quirk(Enum):
    """Difference of a server from S3; docs/servers.md describes each as observed."""

    IGNORES_IF_MATCH = auto()  # on GET: responds with the current version
    NO_VERSIONS = auto()
    NO_ARCHIVE = auto()  # serves archived objects, or has no storage classes
    KEYS_ARE_PATHS = auto()  # no "a//b", no "a/../b", no name over 255 bytes
    NO_OBJECT_BESIDE_ITS_PREFIX = auto()  # "a" or "a/b"
    NO_MARKERS = auto()  # an object "a/" is an object "a"
    NO_NEWLINES = auto()
    BACKSLASH_IS_SLASH = auto()
    LISTS_BY_DIRECTORY = (
        auto()
    )  # "dir/x" before "dir-1/x", against S3's key order, also between pages
    LISTS_AS_PLAIN_XML = auto()  # ignores encoding-type=url, and replaces what XML cannot hold
    REPEATS_COMMON_PREFIXES = auto()  # of the last row of a page, on the next one
    ODD_VERSIONS = auto()  # a page of versions cannot be continued, and HEAD knows no version id
    REPEATS_VERSIONS = auto()  # the current one that ends a page, on the next one
    VERSION_IDS_IN_HEAD_ONLY = auto()  # in a bucket without versions
    ANYBODY_MAY_READ = auto()  # accepts wrong keys


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server."""

    name: str
    endpoint_url: str
    quirks: frozenset[Quirk]
    access_key: str = "AKIDS3MOUNTTESTS0000"
    secret_key: str = "not/a+secret-of-anybody"
    region: str = "us-east-1"
    ca_bundle: Path | None = None

    def client(self, **config: Any) -> Any:
        """Return a new boto3 client, which has its own connections."""
        with _CREATING:
            return _session().client(
                "s3",
                endpoint_url=self.endpoint_url,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name=self.region,
                verify=str(self.ca_bundle) if self.ca_bundle else None,
                config=botocore.config.Config(
                    s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required",
                    **config,
                ),
            )

    def make_bucket(self, client: Any = None, *, versioned: bool = False) -> str:
        """Make an empty bucket, by *client* or a new one, and return its name."""
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        client = client or self.client()
        client.create_bucket(Bucket=bucket)
        if versioned:
            client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        return bucket

    def store_config(self, bucket: str, **options: Any) -> StoreConfig:
        """Return the configuration of a mount of *bucket*."""
        options = {"endpoint_url": self.endpoint_url, "ca_bundle": self.ca_bundle, **options}
        return StoreConfig(bucket=bucket, **options)

    def can_hold(self, key: str) -> bool:
        """Return whether the server can store an object under *key* and return it."""
        components = key.removesuffix("/").split("/")
        is_path = not {"", ".", ".."} & set(components) and all(
            len(each.encode()) <= 255 for each in components
        )
        limits = {
            Quirk.KEYS_ARE_PATHS: is_path,
            Quirk.NO_MARKERS: not key.endswith("/"),
            Quirk.NO_NEWLINES: "\n" not in key,
            Quirk.BACKSLASH_IS_SLASH: "\\" not in key,
            Quirk.LISTS_AS_PLAIN_XML: _NOT_IN_XML.search(key) is None,
        }
        return all(is_met for quirk, is_met in limits.items() if quirk in self.quirks)

    def environment(self) -> Mapping[str, str]:
        """Return environment variables with the server's credentials and no other AWS settings."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@cache
def _session() -> boto3.session.Session:
    """Return the session of all clients; each session parses the description of S3 once, 0.1 s."""
    return boto3.session.Session()
