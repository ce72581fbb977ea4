"""The report on real servers: every check is made, and a good server fails none."""

import shlex
from pathlib import Path

import pytest

from s3mount.config import StoreConfig
from s3mount.doctor import examination
from tests.mount.buckets import fill
from tests.mount.filesystem_access import read_tree
from tests.mount.mount_process import mounted
from tests.reference import tree_of
from tests.servers import S3Server
from tests.unit.doctor.report import Report, clear_environment, examine

BODIES = {"a": b"a", "d/big": bytes(range(256)) * 8192, "d/e": b"e"}
CONNECTIONS = StoreConfig(bucket="photos").max_connections
SERVERS = ("seaweedfs", "seaweedfs_https", "moto", "versitygw")


def options_of(server: S3Server) -> tuple[str, ...]:
    bundle = ("--ca-bundle", str(server.ca_bundle)) if server.ca_bundle else ()
    return ("--endpoint-url", server.endpoint_url, *bundle)


@pytest.fixture(params=SERVERS)
def examined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Each of the servers in turn, with its credentials in the environment."""
    server: S3Server = request.getfixturevalue(request.param)
    clear_environment(monkeypatch, **server.environment())
    return server


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_a_good_server_fails_no_check_and_the_suggested_command_mounts(
    examined: S3Server, transport: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bucket = fill(examined, BODIES)

    report = examine(capfd, bucket, *options_of(examined), "--transport", transport)
    words = shlex.split(report.command or "")
    with mounted(words[1], tmp_path / "mnt", *words[3:], env=examined.environment()) as mount:
        tree = read_tree(mount.path)

    assert report.names("failure") == report.names("not tried") == []
    assert "allowed" in report["get"].text
    assert "MiB/s" in report[f"{CONNECTIONS} connections"].text
    assert tree == tree_of(BODIES)


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_objects_with_a_customer_key_are_read_with_it(
    seaweedfs_https: S3Server,
    transport: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """By a process that cannot be dumped from then on."""
    clear_environment(monkeypatch, **seaweedfs_https.environment())
    forbidden: list[str] = []
    monkeypatch.setattr(examination, "forbid_dumps", lambda: forbidden.append("dumps"))
    file = tmp_path / "key"
    file.write_bytes(b"0123456789abcdef" * 2)
    file.chmod(0o600)
    bucket = seaweedfs_https.make_bucket()
    seaweedfs_https.client().put_object(
        Bucket=bucket,
        Key="a",
        Body=bytes(1 << 20),
        SSECustomerAlgorithm="AES256",
        SSECustomerKey=file.read_bytes(),
    )
    options = (bucket, *options_of(seaweedfs_https), "--transport", transport)

    report = examine(capfd, *options, "--sse-c-key-file", str(file))
    without = examine(capfd, *options)

    assert report.names("failure") == report.names("not tried") == []
    assert f"--sse-c-key-file {file}" in (report.command or "")
    assert file.read_text() not in report.output
    assert "--sse-c-key-file" in without["head"].text
    assert "--sse-c-key-file" in without["get"].text
    assert forbidden == ["dumps"]


def test_a_wrong_secret_fails_one_check(
    seaweedfs: S3Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = fill(seaweedfs, BODIES)
    clear_environment(
        monkeypatch, **{**seaweedfs.environment(), "AWS_SECRET_ACCESS_KEY": "wrong-and-secret"}
    )
    report: Report = examine(capfd, bucket, *options_of(seaweedfs), "--no-speed")

    assert report.names("failure") == ["list"]
    assert "secret key does not match" in report["list"].text
    assert "wrong-and-secret" not in report.output


def test_a_bucket_of_another_region_is_found(
    moto: S3Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.client().create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    fill(moto, BODIES, "far-away")
    clear_environment(monkeypatch, **moto.environment())
    report = examine(capfd, "far-away", *options_of(moto), "--no-speed")

    assert report.names("failure") == []
    assert report["list"].outcome == "ok"
