"""Report of a user as a case: a store, a command line, and what must be seen.

Runs the real command line and the real kernel; each mount is unmounted and its log is checked.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from tests.faults.bucket import Bucket, Kind, Request
from tests.faults.hostile_store import HostileStore
from tests.field.store import DeadAddress, Oddity, ScriptedStore
from tests.mount.filesystem_access import failure_of, read_file, read_tree
from tests.mount.mount_process import Mount, abort, is_mounted, mounted, refused
from tests.reference import encode, tree_of

BUCKET = "field"
KEY_ID, SECRET = "AKIDFIELDFIELD000000", "a-secret-that-no-line-may-show"
KEYS: Mapping[str, str | None] = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
OBJECTS: Mapping[str, bytes] = {
    "a.txt": b"first\n",
    "empty": b"",
    "photos/2024/one.jpg": bytes(range(256)) * 40,
    "photos/two.jpg": b"second\n" * 100,
    "z": b"last\n",
}
NAMES = Path(__file__).parent / "names"  # a resolver for the mount's process
GRACE = 5.0  # seconds after which a hanging mount is aborted


class Transports(Enum):
    """Transports that a case runs with: native, and perhaps boto3."""

    NATIVE = auto()
    SAMPLED = auto()  # boto3 for every n-th such case: what the case shows is above the transport
    BOTH = auto()


NATIVE, SAMPLED, BOTH = Transports.NATIVE, Transports.SAMPLED, Transports.BOTH


@dataclass
class Run:
    """Mounted case, as its steps see it."""

    case: "Case"
    mount: Mount
    store: ScriptedStore
    elsewhere: HostileStore
    home: Path

    def path(self, name: str) -> Path:
        return self.mount.path / name

    def requests(self, kind: Kind | None = None) -> list[Request]:
        """Return the requests that the store received so far, perhaps of one *kind* only."""
        return [each for each in self.store.requests if kind in (None, each.kind)]


Step = Callable[[Run], None]


@dataclass(frozen=True, slots=True)
class FallibleStep:
    """Step whose access may fail; *words* names its outcomes for the document."""

    step: Step
    words: str

    def __call__(self, run: Run) -> None:
        self.step(run)


@dataclass(frozen=True, slots=True)
class Case:
    """One report. *report* says what was seen where, on which store.

    *oddities* apply in order: the last one has the last word. The *steps* run in order on the
    mount, and must end after *within* seconds altogether; by default they read the whole tree.
    "{port}" in *options* and *environ* is the store's.
    A *refused* mount must end with *status* and one line that matches. *log* are patterns of
    records at WARNING or above that must be there, *may_log* those that may; no others may be.
    """

    name: str
    report: str
    oddities: tuple[Oddity, ...] = ()
    objects: Mapping[str, bytes] = field(default_factory=lambda: OBJECTS)
    headers: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # by key
    page_size: int = 1000
    source: str = BUCKET
    options: tuple[str, ...] = ()
    environ: Mapping[str, str | None] = field(default_factory=dict)  # None: not set
    home: Mapping[str, str] = field(default_factory=dict)  # files below $HOME, or `{home}`
    host: str = "127.0.0.1"
    addresses: tuple[str, ...] = ()  # of each name below `s3.test`; a dead one ignores connections
    late: float = 0.0  # seconds after which the store begins to listen
    elsewhere: tuple[Oddity, ...] = ()  # oddities of the second store, which has the same objects
    steps: tuple[Step, ...] = field(default_factory=lambda: (reads_all(),))
    refused: str = ""
    status: int = 1
    log: tuple[str, ...] = ()
    may_log: tuple[str, ...] = ()
    starts_within: float = 10.0
    within: float = 10.0
    transports: Transports = SAMPLED

    @property
    def outcome(self) -> str:
        """What a user gets, for the document: "right" unless a step or the mount may fail."""
        if self.refused:
            return "the mount is refused, in one line"
        words = [step.words for step in self.steps if isinstance(step, FallibleStep)]
        return ", ".join(dict.fromkeys(words)) or "right"


def with_both(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return *cases*, which are about HTTP and so about each transport, for both transports."""
    return tuple(
        replace(case, transports=BOTH) if case.transports is SAMPLED else case for case in cases
    )


