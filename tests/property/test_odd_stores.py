"""Stores with several oddities at once: right names and right bytes, or an error.

The file system runs over the store's own operations and the native transport, on a scripted store
of `tests.field`, without a kernel. S3MOUNT_EXAMPLES sets how many examples there are.
"""

import gzip
import itertools
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import S3MountError
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.pauses import INVALID_ATTEMPTS
from tests.faults.bucket import Bucket, Response
from tests.field import kinds
from tests.field.kinds import ANY, GET, HEAD, LIST, OBJECT
from tests.field.store import Answer, Oddity, ScriptedStore, Visit
from tests.property.filesystem_factory import make_filesystem
from tests.property.kernel import Kernel
from tests.property.strategies import keys
from tests.reference import Directory, tree_of
from tests.unit.s3.scripted_server import store_at

EXAMPLES = int(os.environ.get("S3MOUNT_EXAMPLES", "500"))
BUCKET = "bucket"
TIMEOUT = 5.0  # seconds of one operation
HANGS_AFTER = 60.0
FILES = 4  # that are read in one example
SIZES = (0, 1, 40, 700)


def flips_whole_objects(visit: Visit, answer: Answer) -> Response:
    """Flip a bit of a whole object, if the request shows that its bytes will be checked."""
    response = answer(visit.request)
    whole = visit.store.bucket.respond(replace(visit.request, headers={}))
    is_checked = visit.request.headers.get("x-amz-checksum-mode") == "ENABLED"
    is_whole = response.body == whole.body != b"" and response.cut_after is None
    if not (GET(visit.request) and is_checked and is_whole):
        return response
    return replace(response, body=bytes([response.body[0] ^ 1]) + response.body[1:])


def without_checksum(visit: Visit, answer: Answer) -> Response:
    response = answer(visit.request)
    for name in ("x-amz-checksum-crc32", "x-amz-checksum-type"):
        response = response.with_header(name, None)
    return response


