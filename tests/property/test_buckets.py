"""A mount of many buckets shows the tree of all of them, whatever is called or changes."""

from collections.abc import Mapping
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError, StoreError
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ByteRange
from s3mount.s3.object_store import ObjectStore
from tests.fakes.memory_account import HOME, MemoryAccount
from tests.fakes.memory_store import MemoryStore
from tests.fakes.started_reads import read_range
from tests.property.kernel import Clock, Kernel, Seen, kernel_on, walk
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes
from tests.reference import Directory, Node, look, tree_of

NAMES: Final = ("a", "a-b", "a.b", "b", "b-")
REGIONS: Final = (HOME, "eu-central-1", "eu-north-1")  # as many as a bucket is looked for in
WORDS: Final = ((), ("a*",), ("?",), ("b", "a"), ("b", "a*"), ("[ab]*",))
KEYS: Final = ("x", "x/y", "x-/y", "d/e/f")

contents = st.dictionaries(st.sampled_from(NAMES), bodies(6), max_size=4)
places = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(REGIONS))


def account_of(
    objects: Mapping[str, Mapping[str, bytes]], regions: Mapping[str, str], page_size: int
) -> MemoryAccount:
    stores = {
        name: MemoryStore(each, bucket=name, page_size=page_size) for name, each in objects.items()
    }
    return MemoryAccount(stores, dict(regions), page_size=page_size)


def shown(account: MemoryAccount) -> Directory[int]:
    """Return the tree of all buckets."""
    return tree_of({key: len(body) for key, body in account.bodies.items()})


@given(objects=contents, regions=places, page_size=page_sizes, tells_head=st.booleans())
def test_a_walk_shows_each_bucket_in_whatever_region_it_is(
    objects: dict[str, dict[str, bytes]],
    regions: dict[str, str],
    page_size: int,
    tells_head: bool,  # noqa: FBT001
) -> None:
    account = account_of(objects, regions, page_size)
    account.tells_head = tells_head

    async def main() -> None:
        async with kernel_on(
            account.view(), Clock(), location=StoreConfig(bucket=""), is_proven=True
        ) as kernel:
            assert await walk(kernel) == shown(account)
            assert await walk(kernel) == shown(account)

    run(main)
    assert all(count == 1 for count in account.opened.values())


@given(objects=contents, words=st.sampled_from(WORDS))
def test_a_choice_of_buckets_shows_these_and_the_named(
    objects: dict[str, dict[str, bytes]], words: tuple[str, ...]
) -> None:
    account = account_of(objects, {}, 2)
    chosen = {
        (): NAMES,
        ("a*",): ("a", "a-b", "a.b"),
        ("?",): ("a", "b"),
        ("b", "a"): ("a", "b"),
        ("b", "a*"): ("a", "a-b", "a.b", "b"),
        ("[ab]*",): NAMES,
    }[words]
    named = {"b", "a"} & set(words)

    async def main() -> None:
        async with kernel_on(
            account.view(words), Clock(), location=StoreConfig(bucket="")
        ) as kernel:
            found = {name.decode() for name, _ in await kernel.readdir(ROOT)}
            assert found == named | (set(chosen) & set(objects))
            kernel.filesystem.tree.invalidate_all()
            for name in set(NAMES) - named:
                seen = await kernel.lookup(ROOT, name.encode())
                assert (seen is not None) == (name in chosen and name in objects)

    run(main)
    assert account.take().get(("", "LIST"), 0) == 0 or words != ("b", "a")


Step = tuple[str, str, str]  # what, a bucket, a key or a region