# ---- steps


def reads_all(objects: Mapping[str, bytes] | None = None) -> Step:
    """Check every name and every byte of the mount; by default of the case's own objects."""

    def step(run: Run) -> None:
        assert tree_of(objects or run.case.objects) == read_tree(run.mount.path)

    return step


def lists(directory: str, *names: str) -> Step:
    """Check the names in *directory*, in any order."""

    def step(run: Run) -> None:
        found = sorted(os.fsencode(path.name) for path in run.path(directory).iterdir())
        assert sorted(map(encode, names)) == found

    return step


def reads(name: str, body: bytes | None = None) -> Step:
    """Check the bytes of a file, and its size before and after; by default the object's."""

    def step(run: Run) -> None:
        expected = run.case.objects[name] if body is None else body
        found = read_file(run.path(name))
        assert len(expected) == len(found)
        assert expected == found
        assert len(expected) == run.path(name).stat().st_size

    return step


def has_size(name: str, size: int) -> Step:
    def step(run: Run) -> None:
        assert size == run.path(name).stat().st_size

    return step


def has_mtime(name: str, seconds: float) -> Step:
    def step(run: Run) -> None:
        assert seconds == run.path(name).stat().st_mtime

    return step


def is_directory(name: str) -> Step:
    def step(run: Run) -> None:
        assert run.path(name).is_dir()

    return step


def is_absent(name: str) -> Step:
    """Check that stat fails with ENOENT."""
    return fails("ENOENT", name, lambda path: path.stat()).step


def fails(
    errno_name: str, name: str, call: Callable[[Path], object] = lambda path: path.read_bytes()
) -> FallibleStep:
    """Check that *call* of the path, by default to read it, fails with one of the errnos "A|B"."""

    def step(run: Run) -> None:
        assert failure_of(lambda: call(run.path(name))) in errno_name.split("|")

    return FallibleStep(step, _in_words(errno_name))


def right_or_fails(errno_names: str, name: str) -> FallibleStep:
    """Check that reading gives the object's bytes, or fails with one of "A|B"."""

    def step(run: Run) -> None:
        try:
            assert run.case.objects[name] == read_file(run.path(name))
        except OSError:
            fails(errno_names, name)(run)

    return FallibleStep(step, f"right or {_in_words(errno_names)}")


def in_time(seconds: float, step: Step) -> Step:
    """Check that *step* ends after at most *seconds*."""

    def timed(run: Run) -> None:
        began = time.monotonic()
        step(run)
        assert time.monotonic() - began < seconds

    return _like(step, timed)


def repeats(times: int, step: Step) -> Step:
    def repeated(run: Run) -> None:
        for _ in range(times):
            step(run)

    return _like(step, repeated)


def writes_home(name: str, text: str) -> Step:
    """Replace a file below $HOME, as a renewed credentials file is."""

    def step(run: Run) -> None:
        fresh = run.home / f"{name}.new"
        fresh.write_text(text)
        fresh.rename(run.home / name)

    return step


def sends_at_most(requests: int, kind: Kind | None, step: Step) -> Step:
    """Check how many requests *step* costs, prefetched ones included."""

    def counted(run: Run) -> None:
        before = len(run.requests(kind))
        step(run)
        assert len(run.requests(kind)) - before <= requests

    return _like(step, counted)


def every_request(kind: Kind, has: Callable[[Request], bool]) -> Step:
    """Check all requests of *kind* so far, and that there is one."""

    def step(run: Run) -> None:
        requests = run.requests(kind)
        assert requests
        assert [each for each in requests if not has(each)] == []

    return step