# in the order in which they apply
ODDITIES: Mapping[str, Oddity] = {
    "version 1": kinds.version_1,
    "no token": kinds.no_token,
    "empty pages first": kinds.empty_pages_first(2),
    "directories as objects": kinds.directories_as_objects,
    "the requested prefix": kinds.names_requested_prefix,
    "times with a zone": kinds.swap(r"\.000Z<", "+0000<"),
    "a time that is none": kinds.swap(r"<LastModified>[^<]*", "<LastModified>never", 1),
    "the year 1": kinds.swap(r"<LastModified>\d{4}", "<LastModified>0001", 1),
    "a row outside of the prefix": kinds.add_rows(kinds.row("~outside"), kinds.of(LIST, "a")),
    "a row without a key": kinds.add_rows(kinds.row("")),
    "each row twice": kinds.swap(r"(<Contents>.*?</Contents>)", r"\1\1"),
    "larger sizes": kinds.list_sizes(lambda size: size + 3),
    "smaller sizes": kinds.list_sizes(lambda size: size // 2),
    "other ETags": kinds.list_etags('"0123456789abcdef0123456789abcdef"'),
    "no ETags in listings": kinds.swap("<ETag>.*?</ETag>", ""),
    "no Last-Modified": kinds.header(HEAD, "Last-Modified", None),
    "no Content-Length": kinds.header(HEAD, "Content-Length", None),
    "unpacks gzip": kinds.unpacks_gzip,
    "If-Match ignored": kinds.ignores("if-match"),
    "If-None-Match ignored": kinds.ignores("if-none-match"),
    "If-Match refused": kinds.refuses_if_match,
    "Range ignored": kinds.without_ranges(200),
    "Range refused": kinds.without_ranges(501),
    "Range refused, 416": kinds.without_ranges(416, "InvalidRange"),
    "no checksum": without_checksum,
    "cut bodies": kinds.cuts_bodies(100),
    "cut once": kinds.first(1, GET, kinds.cuts_bodies(10)),
    "a flipped bit": kinds.first(1, GET, flips_whole_objects),
    "flipped bits": flips_whole_objects,
    "busy": kinds.busy(2),
    "resets": kinds.first(2, ANY, kinds.resets(ANY)),
    "denies HEAD": kinds.refuses(HEAD, 403, "AccessDenied"),
    "400 to objects": kinds.first(2, OBJECT, kinds.refuses(OBJECT, 400, "InvalidRequest")),
    "redirects": kinds.after(3, GET, kinds.redirects(GET)),
    "half a document": kinds.first(
        2, LIST, kinds.edit(LIST, lambda page: page.with_body(page.body[: len(page.body) // 2]))
    ),
}


@dataclass(frozen=True)
class Example:
    """A bucket, its oddities, and the files that are replaced while they are read."""

    oddities: tuple[str, ...]
    sizes: Mapping[str, int]
    page_size: int
    are_replaced: tuple[bool, ...]


EXAMPLE = st.builds(
    Example,
    st.lists(st.sampled_from([*ODDITIES]), max_size=4, unique=True).map(
        lambda chosen: tuple(name for name in ODDITIES if name in chosen)
    ),
    st.dictionaries(keys, st.sampled_from(SIZES), max_size=6),
    st.integers(1, 4),
    st.lists(st.booleans(), min_size=FILES, max_size=FILES).map(tuple),
)


@pytest.fixture(autouse=True)
def _warnings_are_allowed(allowed_warnings: list[str]) -> None:
    allowed_warnings.append("")


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=EXAMPLE)
# another size makes the ETag no evidence, but the bytes of two ranges still are
@example(Example(("larger sizes", "no checksum", "flipped bits"), {"a": 1}, 1, (False,) * FILES))
def test_what_is_shown_is_right_or_an_error(chosen: Example) -> None:
    bucket = Bucket(BUCKET, page_size=chosen.page_size)
    for key, size in chosen.sizes.items():
        put(bucket, key, size, serial=0)
    oddities = [ODDITIES[name] for name in chosen.oddities]
    with (
        ScriptedStore(bucket) as other,
        ScriptedStore(bucket, oddities, elsewhere=other.url) as store,
    ):
        trio.run(use, chosen, bucket, store.port)
        assert other.requests == [], "a redirect was followed"


def put(bucket: Bucket, key: str, size: int, serial: int) -> None:
    """Store an object of *size*, or packed ones, whose bytes tell the key and the serial number."""
    body = random.Random(f"{key} {serial}").randbytes(size)
    if key.endswith("b") and size:
        bucket.put(key, gzip.compress(body, mtime=0), ("Content-Encoding", "gzip"))
    else:
        bucket.put(key, body)


async def use(example: Example, bucket: Bucket, port: int) -> None:
    """List all directories, and read some files."""
    operations = BucketOperations(NativeTransport(store_at(port)), BUCKET)
    store = RemoteStore(
        operations,
        max_connections=8,
        timeout=TIMEOUT,
        pauses=partial(itertools.repeat, 0.0, 3),
        invalid_pauses=partial(itertools.repeat, 0.0, INVALID_ATTEMPTS - 1),
    )
    config, location = TreeConfig(uid=0, gid=0), StoreConfig(bucket=BUCKET)
    try:
        with trio.fail_after(HANGS_AFTER):
            async with trio.open_nursery() as nursery:
                kernel = Kernel(make_filesystem(store, nursery, config, location, time.monotonic))
                await check_directory(kernel, ROOT, tree_of(dict.fromkeys(example.sizes, 0)))
                shown = [key for key in example.sizes if is_file(example, key)][:FILES]
                for key, is_replaced in zip(shown, example.are_replaced, strict=False):
                    await check_file(kernel, bucket, key, is_replaced=is_replaced)
                nursery.cancel_scope.cancel()
    finally:
        store.close()


def is_file(example: Example, key: str) -> bool:
    """Whether the mount shows the object *key* as a file."""
    node: object = tree_of(dict.fromkeys(example.sizes, 0))
    for name in key.encode().split(b"/"):
        node = node.get(name) if isinstance(node, Directory) else None
    return node is not None and not isinstance(node, Directory)


async def check_directory(kernel: Kernel, inode: int, tree: Directory[int]) -> None:
    """Check that a listing shows the names of *tree*, or fails."""
    try:
        entries = await kernel.readdir(inode)
    except S3MountError:
        return
    kinds_shown = {name: seen.is_directory for name, seen in entries}
    assert len(kinds_shown) == len(entries), "a name comes twice"
    assert kinds_shown == {name: isinstance(node, Directory) for name, node in tree.items()}
    for name, seen in entries:
        below = tree[name]
        if isinstance(below, Directory):
            await check_directory(kernel, seen.inode, below)


async def check_file(kernel: Kernel, bucket: Bucket, key: str, *, is_replaced: bool) -> None:
    """Read *key* by one handle in two pieces, which must be of one version, or fail."""
    files = kernel.filesystem.files
    try:
        seen = await kernel.resolve(key.encode())
        assert seen is not None, f"{key!r} is absent"
        assert not seen.is_directory, f"{key!r} is a directory"
        handle = await files.open(seen.inode)
    except S3MountError:
        return
    middle = len(bucket.bodies(key)[-1]) // 2
    pieces: list[bytes] = []  # up to the middle, and after it
    try:
        pieces.append(bytes(await files.read(handle, 0, middle)))
        if is_replaced:
            put(bucket, key, 50, serial=1)
        pieces.append(bytes(await files.read(handle, middle, 1 << 20)))
    except S3MountError:
        pass
    finally:
        files.release(handle)
    versions = [[body[:middle], body[middle:]] for body in bucket.bodies(key)]
    assert pieces in [halves[: len(pieces)] for halves in versions], (
        f"{key!r} has bytes that no version of it has"
    )
