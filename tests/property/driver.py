"""Driver of a program on a virtual clock, and checker of each result against the bucket's history.

A result may show any state of the bucket between the oldest moment allowed and the call's end:
- A lookup shows an entry of one of these states; an entry of all of them is never absent.
- A complete reading of a directory has each name of all states once, and no name of none.
- The oldest moment is one lifetime before the call, but not before the last SIGHUP, nor before the
  last refresh of the path or of one above, and not before a read found the version replaced.
- The kernel may keep an entry only until it is one lifetime old, and none from before a refresh.
- An inode number stands for the entry that it was returned for, and opens that version. What is
  looked up by its number, as for NFS, is that entry or unknown.
- A failure comes only from a store that failed, and is never an absence; other exceptions are bugs.
- Forgetting all references leaves no inode.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
import trio
import trio.testing

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import (
    NotFound,
    ReplacedBeforeOpen,
    S3MountError,
    StaleVersion,
    UnknownHandle,
)
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import DOTS, DirectoryHandle
from s3mount.filesystem.namespace import directory_lru
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.persistence.record_store import MemoryRecords, RecordStore
from tests.property.filesystem_factory import ORDERED_PAGE, make_filesystem
from tests.property.history import DIRECTORY, History, State, sizes_of, stable_names
from tests.property.history_store import HistoryStore, body_of, size_of
from tests.property.programs import DEFAULT_LIMIT, HUGE, Program, Step

LOOKUP_TO_OPEN = 1.0  # seconds: an open relies on the lookup just before it, whatever the lifetime
OUTAGE_ENDED_WITHIN = 60.0  # seconds after the store is healed
ATTEMPTS = 3  # attempts at a reply that failed


class Deviation(AssertionError):
    """A result that no allowed state of the bucket explains; *kind* names the kind of deviation."""

    def __init__(self, kind: str, story: str) -> None:
        super().__init__(f"{kind}: {story}")
        self.kind = kind


class KnownEntry(NamedTuple):
    """Entry that an inode number was returned for; the size of a directory is DIRECTORY."""

    prefix: str
    name: bytes
    size: int

    @property
    def key(self) -> str:
        return self.prefix + self.name.decode()


class Clock:
    """Virtual clock without equal readings, which gives every two events an order."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self) -> float:
        self._last = max(trio.current_time(), self._last + 1e-6)
        return self._last


