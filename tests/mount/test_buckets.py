"""Every bucket of an account as a top directory: regions, refusals, choices, tools and changes."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests import servers
from tests.mount.buckets import fill
from tests.mount.control_client import ask
from tests.mount.filesystem_access import failure_of, output_of, read_file, read_tree
from tests.mount.mount_process import Mount, environment, mount_of, refused
from tests.mount.relay import relay
from tests.mount.test_consistency import is_one_version, read_in_pieces, version_of
from tests.mount.test_s3mountctl import run as run_ctl
from tests.servers import S3Server
from tests.servers.regions import Account, account
from tests.waiting import wait_until

HERE: Final = "us-east-1"
THERE: Final = "eu-central-1"
BUCKETS: Final = {"alpha": HERE, "beta": THERE, "gamma": HERE, "delta": THERE}
KEYS: Final = ("a.txt", "d/b.txt", "d/e/c.txt")
OVERWRITES: Final = 120
READERS: Final = 16  # more than the kernel's default of background requests, twelve
LARGE: Final = 1 << 20  # bytes: the kernel reads ahead, in the background
SHARE: Final = 7  # of eight permits: what one bucket may hold
DENIED: Final = "LIST refused: AccessDenied"


def body_of(bucket: str, key: str) -> bytes:
    return f"{bucket} {key} ".encode() * 1000


@pytest.fixture(scope="module")
def regions() -> Iterator[dict[str, S3Server]]:
    """A server for each of two regions."""
    with servers.moto() as here, servers.moto() as there:
        yield {HERE: here, THERE: there}


each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@pytest.fixture(params=[True, False], ids=["told", "redirected"])
def found(request: pytest.FixtureRequest, regions: dict[str, S3Server]) -> Iterator[Account]:
    """An account of four buckets in two regions, which are told, or found by redirects."""
    with account(regions) as made:
        made.tells_regions = request.param
        for bucket, region in BUCKETS.items():
            client = made.make_bucket(bucket, region)
            for key in KEYS:
                client.put_object(Bucket=bucket, Key=key, Body=body_of(bucket, key))
        made.make_bucket("empty", THERE)
        yield made
        for bucket, region in made.buckets.items():
            remove(made.regions[region].client(), bucket)


def remove(client: Any, bucket: str) -> None:
    """Delete *bucket* and what is in it."""
    for each in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=each["Key"])
    client.delete_bucket(Bucket=bucket)


def expected_tree() -> dict[str, bytes]:
    return {f"{bucket}/{key}": body_of(bucket, key) for bucket in BUCKETS for key in KEYS}


def files_below(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.txt")}


@each_transport
def test_buckets_in_two_regions_are_walked_read_and_copied(
    found: Account, directory: Path, transport: str
) -> None:
    with mount_of(found.server, "s3://", directory / "m", "--transport", transport) as mount:
        assert sorted(os.listdir(mount.path)) == sorted([*BUCKETS, "empty"])
        assert os.listdir(mount / "empty") == []
        assert files_below(mount.path) == expected_tree()
        files = output_of("find", ".", "-type", "f", cwd=mount.path).split()
        assert sorted(files) == sorted(f"./{path}" for path in expected_tree())
        output_of("rsync", "-a", f"{mount.path}/", directory / "copy")

    assert files_below(directory / "copy") == expected_tree()
    assert (directory / "copy/empty").is_dir()


def test_a_list_of_the_buckets_asks_none_of_them(found: Account, directory: Path) -> None:
    with mount_of(found.server, "s3://", directory / "m") as mount:
        output_of("ls", "-l", mount.path)
        (mount / "beta").stat()
        assert failure_of((mount / "absent").stat) == "ENOENT"

        assert {bucket for _, bucket, _ in found.take()} == {""}
        (mount / "beta/a.txt").read_bytes()
        assert {bucket for _, bucket, _ in found.take()} == {"beta"}


def test_a_region_that_is_told_needs_no_redirect_and_one_that_is_not_only_the_first(
    found: Account, directory: Path
) -> None:
    """A bucket is found in its own region when it is first looked at; a redirect is followed, also
    to where it was created anew.
    """
    with mount_of(found.server, "s3://", directory / "m") as mount:
        for bucket in (*BUCKETS, "empty"):
            os.listdir(mount / bucket)
        redirected = [bucket for _, bucket, status in found.take() if status == 301]
        assert sorted(redirected) == ([] if found.tells_regions else ["beta", "delta", "empty"])
        assert files_below(mount.path) == expected_tree()
        assert [status for _, _, status in found.take() if status == 301] == []


def test_a_denied_bucket_is_shown_and_only_its_content_is_refused(
    found: Account, directory: Path
) -> None:
    """A bucket that may not be listed is shown, and reading its directory is EACCES."""
    found.denied.add("alpha")
    with mount_of(found.server, "s3://", directory / "m", "--metadata-ttl", "0") as mount:
        mount.expect(DENIED)
        mount.allow("HEAD refused .HTTP 403.")
        assert (mount / "alpha").is_dir()
        assert failure_of(lambda: os.listdir(mount / "alpha")) == "EACCES"
        assert failure_of((mount / "alpha/a.txt").read_bytes) == "EACCES"
        assert (mount / "beta/a.txt").read_bytes() == body_of("beta", "a.txt")
        found.denied.clear()
        assert (mount / "alpha/a.txt").read_bytes() == body_of("alpha", "a.txt")


def test_new_buckets_appear_and_deleted_ones_go_within_the_lifetime(
    found: Account, directory: Path
) -> None:
    """New buckets appear, and deleted ones go, within the metadata lifetime."""
    with mount_of(found.server, "s3://", directory / "m", "--metadata-ttl", "0.1") as mount:
        assert "new" not in os.listdir(mount.path)
        client = found.make_bucket("new", THERE)
        client.put_object(Bucket="new", Key="k", Body=b"new")
        wait_until(lambda: "new" in os.listdir(mount.path))
        assert (mount / "new/k").read_bytes() == b"new"
        remove(client, "new")
        del found.buckets["new"]
        wait_until(lambda: not (mount / "new").exists())

        client = found.make_bucket("new", HERE)
        client.put_object(Bucket="new", Key="k", Body=b"elsewhere")
        wait_until((mount / "new").exists)

        assert (mount / "new/k").read_bytes() == b"elsewhere"


def test_names_and_patterns_choose(found: Account, directory: Path) -> None:
    """`s3://` has each bucket that the account lists as a directory of the root; `--buckets`
    chooses among them by names and patterns, and what it names is shown whether it is listed or
    not.
    """
    with mount_of(found.server, "s3://", directory / "m", "--buckets", "*ta,alpha") as mount:
        assert sorted(os.listdir(mount.path)) == ["alpha", "beta", "delta"]
        assert failure_of((mount / "gamma").stat) == "ENOENT"


def test_named_buckets_need_no_list_of_all(found: Account, directory: Path) -> None:
    found.may_list = False
    found.denied.add("gamma")
    options = ("--buckets", "gamma", "--buckets", "beta,alpha")
    with mount_of(found.server, "s3://", directory / "m", *options) as mount:
        mount.expect("bucket 'gamma', which --buckets names, cannot be listed")
        mount.allow(DENIED)
        assert sorted(os.listdir(mount.path)) == ["alpha", "beta", "gamma"]
        assert (mount / "beta/a.txt").read_bytes() == body_of("beta", "a.txt")
        assert failure_of(lambda: os.listdir(mount / "gamma")) == "EACCES"

    assert "" not in {bucket for _, bucket, _ in found.take()}


def test_without_permission_to_list_the_buckets_the_error_says_what_to_do(
    found: Account, directory: Path
) -> None:
    found.may_list = False
    (directory / "m").mkdir()
    options = ("--endpoint-url", found.server.endpoint_url, "--buckets", "a*")

    failed = refused("s3://", directory / "m", *options, env=found.server.environment())

    assert failed.returncode == 1
    assert "s3:ListAllMyBuckets" in failed.stderr
    assert "--buckets NAME,NAME" in failed.stderr


def test_buckets_in_the_host_of_an_address_are_refused_at_once(
    found: Account, directory: Path
) -> None:
    (directory / "m").mkdir()
    options = ("--endpoint-url", found.server.endpoint_url, "--addressing-style", "virtual")

    failed = refused("s3://", directory / "m", *options, env=found.server.environment())

    assert failed.returncode == 1
    assert "use --addressing-style path" in failed.stderr


def test_a_region_that_is_named_is_not_left(found: Account, directory: Path) -> None:
    """With `--region` no redirect to another one is followed: what is in such a bucket is EIO."""
    with mount_of(found.server, "s3://", directory / "m", "--region", HERE) as mount:
        mount.expect(f"in region '{THERE}', not '{HERE}': leave --region out")
        assert (mount / "alpha/a.txt").read_bytes() == body_of("alpha", "a.txt")
        assert failure_of(lambda: os.listdir(mount / "beta")) == "EIO"


@each_transport
def test_four_buckets_are_overwritten_under_readers_who_never_see_a_wrong_byte(
    found: Account, directory: Path, transport: str
) -> None:
    clients = {bucket: found.regions[region].client() for bucket, region in BUCKETS.items()}
    has_ended = threading.Event()

    def overwrite(bucket: str) -> None:
        for number in range(OVERWRITES):
            with found.lock:
                clients[bucket].put_object(Bucket=bucket, Key="a.txt", Body=version_of(number))

    def read(mount: Mount, piece: int) -> int:
        """Read the file of each bucket in turn; return how often a version was read to its end.

        On a busy machine each may be replaced during each read, so the last versions count too.
        """
        count = 0
        while not (has_ended.is_set() and count):
            for bucket in BUCKETS:
                try:
                    body = read_in_pieces(mount / bucket / "a.txt", piece)
                except OSError as exc:
                    assert exc.errno == errno.ESTALE  # noqa: PT017
                    continue
                assert is_one_version(body)
                count += 1
        return count

    for bucket in BUCKETS:
        clients[bucket].put_object(Bucket=bucket, Key="a.txt", Body=version_of(0))
    with (
        mount_of(
            found.server, "s3://", directory / "m", "--metadata-ttl", "0", "--transport", transport
        ) as mount,
        ThreadPoolExecutor(12) as pool,
    ):
        mount.allow("ESTALE")
        readers = [pool.submit(read, mount, piece) for piece in (4096, 65_536, 1 << 20)]
        writers = [pool.submit(overwrite, bucket) for bucket in BUCKETS]
        for writer in writers:
            writer.result()
        has_ended.set()
        counts = [reader.result() for reader in readers]
        last = version_of(OVERWRITES - 1)
        assert all(read_file(mount / bucket / "a.txt") == last for bucket in BUCKETS)

    assert min(counts) > 0


def test_list_status_refresh_and_warm_are_of_one_mount(found: Account, directory: Path) -> None:
    with mount_of(found.server, "s3://", directory / "m") as mount:
        (mount / "beta/a.txt").read_bytes()
        status = json.loads(run_ctl("status", mount.path, "--json").stdout)
        sent = sum(status["requests"][kind]["sent"] for kind in ("GET", "HEAD", "LIST"))
        assert (status["identity"]["source"], sent) == ("s3://", len(found.take()))
        latest = ask(mount.path, "status")["errors"]
        assert {each["key"].partition("/")[0] for each in latest} <= {"beta"}
        listed = json.loads(run_ctl("list", "--json").stdout)["mounts"]
        assert {each["source"] for each in listed if each["mountpoint"] == str(mount.path)} == {
            "s3://"
        }
        assert ask(mount.path, "refresh", path="beta")["forgotten"] > 0
        assert run_ctl("warm", mount / "alpha", mount / "beta").returncode == 0
        found.take()

        for bucket in ("alpha", "beta"):
            assert (mount / bucket / "d/b.txt").read_bytes() == body_of(bucket, "d/b.txt")

    assert found.take() == []


def test_one_limit_of_connections_is_that_of_all_buckets(found: Account, directory: Path) -> None:
    """All buckets share the caches and their limits, `--max-connections`, the connections to each
    host, and one status.
    """
    with mount_of(found.server, "s3://", directory / "m", "--max-connections", "2") as mount:
        with ThreadPoolExecutor(16) as pool:
            paths = [mount / bucket / key for bucket in BUCKETS for key in KEYS]
            bodies = list(pool.map(Path.read_bytes, paths))
        assert bodies == [body_of(bucket, key) for bucket in BUCKETS for key in KEYS]

    assert found.most_at_once <= 2


@each_transport
def test_an_open_file_of_a_bucket_that_is_made_anew_elsewhere_is_stale(
    found: Account, directory: Path, transport: str
) -> None:
    """A file that is open when its bucket is made anew in another region is ESTALE, and never has
    bytes of the new one; opened again, it is what is there now.
    """
    old, new = b"old " * LARGE, b"new " * LARGE
    here = found.make_bucket("moved", HERE)
    here.put_object(Bucket="moved", Key="k", Body=old)
    options = ("--metadata-ttl", "0", "--transport", transport)
    with mount_of(found.server, "s3://", directory / "m", *options) as mount:
        mount.allow("ESTALE")
        with (mount / "moved/k").open("rb", buffering=0) as file:
            assert file.read(4096) == old[:4096]
            remove(here, "moved")
            there = found.make_bucket("moved", THERE)
            there.put_object(Bucket="moved", Key="k", Body=new)
            before = failure_of(lambda: os.pread(file.fileno(), 4096, len(old) - 4096))
            assert (mount / "moved/k").read_bytes() == new
            after = failure_of(lambda: os.pread(file.fileno(), 4096, len(old) - 8192))
    remove(there, "moved")
    del found.buckets["moved"]

    assert (before, after) == ("ESTALE", "ESTALE")


@each_transport
def test_a_mount_of_one_bucket_that_is_made_anew_elsewhere_says_what_to_do(
    found: Account, directory: Path, transport: str
) -> None:
    old = b"old " * LARGE
    here = found.make_bucket("moved", HERE)
    here.put_object(Bucket="moved", Key="k", Body=old)
    options = ("--metadata-ttl", "0", "--transport", transport, "--no-prefetch", "all")
    with mount_of(found.server, "moved", directory / "m", *options) as mount:
        mount.expect(f"the bucket is in region '{THERE}' now, check --region or mount it anew")
        mount.allow("HEAD refused")  # without a document
        with (mount / "k").open("rb", buffering=0) as file:
            assert file.read(4096) == old[:4096]
            remove(here, "moved")
            there = found.make_bucket("moved", THERE)
            there.put_object(Bucket="moved", Key="k", Body=b"new " * LARGE)
            found.take()
            failures = [
                failure_of(lambda: os.pread(file.fileno(), 4096, len(old) - 4096)),
                failure_of((mount / "k").read_bytes),
                failure_of(lambda: os.listdir(mount.path)),
            ]
            sent = found.take()
    remove(there, "moved")
    del found.buckets["moved"]

    assert failures == ["EIO"] * 3
    assert len(sent) <= 3 * len(failures)
    assert {status for _, _, status in sent} == {301}


def metric_of(metrics: Path, name: str) -> float:
    """Return a metric that is served at the Unix socket *metrics*."""
    text = output_of("curl", "-sSf", "--unix-socket", metrics, "http://localhost/metrics")
    [value] = re.findall(rf"^s3mount_{name} (\S+)$", text, re.MULTILINE)
    return float(value)


@each_transport
def test_a_silent_bucket_holds_no_other_back(
    found: Account, directory: Path, transport: str
) -> None:
    """A bucket that does not respond holds no other back: each has its own limit of requests, and
    leaves some of `--max-connections` to the others.
    """
    bodies = {f"{number}.bin": bytes([number]) * LARGE for number in range(READERS)}
    for bucket in ("alpha", "beta"):
        client = found.regions[BUCKETS[bucket]].client()
        for name, body in bodies.items():
            client.put_object(Bucket=bucket, Key=name, Body=body)
    metrics = directory / "metrics"
    options = (
        *("--max-connections", "8", "--transport", transport, "--no-prefetch", "all"),
        *("--metrics", f"unix:{metrics}"),
    )
    with (
        mount_of(found.server, "s3://", directory / "m", *options) as mount,
        ThreadPoolExecutor(READERS) as pool,
    ):
        for bucket in ("alpha", "beta"):
            os.listdir(mount / bucket)
        found.silence("alpha")
        try:
            readers = [pool.submit((mount / "alpha" / name).read_bytes) for name in bodies]
            wait_until(lambda: found.unanswered >= SHARE)
            wait_until(lambda: metric_of(metrics, "block_fetches_in_flight") >= READERS)
            found.take()
            assert output_of("cat", mount / "beta/1.bin").encode() == bodies["1.bin"]
            sent = found.take()
            assert files_below(mount / "gamma") == {key: body_of("gamma", key) for key in KEYS}
            assert not any(reader.done() for reader in readers)
        finally:
            found.end_silence()
        assert [reader.result() for reader in readers] == list(bodies.values())

    assert sent == [("GET", "beta", 200)]  # as if no other bucket were read


def test_a_name_that_no_bucket_can_have_is_not_shown(found: Account, directory: Path) -> None:
    """A name that no bucket can have (of other characters than `A-Z a-z 0-9 . _ -`, or that begins
    with a sign) is not shown; it counts as an odd row.
    """
    found.buckets |= {"no bucket": HERE, "..": HERE, "-x": HERE}
    with mount_of(found.server, "s3://", directory / "m") as mount:
        mount.expect("a name that no bucket can have is skipped")
        assert sorted(os.listdir(mount.path)) == sorted([*BUCKETS, "empty"])
        assert failure_of((mount / "no bucket").stat) == "ENOENT"
        mount.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "odd_rows=" in mount.log_file.read_text())
    for name in ("no bucket", "..", "-x"):
        del found.buckets[name]


def test_doctor_says_that_it_examines_one_bucket() -> None:
    done = run_ctl("doctor", "s3://")

    assert done.returncode == 2
    assert "s3mountctl doctor BUCKET" in done.stderr


# ---- other servers, and other ways to mount ----------------------------------------------------


def test_the_buckets_of_a_server_are_shown_as_each_mount_of_its_own_shows_it(
    server: S3Server, directory: Path
) -> None:
    bodies = {"a.txt": b"1", "d/b.txt": b"22" * 1000}
    buckets = [fill(server, bodies) for _ in range(3)] + [server.make_bucket()]
    with mount_of(server, "s3://", directory / "m", "--buckets", ",".join(buckets)) as named:
        trees = {bucket: read_tree(named / bucket) for bucket in buckets}
    with mount_of(server, "s3://", directory / "n", "--buckets", "bucket-*") as mount:
        assert set(buckets) <= set(os.listdir(mount.path))
        assert {bucket: read_tree(mount / bucket) for bucket in buckets} == trees
    for bucket in buckets:
        with mount_of(server, bucket, directory / bucket) as single:
            assert read_tree(single.path) == trees[bucket]


def test_hundreds_of_buckets_cost_one_request(versitygw: S3Server, directory: Path) -> None:
    """A listing of the root is one request for 10,000 buckets, and none to a bucket."""
    client = versitygw.client()
    buckets = [versitygw.make_bucket(client) for _ in range(200)]
    with relay(versitygw) as traffic:
        with mount_of(traffic.server, "s3://", directory / "m") as mount:
            traffic.take()
            assert set(buckets) <= set(os.listdir(mount.path))
            output_of("ls", "-l", mount.path)
            [request] = traffic.take()
        assert request.path == "/"
    for bucket in buckets:
        client.delete_bucket(Bucket=bucket)


def test_a_configuration_file_an_fstab_line_and_the_helper_name_the_account(
    moto: S3Server, directory: Path
) -> None:
    bucket = fill(moto, {"k": b"v"})
    file = directory / "s3mount.toml"
    point = directory / "m"
    point.mkdir()
    file.write_text(
        f'bucket = "s3://"\nbuckets = "bucket-*"\nendpoint-url = "{moto.endpoint_url}"\n'
    )
    options = f"endpoint_url={moto.endpoint_url},buckets=bucket-*"
    helper = "from s3mount.cli.mount_helper import main; main()"
    for words in (
        ("-m", "s3mount", "--config", str(file), str(point)),
        ("-c", helper, "s3://", str(point), "-o", options),
    ):
        done = subprocess.run(
            [sys.executable, *words],
            env=environment(**moto.environment()),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        try:
            assert (point / bucket / "k").read_bytes() == b"v"
            mounts = Path("/proc/mounts").read_bytes()  # other tests mount at names beyond UTF-8
            assert f"s3:// {point} fuse.s3mount".encode() in mounts
        finally:
            output_of("fusermount3", "-u", point)
