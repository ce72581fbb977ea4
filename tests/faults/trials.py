"""A trial: one misbehaviour, met once or for ever by one mount, and whether the outcome was right.

Trials that were chosen run side by side from the start, a rig for each of a few threads; who asks for one waits for it.
"""

import errno
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.faults.bucket import Bucket
from tests.faults.catalogue.rows import A_SECOND, TIMEOUT, Misbehaviour, Outcome
from tests.faults.rig import BUCKET, Flavour, Rig
from tests.faults.workloads import Place, Workload

PATIENCE = 120  # seconds for all trials before one, and itself
STARTS_AT_ONCE = 3  # mounts; they cost a second of a processor each, and may wait 15 s for the store's first answer


@dataclass(frozen=True, slots=True)
class Trial:
    """*is_once*: met by one request, else by every one until it is over."""

    number: int
    row: Misbehaviour
    transport: str
    is_once: bool

    @property
    def name(self) -> str:
        return f"{self.transport}: {self.row.name}, {'once' if self.is_once else 'for ever'}"

    @property
    def prefix(self) -> str:
        return f"{self.number * 7919 % 10007:05}/"  # scattered, so that neighbours in time are none in the tree

    @property
    def flavour(self) -> Flavour:
        return Flavour(self.transport, self.row.workload.ttl, TIMEOUT)

    @property
    def expected(self) -> Outcome:
        expected = self.row.once if self.is_once else self.row.always
        assert expected is not None
        return expected


@dataclass(frozen=True, slots=True)
class Report:
    """What befell: under the fault and after it, how long a user was kept, and what the log says about it."""

    outcome: Outcome
    seconds: float
    after: Outcome
    hits: int
    is_alive: bool
    records: list[Any]
    strangers: int  # requests that followed a redirect


def trials_of(rows: Iterable[Misbehaviour], transport: str, *, first: int = 0) -> list[Trial]:
    """Every trial of the *rows*, numbered from *first* on."""
    kinds = (
        (row, is_once)
        for row in rows
        for is_once in (True, False)
        if (row.once if is_once else row.always)
    )
    return [
        Trial(number, row, transport, is_once) for number, (row, is_once) in enumerate(kinds, first)
    ]


class Trials:
    """Runs *chosen* trials on *width* rigs at a time."""

    def __init__(self, chosen: list[Trial], width: int) -> None:
        self._chosen = chosen
        self._rigs: dict[Flavour, list[Rig]] = {}
        self._starting = threading.Semaphore(STARTS_AT_ONCE)
        self._pool = ThreadPoolExecutor(width)
        self._reports = {trial.name: self._pool.submit(self._run, trial) for trial in chosen}

    def report(self, trial: Trial) -> Report:
        """Waits until *trial* was run."""
        return self._reports[trial.name].result(PATIENCE)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for rigs in self._rigs.values():
            for rig in rigs:
                rig.__exit__()

    def _run(self, trial: Trial) -> Report:
        rig = self._borrow(trial.flavour)
        try:
            report = run(trial, rig)
        except BaseException:
            rig.__exit__()
            raise
        self._rigs.setdefault(trial.flavour, []).append(rig)
        return report

    def _borrow(self, flavour: Flavour) -> Rig:
        try:
            return self._rigs.get(flavour, []).pop()
        except IndexError:
            with self._starting:
                return Rig(flavour, stocked(self._chosen)).__enter__()


def stocked(trials: Iterable[Trial]) -> Bucket:
    """A bucket with the objects of all *trials*, each in a prefix of its own."""
    bucket = Bucket(BUCKET)
    for trial in trials:
        for name, body in trial.row.workload.objects.items():
            bucket.put(trial.prefix + name, body)
    return bucket


def run(trial: Trial, rig: Rig) -> Report:
    row, place = trial.row, Place(rig.mountpoint, rig.bucket, trial.prefix)
    since, strangers = len(rig.log_text), len(rig.elsewhere.requests)
    rig.bucket.page_size = row.page_size
    row.workload.prepare(place)
    step = row.step(trial.prefix, is_once=trial.is_once)
    rig.store.misbehave(step)
    if row.scene is not None:
        row.scene(rig.store)
        if trial.is_once:
            threading.Timer(A_SECOND, rig.store.mend).start()
    begun = time.monotonic()
    outcome = attempt(row.workload, place)
    seconds = time.monotonic() - begun
    rig.store.mend()
    rig.bucket.page_size = 1000
    return Report(
        outcome=outcome,
        seconds=seconds,
        after=[attempt(row.workload, place) for _ in range(row.tries_after)][-1],
        hits=step.hits if row.scene is None else 1,
        is_alive=rig.is_alive,
        records=rig.log_records(since),
        strangers=len(rig.elsewhere.requests) - strangers,
    )


def attempt(workload: Workload, place: Place) -> Outcome:
    """What the user is told; raises WrongAnswerError, and OSError where the catalogue has no word for it."""
    try:
        workload.run(place)
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, "")
        if name not in Outcome.__members__:
            raise
        return Outcome[name]
    return Outcome.RIGHT