class _Errors(logging.Handler):
    """Handler that records what s3mount logs as a bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def outcome_of(program: Program) -> Deviation | None:
    """Run *program*, and return its first deviation, or None."""
    trio._core._run._r.seed(program.seed)  # tasks are scheduled in the same order in each run
    with _logged_errors() as errors, pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_lru, "UNPACKED_MAX", program.unpacked)
        try:
            trio.run(_run, program, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseException as exc:  # noqa: BLE001  # whatever it is, it is what the program found
            return _deviation_of(exc)
    return Deviation("logged", errors[0]) if errors else None


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    handler, logger = _Errors(), logging.getLogger("s3mount")
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


def _deviation_of(exc: BaseException) -> Deviation:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, KeyboardInterrupt):
        raise exc
    if isinstance(exc, Deviation):
        return exc
    deviation = Deviation(type(exc).__name__, str(exc))
    deviation.__cause__ = exc
    return deviation


async def _run(program: Program) -> None:
    with trio.fail_after(100_000):  # virtual seconds: only a deadlock takes so long
        simulation = _simulation_of(program)
        records = SlowRecords(random.Random(program.seed)) if program.mounts > 1 else None
        for mount in range(program.mounts):
            async with _mounted(simulation, records):
                async with trio.open_nursery() as nursery:
                    for number, steps in enumerate(program.agents):
                        nursery.start_soon(Agent(simulation, f"{mount}.{number}").run, steps)
                if mount == program.mounts - 1:
                    await _check_final_state(simulation)
                await simulation.filesystem.tree.flush()
            simulation.check(
                len(simulation.filesystem.tree.inodes) == 0,
                "leak",
                "references were given back, and inodes stay",
            )


async def _check_final_state(simulation: "Simulation") -> None:
    """Check that the tree shows the final bucket once failures stop and entries expire."""
    simulation.store.is_healed = True
    if math.isinf(simulation.program.ttl):
        simulation.refresh()
    else:
        await trio.sleep(
            simulation.program.ttl
            + (simulation.program.negative_ttl or 0.0)
            + simulation.program.grace
            + (OUTAGE_ENDED_WITHIN if simulation.program.serve_stale else 1.0)
        )
    last = Agent(simulation, "end")
    if simulation.program.is_huge:
        await last.run(
            (Step("list", "h", reply=HUGE), Step("look", "h/f069999"), Step("look", "h/none"))
        )
        return
    absent = [
        Step("look", f"{directory}{name}")
        for directory in ("", "a/", "b/")
        for name in ("a", "b", "-", "a-")
    ]
    await last.run((Step("walk", ""), *absent, Step("walk", "")))


class SlowRecords(MemoryRecords):
    """Records that come, and are written, at any time within a second; the oldest are dropped."""

    def __init__(self, rnd: random.Random) -> None:
        super().__init__(rnd.choice((2_000, 1 << 20)))
        self._rnd = rnd

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        await trio.sleep(self._rnd.choice((0.0, 0.3)) * self._rnd.random())
        found = await super().get(keys)
        await trio.sleep(self._rnd.choice((0.0, 0.3)) * self._rnd.random())
        return found

    async def put(self, records: Mapping[bytes, bytes | None]) -> bool:
        await trio.sleep(self._rnd.random())
        return await super().put(records)


def _simulation_of(program: Program) -> "Simulation":
    clock = Clock()
    sizes = {key: size_of(key, serial) for serial, key in enumerate(program.keys)}
    if program.is_huge:
        sizes |= {f"h/f{number:06}": 20 + number for number in range(HUGE)}
    store = HistoryStore(History(sizes), program.behaviour, clock, random.Random(program.seed))
    return Simulation(program, store, clock)


@asynccontextmanager
async def _mounted(simulation: "Simulation", records: RecordStore | None) -> AsyncIterator[None]:
    """Give *simulation* a mount, which ends with the block."""
    program, clock = simulation.program, simulation.clock
    config = TreeConfig(
        uid=0,
        gid=0,
        metadata_ttl=program.ttl,
        negative_ttl=program.negative_ttl,
        stale_while_revalidate=program.grace,
        metadata_limit=configured_limit(program.limit),
        serve_stale=program.serve_stale,
    )
    location = StoreConfig(bucket=program.behaviour.bucket, prefix=program.root)
    async with trio.open_nursery() as nursery:
        simulation.filesystem = make_filesystem(
            simulation.store,
            nursery,
            config,
            location,
            clock,
            no_prefetch=program.no_prefetch,
            records=records,
        )
        if program.is_proven and program.behaviour.is_ordered:
            simulation.filesystem.tree.cache.order.note_page(ORDERED_PAGE)
        yield
        nursery.cancel_scope.cancel()


def _slashes(key: str) -> Iterator[int]:
    """Yield where the names of *key* end, but for the last."""
    return (at for at, character in enumerate(key) if character == "/")


def configured_limit(entries: int) -> int:
    """Return a --metadata-limit in bytes that has room for about *entries*, in pages of a few."""
    return 400 * entries


def held_weight(filesystem: FileSystem) -> int:
    """Recount the weight of the cached directories; entries that open readers hold come on top."""
    directories = filesystem.tree.cache.directories.snapshot()
    packed = filesystem.tree.inodes.packed
    return sum(directory.weight for directory in directories) + packed.weight


@dataclass
class Simulation:
    """State that all agents share: the bucket, the mount, and what it has returned so far."""

    program: Program
    store: HistoryStore
    clock: Clock
    filesystem: FileSystem = field(init=False)  # of the present mount
    trace: list[str] = field(default_factory=list)
    last_refresh: float = -math.inf
    refreshed: dict[str, float] = field(default_factory=dict)  # the last refresh of each key
    # the entry of each inode number that has references
    entries: dict[int, KnownEntry] = field(default_factory=dict)
    references: Counter[int] = field(default_factory=Counter)
    # keys whose version a read found replaced, and when: older results do not count for them
    gone: dict[str, float] = field(default_factory=dict)
    _serial: int = 1_000

    def note(self, agent: str, text: str) -> None:
        self.trace.append(f"{self.clock():12.6f}  {agent:>3}  {text}")

    def check(self, is_right: bool, kind: str, story: str) -> None:  # noqa: FBT001  # the condition of an assertion
        if not is_right:
            raise Deviation(kind, "\n".join([story, "what happened:", *self.trace[-80:]]))

    def refresh(self) -> None:
        self.last_refresh = self.clock()
        self.filesystem.tree.invalidate_all()

    def refresh_path(self, path: str) -> None:
        """Refresh *path*; the mount's root is all of it."""
        self.refreshed[self.program.root + path] = self.clock()
        if not path:
            self.last_refresh = self.clock()
        self.filesystem.tree.refresh(path.encode().split(b"/") if path else ())

    def refreshed_at(self, key: str | None, until: float) -> float:
        """Return when *key*, or a directory above it, was last refreshed; -inf if after *until*."""
        above = () if key is None else (key, *(key[:at] for at in _slashes(key)))
        times = (self.last_refresh, *(self.refreshed.get(each, -math.inf) for each in above))
        return max((time for time in times if time <= until), default=-math.inf)

    def change(self, step: Step) -> None:
        """Do a step that changes the mount or its bucket from outside."""
        self._serial += 1
        match step.verb:
            case "hup":
                self.refresh()
            case "refresh":
                self.refresh_path(step.path)
            case "put":
                self.store.history.change(self.clock(), step.path, size_of(step.path, self._serial))
            case "delete":
                self.store.history.change(self.clock(), step.path, None)

    def oldest(
        self, now: float, *, lifetime: float, key: str | None = None, listed: str | None = None
    ) -> float:
        """Return the oldest moment that the result of a call at *now* may show.

        The call is about *key*, or reads the directory *listed*.
        """
        gone = (
            self.gone.get(key, -math.inf)
            if key is not None and self.program.limit == DEFAULT_LIMIT
            else -math.inf
        )
        return max(now - lifetime, self.refreshed_at(listed if key is None else key, now), gone)

    def check_kept(self, entry: KnownEntry, valid_for: float) -> None:
        """Check that an entry is not too old after the *valid_for* seconds that it is kept."""
        if 0 < valid_for < math.inf:
            now = self.clock()
            lifetime = max(self.program.ttl, self.program.serve_stale)
            since = max(now + valid_for - lifetime, self.refreshed_at(entry.key, now))
            sizes = sizes_of(
                self.states(since), entry.prefix, entry.name, is_list_denied=self.is_list_denied
            )
            self.check(
                entry.size in sizes,
                "kept",
                f"{entry} is to be kept for {valid_for} s; since {since:.6f} it may be {sizes}",
            )

    def states(self, since: float) -> list[State]:
        return list(self.store.history.between(since, self.clock()))

    def may_fail(self, *kinds: str) -> bool:
        """Return whether the store may fail requests of these *kinds*.

        If it has empty pages, the first page with entries may be a later one.
        """
        if "LIST" in kinds and self.program.behaviour.has_empty_pages:
            kinds = (*kinds, "MORE")
        return not self.store.is_healed and bool(set(kinds) & set(self.program.behaviour.failing))

    def may_fail_to_look_up(self) -> bool:
        """Return whether a lookup, or an open, may fail."""
        return self.may_fail("LIST", "HEAD", "REVALIDATE")

    def may_fail_to_list(self) -> bool:
        """Return whether reading a directory may fail, also for a store's false order."""
        return self.may_fail("LIST", "MORE") or self.program.behaviour.order in ("none", "at first")

    @property
    def is_list_denied(self) -> bool:
        behaviour = self.program.behaviour
        return self.may_fail("LIST") and behaviour.failure_status == 403


