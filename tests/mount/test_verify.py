"""`s3mountctl verify` on real mounts of real servers: what matches, what does not, and why."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.field import kinds
from tests.field.case import Case, Run, check
from tests.mount.buckets import fill
from tests.mount.control_client import ask, control_client
from tests.mount.filesystem_access import read_file
from tests.mount.mount_process import Mount, environment, mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.terminal import terminal
from tests.waiting import wait_until

MIB = 1 << 20
COMMAND = [sys.executable, "-c", "from s3mount.ctl.main import main; main()", "verify"]
# bodies and heads of responses have no byte from 0x80 on, but those that a test puts there
MARK = b"\xab"
FLIP = bytes(each ^ 1 if each == MARK[0] else each for each in range(256))
TEXT = b"0123456789abcde\n" * (MIB // 16)
LOGGED = r"the bytes of '.*' do not match its .*"


def text(mebibytes: int, mark_at: int | None = None) -> bytes:
    """Return *mebibytes* without the mark, or with one."""
    body = TEXT * mebibytes
    return body if mark_at is None else body[:mark_at] + MARK + body[mark_at + 1 :]


EVEN = [text(8), text(8, 100), b"tail"]
UNEVEN = [text(5), text(6, 100), text(5), b"tail"]


def upload(
    server: S3Server, bucket: str, key: str, parts: Sequence[bytes], algorithm: str = ""
) -> None:
    """Upload *parts*, with a composite checksum of *algorithm* if that is given."""
    client = server.client()
    options = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    kind = {"ChecksumType": "COMPOSITE"} if algorithm else {}
    begun = client.create_multipart_upload(Bucket=bucket, Key=key, **options, **kind)
    where = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
    done: list[Mapping[str, Any]] = []
    for number, part in enumerate(parts, 1):
        sent = client.upload_part(**where, PartNumber=number, Body=part, **options)
        fields = {name: sent[name] for name in ("ETag", f"Checksum{algorithm}") if name in sent}
        done.append({"PartNumber": number, **fields})
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": done}, **kind)


def verify(mount: Mount, *names: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status, and the results by name."""
    done = subprocess.run(
        [*COMMAND, "--json", *(str(mount / name) for name in names)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {Path(each["path"]).name: each for each in results}


@contextmanager
def mount_behind_relay(
    server: S3Server, bucket: str, at: Path, *options: str
) -> Iterator[tuple[Mount, Traffic]]:
    with relay(server) as traffic, mount_of(traffic.server, bucket, at, *options) as mount:
        traffic.take()
        yield mount, traffic


def test_whatever_a_server_tells_right_bytes_match(server: S3Server, tmp_path: Path) -> None:
    bodies = {"plain": os.urandom(20 * MIB), "small": os.urandom(999), "empty": b""}
    bucket = fill(server, bodies)
    upload(server, bucket, "even", EVEN)
    upload(server, bucket, "uneven", UNEVEN)
    with mount_of(server, bucket, tmp_path / "mnt") as mount:
        status, results = verify(mount, "plain", "small", "empty", "even", "uneven")

        assert {name: each["matches"] for name, each in results.items()} == dict.fromkeys(
            ("plain", "small", "empty", "even", "uneven"), True
        )
        assert status == 0


def test_parts_are_verified_by_the_multipart_etag(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = seaweedfs.make_bucket()
    upload(seaweedfs, bucket, "even", EVEN)
    upload(seaweedfs, bucket, "uneven", UNEVEN)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        _, even = verify(mount, "even")
        heads = [each for each in traffic.take() if "partNumber" in each.query]
        _, uneven = verify(mount, "uneven")
        more = [each for each in traffic.take() if "partNumber" in each.query]

        assert (even["even"]["method"], even["even"]["part_size"]) == ("multipart ETag", 8 * MIB)
        assert [each.query["partNumber"] for each in heads] == ["1"]
        assert (uneven["uneven"]["parts"], uneven["uneven"]["part_size"]) == (4, None)
        assert sorted(each.query["partNumber"] for each in more) == ["1", "1", "2", "3", "4"]


def test_composite_checksums(seaweedfs: S3Server, moto: S3Server, tmp_path: Path) -> None:
    for server in (seaweedfs, moto):
        bucket = server.make_bucket()
        upload(server, bucket, "even", EVEN, "SHA256")
        with mount_of(server, bucket, tmp_path / server.name / "mnt") as mount:
            status, results = verify(mount, "even")

            assert (status, results["even"]["method"]) == (0, "composite SHA256")


def test_checksums_of_whole_objects(
    versitygw: S3Server, seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = versitygw.make_bucket()
    upload(versitygw, bucket, "uneven", UNEVEN)
    with mount_of(versitygw, bucket, tmp_path / "versitygw" / "mnt") as mount:
        status, results = verify(mount, "uneven")

        assert (status, results["uneven"]["method"]) == (0, "CRC64NVME")
    bucket, algorithms = seaweedfs.make_bucket(), ("CRC32", "SHA1", "SHA256")
    for algorithm in algorithms:
        seaweedfs.client().put_object(
            Bucket=bucket, Key=algorithm, Body=text(9), ChecksumAlgorithm=algorithm
        )
    with mount_of(seaweedfs, bucket, tmp_path / "seaweedfs" / "mnt") as mount:
        status, results = verify(mount, *algorithms)

        assert status == 0
        assert {name: each["method"] for name, each in results.items()} == {
            name: name for name in algorithms
        }


def test_a_flipped_bit_of_one_part_is_found(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = seaweedfs.make_bucket()
    upload(seaweedfs, bucket, "even", EVEN)
    upload(seaweedfs, bucket, "uneven", UNEVEN, "SHA256")
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        mount.expect(LOGGED, LOGGED)
        traffic.translation = FLIP

        status, results = verify(mount, "even", "uneven")

        assert status == 1
        for each in results.values():
            assert (each["matches"], each["fault"]) == (False, "object")
            assert each["expected"] != each["actual"]
        traffic.translation = None
        assert verify(mount, "even", "uneven")[0] == 0


def test_a_flipped_bit_of_a_small_file_is_found(seaweedfs: S3Server, tmp_path: Path) -> None:
    """A read of it fails, since the mount verifies whole objects itself."""
    bucket = fill(seaweedfs, {"small": b"abc" + MARK + b"def"})
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        mount.expect(LOGGED)
        traffic.translation = FLIP

        status, results = verify(mount, "small")

        assert (status, results["small"]["fault"]) == (1, "object")


def test_wrong_bytes_in_memory_are_told_from_those_of_the_store(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = seaweedfs.make_bucket()
    upload(seaweedfs, bucket, "even", EVEN)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        mount.expect(LOGGED)
        traffic.translation = FLIP
        with (mount / "even").open("rb") as file:
            file.seek(8 * MIB)
            file.read(4096)
        traffic.translation = None

        status, results = verify(mount, "even")

        assert (status, results["even"]["fault"]) == (1, "cache")
        [bad] = results["even"]["bad_ranges"]
        assert (bad["part"], bad["start"], bad["stop"]) == (2, 8 * MIB, 16 * MIB)
        assert verify(mount, "even")[0] == 0


def test_what_cannot_be_verified_is_told_by_the_exit_status(moto: S3Server, tmp_path: Path) -> None:
    bucket = fill(moto, {"good": b"1", "d/file": b"1"})
    client = moto.client()
    client.put_object(Bucket=bucket, Key="kms", Body=text(9), ServerSideEncryption="aws:kms")
    client.put_object(Bucket=bucket, Key="archived", Body=b"1", StorageClass="GLACIER")
    with mount_of(moto, bucket, tmp_path / "mnt") as mount:
        status, results = verify(mount, "good", "kms")
        assert (status, results["kms"]["matches"]) == (5, None)
        assert "aws:kms" in results["kms"]["reason"]

        status, results = verify(mount, "good", "kms", "archived", "d", "none")
        assert status == 4
        assert "restore it" in results["archived"]["error"]
        assert "directory" in results["d"]["error"]
        assert "no-such-path" in results["none"]["error"]
        assert results["good"]["matches"] is True


def test_memory_is_read_from_and_left_as_it_was(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = seaweedfs.make_bucket()
    upload(seaweedfs, bucket, "even", EVEN)
    fill(seaweedfs, {"large": text(64)}, bucket)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        assert read_file(mount / "even") == b"".join(EVEN)
        traffic.take()

        assert verify(mount, "even", "large")[0] == 0

        gets = {each.path.rpartition("/")[2] for each in traffic.take() if each.kind == "GET"}
        assert gets == {"large"}
        assert verify(mount, "even")[0] == 0
        assert "GET" not in {each.kind for each in traffic.take()}


def test_a_client_that_goes_ends_it(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, {"large": text(64)})
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        (mount / "large").stat()
        with control_client(mount.path) as client:
            client.send("verify", path="large")
            while client.receive()["item"]["phase"] != "reading":
                pass
            traffic.is_silent = True
        wait_until(lambda: not ask(mount.path, "activity")["requests"])
        traffic.is_silent = False

        assert verify(mount, "large")[0] == 0


def test_a_terminal_shows_progress_and_one_line_for_each_file(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, {"[b]large": text(64), "small": b"1"})
    with mount_of(seaweedfs, bucket, tmp_path / "mnt") as mount:
        names = [str(mount / name) for name in ("[b]large", "small")]
        with terminal([*COMMAND, *names], environment(), 160, 30) as screen:
            assert screen.wait_end() == 0, screen.text
            assert "[b]large: OK: MD5 ETag" in screen.text
            assert "small: OK: MD5 ETag" in screen.text
        done = subprocess.run(
            [*COMMAND, *names], env=environment(), capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines() == [f"{name}: OK: MD5 ETag" for name in names]


def test_a_gateway_whose_gets_contradict_its_heads_is_told(tmp_path: Path) -> None:
    """Of a file that nobody has read, and of one that is shown as GET brings it since it was."""

    def tells_the_contradiction(run: Run) -> None:
        for name in ("a.txt", "z"):
            status, results = verify(run.mount, name)
            assert (status, results[name].get("error")) == (5, None)
            assert "contradicts itself" in results[name]["reason"]
            read_file(run.path("z"))

    other_etag = kinds.header(kinds.GET, "ETag", f'"{"5" * 32}"')
    case = Case(
        "contradiction",
        "GET tells another ETag than HEAD and listings.",
        oddities=(other_etag,),
        steps=(tells_the_contradiction,),
        may_log=(".*",),
    )
    check(case, "native", tmp_path)
