"""What a test knows of a server: where it is, who may ask, and where it is not like S3."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import boto3
import botocore.config


class Quirk(Enum):
    """A way in which a server is not like S3; docs/servers.md tells how each was seen."""

    IGNORES_IF_MATCH = auto()  # on GET: answers with whatever it has
    NO_VERSIONS = auto()
    NO_STORAGE_CLASSES = auto()
    KEYS_ARE_PATHS = auto()  # no "a//b", no "a/../b", no object beside a prefix of its name
    LISTS_BY_DIRECTORY = auto()  # "dir/x" before "dir-1/x", against the order of keys
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
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required", **config
            ),
        )

    def make_bucket(self) -> str:
        """A new, empty bucket."""
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment to be let in, and no configuration of the machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
