"""Objects that are encrypted with customer keys (SSE-C), and what shows the keys: nothing."""

import base64
import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.mount.control_client import ask, control_client
from tests.mount.filesystem_access import failure_of, read_file, read_tree
from tests.mount.mount_process import Mount, mount_of, mounted, refused
from tests.mount.mount_runner import NOBODY
from tests.mount.relay import Request, relay
from tests.reference import tree_of
from tests.servers import S3Server

FIRST, SECOND, ABSENT = (bytes([number]) * 31 + b"\n" for number in (65, 66, 67))
ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
PREFIX = "x-amz-server-side-encryption-customer-"
WHOLE = os.urandom(1 << 20) * 20

Objects = Mapping[str, tuple[bytes, bytes | None]]
"""Content and key of objects, by their names."""

OBJECTS: Objects = {
    "a": (b"in clear", None),
    "b": (b"first", FIRST),
    "d/big": (WHOLE, FIRST),
    "d/clear": (WHOLE[:1000], None),
    "d/e/f": (b"second", SECOND),
    "d/empty": (b"", SECOND),
    "d/second": (WHOLE[:100_000], SECOND),
}

each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Options that name the files of the first and the second key, raw and in base64."""
    raw, encoded = tmp_path / "first.key", tmp_path / "second.key"
    raw.write_bytes(FIRST)
    encoded.write_bytes(base64.b64encode(SECOND) + b"\n")
    for file in (raw, encoded):
        file.chmod(0o600)
    return "--sse-c-key-file", str(raw), "--sse-c-key-file", str(encoded)


def put(
    client: Any, bucket: str, name: str, content: bytes, key: bytes | None, **more: object
) -> None:
    encryption = {} if key is None else {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    client.put_object(Bucket=bucket, Key=name, Body=content, **encryption, **more)


def fill(server: S3Server, objects: Objects) -> str:
    client = server.client()
    bucket = server.make_bucket(client)
    for name, (content, key) in objects.items():
        put(client, bucket, name, content, key)
    return bucket


def kinds(requests: list[Request]) -> list[tuple[str, bool]]:
    """Return the kind of each request, and whether it has a key."""
    return [(request.kind, ALGORITHM in request.headers) for request in requests]


@each_transport
def test_two_keys_and_objects_without_encryption_are_read(
    seaweedfs_https: S3Server, files: tuple[str, ...], tmp_path: Path, transport: str
) -> None:
    bucket = fill(seaweedfs_https, OBJECTS)
    options = ("--transport", transport, *files)

    with mount_of(seaweedfs_https, bucket, tmp_path / "mnt", *options) as mount:
        expected = {name: content for name, (content, _) in OBJECTS.items()}
        assert read_tree(mount.path) == tree_of(expected)


def test_an_object_of_several_parts_is_read_in_any_order(
    seaweedfs_https: S3Server, files: tuple[str, ...], tmp_path: Path
) -> None:
    client = seaweedfs_https.client()
    bucket = seaweedfs_https.make_bucket(client)
    encryption = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": SECOND}
    sizes = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    client.upload_fileobj(BytesIO(WHOLE), bucket, "f", ExtraArgs=encryption, Config=sizes)

    with mount_of(seaweedfs_https, bucket, tmp_path / "mnt", *files) as mount:
        with open(mount / "f", "rb", buffering=0) as file:
            for start in (12_345_678, 5 << 20, 0, (5 << 20) - 100):
                assert os.pread(file.fileno(), 100_000, start) == WHOLE[start : start + 100_000]
        assert read_file(mount / "f") == WHOLE


@each_transport
@pytest.mark.parametrize("ttl", ["0", "60"])
def test_an_object_that_no_key_opens_is_denied_and_the_log_names_the_option(
    seaweedfs_https: S3Server, files: tuple[str, ...], tmp_path: Path, transport: str, ttl: str
) -> None:
    bucket = fill(seaweedfs_https, {"a": (b"1", FIRST), "b": (b"2", ABSENT), "c": (b"3", None)})
    options = ("--transport", transport, "--metadata-ttl", ttl, *files)

    with mount_of(seaweedfs_https, bucket, tmp_path / "mnt", *options) as mount:
        mount.expect("EACCES.*--sse-c-key-file")
        assert sorted(os.listdir(mount.path)) == ["a", "b", "c"]
        assert failure_of(lambda: read_file(mount / "b")) == "EACCES"
        assert (read_file(mount / "a"), read_file(mount / "c")) == (b"1", b"3")

        (told,) = [
            record["message"] for record in mount.records() if "fingerprints" in record["message"]
        ]
    assert "'b' is encrypted" in told


@each_transport
@pytest.mark.parametrize("ttl", ["0", "60"])
def test_without_keys_an_encrypted_object_is_denied_and_the_log_names_the_option(
    seaweedfs_https: S3Server, tmp_path: Path, transport: str, ttl: str
) -> None:
    bucket = fill(seaweedfs_https, {"a": (b"1", FIRST), "b": (b"2", None)})
    options = ("--transport", transport, "--metadata-ttl", ttl)

    with mount_of(seaweedfs_https, bucket, tmp_path / "mnt", *options) as mount:
        mount.expect("EACCES.*SSE-C.*--sse-c-key-file")
        assert failure_of(lambda: read_file(mount / "a")) == "EACCES"
        assert read_file(mount / "b") == b"2"


@each_transport
def test_many_objects_with_one_key_cost_no_request_more_than_without(
    seaweedfs: S3Server, files: tuple[str, ...], tmp_path: Path, transport: str
) -> None:
    """But for the first one; and only requests for objects have a key."""
    names = [f"{folder}/{number}" for folder in ("a", "b", "b/c") for number in range(20)]
    sent: dict[str, list[tuple[str, bool]]] = {}
    for name, key in (("plain", None), ("encrypted", SECOND)):
        bucket = fill(seaweedfs, {each: (each.encode(), key) for each in names})
        with relay(seaweedfs) as traffic:
            options = ("--transport", transport, "--sse-c-allow-http", *files)
            options = (*options, "--no-prefetch", "siblings")
            with mount_of(traffic.server, bucket, tmp_path / name, *options) as mount:
                os.listdir(mount / "a")
                assert read_file(mount / "a/0") == b"a/0"
                traffic.take()
                for each in names[1:]:
                    assert read_file(mount / each) == each.encode()
                sent[name] = kinds(traffic.take())

    plain, encrypted = sent["plain"], sent["encrypted"]
    assert encrypted.count(("GET", True)) == plain.count(("GET", False)) == len(names) - 1
    assert encrypted.count(("HEAD", True)) == plain.count(("HEAD", False))
    assert {has_key for kind, has_key in encrypted if kind != "LIST"} == {True}
    assert {has_key for kind, has_key in encrypted if kind == "LIST"} == {False}
    assert {has_key for _, has_key in plain} == {False}


def test_a_store_that_knows_no_customer_keys_is_sent_none(
    moto: S3Server, files: tuple[str, ...], tmp_path: Path
) -> None:
    bucket = fill(moto, OBJECTS)
    with relay(moto) as traffic:
        options = ("--sse-c-allow-http", *files)
        with mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount:
            expected = {name: content for name, (content, _) in OBJECTS.items()}
            assert read_tree(mount.path) == tree_of(expected)

    assert {has_key for _, has_key in kinds(traffic.take())} == {False}


@each_transport
def test_objects_that_are_overwritten_with_other_keys_under_readers_are_read_exactly(
    seaweedfs_https: S3Server, files: tuple[str, ...], tmp_path: Path, transport: str
) -> None:
    """Each read of a whole file has one version of it, or fails."""
    size, rounds = 600_000, 24
    bucket = fill(seaweedfs_https, {"f": (b"\0" * size, FIRST)})
    options = ("--transport", transport, "--metadata-ttl", "0", *files)
    client, is_over = seaweedfs_https.client(), threading.Event()
    wrong: list[str] = []
    seen: set[int] = set()

    def read(mount: Mount) -> None:
        while not is_over.is_set():
            try:
                content = read_file(mount / "f")
            except OSError as exc:
                if exc.errno != errno.ESTALE:
                    wrong.append(repr(exc))
                continue
            seen.update(content)
            if len(set(content)) != 1:
                wrong.append("two versions in one read")

    with mount_of(seaweedfs_https, bucket, tmp_path / "mnt", *options) as mount:
        mount.allow("ESTALE")
        readers = [threading.Thread(target=read, args=(mount,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, rounds):
                key = (FIRST, SECOND, None)[number % 3]
                put(client, bucket, "f", bytes([number]) * (size + number), key)
                assert set(_settled(mount / "f")) == {number}
        finally:
            is_over.set()
            for reader in readers:
                reader.join()

    assert not wrong
    assert seen


def _settled(file: Path) -> bytes:
    """Return the content of *file* as soon as no replacement is in the way."""
    while True:
        try:
            return read_file(file)
        except OSError as exc:
            assert exc.errno == errno.ESTALE  # noqa: PT017 - it was opened before it was replaced


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (("http://127.0.0.1:9",), "is not HTTPS"),
        (("http://192.0.2.1:9", "--sse-c-allow-http"), "loopback addresses only"),
        (("http://store.invalid", "--sse-c-allow-http"), "loopback addresses only"),
        (("https://127.0.0.1:9", "--no-verify-ssl"), "--ca-bundle"),
    ],
)
def test_a_key_that_others_could_read_on_its_way_ends_the_start(
    seaweedfs: S3Server, files: tuple[str, ...], directory: Path, options: Any, hint: str
) -> None:
    words = ("--endpoint-url", *options, *files)

    done = refused("bucket", directory, *words, env=seaweedfs.environment())

    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1, done.stderr
    assert "--sse-c-key-file" in done.stderr
    assert hint in done.stderr


@pytest.mark.parametrize(
    ("content", "mode", "hint"),
    [(FIRST, 0o644, "chmod 600"), (FIRST[1:], 0o600, "write 32 bytes"), (b"", 0o600, "32 bytes")],
)
def test_a_file_that_is_wrong_ends_the_start(
    seaweedfs: S3Server, directory: Path, content: bytes, mode: int, hint: str
) -> None:
    file = directory / "key"
    file.write_bytes(content)
    file.chmod(mode)
    words = ["--endpoint-url", seaweedfs.endpoint_url, "--sse-c-allow-http"]
    words += ["--sse-c-key-file", str(file)]

    done = refused("bucket", directory, *words, env=seaweedfs.environment())

    assert os.listdir(directory) == ["key"]
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert hint in done.stderr
    assert not content or content[:20].decode() not in done.stderr


def test_with_run_as_the_user_who_serves_reads_the_file(
    seaweedfs: S3Server, files: tuple[str, ...], tmp_path: Path, directory: Path
) -> None:
    """As the credentials; root opens nothing that this user could have aimed at."""
    bucket = fill(seaweedfs, {"b": (b"second", SECOND)})
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    os.chown(files[3], NOBODY, NOBODY)
    options = ("--sse-c-allow-http", "--run-as", "nobody", "--allow-other")
    of_root, of_nobody = files[:2], files[2:]
    words = ("--endpoint-url", seaweedfs.endpoint_url, *options, *of_root)

    done = refused(bucket, directory, *words, env=seaweedfs.environment())

    assert f"the user who serves (uid {NOBODY}) may not read it" in done.stderr
    with mount_of(seaweedfs, bucket, tmp_path / "mnt", *options, *of_nobody) as mount:
        assert read_file(mount / "b") == b"second"


@pytest.fixture
def secrets() -> Iterator[list[bytes]]:
    """Every spelling of the keys that a careless program would write."""
    found: list[bytes] = []
    for key in (FIRST, SECOND):
        found += [key, key[:31], base64.b64encode(key), key.hex().encode()]
        found += [base64.urlsafe_b64encode(key), repr(key)[2:-1].encode()]
    return (yield found)


@each_transport
def test_no_key_is_in_anything_that_the_mount_writes(
    seaweedfs_https: S3Server,
    files: tuple[str, ...],
    tmp_path: Path,
    transport: str,
    secrets: list[bytes],
) -> None:
    """Log at debug, trace, status and refusals; and there is no core."""
    bucket = fill(seaweedfs_https, {**OBJECTS, "z": (b"z", ABSENT)})
    options = [*("--transport", transport, "--log-level", "debug", "--metadata-ttl", "0"), *files]
    options += ["--endpoint-url", seaweedfs_https.endpoint_url]
    options += ["--ca-bundle", str(seaweedfs_https.ca_bundle)]
    env = seaweedfs_https.environment()

    with mounted(bucket, tmp_path / "mnt", *options, env=env, is_forked=False) as mount:
        mount.allow(".")
        with control_client(mount.path) as client:
            client.send("trace")
            for name, (content, _) in OBJECTS.items():
                assert read_file(mount / name) == content
            assert failure_of(lambda: read_file(mount / "z")) == "EACCES"
            texts = [json.dumps(client.receive_item()) for _ in range(len(OBJECTS))]
        texts += [json.dumps(ask(mount.path, command)) for command in ("status", "activity")]
        pid = mount.process.pid
        for name in ("cmdline", "environ", "status", "maps"):
            texts.append(Path(f"/proc/{pid}/{name}").read_bytes().decode("latin-1"))
        resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        mount.is_left = True
        os.kill(pid, signal.SIGSEGV)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert ended is not None
    assert (ended.si_code, ended.si_status) == (os.CLD_KILLED, signal.SIGSEGV)  # and not dumped
    texts.append(mount.log_file.read_bytes().decode("latin-1"))
    for text in texts:
        for secret in secrets:
            assert secret.decode("latin-1") not in text
            assert json.dumps(secret.decode("latin-1"))[1:-1] not in text
