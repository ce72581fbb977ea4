"""Generator of random programs: a bucket, a store's behaviour, options, and the steps of agents.

A program follows from its seed. It is a value, which can be printed, and shrunk while it fails.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from s3mount.config import Prefetch
from s3mount.filesystem.namespace.directory_lru import UNPACKED_MAX
from tests.property.history_store import Behaviour

Item = TypeVar("Item")

HUGE = 70_000  # names in a huge directory: more than 16 bits can number
DEFAULT_LIMIT = 2_000_000  # entries: nothing is evicted


@dataclass(frozen=True)
class Step:
    """One action of an agent; *patience* is the seconds after which it is cancelled, 0 for never.

    For "list": *reply* entries a reply, and *pause* seconds between replies. After *seek_after*
    replies the reader seeks back to the entry *seek_to*; after *stop_after* replies (0: never) it
    stops. For "open": *pause* seconds between open and read.
    """

    verb: str
    path: str = ""
    pause: float = 0.0
    patience: float = 0.0
    reply: int = 2
    seek_after: int = 0
    seek_to: int = 0
    stop_after: int = 0

    def __str__(self) -> str:
        extras = {
            name: value
            for name, value in vars(self).items()
            if name not in ("verb", "path") and value != getattr(_PLAIN, name)
        }
        return f"{self.verb} {self.path!r} {extras or ''}".rstrip()


_PLAIN = Step("")


@dataclass(frozen=True)
class Program:
    """Program over a bucket; *limit* is in entries, lifetimes are in seconds.

    The prefix *root* is mounted, and the paths of readers are relative to it.
    """

    seed: int
    behaviour: Behaviour
    keys: tuple[str, ...]
    agents: tuple[tuple[Step, ...], ...]
    limit: int = DEFAULT_LIMIT
    ttl: float = 60.0
    negative_ttl: float | None = None
    grace: float = 0.0
    root: str = ""
    is_proven: bool = False  # the store has proved its order before the program starts
    no_prefetch: frozenset[Prefetch] = frozenset()
    is_huge: bool = False  # `h/` holds HUGE more names
    mounts: int = 1  # one after another; more than one keep metadata for the next
    serve_stale: float = 0.0  # with several mounts
    unpacked: int = UNPACKED_MAX  # directories that are never packed

    def __str__(self) -> str:
        plain = Behaviour()
        odd = {
            name: value
            for name, value in vars(self.behaviour).items()
            if value != getattr(plain, name)
        }
        lifetimes = f"ttl {self.ttl}, negative {self.negative_ttl}, grace {self.grace}"
        lines = [
            f"seed {self.seed}: limit {self.limit}, {lifetimes}",
            f"mounted {self.root!r}, {'proven ' if self.is_proven else ''}store {odd}"
            + (", h/ is huge" if self.is_huge else "")
            + (f", {self.unpacked} unpacked" if self.unpacked != UNPACKED_MAX else ""),
            f"keys {list(self.keys)}",
        ]
        for number, steps in enumerate(self.agents):
            lines += [f"agent {number}:", *(f"    {step}" for step in steps)]
        return "\n".join(lines)


def program_of(seed: int) -> Program:
    """Return the program of *seed*: two of six are general, the others aim at rare cases."""
    rnd = random.Random(seed)
    any_program = _any_program(rnd, seed)
    aims = (_any, _any, _contended, _refreshed, _trimmed, _walked)
    return rnd.choice(aims)(rnd, any_program)


def _any(rnd: random.Random, program: Program) -> Program:  # noqa: ARG001  # as the others
    return program


def _any_program(rnd: random.Random, seed: int) -> Program:
    behaviour = _behaviour(rnd)
    keys = random_keys(rnd)
    paths = _paths(keys)
    is_changing = rnd.random() < 0.6
    readers = [_reader(rnd, paths) for _ in range(rnd.choice((1, 1, 2, 2, 3, 4)))]
    agents = [*readers, _writer(rnd, keys)] if is_changing else readers
    return Program(
        seed=seed,
        behaviour=behaviour,
        keys=tuple(keys),
        agents=tuple(map(tuple, agents)),
        limit=rnd.choice((rnd.randint(1, 6), rnd.randint(7, 40), DEFAULT_LIMIT, DEFAULT_LIMIT)),
        ttl=rnd.choice((0.0, 2.0, 10.0, 60.0, 60.0, float("inf"))),
        negative_ttl=rnd.choice((None, None, None, 0.0, 5.0)),
        grace=rnd.choice((0.0, 0.0, 0.0, 3.0)),
        root=rnd.choice(("", "", "", "", "a/", "b/a/")),
        is_proven=behaviour.is_ordered and rnd.random() < 0.7,
        unpacked=rnd.choice((UNPACKED_MAX, 1, 2, 3)),
    )


def _contended(rnd: random.Random, program: Program) -> Program:
    """Replace a few files again and again while agents look them up and open them."""
    keys = sorted({rnd.choice(("a", "b", "a/a", "a/b", "b/a", "a/-")) for _ in range(3)})
    agents = [_contending_reader(rnd, keys) for _ in range(rnd.randint(2, 4))]
    behaviour = replace(program.behaviour, has_empty_pages=False, delay=rnd.choice((0.3, 1.0, 4.0)))
    if rnd.random() < 0.7:
        behaviour = replace(behaviour, failing=(), failure_rate=0.0)
    writer = [
        step
        for _ in range(rnd.randint(2, 12))
        for step in (
            Step("put", rnd.choice(keys)),
            Step("sleep", pause=rnd.choice((0.1, 0.7, 3.0))),
        )
    ]
    return replace(
        program, keys=tuple(keys), behaviour=behaviour, agents=(*map(tuple, agents), tuple(writer))
    )


def _refreshed(rnd: random.Random, program: Program) -> Program:
    """Replace files, and refresh them at once, while requests for their names are in flight."""
    program = replace(_contended(rnd, program), root="", ttl=rnd.choice((10.0, 60.0, 60.0)))
    *readers, writer = program.agents
    for _ in range(rnd.randint(1, 2)):
        prefix = rnd.choice(("", "a", "a", "b"))
        pause = rnd.choice((0.0, 1.0, 2.0))
        readers.append(
            (Step("walk", prefix), Step("sleep", pause=pause), Step("list", prefix), *readers[0])
        )
    changes = [
        each
        for step in writer
        for each in (
            (step, Step("refresh", rnd.choice((step.path, step.path.rpartition("/")[0]))))
            if step.verb == "put"
            else (step,)
        )
    ]
    return replace(program, agents=(*readers, tuple(changes)))


def _contending_reader(rnd: random.Random, keys: list[str]) -> list[Step]:
    steps = []
    for _ in range(rnd.randint(3, 10)):
        path = rnd.choice(keys)
        steps.append(
            rnd.choice(
                (Step("look", path), Step("open", path, pause=rnd.choice((0.0, 0.2, 1.0, 5.0))))
            )
        )
        if rnd.random() < 0.3:
            steps.append(Step("sleep", pause=rnd.choice((0.1, 1.0, 4.0, 11.0))))
        if rnd.random() < 0.1:
            steps.append(_list_step(rnd, rnd.choice(("", "a")), 0.0))
        if rnd.random() < 0.1:
            steps.append(Step("refresh", rnd.choice((path, path.rpartition("/")[0]))))
    return steps


def _trimmed(rnd: random.Random, program: Program) -> Program:
    """Let several readers pause and seek in one directory that is larger than the limit."""
    prefix = rnd.choice(("", "a/", "a/b/"))
    names = rnd.choice(("0123", "ab-.", "a-"))
    keys = {
        f"{prefix}{''.join(rnd.choice(names) for _ in range(4))}"
        for _ in range(rnd.randint(12, 80))
    }
    keys |= {
        f"{key}/{rnd.choice('ab-')}"
        for key in rnd.sample(sorted(keys), min(len(keys), rnd.randint(0, 6)))
    }
    behaviour = replace(
        program.behaviour, page_max=rnd.choice((1, 2, 3, 8)), has_random_pages=rnd.random() < 0.8
    )
    readers = [
        tuple(_list_step(rnd, prefix[:-1], 0.0) for _ in range(rnd.randint(1, 3)))
        for _ in range(rnd.randint(2, 4))
    ]
    agents = (*readers, *program.agents[-1:])
    return replace(
        program,
        keys=tuple(sorted(keys)),
        behaviour=behaviour,
        agents=agents,
        limit=rnd.randint(3, 30),
    )


def _walked(rnd: random.Random, program: Program) -> Program:
    """Walk many small directories, with changes and SIGHUPs meanwhile."""
    prefix = rnd.choice(("", "a/"))
    directories = [f"{prefix}d{number}" for number in range(rnd.randint(3, 9))]
    files = "ab-01234"[: rnd.randint(1, 8)]
    keys = sorted({f"{directory}/{name}" for directory in directories for name in files})
    walks = [
        Step("walk", pause=rnd.choice((0.0, 0.3, 1.0))),
        *(Step("list", path) for path in directories),
    ]
    readers = [
        tuple(rnd.choice(walks[: rnd.choice((1, 99))]) for _ in range(5))
        for _ in range(rnd.randint(1, 3))
    ]
    changes = []
    for _ in range(rnd.randint(1, 5)):
        changes.append(Step("sleep", pause=rnd.choice((0.1, 1.0, 3.0, 5.0))))
        changes += [
            Step(rnd.choice(("put", "delete")), rnd.choice(keys)) for _ in range(rnd.randint(1, 8))
        ]
        changes += [Step("hup")] * (rnd.random() < 0.7)
    behaviour = replace(
        program.behaviour, page_max=rnd.choice((2, 3, 5, 8, 20)), delay=rnd.choice((0.1, 1.0))
    )
    return replace(
        program, keys=tuple(keys), behaviour=behaviour, agents=(*readers, tuple(changes))
    )


def huge_program_of(seed: int) -> Program:
    """Return a program with a directory of more entries than 16 bits can number."""
    rnd = random.Random(seed)
    order = ("bytes", "none", "at first", "directory bucket", "components")[seed % 5]
    page_max = rnd.choice((1000, 20_000, 66_000, HUGE))
    behaviour = Behaviour(order=order, page_max=page_max, has_random_pages=rnd.random() < 0.5)
    keys = ["odd/b", "odd/a", "odd/-"]
    names = [f"h/f{rnd.randrange(HUGE):06}" for _ in range(10)] + [
        "h/f065535",
        "h/f065536",
        "h/f069999",
    ]
    look = [Step(rnd.choice(("look", "open")), name) for name in names]
    listing = [Step("list", "odd"), Step("list", "h", reply=5_000)]
    steps = [*listing, *look, Step("hup"), *rnd.sample(look, 5), Step("forget")]
    return Program(seed, behaviour, tuple(keys), (tuple(steps),), is_huge=True)


def smaller(program: Program) -> Iterator[Program]:
    """Yield programs that do a little less, the smallest first."""
    for number in range(len(program.agents)):
        yield replace(program, agents=program.agents[:number] + program.agents[number + 1 :])
    for number, steps in enumerate(program.agents):
        for shorter in _without_some(steps):
            agents = (*program.agents[:number], tuple(shorter), *program.agents[number + 1 :])
            yield replace(program, agents=agents)
    for keys in _without_some(program.keys):
        yield replace(program, keys=tuple(keys))
    plain, behaviour = Program(0, Behaviour(), (), ()), program.behaviour
    for name in ("is_proven", "root", "limit", "ttl", "negative_ttl", "grace", "unpacked"):
        if getattr(program, name) != getattr(plain, name):
            yield replace(program, **{name: getattr(plain, name)})
    for name, value in vars(Behaviour()).items():
        if getattr(behaviour, name) != value:
            yield replace(program, behaviour=replace(behaviour, **{name: value}))
    yield from _with_plainer_steps(program)


def _without_some(items: tuple[Item, ...]) -> Iterator[list[Item]]:
    """Yield *items* without a half, a quarter, …, one of them."""
    size = len(items) // 2
    while size:
        for start in range(0, len(items), size):
            yield [*items[:start], *items[start + size :]]
        size //= 2


def _with_plainer_steps(program: Program) -> Iterator[Program]:
    for number, steps in enumerate(program.agents):
        for at, step in enumerate(steps):
            for plainer in (
                Step(step.verb, step.path),
                Step(step.verb, step.path, pause=step.pause),
            ):
                if plainer != step:
                    agent = (*steps[:at], plainer, *steps[at + 1 :])
                    yield replace(
                        program,
                        agents=(*program.agents[:number], agent, *program.agents[number + 1 :]),
                    )


def _behaviour(rnd: random.Random) -> Behaviour:
    kinds = ("HEAD", "LIST", "MORE", "REVALIDATE", "GET")
    fails = rnd.random() < 0.35
    return Behaviour(
        order=rnd.choice(
            ("bytes", "bytes", "bytes", "components", "none", "at first", "directory bucket")
        ),
        page_max=rnd.choice((1, 2, 3, 5, 8, 1000)),
        has_random_pages=rnd.random() < 0.5,
        repeats=rnd.random() < 0.1,
        has_empty_pages=rnd.random() < 0.07,
        knows_start_after=rnd.random() < 0.8,
        tells_token_early=rnd.random() < 0.5,
        delay=rnd.choice((0.0, 0.01, 0.1, 1.0, 1.0, 4.0)),
        failing=tuple(rnd.sample(kinds, rnd.randint(1, 3))) if fails else (),
        failure_rate=rnd.choice((0.1, 0.5, 1.0)) if fails else 0.0,
        failure_status=rnd.choice((503, 503, 503, 400, 403)) if fails else 503,
    )


def _name(rnd: random.Random) -> str:
    return "".join(rnd.choice("ab-.") for _ in range(rnd.choice((1, 1, 2))))


def random_key(rnd: random.Random) -> str:
    if rnd.random() < 0.25:
        return "".join(rnd.choice("ab-/.") for _ in range(rnd.randint(1, 6)))
    return "/".join(_name(rnd) for _ in range(rnd.choice((1, 2, 2, 3, 3, 4))))


def random_keys(rnd: random.Random) -> list[str]:
    keys = {random_key(rnd) for _ in range(rnd.choice((0, 3, 6, 12, 25)))}
    if rnd.random() < 0.4:  # a directory of more names than a small limit allows
        prefix = rnd.choice(("", "a/", "b/", "b/a/"))
        keys |= {f"{prefix}{number:02}" for number in range(rnd.choice((12, 25, 50)))}
    if rnd.random() < 0.3:  # many small directories, for walks
        prefix = rnd.choice(("", "a/", "b/"))
        keys |= {
            f"{prefix}d{number}/{name}"
            for number in range(rnd.randint(4, 9))
            for name in "ab-"[: rnd.randint(1, 3)]
        }
    return sorted(keys)


def _paths(keys: list[str]) -> list[str]:
    """Return the possible directories and files, without those that no path can name."""
    paths = {
        "",
        *(
            key[:at]
            for key in keys
            for at in range(len(key) + 1)
            if at == len(key) or key[at] == "/"
        ),
    }
    return sorted(path for path in paths if not path or not {"", ".", ".."} & set(path.split("/")))


def _reader(rnd: random.Random, paths: list[str]) -> list[Step]:
    directories = sorted({"", *(path.rpartition("/")[0] for path in paths)})
    favourites = [rnd.choice(paths) for _ in range(3)]
    return [
        _reader_step(rnd, [*paths, *favourites * 3], directories) for _ in range(rnd.randint(2, 9))
    ]


def _reader_step(rnd: random.Random, paths: list[str], directories: list[str]) -> Step:
    path = rnd.choice(paths)
    if rnd.random() < 0.3:
        path = f"{rnd.choice(directories)}/{_name(rnd)}".removeprefix("/")
    if {".", ".."} & set(path.split("/")):
        path = "a"
    patience = rnd.choice((0.0, 0.0, 0.0, 0.5, 2.0)) * rnd.random()
    steps = {
        "look": Step("look", path, patience=patience),
        "list": _list_step(rnd, rnd.choice(directories), patience),
        "walk": Step(
            "walk", rnd.choice(("", rnd.choice(directories))), pause=rnd.choice((0.0, 0.0, 0.5))
        ),
        "open": Step("open", path, pause=rnd.choice((0.0, 0.5, 3.0, 15.0)), patience=patience),
        "sleep": Step("sleep", pause=rnd.choice((0.1, 1.0, 3.0, 11.0, 61.0))),
        "hup": Step("hup" if rnd.random() < 0.4 else "attributes"),
        "refresh": Step("refresh", path),
        "forget": Step("forget"),
        "number": Step("number", path),
    }
    return steps[
        rnd.choice(("look", "look", "look", "list", "list", "list", "walk", "open", "open", *steps))
    ]


def _list_step(rnd: random.Random, directory: str, patience: float) -> Step:
    seek_after = rnd.choice((0, 0, rnd.randint(1, 6)))
    return Step(
        "list",
        directory,
        pause=rnd.choice((0.0, 0.0, 0.3, 2.0, 20.0)),
        patience=patience,
        reply=rnd.choice((1, 2, 5, 25)),
        seek_after=seek_after,
        seek_to=rnd.randint(0, 10) if seek_after else 0,
        stop_after=rnd.choice((0, 0, 0, rnd.randint(1, 5))),
    )


def _writer(rnd: random.Random, keys: list[str]) -> list[Step]:
    steps = []
    for _ in range(rnd.randint(1, 12)):
        key = rnd.choice(keys) if keys and rnd.random() < 0.6 else random_key(rnd)
        verb = rnd.choice(("put", "put", "delete", "delete", "hup", "refresh"))
        if verb == "refresh" and {"", ".", ".."} & set(key.split("/")):
            verb = "hup"
        steps.append(Step(verb, "" if verb == "hup" else key))
        steps.append(Step("sleep", pause=rnd.choice((0.0, 0.05, 0.5, 2.0, 7.0))))
    return steps
