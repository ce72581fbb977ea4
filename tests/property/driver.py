"""Runs a program against the file system on a virtual clock, and compares every answer with the history of the bucket.

What is checked, each time with the states that the bucket was in from the oldest moment an answer may be of to the answer:
- a lookup tells what was there in one of them; what was there in all of them is never absent;
- a complete reading of a directory tells each name that was there in all of them once, and none that was in none of them;
- the oldest moment is one lifetime before the call, but not before the last SIGHUP, nor before a read showed a version to be gone;
- the kernel is to keep an entry only for so long that it is not older than a lifetime then;
- an inode number stands for the entry that it was told for, and opens that version;
- a failure comes only from a store that failed, and is no absence; whatever else is raised is a bug;
- references given back leave no inode behind.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import trio
import trio.testing

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import NotFound, ReplacedBeforeOpen, S3MountError, StaleVersion
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import DOTS, DirectoryHandle
from s3mount.filesystem.listing.order_evidence import PROOF
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ListedObject, ListPage
from tests.property.assembling import assemble
from tests.property.history import DIRECTORY, History, State, sizes_of, stable_names
from tests.property.moving_store import MovingStore, body_of, size_of
from tests.property.programs import DEFAULT_LIMIT, HUGE, Program, Step

IN_ORDER = ListPage(
    [ListedObject(f"{number:04}", 1, 0, "") for number in range(PROOF + 1)], [], None
)
LOOKUP_TO_OPEN = 1.0  # seconds: an open trusts the lookup just before it, whatever the lifetime
TRIES = 3  # of a reply that failed


class Deviation(AssertionError):
    """An answer that no allowed state of the bucket explains; *kind* in a word."""

    def __init__(self, kind: str, story: str) -> None:
        super().__init__(f"{kind}: {story}")
        self.kind = kind


class Told(NamedTuple):
    """The entry that the file system told an inode number for; the size is DIRECTORY for a directory."""

    prefix: str
    name: bytes
    size: int

    @property
    def key(self) -> str:
        return self.prefix + self.name.decode()


class Clock:
    """The virtual clock, made strict: no two readings are equal, so that every two events have an order."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self) -> float:
        self._last = max(trio.current_time(), self._last + 1e-6)
        return self._last


class _Errors(logging.Handler):
    """Takes what s3mount logs as a bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def outcome_of(program: Program) -> Deviation | None:
    """Runs *program*; the first deviation, or None if there was none."""
    trio._core._run._r.seed(program.seed)  # so that tasks are scheduled in the same order each time
    with _logged_errors() as errors:
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
    with trio.fail_after(100_000):  # virtual seconds: all tasks wait for each other
        async with _world_of(program) as world:
            async with trio.open_nursery() as nursery:
                for number, steps in enumerate(program.agents):
                    nursery.start_soon(Agent(world, str(number)).run, steps)
            await _check_the_end(world)
        world.check(
            len(world.filesystem.tree.inodes) == 0,
            "leak",
            "references were given back, and inodes stay",
        )


async def _check_the_end(world: "World") -> None:
    """What the store says now that nothing changes or fails any more is what the tree shows, once lifetimes are over."""
    world.store.is_mended = True
    if math.isinf(world.program.ttl):
        world.hang_up()
    else:
        await trio.sleep(
            world.program.ttl + (world.program.negative_ttl or 0.0) + world.program.grace + 1.0
        )
    last = Agent(world, "end")
    if world.program.is_huge:
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


@asynccontextmanager
async def _world_of(program: Program) -> AsyncIterator["World"]:
    clock = Clock()
    sizes = {key: size_of(key, serial) for serial, key in enumerate(program.keys)}
    if program.is_huge:
        sizes |= {f"h/f{number:06}": 20 + number for number in range(HUGE)}
    store = MovingStore(History(sizes), program.behaviour, clock, random.Random(program.seed))
    config = TreeConfig(
        uid=0,
        gid=0,
        metadata_ttl=program.ttl,
        negative_ttl=program.negative_ttl,
        stale_while_revalidate=program.grace,
        metadata_limit=configured_limit(program.limit),
    )
    location = StoreConfig(bucket=program.behaviour.bucket, prefix=program.root)
    async with trio.open_nursery() as nursery:
        filesystem = assemble(
            store, nursery, config, location, clock, no_prefetch=program.no_prefetch
        )
        if program.is_proven and program.behaviour.is_ordered:
            filesystem.tree.cache.order.note_page(IN_ORDER)
        yield World(program, store, filesystem, clock)
        nursery.cancel_scope.cancel()


def configured_limit(entries: int) -> int:
    """The --metadata-limit, in bytes, that has room for about so many entries, in pages of a few."""
    return 400 * entries


def held_weight(filesystem: FileSystem) -> int:
    """What the directories weigh that are kept, counted anew; what is read and no directory's any more comes on top."""
    return sum(
        directory.weight for directory in filesystem.tree.cache.directories._directories.values()
    )


