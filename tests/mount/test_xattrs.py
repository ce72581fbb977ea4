"""Extended attributes of a real mount, as programs read them, and the requests that they cost."""

import errno
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from s3mount.filesystem.attributes.attribute_names import NOT_SHOWN, OF_MEMBER
from s3mount.fuse.acl_searches import FILES_MAX
from tests.faults import http_faults
from tests.faults.bucket import Bucket, Kind
from tests.faults.faulty_mount import CREDENTIALS
from tests.faults.hostile_store import HostileStore, Step
from tests.mount.buckets import fill
from tests.mount.filesystem_access import failure_of, output_of
from tests.mount.memory_mount import memory_mount
from tests.mount.mount_process import Mount, mount_of, mounted
from tests.mount.relay import Traffic, relay
from tests.servers import Quirk, S3Server

FILES = 24
PART = 5 << 20
SERVERS = ("seaweedfs", "moto", "rclone")
# lists the names of all files of a directory, as GNU ls of coreutils 9.6 does to find ACLs
LISTER = """
import os, sys
for entry in os.scandir(sys.argv[1]):
    try:
        os.listxattr(entry.path)
    except OSError as exc:
        print(exc.errno)
"""


@dataclass
class Observed:
    """Mount with attributes, behind a relay that has seen the requests of its start."""

    mount: Mount
    traffic: Traffic
    server: S3Server
    bucket: str

    def requests(self) -> Counter[str]:
        """Return the requests since the last call, by kind."""
        return Counter(each.kind for each in self.traffic.take())


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def bucket(server: S3Server) -> str:
    bucket = fill(
        server, {f"many/{number:03}": b"body" for number in range(FILES)} | {"changing/0": b""}
    )
    client = server.client()
    client.put_object(
        Bucket=bucket,
        Key="d/described",
        Body=b"hello",
        ContentType="text/plain",
        CacheControl="no-store",
        Metadata={"colour": "=?UTF-8?B?w6TDtg==?=", "binary-safe": "a=b; c"},
    )
    return bucket


@pytest.fixture
def observed(server: S3Server, bucket: str, tmp_path: Path) -> Iterator[Observed]:
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "m", "--xattrs", "--fetch-owner") as mount,
    ):
        for name in ("d", "many"):
            output_of("ls", "-l", mount / name)
        traffic.take()
        yield Observed(mount, traffic, server, bucket)


def attributes_of(path: Path) -> dict[str, str]:
    """Return what getfattr dumps of *path*."""
    lines = output_of("getfattr", "--absolute-names", "-d", "-m", "-", path).splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value.strip('"') for name, _, value in pairs}


def test_getfattr_shows_all_that_s3_knows_of_a_file_by_one_head(observed: Observed) -> None:
    found = attributes_of(observed.mount / "d/described")

    told = observed.server.client().head_object(Bucket=observed.bucket, Key="d/described")
    assert found["user.s3.etag"] == told["ETag"].strip('"')
    assert found["user.s3.content_type"] == told["ContentType"]
    assert found.get("user.s3.cache_control") == told.get("CacheControl")
    assert found["user.s3.storage_class"] == "STANDARD"
    if observed.server.name != "rclone":  # which keeps no metadata
        assert found["user.s3.meta.binary-safe"] == "a=b; c"
        colour = os.getxattr(observed.mount / "d/described", "user.s3.meta.colour")
        assert colour == "äö".encode()
    assert observed.requests() == {"HEAD": 1}


def test_what_a_listing_knows_takes_no_request(observed: Observed) -> None:
    path = observed.mount / "d/described"

    assert os.getxattr(path, "user.s3.etag") == b"5d41402abc4b2a76b9719d911017c592"
    assert os.getxattr(path, "s3.etag") == b'"5d41402abc4b2a76b9719d911017c592"'
    assert os.getxattr(path, "s3.storage-class") == b"STANDARD"
    if observed.server.name != "rclone":  # which tells none
        assert os.getxattr(path, "user.s3.owner")
    assert observed.requests() == {}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("system.posix_acl_access", "ENOTSUP"),  # GNU ls then asks of no other file
        ("security.capability", "ENOTSUP"),
        ("security.selinux", "ENOTSUP"),
        ("user.other", "ENODATA"),
        ("user.s3.unknown", "ENODATA"),
    ],
)
def test_other_names_are_answered_without_a_request(
    observed: Observed, name: str, code: str
) -> None:
    path = observed.mount / "d/described"

    assert failure_of(lambda: os.getxattr(path, name)) == code
    assert observed.requests() == {}


