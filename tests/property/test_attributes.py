"""Metadata is of the version that was asked for, or a failure, whatever happens in the bucket."""

from dataclasses import dataclass, field

import trio
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import StaleVersion
from s3mount.filesystem.attributes.metadata_reader import MetadataReader, entry_stat
from s3mount.filesystem.namespace.tree import Tree
from s3mount.s3.model import ObjectStat, ObjectVersion
from s3mount.s3.object_parts import ObjectParts
from tests.fakes.memory_store import MemoryStore, Request, hook
from tests.property.kernel import Clock, kernel_on
from tests.property.running import run

TTL = 10.0
KEYS = st.sampled_from(["a", "d/a"])
BODIES = st.sampled_from([b"", b"one", b"two"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, BODIES),
        st.tuples(st.just("put with the next request"), KEYS, BODIES),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("ask"), st.sampled_from("0123456789"), st.just(b"")),
        st.tuples(st.just("refresh"), KEYS, st.just(b"")),
        st.tuples(st.just("wait"), st.sampled_from(["0.5", "6", "11"]), st.just(b"")),
    ),
    max_size=30,
)


@dataclass
class Trial:
    """A bucket, and all versions that were ever put, each with its number as user metadata."""

    store: MemoryStore
    clock: Clock = field(default_factory=Clock)
    puts: list[ObjectStat] = field(default_factory=list)
    tree: Tree = field(init=False)
    reader: MetadataReader = field(init=False)

    def known_version_id(self, version: ObjectVersion) -> str | None:
        """Return None: entries have their version ids themselves."""

    def put(self, key: str, body: bytes) -> None:
        # all of one time, as if put within the second that a listing tells
        number = str(len(self.puts))
        self.store.put(key, body, mtime_ns=0, user={"number": number})
        stat = self.store.stat(key)
        version = stat.version.with_version_id(stat.version_id)
        self.puts.append(entry_stat(version, stat.mtime_ns))

    def put_with_next_request(self, key: str, body: bytes) -> None:
        def act(_request: Request) -> None:
            self.store.before = hook(lambda _: None)
            self.put(key, body)

        self.store.before = hook(act)

    async def ask(self, at: int) -> None:
        if not self.puts:
            return
        asked, before = self.puts[at % len(self.puts)], len(self.store.requests)
        try:
            found = await self.reader.get(asked)
        except StaleVersion:
            return
        finally:
            assert len(self.store.requests) - before <= 2
        assert self.reader.get_nowait(asked) is found
        if not self.store.keeps_versions:  # nothing tells equal bytes apart
            assert self.puts[int(found.user["number"])].version == asked.version
            return
        told = self.puts[int(found.user["number"])]
        assert told.version == asked.version
        assert told.version_id == asked.version_id

    async def step(self, kind: str, subject: str, body: bytes) -> None:
        match kind:
            case "put":
                self.put(subject, body)
            case "put with the next request":
                self.put_with_next_request(subject, body)
            case "delete":
                self.store.change(subject, None)
            case "ask":
                await self.ask(int(subject))
            case "refresh":
                self.tree.refresh([name.encode() for name in subject.split("/")])
            case "wait":
                self.clock.now += float(subject)


@given(STEPS, st.booleans())
def test_metadata_is_never_of_another_version(
    steps: list[tuple[str, str, bytes]],
    keeps_versions: bool,  # noqa: FBT001
) -> None:
    trial = Trial(MemoryStore(keeps_versions=keeps_versions))

    async def main() -> None:
        async with (
            kernel_on(trial.store, trial.clock, metadata_ttl=TTL) as kernel,
            trio.open_nursery() as tasks,
        ):
            trial.tree = kernel.filesystem.tree
            parts = ObjectParts(trial.store)
            trial.reader = MetadataReader(trial.store, trial.tree, tasks, trial, parts)
            for step in steps:
                await trial.step(*step)
            tasks.cancel_scope.cancel()

    run(main)
