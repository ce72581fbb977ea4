"""Failures to mount: one line with the cause and the remedy, status 1, before the background."""

import configparser
import http.server
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.filesystem_access import output_of, read_file
from tests.mount.mount_process import (
    REPOSITORY,
    is_mounted,
    mount_of,
    mounted,
    refused,
    run_command,
    served,
)
from tests.servers import S3Server
from tests.waiting import wait_until

UNREACHABLE_WITHIN = 15  # seconds
PRINTS_IMPORTS = """\
import json, sys
from s3mount.cli.main import s3mount
status = s3mount(sys.argv[1:])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(status)
"""


def refusal(server: S3Server, source: str, at: Path, *options: str, **variables: str) -> str:
    """Return the one line of a command that ends with status 1."""
    at.mkdir()
    done = refused(
        source,
        at,
        "--endpoint-url",
        server.endpoint_url,
        *options,
        env={**server.environment(), **variables},
        is_forked=False,
    )
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("s3mount: ")
    assert server.secret_key not in done.stderr
    assert not is_mounted(at)
    return done.stderr


def test_a_missing_bucket_is_named(server: S3Server, tmp_path: Path) -> None:
    line = refusal(server, "no-such-bucket-here", tmp_path / "mnt")

    assert "no-such-bucket-here" in line
    assert "not exist" in line or "no such bucket" in line.lower()