@dataclass
class World:
    """What all agents share: the bucket, the mount, and what the mount has told so far."""

    program: Program
    store: MovingStore
    filesystem: FileSystem
    clock: Clock
    trace: list[str] = field(default_factory=list)
    last_hang_up: float = -math.inf
    # the entry that each number stands for, while there are references to it
    told: dict[int, Told] = field(default_factory=dict)
    references: Counter[int] = field(default_factory=Counter)
    # keys whose version a read found to be gone, and when: what was asked before is not to be believed of them
    gone: dict[str, float] = field(default_factory=dict)
    _serial: int = 1_000

    def note(self, agent: str, text: str) -> None:
        self.trace.append(f"{self.clock():12.6f}  {agent:>3}  {text}")

    def check(self, is_right: bool, kind: str, story: str) -> None:  # noqa: FBT001  # the condition of an assertion
        if not is_right:
            raise Deviation(kind, "\n".join([story, "what happened:", *self.trace[-80:]]))

    def hang_up(self) -> None:
        self.last_hang_up = self.clock()
        self.filesystem.tree.invalidate_all()

    def change(self, step: Step) -> None:
        """What happens to the mount or its bucket from outside."""
        self._serial += 1
        match step.verb:
            case "hup":
                self.hang_up()
            case "put":
                self.store.history.change(self.clock(), step.path, size_of(step.path, self._serial))
            case "delete":
                self.store.history.change(self.clock(), step.path, None)

    def oldest(self, now: float, *, lifetime: float, key: str | None = None) -> float:
        """The oldest moment that an answer to a call at *now* may be of."""
        gone = (
            self.gone.get(key, -math.inf)
            if key is not None and self.program.limit == DEFAULT_LIMIT
            else -math.inf
        )
        return max(
            now - lifetime, self.last_hang_up if self.last_hang_up <= now else -math.inf, gone
        )

    def check_kept(self, told: Told, valid_for: float) -> None:
        """The kernel keeps an entry for *valid_for* seconds more: by then, too, it is not older than a lifetime."""
        if 0 < valid_for < math.inf:
            since = self.clock() + valid_for - self.program.ttl
            sizes = sizes_of(
                self.states(since), told.prefix, told.name, is_list_denied=self.is_list_denied
            )
            self.check(
                told.size in sizes,
                "kept",
                f"{told} is to be kept for {valid_for} s; since {since:.6f} it may be {sizes}",
            )

    def states(self, since: float) -> list[State]:
        return list(self.store.history.between(since, self.clock()))

    def may_fail(self, *kinds: str) -> bool:
        """Whether the store may fail a request of these *kinds*; behind an empty page, the first that tells anything is another."""
        if "LIST" in kinds and self.program.behaviour.has_empty_pages:
            kinds = (*kinds, "MORE")
        return not self.store.is_mended and bool(set(kinds) & set(self.program.behaviour.failing))

    def may_fail_to_look_up(self) -> bool:
        """Whether a lookup, or an open, may fail."""
        return self.may_fail("LIST", "HEAD", "REVALIDATE")

    def may_fail_to_list(self) -> bool:
        """Whether reading a directory may fail: also if an order that was relied on turns out to be none."""
        return self.may_fail("LIST", "MORE") or self.program.behaviour.order in ("none", "at first")

    @property
    def is_list_denied(self) -> bool:
        behaviour = self.program.behaviour
        return self.may_fail("LIST") and behaviour.failure_status == 403


