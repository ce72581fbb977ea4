"""Metrics of a real mount for Prometheus: by curl and promtool, against the counts of a relay."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics_documentation import registered
from tests.mount.buckets import fill
from tests.mount.filesystem_access import read_file, read_tree
from tests.mount.mount_process import Mount, mount_of, refused
from tests.mount.relay import Request, Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

KINDS = ("GET", "HEAD", "LIST")
SECRET_NAME = "a-key-that-is-told-to-nobody"
LOOKUPS = 15  # more than the log has lines for: it shows five of a kind, and counts the others
OBJECTS = {f"small/{number}": bytes(number) for number in range(40)} | {
    SECRET_NAME: bytes(5 << 20),
    "docs/read me": b"text",
}
LOOPBACK = ("--metrics", "127.0.0.1:0")


@pytest.fixture(scope="module")
def bucket(seaweedfs: S3Server) -> str:
    return fill(seaweedfs, OBJECTS)


@pytest.fixture
def traffic(seaweedfs: S3Server) -> Iterator[Traffic]:
    with relay(seaweedfs) as traffic:
        yield traffic


def _curl(*words: str) -> bytes:
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", *words],
        check=True,
        capture_output=True,
    ).stdout


def _url(mount: Mount) -> str:
    found: list[str] = []

    def is_served() -> bool:
        texts = "\n".join(str(record["message"]) for record in mount.records())
        found[:] = re.findall(r"metrics are served at (\S+)", texts)
        return bool(found)

    wait_until(is_served)
    return found[0]


def _sent(text: str) -> Counter[str]:
    """Return the requests sent by kind: those that have ended, and those in flight."""
    counts: Counter[str] = Counter()
    pattern = r'^s3mount_requests(?:_total|_in_flight)\{kind="(\w+)".*\} (\S+)$'
    for kind, value in re.findall(pattern, text, re.MULTILINE):
        counts[kind] += int(float(value))
    return +counts


def _outage(text: bytes) -> float:
    [seconds] = re.findall(r"^s3mount_store_outage_seconds (\S+)$", text.decode(), re.MULTILINE)
    return float(seconds)


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_the_counts_of_requests_are_those_of_the_relay(
    traffic: Traffic, bucket: str, tmp_path: Path, transport: str
) -> None:
    seen: list[Request] = []

    def agree() -> bool:
        counted = _sent(_curl(url).decode())
        seen.extend(traffic.take())
        return counted == Counter(each.kind for each in seen)

    options = (*LOOPBACK, "--transport", transport)
    with mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount:
        url = _url(mount)
        wait_until(agree)
        (mount / "docs/read me").stat()
        for name in ("missing", "docs/missing"):
            with pytest.raises(FileNotFoundError):
                (mount / name).stat()
        with pytest.raises(NotADirectoryError):
            (mount / "small/7/none").stat()
        read_tree(mount / "small")
        read_file(mount / SECRET_NAME)
        wait_until(agree)

    assert {each.kind for each in seen} == set(KINDS)


def test_promtool_finds_nothing_and_the_page_names_every_metric(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    with mount_of(seaweedfs, bucket, tmp_path / "mnt", *LOOPBACK) as mount:
        read_tree(mount.path)
        text = _curl(_url(mount))
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert SECRET_NAME.encode() not in text
    assert f'bucket="{bucket}"'.encode() in text
    metrics = registered()
    documented = {
        each.exposition_name for each in (*metrics, *metrics.families, *metrics.histograms)
    }
    assert set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE)) == documented


def test_a_unix_socket_is_the_users_alone_and_gone_at_the_end(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics"
    options = ("--metrics", f"unix:{path}")
    with mount_of(seaweedfs, bucket, tmp_path / "mnt", *options):
        assert path.stat().st_mode & 0o777 == 0o600
        text = _curl("--unix-socket", str(path), "http://localhost/metrics")
    assert b"s3mount_build_info{" in text
    assert not path.exists()


def test_a_mount_whose_metrics_cannot_be_served_does_not_begin(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    place = tmp_path / "second"
    place.mkdir()
    with mount_of(seaweedfs, bucket, tmp_path / "mnt", *LOOPBACK) as mount:
        port = _url(mount).rpartition(":")[2].partition("/")[0]
        options = ("--endpoint-url", seaweedfs.endpoint_url, "--metrics", port)
        failed = refused(bucket, place, *options, env=seaweedfs.environment())

    assert failed.returncode == 1
    assert failed.stderr == (
        f"s3mount: --metrics 127.0.0.1:{port}: another process listens there; name another port\n"
    )


def test_metrics_are_served_while_the_store_is_away_and_a_line_tells_the_end(
    traffic: Traffic, bucket: str, tmp_path: Path
) -> None:
    options = (*LOOPBACK, "--timeout", "1", "--metadata-ttl", "0")
    with mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount:
        mount.allow("lookup: ", "getattr: ", "readdir", "opendir: ")
        url = _url(mount)
        traffic.is_down = True
        for number in range(LOOKUPS):
            with pytest.raises(OSError, match="Input/output error"):
                (mount / f"missing {number}").stat()
        away = _outage(_curl(url))
        traffic.is_down = False
        (mount / "docs/read me").read_bytes()
        mount.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "statistics" in mount.records()[-1])
        wait_until(lambda: _outage(_curl(url)) == 0)
        records = mount.records()
        failures = [each for each in records if "errno" in each]
        told = [each for each in records if "suppressed" in each]
        [end] = [each for each in records if "outage_seconds" in each]
    assert away > 0
    assert len(failures) + sum(each["suppressed"] for each in told) >= LOOKUPS
    assert end["message"].startswith("the store responds again, after ")
    assert end["failed_operations"] >= LOOKUPS
    assert records.index(end) > records.index(failures[-1])