def test_a_value_that_the_object_has_not_is_enodata(observed: Observed) -> None:
    path = observed.mount / "d/described"

    for name in ("user.s3.meta.absent", "user.s3.expires", "user.s3.content_language"):
        assert failure_of(partial(os.getxattr, path, name)) == "ENODATA"
    assert observed.requests() == {"HEAD": 1}


def test_ls_sends_no_request_for_attributes(observed: Observed) -> None:
    output_of("ls", "-lZ", observed.mount / "many")

    assert observed.requests() == {}


def test_a_search_for_acls_sends_few_requests_and_ends(observed: Observed) -> None:
    printed = output_of(sys.executable, "-c", LISTER, observed.mount / "many").split()

    assert printed == [str(errno.ENOTSUP)] * (FILES - FILES_MAX)
    assert observed.requests() == {"HEAD": FILES_MAX}


def test_one_of_several_threads_is_told_the_names_of_each_file(observed: Observed) -> None:
    """Another thread may be the one that reads their values."""
    script = f"""
import sys, threading
threading.Thread(target=sys.stdin.read).start()
{LISTER}
print("listed", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, observed.mount / "many"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as lister:
        assert lister.stdin is not None
        assert lister.stdout is not None
        printed = lister.stdout.readline()
        lister.stdin.close()

    assert printed == b"listed\n"
    assert observed.requests() == {"HEAD": FILES}


def test_cp_copies_the_attributes_by_one_head_for_each_file(
    observed: Observed, tmp_path: Path
) -> None:
    output_of("cp", "-a", observed.mount / "many", tmp_path / "copy")

    assert observed.requests()["HEAD"] == FILES
    copied = attributes_of(tmp_path / "copy/000")
    assert copied == attributes_of(observed.mount / "many/000")


def test_rsync_copies_the_attributes_by_one_head_for_each_file(
    observed: Observed, tmp_path: Path
) -> None:
    output_of("rsync", "-aAX", f"{observed.mount.path}/many/", tmp_path / "copy")

    assert observed.requests()["HEAD"] == FILES
    copied = attributes_of(tmp_path / "copy/000")
    assert copied == attributes_of(observed.mount / "many/000")


def test_tar_packs_the_attributes_by_one_head_for_each_file(
    observed: Observed, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.tar"
    words = ("--xattrs", "--xattrs-include=*", "--acls", "--selinux")
    output_of("tar", *words, "-cf", packed, "-C", observed.mount.path, "many")

    assert observed.requests()["HEAD"] == FILES
    assert b"SCHILY.xattr.user.s3.etag" in packed.read_bytes()


def test_a_directory_tells_of_its_listing_without_a_request(observed: Observed) -> None:
    found = attributes_of(observed.mount / "many")

    assert found.pop("user.s3.listing_age").isdecimal()
    assert found == {
        "user.s3.prefix": "many/",
        "user.s3.entries": str(FILES),
        "user.s3.hidden_keys": "0",
    }
    assert attributes_of(observed.mount.path)["user.s3.prefix"] == ""
    assert observed.requests() == {}


def test_a_small_buffer_is_erange_and_none_tells_the_size(observed: Observed) -> None:
    program = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
path, name, buffer = os.fsencode(sys.argv[1]), b"user.s3.etag", ctypes.create_string_buffer(100)
print(libc.getxattr(path, name, None, 0), libc.getxattr(path, name, buffer, 32))
print(libc.getxattr(path, name, buffer, 31), ctypes.get_errno())
print(libc.listxattr(path, buffer, 20), ctypes.get_errno())
"""
    printed = output_of(sys.executable, "-c", program, observed.mount / "d/described")

    assert printed.split() == ["32", "32", "-1", str(errno.ERANGE), "-1", str(errno.ERANGE)]