class Agent:
    """User of the mount, with its own references; opens and reads as the kernel does."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self._simulation = simulation
        self._name = name
        self._tree = simulation.filesystem.tree
        self._references: Counter[int] = Counter()

    async def run(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self._note(str(step))
            with trio.move_on_after(step.patience or math.inf):
                await self._do(step)
            self._check_weight()
        self._forget()

    async def _do(self, step: Step) -> None:
        match step.verb:
            case "look":
                await self._resolve(step.path)
            case "list":
                await self._list(step)
            case "walk":
                await self._walk(step)
            case "open":
                await self._open(step)
            case "sleep":
                await trio.sleep(step.pause)
            case "forget":
                self._forget()
            case "number":
                await self._look_up_numbers(step.path)
            case "attributes":
                self._check_attributes()
            case _:
                self._simulation.change(step)

    # ---- names

    async def _resolve(self, path: str) -> int | None:
        """Look up *path* by components; returns None if it is absent or a lookup failed."""
        inode, prefix = ROOT, self._prefix_of("")
        for component in path.split("/") if path else ():
            found = await self._look_up(inode, prefix, component.encode())
            if found is None:
                return None
            inode, prefix = found, prefix + component + "/"
            if self._simulation.entries[inode].size != DIRECTORY and prefix != self._prefix_of(
                path
            ):
                return None
        return inode

    def _prefix_of(self, path: str) -> str:
        """Return the prefix of the directory at *path*."""
        return self._simulation.program.root + (path + "/" if path else "")

    async def _look_up(self, parent: int, prefix: str, name: bytes) -> int | None:
        simulation, program = self._simulation, self._simulation.program
        called_at, key = simulation.clock(), prefix + name.decode()
        negative = program.ttl if program.negative_ttl is None else program.negative_ttl
        stale, grace = program.serve_stale, program.grace
        absence = simulation.oldest(called_at, lifetime=max(negative, stale) + grace, key=key)
        presence = simulation.oldest(called_at, lifetime=max(program.ttl, stale) + grace, key=key)
        size: int | None
        try:
            inode, size, _, valid_for = await self._tree.lookup(parent, name)
        except NotFound:
            size, since = None, absence
        except S3MountError as exc:
            self._note(f"looked up {key!r}: {exc!r}")
            simulation.check(
                simulation.may_fail_to_look_up(), "failure", f"lookup of {key!r}: {exc!r}"
            )
            return None
        else:
            entry = KnownEntry(prefix, name, DIRECTORY if size < 0 else size)
            self._hold(inode, entry)
            simulation.check_kept(entry, valid_for)
            since = presence
        self._note(f"looked up {key!r}: {size}")
        allowed = sizes_of(
            simulation.states(since), prefix, name, is_list_denied=simulation.is_list_denied
        )
        shown = DIRECTORY if size is not None and size < 0 else size
        kind = "absent" if shown is None else "stale" if None not in allowed else "present"
        kind = f"invalidated {kind}" if since == simulation.gone.get(key) else kind
        simulation.check(
            shown in allowed,
            kind,
            f"lookup of {key!r} since {since:.6f} returns {shown}, may return {allowed}",
        )
        return None if shown is None else inode

    async def _look_up_numbers(self, path: str) -> None:
        """Look up each number that *path* has had, as NFS does: it is that entry, or unknown."""
        simulation, key = self._simulation, self._simulation.program.root + path
        numbers = [inode for inode, entry in simulation.entries.items() if entry.key == key]
        lifetime = max(simulation.program.ttl, simulation.program.serve_stale)
        for inode in numbers:
            since = simulation.oldest(
                simulation.clock(), lifetime=lifetime + simulation.program.grace, key=key
            )
            try:
                found, size, *_ = await simulation.filesystem.numbers.lookup(inode)
            except UnknownHandle:
                continue
            except S3MountError as exc:
                simulation.check(
                    simulation.may_fail_to_look_up(), "failure", f"lookup of {inode}: {exc!r}"
                )
                continue
            entry = simulation.entries[inode]
            simulation.check(found == inode, "number", f"{inode} is found as {found}")
            self._hold(found, entry._replace(size=DIRECTORY if size < 0 else size))
            sizes = sizes_of(
                simulation.states(since),
                entry.prefix,
                entry.name,
                is_list_denied=simulation.is_list_denied,
            )
            simulation.check(
                entry.size in sizes,
                "number",
                f"{entry} is found by its number, though since {since:.6f} it may be {sizes}",
            )

    def _check_attributes(self) -> None:
        for inode in self._references:
            entry = self._simulation.entries[inode]
            attributes = self._tree.attributes(inode)
            size = DIRECTORY if attributes.size < 0 else attributes.size
            self._simulation.check(
                size == entry.size, "inode", f"inode {inode} is {entry}, and has the size {size}"
            )

    # ---- directories

    async def _walk(self, step: Step) -> None:
        """Read a directory and everything below it, files included."""
        inode = await self._resolve(step.path)
        if inode is None or not self._is_directory(inode):
            return
        pending = [(inode, self._prefix_of(step.path))]
        while pending:
            inode, prefix = pending.pop()
            for child, entry in (await self._read_directory(inode, prefix, step)).items():
                if entry.size == DIRECTORY:
                    pending.append((child, entry.key + "/"))

    async def _list(self, step: Step) -> None:
        inode = await self._resolve(step.path)
        if inode is not None and self._is_directory(inode):
            await self._read_directory(inode, self._prefix_of(step.path), step)

    def _is_directory(self, inode: int) -> bool:
        return inode == ROOT or self._simulation.entries[inode].size == DIRECTORY

    async def _read_directory(self, inode: int, prefix: str, step: Step) -> dict[int, KnownEntry]:
        """Read a directory once, from its start."""
        directories = self._simulation.filesystem.directories
        handle = directories.open(inode)
        try:
            return await _Reading(self._simulation, self, prefix, step).run(
                directories.handle(handle)
            )
        finally:
            directories.release(handle)

    # ---- files

    async def _open(self, step: Step) -> None:
        """Do an open(2), a pause and a read(2)."""
        files = self._simulation.filesystem.files
        for _ in range(ATTEMPTS):  # the kernel looks a stale name up again
            inode = await self._resolve(step.path)
            if inode is None or self._is_directory(inode):
                return
            handle = await self._open_inode(inode)
            if handle is not None:
                try:
                    await trio.sleep(step.pause)
                    await self._read(handle, self._simulation.entries[inode])
                finally:
                    files.release(handle)
                return

    async def _open_inode(self, inode: int) -> int | None:
        simulation, program, entry = (
            self._simulation,
            self._simulation.program,
            self._simulation.entries[inode],
        )
        called_at, files = simulation.clock(), simulation.filesystem.files
        max_age = max(program.ttl, program.serve_stale, LOOKUP_TO_OPEN)
        since = simulation.oldest(called_at, lifetime=max_age, key=entry.key)
        handle = files.open_nowait(inode)
        try:
            if handle is None:
                handle = await files.open(inode)
        except ReplacedBeforeOpen:
            negative = 0.0 if program.negative_ttl is None else program.negative_ttl
            states = simulation.states(
                simulation.oldest(called_at, lifetime=max(max_age, negative) + program.grace)
            )
            sizes = sizes_of(states, entry.prefix, entry.name)
            simulation.check(
                sizes != {entry.size},
                "refused",
                f"{entry} is refused, though it was current all the time",
            )
            return None
        except S3MountError as exc:
            simulation.check(
                simulation.may_fail_to_look_up(), "failure", f"open of {entry}: {exc!r}"
            )
            return None
        self._note(f"opened {entry.key!r}: {entry.size}")
        sizes = sizes_of(
            simulation.states(since),
            entry.prefix,
            entry.name,
            is_list_denied=simulation.is_list_denied,
        )
        if entry.size not in sizes:
            files.release(handle)
        kind = "invalidated open" if since == simulation.gone.get(entry.key) else "stale open"
        simulation.check(
            entry.size in sizes, kind, f"{entry} opened, though since {since:.6f} it may be {sizes}"
        )
        return handle

    async def _read(self, handle: int, entry: KnownEntry) -> None:
        simulation, files = self._simulation, self._simulation.filesystem.files
        called_at = simulation.clock()
        try:
            body = bytes(await files.read(handle, 0, 1 << 20))
        except StaleVersion:
            simulation.gone[entry.key] = simulation.clock()
            self._note(f"read {entry.key!r}: gone")
            sizes = {state.sizes.get(entry.key) for state in simulation.states(called_at)}
            simulation.check(
                sizes != {entry.size}, "gone", f"{entry} cannot be read though it is current"
            )
        except S3MountError as exc:
            simulation.check(simulation.may_fail("GET"), "failure", f"read of {entry}: {exc!r}")
        else:
            simulation.check(
                body == body_of(entry.key, entry.size), "bytes", f"{entry} reads {body[:60]!r}"
            )

    # ---- references

    def _hold(self, inode: int, entry: KnownEntry) -> None:
        """Add a reference; while one exists, the number stands for the same entry."""
        simulation = self._simulation
        if simulation.references[inode]:
            before = simulation.entries[inode]
            simulation.check(
                before == entry, "inode", f"inode {inode} is {before}, and is returned for {entry}"
            )
        simulation.entries[inode] = entry
        simulation.references[inode] += 1
        self._references[inode] += 1

    def _forget(self) -> None:
        for inode, count in self._references.items():
            self._tree.inodes.forget(inode, count)
            self._simulation.references[inode] -= count
        self._references.clear()

    def _check_weight(self) -> None:
        simulation = self._simulation
        weight, limit = (
            held_weight(simulation.filesystem),
            configured_limit(simulation.program.limit),
        )
        slack = 2_000  # bytes: entries of a page that turned out useless
        simulation.check(
            weight <= limit + slack,
            "weight",
            f"{weight} bytes are cached, above the limit of {limit}",
        )

    def _note(self, text: str) -> None:
        self._simulation.note(self._name, text)


class _Reading:
    """One reading of the directory *prefix*, from rewinddir to its end."""

    def __init__(self, simulation: Simulation, agent: Agent, prefix: str, step: Step) -> None:
        self._simulation = simulation
        self._agent = agent
        self._prefix = prefix
        self._step = step
        self._entries: list[
            tuple[int, KnownEntry, int]
        ] = []  # inode, entry, and the offset after it
        self._names: set[bytes] = set()
        self._since = 0.0
        self._failures = 0

    async def run(self, stream: DirectoryHandle) -> dict[int, KnownEntry]:
        self._since = self._simulation.oldest(
            self._simulation.clock(),
            lifetime=max(self._simulation.program.ttl, self._simulation.program.serve_stale),
            listed=self._prefix.removesuffix("/"),
        )
        is_at_end = False
        if await self._attempt(stream.rewind):
            is_at_end = await self._read_on(stream)
        entries = {inode: entry for inode, entry, _ in self._entries}
        self._agent._note(
            f"read {self._prefix!r}: {len(self._names)} names{'' if is_at_end else ', not all'}"
        )
        if is_at_end:
            stable = stable_names(self._simulation.states(self._since), self._prefix)
            lost = sorted(stable - self._names)[:5]
            self._check(not lost, "lost", f"lacks {lost}, which were there since {self._since:.6f}")
        return entries

    async def _read_on(self, stream: DirectoryHandle) -> bool:
        """Read reply by reply; returns whether the end was reached."""
        step, replies = self._step, 0
        while not (step.stop_after and replies >= step.stop_after):
            count = len(self._entries)
            is_done = await self._attempt(lambda: self._reply(stream))
            if is_done and count == len(self._entries):
                return True
            if not is_done and self._failures >= ATTEMPTS:
                return False
            replies += 1
            if replies == step.seek_after and step.seek_to < len(self._entries):
                self._seek(step.seek_to)
            if step.pause:
                await trio.sleep(step.pause)
        return False

    def _seek(self, index: int) -> None:
        """Seek with seekdir(3) to after the entry *index*; the entries after it must come again."""
        del self._entries[index + 1 :]
        self._names = {entry.name for _, entry, _ in self._entries}

    async def _reply(self, stream: DirectoryHandle) -> None:
        """Do one getdents(2): the entries after the last offset that fit and are at hand."""
        offset = self._entries[-1][2] if self._entries else DOTS
        room = self._step.reply
        place = stream.read_nowait(offset) or await stream.read(offset)
        while place is not None and room:
            entries, start, base = place
            stop, valid_for = min(len(entries), start + room), self._agent._tree.valid_for(entries)
            for index in range(start, stop):
                size = DIRECTORY if entries.is_directory(index) else entries.sizes[index]
                entry = KnownEntry(self._prefix, entries.name(index), size)
                self._add(
                    self._agent._tree.inodes.add_reference(entries, index),
                    entry,
                    base + index + 1,
                    valid_for,
                )
            room -= stop - start
            place = stream.read_nowait(base + stop) if room else None

    def _add(self, inode: int, entry: KnownEntry, offset: int, valid_for: float) -> None:
        self._agent._hold(inode, entry)
        self._entries.append((inode, entry, offset))
        self._simulation.check_kept(entry, valid_for)
        self._check(entry.name not in self._names, "twice", f"shows {entry.name!r} twice")
        self._names.add(entry.name)
        states = self._simulation.store.history.between(self._since, self._simulation.clock())
        sizes = sizes_of(states, self._prefix, entry.name)
        self._check(
            entry.size in sizes,
            "stale name",
            f"shows {entry}; since {self._since:.6f} it may be {sizes}",
        )

    async def _attempt(self, call: Callable[[], object]) -> bool:
        """Await *call*; returns False if the store failed."""
        try:
            await call()  # type: ignore[misc]  # each is a coroutine function
        except S3MountError as exc:
            self._failures += 1
            self._agent._note(f"read {self._prefix!r}: {exc!r}")
            is_right = self._simulation.may_fail_to_list() and not isinstance(exc, NotFound)
            self._check(is_right, "failure", f"fails with {exc!r}")
            return False
        return True

    def _check(self, is_right: bool, kind: str, story: str) -> None:  # noqa: FBT001  # the condition of an assertion
        self._simulation.check(is_right, kind, f"reading {self._prefix!r} {story}")
