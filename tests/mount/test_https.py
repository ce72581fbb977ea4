"""HTTPS with a private authority: --ca-bundle, AWS_CA_BUNDLE, and the error without them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.filesystem_access import read_tree
from tests.mount.mount_process import mount_of, refused
from tests.reference import tree_of
from tests.servers import S3Server

BODIES = {"a": b"a", "d/big": os.urandom(1 << 20) * 20, "d/e/f": b"f"}

each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@pytest.fixture(scope="module")
def bucket(seaweedfs_https: S3Server) -> str:
    return fill(seaweedfs_https, BODIES)


@each_transport
def test_with_ca_bundle_it_mounts_and_reads_correctly(
    seaweedfs_https: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    with mount_of(seaweedfs_https, bucket, tmp_path / "mnt", "--transport", transport) as mount:
        assert read_tree(mount.path) == tree_of(BODIES)


@each_transport
def test_with_aws_ca_bundle_it_mounts_and_reads_correctly(
    seaweedfs_https: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    server = replace(seaweedfs_https, ca_bundle=None)
    trusted = str(seaweedfs_https.ca_bundle)
    with mount_of(
        server, bucket, tmp_path / "mnt", "--transport", transport, AWS_CA_BUNDLE=trusted
    ) as mount:
        assert read_tree(mount.path) == tree_of(BODIES)


@each_transport
def test_without_a_ca_bundle_the_error_says_what_to_do(
    seaweedfs_https: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    at = tmp_path / "mnt"
    at.mkdir()

    done = refused(
        bucket,
        at,
        *("--endpoint-url", seaweedfs_https.endpoint_url, "--transport", transport),
        env=seaweedfs_https.environment(),
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "certificate" in done.stderr
    assert "--ca-bundle" in done.stderr


@each_transport
def test_with_no_verify_ssl_it_mounts_and_reads_correctly(
    seaweedfs_https: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    server = replace(seaweedfs_https, ca_bundle=None)
    with mount_of(
        server, bucket, tmp_path / "mnt", "--transport", transport, "--no-verify-ssl"
    ) as mount:
        mount.allow("verif")  # a warning is allowed
        assert read_tree(mount.path) == tree_of(BODIES)