def test_the_parts_of_an_upload_take_a_head_of_their_own(observed: Observed) -> None:
    client, key = observed.server.client(), "changing/parts"
    upload = client.create_multipart_upload(Bucket=observed.bucket, Key=key)["UploadId"]
    names = {"Bucket": observed.bucket, "Key": key, "UploadId": upload}
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**names, PartNumber=number, Body=bytes(size))["ETag"],
        }
        for number, size in ((1, PART), (2, 1000))
    ]
    client.complete_multipart_upload(**names, MultipartUpload={"Parts": parts})
    path = observed.mount / key
    path.stat()
    observed.requests()

    if observed.server.name == "rclone":  # which tells of no parts
        assert failure_of(lambda: os.getxattr(path, "user.s3.part_size")) == "ENODATA"
        return
    assert os.getxattr(path, "user.s3.part_size") == str(PART).encode()
    assert os.getxattr(path, "user.s3.parts_count") == b"2"
    # moto gives the part's own ETag, so the object is asked for once more
    assert observed.requests() == {"HEAD": 2 if observed.server.name == "moto" else 1}
    assert "user.s3.parts_count" not in os.listxattr(path)


def test_a_replaced_file_shows_the_attributes_of_its_successor(observed: Observed) -> None:
    client, path = observed.server.client(), observed.mount / "changing/replaced"
    client.put_object(
        Bucket=observed.bucket, Key="changing/replaced", Body=b"one", ContentType="a/one"
    )
    path.stat()
    with path.open("rb") as opened:
        client.put_object(
            Bucket=observed.bucket, Key="changing/replaced", Body=b"2", ContentType="a/two"
        )

        assert os.getxattr(path, "user.s3.content_type") == b"a/two"
        name = "user.s3.content_type"
        assert failure_of(lambda: os.getxattr(opened.fileno(), name)) == "ESTALE"
    client.delete_object(Bucket=observed.bucket, Key="changing/replaced")
    assert failure_of(lambda: os.getxattr(path, "user.s3.expires")) in ("ENODATA", "ENOENT")


def test_an_open_file_keeps_the_attributes_of_its_version(server: S3Server, tmp_path: Path) -> None:
    has_versions = Quirk.NO_VERSIONS not in server.quirks
    bucket, client = server.make_bucket(versioned=has_versions), server.client()
    client.put_object(Bucket=bucket, Key="a", Body=b"one", ContentType="a/one")
    with mount_of(server, bucket, tmp_path / "m", "--xattrs") as mount, (mount / "a").open() as one:
        assert one.read() == "one"
        client.put_object(Bucket=bucket, Key="a", Body=b"two!", ContentType="a/two")

        if has_versions:
            assert os.getxattr(one.fileno(), "user.s3.content_type") == b"a/one"
            assert os.getxattr(one.fileno(), "user.s3.version_id")
        else:
            name = "user.s3.content_type"
            assert failure_of(lambda: os.getxattr(one.fileno(), name)) == "ESTALE"


def test_without_the_option_there_are_no_attributes(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with mount_of(server, bucket, tmp_path / "m") as mount:
        path = mount / "d/described"

        assert failure_of(lambda: os.getxattr(path, "user.s3.etag")) == "ENOTSUP"
        assert failure_of(lambda: os.listxattr(path)) == "ENOTSUP"


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[tuple[HostileStore, Mount]]:
    """Mount of a store whose listing of two files is cached."""
    bucket = Bucket("faulty")
    for key in ("a", "b"):
        bucket.put(key, b"body")
    options = ("--xattrs", "--timeout", "2", "--endpoint-url")
    with (
        HostileStore(bucket) as store,
        mounted("faulty", tmp_path / "m", *options, store.url, env=CREDENTIALS) as mount,
    ):
        output_of("ls", "-l", mount.path)
        yield store, mount


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [(403, "AccessDenied", "EACCES"), (500, "InternalError", "EIO"), (501, "", "ENOTSUP")],
)
def test_a_refused_head_is_an_error_and_no_absence(
    hostile: tuple[HostileStore, Mount], status: int, word: str, code: str
) -> None:
    store, mount = hostile
    store.misbehave(Step(Kind.HEAD, http_faults.refused(status, word)))
    mount.allow("getxattr", "responds", "store")

    path = mount / "a"
    assert failure_of(lambda: os.getxattr(path, "user.s3.content_type")) in (code, "ETIMEDOUT")
    assert os.getxattr(path, "user.s3.etag")