def logs(pattern: str, times: int = 1) -> Step:
    """Check how many records, of whatever level, match *pattern*."""

    def step(run: Run) -> None:
        found = re.findall(pattern, run.mount.log_file.read_text())
        assert times == len(found)

    return step


def _like(step: Step, around: Step) -> Step:
    """Return *around*, which takes *step*, with its outcome."""
    return FallibleStep(around, step.words) if isinstance(step, FallibleStep) else around


def _in_words(errno_names: str) -> str:
    return " or ".join(f"`{name}`" for name in errno_names.split("|"))


# ---- the run of a case


def check(case: Case, transport: str, folder: Path) -> None:
    """Mount *case*, run its steps, and unmount; or check that the mount is refused."""
    home = _make_home(case, folder)
    with _stores(case) as (store, elsewhere):
        options = (*_options(case, store), "--transport", transport)
        environ = _environ(case, home, store)
        began = time.monotonic()
        if case.refused:
            _check_refusal(case, folder / "mnt", options, environ)
            assert time.monotonic() - began < case.starts_within
            return
        with mounted(case.source, folder / "mnt", *options, env=environ) as mount:
            assert time.monotonic() - began < case.starts_within
            mount.expect(*case.log)
            mount.allow(*case.may_log)
            _run_steps(Run(case, mount, store, elsewhere, home))
        assert SECRET not in mount.log_file.read_text()


def _run_steps(run: Run) -> None:
    watchdog = threading.Timer(run.case.within + GRACE, abort, [run.mount.path])
    watchdog.start()
    began = time.monotonic()
    try:
        for step in run.case.steps:
            step(run)
        assert time.monotonic() - began < run.case.within
    finally:
        watchdog.cancel()


def _check_refusal(
    case: Case, at: Path, options: tuple[str, ...], environ: Mapping[str, str]
) -> None:
    at.mkdir()
    done = refused(case.source, at, *options, env=environ)
    assert not is_mounted(at)
    assert case.status == done.returncode, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert re.search(case.refused, done.stderr), done.stderr
    assert "internal error" not in done.stderr
    assert SECRET not in done.stderr


@contextlib.contextmanager
def _stores(case: Case) -> Iterator[tuple[ScriptedStore, ScriptedStore]]:
    """Serve the store and the second one, each from a bucket of its own."""
    with contextlib.ExitStack() as stack:
        elsewhere = stack.enter_context(ScriptedStore(_bucket(case), case.elsewhere))
        store = ScriptedStore(_bucket(case), case.oddities, elsewhere=elsewhere.url, late=case.late)
        stack.enter_context(store)
        for address in case.addresses:
            if address != "127.0.0.1":
                stack.callback(DeadAddress(address, store.port).close)
        yield store, elsewhere


def _bucket(case: Case) -> Bucket:
    name = case.source.removeprefix("s3://").partition("/")[0]
    bucket = Bucket(name, page_size=case.page_size)
    for key, body in case.objects.items():
        bucket.put(key, body, *case.headers.get(key, ()))
    return bucket


def _make_home(case: Case, folder: Path) -> Path:
    home = folder / "home"
    home.mkdir(parents=True)
    for name, text in case.home.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text.replace("{home}", str(home)))
    return home


def _options(case: Case, store: ScriptedStore) -> tuple[str, ...]:
    endpoint = f"http://{case.host}:{store.port}"
    options = (each.replace("{port}", str(store.port)) for each in case.options)
    return ("--endpoint-url", endpoint, *options)


def _environ(case: Case, home: Path, store: ScriptedStore) -> dict[str, str]:
    variables = {**KEYS, "HOME": str(home), **case.environ}
    if case.addresses:
        variables |= {
            "PYTHONPATH": f"{NAMES}:{NAMES.parents[2]}",
            "FIELD_ADDRESSES": " ".join(case.addresses),
        }
    return {
        name: value.replace("{home}", str(home)).replace("{port}", str(store.port))
        for name, value in variables.items()
        if value is not None
    }
