"""A store that contradicts itself is read right, and no reader sees two versions."""

import contextlib
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, ReplacedBeforeOpen, StaleVersion
from s3mount.filesystem.namespace.corrections import UNCHECKED_SIZES
from s3mount.filesystem.namespace.inode_table import ROOT
from tests.fakes.lying_store import LyingStore
from tests.fakes.memory_store import Request, hook
from tests.property.kernel import Clock, Kernel, Seen, kernel_on
from tests.property.running import run

PAGE = 4  # bytes of a page of the simulated kernel
TTL = 60.0


def body_of(version: int) -> bytes:
    """Return a body in which every byte tells its version and its place."""
    return bytes(16 * version + place for place in range(5 + 3 * (version % 4)))


@dataclass
class PageCache:
    """Pages that the kernel keeps of each inode, over closes and opens."""

    pages: dict[tuple[int, int], bytes] = field(default_factory=dict)

    async def read(self, kernel: Kernel, inode: int, handle: int, page: int) -> bytes:
        """Read a page, from the cache if it is there."""
        if (inode, page) not in self.pages:
            read = await kernel.filesystem.files.read(handle, page * PAGE, PAGE)
            self.pages[inode, page] = bytes(read)
        return self.pages[inode, page]


@dataclass
class Reader:
    """Open file, and the bytes that its reader has had."""

    handle: int
    inode: int
    seen: dict[int, int] = field(default_factory=dict)

    def note(self, page: int, content: bytes) -> None:
        self.seen.update(enumerate(content, page * PAGE))

    @property
    def versions(self) -> set[int]:
        return {byte // 16 for byte in self.seen.values()}


async def open_file(kernel: Kernel, *, by_listing: bool) -> Reader | None:
    """Open `d/a` as the kernel does: again, once, if it was replaced before."""
    for _ in range(2):
        directory = await kernel.lookup(ROOT, b"d")
        assert directory is not None
        found: Seen | None = None
        if by_listing:
            found = dict(await kernel.readdir(directory.inode)).get(b"a")
        else:
            found = await kernel.lookup(directory.inode, b"a")
        assert found is not None
        try:
            return Reader(await kernel.filesystem.files.open(found.inode), found.inode)
        except ReplacedBeforeOpen:
            continue
    return None


lies = st.fixed_dictionaries(
    {
        "listed_bytes": st.sampled_from([0, 0, 3, -3, -99]),
        "listed_word": st.sampled_from(["", "", "-listed"]),
        "head_bytes": st.sampled_from([0, 0, 3, -3, -99]),
        "head_word": st.sampled_from(["", "", "-head"]),
    }
)
steps = st.one_of(
    st.tuples(st.just("open"), st.booleans()),
    st.tuples(st.just("read"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("read twice"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("close"), st.integers(0, 3)),
    st.tuples(st.just("replace"), st.integers(1, 15)),
    st.tuples(st.just("replace within a request"), st.integers(1, 15), st.integers(1, 4)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, TTL])),
    st.tuples(st.just("change the lie"), lies),
)


@given(lie=lies, program=st.lists(steps, max_size=30), ttl=st.sampled_from([0.0, TTL]))
def test_a_reader_has_bytes_of_one_version_only(
    lie: dict[str, object], program: list[tuple[object, ...]], ttl: float
) -> None:
    async def main() -> None:
        store, clock, cache = LyingStore({"d/a": body_of(1)}, **lie), Clock(), PageCache()  # type: ignore[arg-type]
        readers: list[Reader] = []
        async with kernel_on(store, clock, metadata_ttl=ttl) as kernel:
            for step in program:
                with contextlib.suppress(StaleVersion):
                    await take(step, Mount(store, clock, kernel, cache, readers))
                for reader in readers:
                    assert len(reader.versions) <= 1, reader
            for reader in readers:
                kernel.filesystem.files.release(reader.handle)

    run(main)


@dataclass
class Mount:
    store: LyingStore
    clock: Clock
    kernel: Kernel
    cache: PageCache
    readers: list[Reader]

    async def open(self, *, by_listing: bool) -> None:
        reader = await open_file(self.kernel, by_listing=by_listing)
        if reader is not None and len(self.readers) < 4:
            self.readers.append(reader)
        elif reader is not None:
            self.kernel.filesystem.files.release(reader.handle)

    async def read(self, reader: Reader, *pages: int) -> None:
        async with trio.open_nursery() as nursery:
            for page in pages:
                nursery.start_soon(self._read, reader, page)

    def replace_within(self, number: int, version: int) -> None:
        """Replace the object right before the response to a request that is yet to come."""
        due = len(self.store.requests) + number

        def replace(request: Request) -> None:
            if request.number == due:
                self.store.put("d/a", body_of(version))

        self.store.before = hook(replace)

    async def _read(self, reader: Reader, page: int) -> None:
        with contextlib.suppress(StaleVersion):
            content = await self.cache.read(self.kernel, reader.inode, reader.handle, page)
            reader.note(page, content)


async def take(step: tuple[object, ...], mount: Mount) -> None:
    readers = mount.readers
    match step:
        case "open", bool(by_listing):
            await mount.open(by_listing=by_listing)
        case "read", int(which), int(page) if which < len(readers):
            await mount.read(readers[which], page)
        case "read twice", int(which), int(page) if which < len(readers):
            await mount.read(readers[which], page, (page + 1) % 4)
        case "close", int(which) if which < len(readers):
            mount.kernel.filesystem.files.release(readers.pop(which).handle)
        case "replace", int(version):
            mount.store.put("d/a", body_of(version))
        case "replace within a request", int(version), int(number):
            mount.replace_within(number, version)
        case "wait", float(seconds):
            mount.clock.now += seconds
        case "change the lie", dict(lie):
            for name, value in lie.items():
                setattr(mount.store, name, value)


@given(
    lie=lies,
    by_listing=st.lists(st.booleans(), min_size=1, max_size=5),
    version=st.integers(1, 15),
    ttl=st.sampled_from([0.0, TTL]),
    pause=st.sampled_from([0.0, TTL + 1]),
)
def test_a_store_that_errs_always_alike_is_read_right_each_time(
    lie: dict[str, object], by_listing: list[bool], version: int, ttl: float, pause: float
) -> None:
    body = body_of(version)

    async def main() -> None:
        store, clock = LyingStore({"d/a": body, "d/b": b"b"}, **lie), Clock()  # type: ignore[arg-type]
        async with kernel_on(store, clock, metadata_ttl=ttl) as kernel:
            for each in by_listing:
                reader = await open_file(kernel, by_listing=each)
                assert reader is not None
                files, tree = kernel.filesystem.files, kernel.filesystem.tree
                assert body == await files.read(reader.handle, 0, 100)
                assert len(body) == tree.attributes(reader.inode).size
                files.release(reader.handle)
                clock.now += pause

    run(main)


async def test_opens_at_the_same_time_wait_for_one_check() -> None:
    names = [f"{number}" for number in range(8)]
    store, clock = LyingStore({f"d/{name}": body_of(1) for name in names}), Clock()
    async with kernel_on(store, clock, metadata_ttl=TTL) as kernel:
        directory = await kernel.lookup(ROOT, b"d")
        assert directory is not None
        listed = dict(await kernel.readdir(directory.inode))
        files = kernel.filesystem.files
        handles = []

        async def open_one(name: str) -> None:
            handles.append(await files.open(listed[name.encode()].inode))

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(open_one, name)

        assert len(handles) == len(names)
        assert store.counts()["GET"] == 1
        for handle in handles:
            files.release(handle)


async def open_listed(kernel: Kernel, name: bytes) -> int:
    """Open a file of `d`, as its listing tells it; the inode."""
    directory = await kernel.lookup(ROOT, b"d")
    assert directory is not None
    inode = dict(await kernel.readdir(directory.inode))[name].inode
    kernel.filesystem.files.release(await kernel.filesystem.files.open(inode))
    return inode


@pytest.mark.parametrize("listed_bytes", [-2, -99], ids=["other sizes", "no sizes"])
async def test_an_empty_file_tells_nothing_of_other_sizes(listed_bytes: int) -> None:
    objects = {"d/a": body_of(1), "d/empty": b""}
    store = LyingStore(objects, listed_bytes=listed_bytes, etag_salt=b"x")
    async with kernel_on(store, Clock(), metadata_ttl=TTL) as kernel:
        await open_listed(kernel, b"empty")

        inode = await open_listed(kernel, b"a")

        assert len(body_of(1)) == kernel.filesystem.tree.attributes(inode).size


async def test_one_empty_file_is_checked_if_listings_tell_sizes() -> None:
    names = [f"{number}" for number in range(8)]
    store = LyingStore({"d/a": b"a", **{f"d/{name}": b"" for name in names}}, etag_salt=b"x")
    async with kernel_on(store, Clock(), metadata_ttl=TTL) as kernel:
        for name in names:
            inode = await open_listed(kernel, name.encode())
            await kernel.filesystem.files.check_size(inode)

        assert store.counts()["GET"] == 1


async def test_sizes_that_cannot_be_checked_are_not_checked_without_end() -> None:
    names = [f"{number}" for number in range(2 * UNCHECKED_SIZES)]
    store = LyingStore({f"d/{name}": b"" for name in names}, etag_salt=b"x")

    def deny(request: Request) -> None:
        if request.kind == "GET":
            raise AccessDenied("denied")

    store.before = hook(deny)
    async with kernel_on(store, Clock(), metadata_ttl=TTL) as kernel:
        directory = await kernel.lookup(ROOT, b"d")
        assert directory is not None
        for _, seen in await kernel.readdir(directory.inode):
            await kernel.filesystem.files.check_size(seen.inode)

        assert len(kernel.filesystem.files) == 0
        assert store.counts()["GET"] == UNCHECKED_SIZES


async def test_an_empty_file_that_was_replaced_is_not_opened_as_empty() -> None:
    store = LyingStore({"d/a": b""}, etag_salt=b"x")
    async with kernel_on(store, Clock(), metadata_ttl=TTL) as kernel:
        directory = await kernel.lookup(ROOT, b"d")
        assert directory is not None
        [(_, seen)] = await kernel.readdir(directory.inode)
        store.put("d/a", body_of(1))

        with pytest.raises(ReplacedBeforeOpen):
            await kernel.filesystem.files.open(seen.inode)

        assert len(kernel.filesystem.files) == 0
        inode = await kernel.lookup(directory.inode, b"a")
        assert inode is not None
        assert len(body_of(1)) == inode.size