steps = st.lists(
    st.one_of(
        st.tuples(st.just("look up"), st.sampled_from(NAMES), st.sampled_from(("", *KEYS))),
        st.tuples(st.just("list"), st.sampled_from(("", *NAMES)), st.sampled_from(("", "x", "d"))),
        st.tuples(st.just("read"), st.sampled_from(NAMES), st.sampled_from(KEYS)),
        st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(KEYS)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.sampled_from(KEYS)),
        st.tuples(st.just("make"), st.sampled_from(NAMES), st.sampled_from(REGIONS)),
        st.tuples(st.just("drop"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("deny"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("allow"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("fail"), st.sampled_from(("", *NAMES)), st.just("")),
        st.tuples(st.just("mend"), st.sampled_from(("", *NAMES)), st.just("")),
        st.tuples(st.just("forget"), st.just(""), st.just("")),
    ),
    max_size=25,
)


@given(objects=contents, regions=places, page_size=page_sizes, steps=steps)
def test_with_a_lifetime_of_0_each_call_shows_the_present_and_no_failure_is_an_absence(
    objects: dict[str, dict[str, bytes]],
    regions: dict[str, str],
    page_size: int,
    steps: list[Step],
) -> None:
    account = account_of(objects, regions, page_size)

    async def main() -> None:
        view = account.view()
        async with kernel_on(
            view, Clock(), location=StoreConfig(bucket=""), metadata_ttl=0.0
        ) as kernel:
            program = Program(account, view, kernel)
            for number, (step, bucket, word) in enumerate(steps):
                await program.run(step, bucket, word, number)

    run(main)


class Program:
    """Steps on *account*, and what *kernel* has to see of them."""

    def __init__(self, account: MemoryAccount, store: ObjectStore, kernel: Kernel) -> None:
        self._account = account
        self._store = store
        self._kernel = kernel

    async def run(self, step: str, bucket: str, word: str, number: int) -> None:
        path = "/".join(filter(None, (bucket, word)))
        match step:
            case "look up":
                await self._look_up(path)
            case "list":
                await self._list(path)
            case "read":
                await self._read(path)
            case "forget":
                self._kernel.forget_all()
            case "put" | "delete":
                if bucket in self._account.buckets:
                    body = f"{path} {number}".encode() if step == "put" else None
                    self._account.buckets[bucket].change(word, body)
            case _:
                self._change(step, bucket, word, number)

    def _change(self, step: str, bucket: str, region: str, number: int) -> None:
        account = self._account
        match step:
            case "make":
                account.buckets[bucket] = MemoryStore({"x": b"%d" % number}, bucket=bucket)
                account.regions[bucket] = region
            case "drop":
                account.buckets.pop(bucket, None)
            case "deny":
                account.denied.add(bucket)
            case "allow":
                account.denied.discard(bucket)
            case "fail":
                account.failing[bucket] = StoreError("away")
            case "mend":
                account.failing.pop(bucket, None)

    def _may_fail(self, path: str) -> bool:
        """Whether a call for *path* may fail: the bucket is denied or away, or the account is."""
        account, bucket = self._account, path.partition("/")[0]
        return bucket in account.denied or bool({bucket, ""} & account.failing.keys())

    async def _resolve(self, path: str) -> Seen | None:
        return await self._kernel.resolve(path.encode())

    async def _look_up(self, path: str) -> None:
        expected = look(shown(self._account), path.encode())
        try:
            seen = await self._resolve(path)
        except S3MountError:
            assert self._may_fail(path)
            return
        if seen is None:
            assert expected is None
        else:
            is_denied = path in self._account.denied and path in self._account.buckets
            assert is_denied or kind_of(seen) == size_of(expected)

    async def _list(self, path: str) -> None:
        expected = look(shown(self._account), path.encode())
        try:
            seen = await self._resolve(path)
            if seen is None or not seen.is_directory:
                return
            entries = await self._kernel.readdir(seen.inode)
        except S3MountError:
            assert self._may_fail(path)
            return
        assert not isinstance(expected, int)
        assert expected is not None
        assert {name: kind_of(each) for name, each in entries} == {
            name: size_of(each) for name, each in expected.items()
        }

    async def _read(self, path: str) -> None:
        tree, body = self._kernel.filesystem.tree, self._account.bodies.get(path)
        try:
            seen = await self._resolve(path)
            if seen is None or seen.is_directory:
                return
            page, index = tree.inodes.resolve(seen.inode)
            buffer = bytearray(seen.size)
            version = page.version(index)
            if buffer:
                span = ByteRange(0, seen.size)
                await read_range(self._store, version, span, memoryview(buffer))
        except S3MountError:
            assert self._may_fail(path)
            return
        assert bytes(buffer) == body


def kind_of(seen: Seen) -> int:
    return -1 if seen.is_directory else seen.size


def size_of(node: Node[int] | None) -> int | None:
    return -1 if isinstance(node, Directory) else node
