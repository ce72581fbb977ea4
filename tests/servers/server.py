"""What a test knows of a server: where it is, who may ask, and where it is not like S3."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import boto3
import botocore.config

from s3mount.config import StoreConfig


class Quirk(Enum):
    """A way in which a server is not like S3; docs/servers.md tells each as it was seen."""

    IGNORES_IF_MATCH = auto()  # on GET: answers with whatever it has
    NO_VERSIONS = auto()
    NO_ARCHIVE = auto()  # gives the bytes of archived objects away, or knows no storage classes
    KEYS_ARE_PATHS = auto()  # no "a//b", no "a/../b", no name over 255 bytes
    NO_OBJECT_BESIDE_ITS_PREFIX = auto()  # "a" or "a/b"
    NO_MARKERS = auto()  # an object "a/" is an object "a"
    NO_CONTROL_CHARACTERS = auto()
    NO_NEWLINES = auto()
    BACKSLASH_IS_SLASH = auto()
    LISTS_BY_DIRECTORY = auto()  # "dir/x" before "dir-1/x", against the order of keys; and pages so
    ANYBODY_MAY_READ = auto()  # wrong keys are not refused


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
        """A boto3 client for arranging things."""
        return boto3.session.Session().client(
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
        """A new, empty bucket, made by *client* or a new one."""
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        client = client or self.client()
        client.create_bucket(Bucket=bucket)
        if versioned:
            client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        return bucket

    def store_config(self, bucket: str, **options: Any) -> StoreConfig:
        """How the mount is told of *bucket*."""
        options = {"endpoint_url": self.endpoint_url, "ca_bundle": self.ca_bundle, **options}
        return StoreConfig(bucket=bucket, **options)

    def can_hold(self, key: str) -> bool:
        """Whether an object of this key can be made, and comes back under it."""
        components = key.removesuffix("/").split("/")
        is_path = not {"", ".", ".."} & set(components) and all(
            len(each.encode()) <= 255 for each in components
        )
        limits = {
            Quirk.KEYS_ARE_PATHS: is_path,
            Quirk.NO_MARKERS: not key.endswith("/"),
            Quirk.NO_CONTROL_CHARACTERS: not any(ord(c) < 32 or ord(c) == 127 for c in key),
            Quirk.NO_NEWLINES: "\n" not in key,
            Quirk.BACKSLASH_IS_SLASH: "\\" not in key,
        }
        return all(is_met for quirk, is_met in limits.items() if quirk in self.quirks)

    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment to be let in, and no configuration of the machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