def test_a_store_without_head_shows_what_it_lists(hostile: tuple[HostileStore, Mount]) -> None:
    store, mount = hostile
    store.misbehave(Step(Kind.HEAD, http_faults.refused(405, "MethodNotAllowed")))

    for _ in range(5):
        assert set(attributes_of(mount / "a")) == {"user.s3.etag", "user.s3.storage_class"}
    before = len(store.requests)
    attributes_of(mount / "b")
    assert len(store.requests) == before


def test_a_store_that_is_away_is_eio_and_no_absence(hostile: tuple[HostileStore, Mount]) -> None:
    store, mount = hostile
    store.refuse()
    mount.allow("getxattr", "listxattr", "store")

    path = mount / "a"
    assert failure_of(lambda: os.getxattr(path, "user.s3.content_type")) in ("EIO", "ETIMEDOUT")
    assert failure_of(lambda: os.listxattr(path)) in ("EIO", "ETIMEDOUT")
    assert os.getxattr(path, "user.s3.storage_class") == b"STANDARD"
    store.listen()


def test_s3mountctl_shows_the_attributes_of_a_path(observed: Observed) -> None:
    words = [sys.executable, "-c", "from s3mount.ctl.main import main; main()", "attributes"]
    done = subprocess.run(
        [*words, observed.mount / "d/described"], capture_output=True, text=True, check=True
    )
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())

    assert rows["key"] == "d/described"
    assert rows["fields.ContentType"] == "text/plain"
    assert rows["metadata.colour"] == "äö"
    assert rows["size"] == "5"


def test_the_kernel_asks_for_few_attributes_of_all_that_ls_lists(tmp_path: Path) -> None:
    """Of one file for ACLs; or for names, by GNU ls from coreutils 9.6 on, of few files."""
    with memory_mount(tmp_path / "m", "--xattrs") as mount:
        for number in range(400):
            mount.command("put", f"many/{number:03}")

        output_of("ls", "-l", "--color=always", mount / "many")

        assert mount.command("xattrs") <= 2 * FILES_MAX + 2
        assert "HEAD" not in {request[0] for request in mount.command("requests")}


def test_every_field_that_s3_tells_of_an_object_is_an_attribute(
    moto: S3Server, tmp_path: Path
) -> None:
    client = moto.client()
    bucket = f"locked-{os.getpid()}-{tmp_path.name}".lower().replace("_", "-")[:60]
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    client.put_object(
        Bucket=bucket,
        Key="a",
        Body=b"body",
        ContentType="text/plain",
        ContentDisposition="attachment",
        ContentEncoding="x-own",
        ContentLanguage="de",
        Expires=datetime(2030, 1, 1, tzinfo=UTC),
        WebsiteRedirectLocation="/elsewhere",
        Tagging="one=1&two=2",
        ServerSideEncryption="AES256",
        ChecksumAlgorithm="SHA256",
        StorageClass="STANDARD_IA",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=datetime(2030, 1, 1, tzinfo=UTC),
        ObjectLockLegalHoldStatus="ON",
    )
    told = client.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")

    with mount_of(moto, bucket, tmp_path / "m", "--xattrs") as mount:
        found = attributes_of(mount / "a")

    members = told.keys() - NOT_SHOWN - {"ResponseMetadata", "Metadata", "ExpiresString"}
    assert len(members) > 12
    assert {OF_MEMBER[member].decode() for member in members} - found.keys() == set()
    for member in ("ChecksumSHA256", "ObjectLockMode", "StorageClass", "VersionId"):
        assert found[OF_MEMBER[member].decode()] == told[member]