@pytest.mark.parametrize("name", ["seaweedfs", "rclone"])
def test_a_wrong_secret_is_reported_as_such(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Not on moto, which accepts any secret."""
    server: S3Server = request.getfixturevalue(name)
    bucket = server.make_bucket()

    line = refusal(server, bucket, tmp_path / "mnt", AWS_SECRET_ACCESS_KEY="wrong")

    assert "secret" in line.lower() or "credential" in line.lower() or "denied" in line.lower()


@pytest.mark.parametrize("name", ["seaweedfs", "rclone"])
def test_an_anonymous_request_is_denied(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: S3Server = request.getfixturevalue(name)
    bucket = server.make_bucket()

    line = refusal(server, bucket, tmp_path / "mnt", "--no-sign-request")

    assert "denied" in line.lower() or "refuses" in line


def test_missing_credentials_are_reported_with_the_places_searched(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.make_bucket()
    at = tmp_path / "mnt"
    at.mkdir()

    env = {"AWS_CONFIG_FILE": "/dev/null"}
    done = refused(bucket, at, "--endpoint-url", server.endpoint_url, env=env, is_forked=False)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "credentials" in done.stderr


def test_no_credentials_are_needed_for_a_public_bucket(moto: S3Server, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    moto.client().put_object(Bucket=bucket, Key="a", Body=b"public", ACL="public-read")
    with mount_of(
        moto,
        bucket,
        tmp_path / "mnt",
        "--no-sign-request",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
    ) as mount:
        assert read_file(mount / "a") == b"public"


def test_a_bucket_in_another_region_is_found_if_no_region_was_named(
    moto: S3Server, tmp_path: Path
) -> None:
    bucket = "elsewhere"
    moto.client().create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    fill(moto, {"a": b"far"}, bucket)

    with mount_of(moto, bucket, tmp_path / "mnt") as mount:
        assert read_file(mount / "a") == b"far"


def test_an_endpoint_that_refuses_connections_is_reported_within_the_start_timeout(
    moto: S3Server, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        line = _timed(moto, tmp_path, url, "--start-timeout", "5")

    assert "127.0.0.1" in line


def test_an_endpoint_that_never_responds_is_reported_within_both_timeouts(
    moto: S3Server, tmp_path: Path
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        line = _timed(moto, tmp_path, url, "--timeout", "8", "--start-timeout", "4")

    assert "127.0.0.1" in line


def test_an_endpoint_that_does_not_resolve_is_named(moto: S3Server, tmp_path: Path) -> None:
    line = _timed(moto, tmp_path, "http://no-such-host.invalid", "--start-timeout", "5")

    assert "no-such-host.invalid" in line


def test_an_endpoint_that_is_no_s3_server_is_reported_as_such(
    moto: S3Server, tmp_path: Path
) -> None:
    with _web_server() as url:
        line = _timed(moto, tmp_path, url)

    assert "S3" in line


def test_errors_are_reported_in_the_foreground_too(server: S3Server, tmp_path: Path) -> None:
    assert "no-such-bucket-here" in refusal(
        server, "no-such-bucket-here", tmp_path / "mnt", "--foreground"
    )


def test_the_command_returns_0_once_the_mount_responds(server: S3Server, tmp_path: Path) -> None:
    bucket = fill(server, {"a": b"there"})
    at = tmp_path / "mnt"
    at.mkdir()

    done = run_command(bucket, at, "--endpoint-url", server.endpoint_url, env=server.environment())
    body = read_file(at / "a")
    output_of("umount", at)

    assert (done.returncode, done.stdout, done.stderr, body) == (0, "", "", b"there")


def test_a_mount_with_keys_and_an_endpoint_imports_no_botocore(
    server: S3Server, tmp_path: Path
) -> None:
    """Botocore takes longer to import than all the rest of a start."""
    bucket, at = fill(server, {"a": b"there"}), tmp_path / "mnt"
    words = [
        *(sys.executable, "-c", PRINTS_IMPORTS, bucket, str(at), "--foreground"),
        *("--log-format", "json", "--endpoint-url", server.endpoint_url),
    ]

    with served(words, at, env=server.environment(), has_pipes=True) as mount:
        body = read_file(at / "a")
        output_of("umount", at)
        assert mount.process.stdout is not None
        imported = set(json.loads(mount.process.stdout.read()))
        mount.is_left = True

    assert body == b"there"
    assert {"pyfuse3", "trio", "s3mount"} <= imported
    assert not imported & {"boto3", "botocore", "s3transfer", "urllib3"}


def test_a_user_who_may_not_read_the_library_gets_what_botocore_reads(
    server: S3Server, tmp_path: Path
) -> None:
    """Python is in root's home on some machines; so botocore is imported before privileges drop."""
    bucket, at = fill(server, {"a": b"there"}), tmp_path / "mnt"
    at.mkdir()
    env = {**server.environment(), "AWS_MAX_ATTEMPTS": "2"}  # left to botocore
    options = ("--run-as", "nobody", "--allow-other")

    done = run_command(bucket, at, "--endpoint-url", server.endpoint_url, *options, env=env)
    body = read_file(at / "a")
    output_of("umount", at)

    assert (done.returncode, done.stderr, body) == (0, "", b"there")


def _timed(server: S3Server, tmp_path: Path, endpoint_url: str, *options: str) -> str:
    at = tmp_path / "mnt"
    at.mkdir()
    began = time.monotonic()
    words = ("--endpoint-url", endpoint_url, *options)
    done = refused("bucket", at, *words, env=server.environment(), is_forked=False)
    assert time.monotonic() - began < UNREACHABLE_WITHIN
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@contextmanager
def _web_server() -> Iterator[str]:
    """Run a server that responds to every request with a web page."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "12")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"<p>Hello</p>")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_address[1]}"
        finally:
            web.shutdown()
            thread.join()


@pytest.mark.parametrize("options", [(), ("--no-control",)])
def test_what_the_start_left_out_is_imported_before_an_upgrade_replaces_it(
    options: tuple[str, ...], seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, {"a": b"1"})
    imported, library = tmp_path / "imported", tmp_path / "library"
    library.mkdir()
    source = Path(str(configparser.__file__)).read_text()
    (library / "configparser.py").write_text(f"{source}\nopen({str(imported)!r}, 'w').close()\n")
    env = {**seaweedfs.environment(), "PYTHONPATH": f"{library}:{REPOSITORY}"}
    arguments = ("--endpoint-url", seaweedfs.endpoint_url, *options)

    with mounted(bucket, tmp_path / "mnt", *arguments, env=env, is_forked=False) as mount:
        assert read_file(mount / "a") == b"1"
        wait_until(imported.exists)