class Agent:
    """One user of the mount, with references of its own; opens and reads as the kernel does."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._tree = world.filesystem.tree
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
            case "attributes":
                self._check_attributes()
            case _:
                self._world.change(step)

    # ---- names -------------------------------------------------------------------------------------------------------

    async def _resolve(self, path: str) -> int | None:
        """The inode at *path*, component by component; None if there is none, or if that cannot be told."""
        inode, prefix = ROOT, self._prefix_of("")
        for component in path.split("/") if path else ():
            found = await self._look_up(inode, prefix, component.encode())
            if found is None:
                return None
            inode, prefix = found, prefix + component + "/"
            if self._world.told[inode].size != DIRECTORY and prefix != self._prefix_of(path):
                return None
        return inode

    def _prefix_of(self, path: str) -> str:
        """The prefix of the directory at *path*."""
        return self._world.program.root + (path + "/" if path else "")

    async def _look_up(self, parent: int, prefix: str, name: bytes) -> int | None:
        world, program = self._world, self._world.program
        asked, key = world.clock(), prefix + name.decode()
        negative = program.ttl if program.negative_ttl is None else program.negative_ttl
        absence = world.oldest(asked, lifetime=negative + program.grace, key=key)
        presence = world.oldest(asked, lifetime=program.ttl + program.grace, key=key)
        size: int | None
        try:
            inode, size, _, valid_for = await self._tree.lookup(parent, name)
        except NotFound:
            size, since = None, absence
        except S3MountError as exc:
            self._note(f"looked up {key!r}: {exc!r}")
            world.check(world.may_fail_to_look_up(), "failure", f"lookup of {key!r}: {exc!r}")
            return None
        else:
            entry = Told(prefix, name, DIRECTORY if size < 0 else size)
            self._hold(inode, entry)
            world.check_kept(entry, valid_for)
            since = presence
        self._note(f"looked up {key!r}: {size}")
        allowed = sizes_of(world.states(since), prefix, name, is_list_denied=world.is_list_denied)
        told = DIRECTORY if size is not None and size < 0 else size
        kind = "absent" if told is None else "stale" if None not in allowed else "present"
        kind = f"doubted {kind}" if since == world.gone.get(key) else kind
        world.check(
            told in allowed,
            kind,
            f"lookup of {key!r} since {since:.6f} says {told}, may say {allowed}",
        )
        return None if told is None else inode

    def _check_attributes(self) -> None:
        for inode in self._references:
            told = self._world.told[inode]
            attributes = self._tree.attributes(inode)
            size = DIRECTORY if attributes.size < 0 else attributes.size
            self._world.check(
                size == told.size, "inode", f"inode {inode} was {told}, and has the size {size}"
            )

    # ---- directories -------------------------------------------------------------------------------------------------

    async def _walk(self, step: Step) -> None:
        """Read a directory and all below it, files included."""
        inode = await self._resolve(step.path)
        if inode is None or not self._is_directory(inode):
            return
        ahead = [(inode, self._prefix_of(step.path))]
        while ahead:
            inode, prefix = ahead.pop()
            for entry, told in (await self._read_directory(inode, prefix, step)).items():
                if told.size == DIRECTORY:
                    ahead.append((entry, told.key + "/"))

    async def _list(self, step: Step) -> None:
        inode = await self._resolve(step.path)
        if inode is not None and self._is_directory(inode):
            await self._read_directory(inode, self._prefix_of(step.path), step)

    def _is_directory(self, inode: int) -> bool:
        return inode == ROOT or self._world.told[inode].size == DIRECTORY

    async def _read_directory(self, inode: int, prefix: str, step: Step) -> dict[int, Told]:
        """One pass over a directory, and what it told."""
        directories = self._world.filesystem.directories
        handle = directories.open(inode)
        try:
            return await _Reading(self._world, self, prefix, step).run(directories.handle(handle))
        finally:
            directories.release(handle)

    # ---- files -------------------------------------------------------------------------------------------------------

    async def _open(self, step: Step) -> None:
        """open(2), a pause, and read(2)."""
        files = self._world.filesystem.files
        for _ in range(TRIES):  # the kernel looks a stale name up again
            inode = await self._resolve(step.path)
            if inode is None or self._is_directory(inode):
                return
            handle = await self._open_inode(inode)
            if handle is not None:
                try:
                    await trio.sleep(step.pause)
                    await self._read(handle, self._world.told[inode])
                finally:
                    files.release(handle)
                return

    async def _open_inode(self, inode: int) -> int | None:
        world, program, told = self._world, self._world.program, self._world.told[inode]
        asked, files = world.clock(), world.filesystem.files
        trusted = max(program.ttl, LOOKUP_TO_OPEN)
        since = world.oldest(asked, lifetime=trusted, key=told.key)
        handle = files.open_nowait(inode)
        try:
            if handle is None:
                handle = await files.open(inode)
        except ReplacedBeforeOpen:
            negative = 0.0 if program.negative_ttl is None else program.negative_ttl
            states = world.states(
                world.oldest(asked, lifetime=max(trusted, negative) + program.grace)
            )
            sizes = sizes_of(states, told.prefix, told.name)
            world.check(
                sizes != {told.size},
                "superseded",
                f"{told} is refused though it was current all the time",
            )
            return None
        except S3MountError as exc:
            world.check(world.may_fail_to_look_up(), "failure", f"open of {told}: {exc!r}")
            return None
        self._note(f"opened {told.key!r}: {told.size}")
        sizes = sizes_of(
            world.states(since), told.prefix, told.name, is_list_denied=world.is_list_denied
        )
        if told.size not in sizes:
            files.release(handle)
        kind = "doubted open" if since == world.gone.get(told.key) else "stale open"
        world.check(
            told.size in sizes, kind, f"{told} opened, though since {since:.6f} it may be {sizes}"
        )
        return handle

    async def _read(self, handle: int, told: Told) -> None:
        world, files = self._world, self._world.filesystem.files
        asked = world.clock()
        try:
            body = bytes(await files.read(handle, 0, 1 << 20))
        except StaleVersion:
            world.gone[told.key] = world.clock()
            self._note(f"read {told.key!r}: gone")
            sizes = {state.sizes.get(told.key) for state in world.states(asked)}
            world.check(sizes != {told.size}, "gone", f"{told} cannot be read though it is current")
        except S3MountError as exc:
            world.check(world.may_fail("GET"), "failure", f"read of {told}: {exc!r}")
        else:
            world.check(
                body == body_of(told.key, told.size), "bytes", f"{told} reads {body[:60]!r}"
            )

    # ---- references --------------------------------------------------------------------------------------------------

    def _hold(self, inode: int, told: Told) -> None:
        """One more reference to an inode; while there is one, the number stands for the same entry."""
        world = self._world
        if world.references[inode]:
            before = world.told[inode]
            world.check(
                before == told, "inode", f"inode {inode} is {before}, and is told for {told}"
            )
        world.told[inode] = told
        world.references[inode] += 1
        self._references[inode] += 1

    def _forget(self) -> None:
        for inode, count in self._references.items():
            self._tree.inodes.forget(inode, count)
            self._world.references[inode] -= count
        self._references.clear()

    def _check_weight(self) -> None:
        world = self._world
        weight, limit = held_weight(world.filesystem), configured_limit(world.program.limit)
        slack = 2_000  # bytes: rows of a page that turned out to be of no use
        world.check(
            weight <= limit + slack, "weight", f"{weight} bytes are held, and {limit} are the limit"
        )

    def _note(self, text: str) -> None:
        self._world.note(self._name, text)


class _Reading:
    """One pass over the directory *prefix*, from rewinddir to its end."""

    def __init__(self, world: World, agent: Agent, prefix: str, step: Step) -> None:
        self._world = world
        self._agent = agent
        self._prefix = prefix
        self._step = step
        self._told: list[tuple[int, Told, int]] = []  # inode, entry, and the offset behind it
        self._names: set[bytes] = set()
        self._since = 0.0
        self._failures = 0

    async def run(self, stream: DirectoryHandle) -> dict[int, Told]:
        self._since = self._world.oldest(self._world.clock(), lifetime=self._world.program.ttl)
        is_at_end = False
        if await self._attempt(stream.rewind):
            is_at_end = await self._read_on(stream)
        entries = {inode: told for inode, told, _ in self._told}
        self._agent._note(
            f"read {self._prefix!r}: {len(self._names)} names{'' if is_at_end else ', not all'}"
        )
        if is_at_end:
            stable = stable_names(self._world.states(self._since), self._prefix)
            lost = sorted(stable - self._names)[:5]
            self._check(not lost, "lost", f"lacks {lost}, which were there since {self._since:.6f}")
        return entries

    async def _read_on(self, stream: DirectoryHandle) -> bool:
        """Reply by reply; whether the end was reached."""
        step, replies = self._step, 0
        while not (step.stop_after and replies >= step.stop_after):
            told = len(self._told)
            is_done = await self._attempt(lambda: self._reply(stream))
            if is_done and told == len(self._told):
                return True
            if not is_done and self._failures >= TRIES:
                return False
            replies += 1
            if replies == step.seek_after and step.seek_to < len(self._told):
                self._seek(step.seek_to)
            if step.pause:
                await trio.sleep(step.pause)
        return False

    def _seek(self, index: int) -> None:
        """seekdir(3) to behind the entry *index*: what was told after it is to be told again."""
        del self._told[index + 1 :]
        self._names = {told.name for _, told, _ in self._told}

    async def _reply(self, stream: DirectoryHandle) -> None:
        """One getdents(2): entries from the last offset on, as many as it has room for and can be told at once."""
        offset = self._told[-1][2] if self._told else DOTS
        room = self._step.reply
        place = stream.read_nowait(offset) or await stream.read(offset)
        while place is not None and room:
            entries, start, base = place
            stop, valid_for = min(len(entries), start + room), self._agent._tree.valid_for(entries)
            for index in range(start, stop):
                size = DIRECTORY if entries.is_directory(index) else entries.sizes[index]
                told = Told(self._prefix, entries.name(index), size)
                self._tell(
                    self._agent._tree.inodes.add_reference(entries, index),
                    told,
                    base + index + 1,
                    valid_for,
                )
            room -= stop - start
            place = stream.read_nowait(base + stop) if room else None

    def _tell(self, inode: int, told: Told, offset: int, valid_for: float) -> None:
        self._agent._hold(inode, told)
        self._told.append((inode, told, offset))
        self._world.check_kept(told, valid_for)
        self._check(told.name not in self._names, "twice", f"tells {told.name!r} twice")
        self._names.add(told.name)
        states = self._world.store.history.between(self._since, self._world.clock())
        sizes = sizes_of(states, self._prefix, told.name)
        self._check(
            told.size in sizes,
            "stale name",
            f"tells {told}; since {self._since:.6f} it may be {sizes}",
        )

    async def _attempt(self, call: Callable[[], object]) -> bool:
        """Await *call*; False if the store failed."""
        try:
            await call()  # type: ignore[misc]  # each is a coroutine function
        except S3MountError as exc:
            self._failures += 1
            self._agent._note(f"read {self._prefix!r}: {exc!r}")
            is_right = self._world.may_fail_to_list() and not isinstance(exc, NotFound)
            self._check(is_right, "failure", f"fails with {exc!r}")
            return False
        return True

    def _check(self, is_right: bool, kind: str, story: str) -> None:  # noqa: FBT001  # the condition of an assertion
        self._world.check(is_right, kind, f"reading {self._prefix!r} {story}")
