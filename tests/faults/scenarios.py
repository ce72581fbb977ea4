"""A scenario: one misbehaviour, met once or for ever by one mount, and whether the outcome was right.

ScenarioRunner that were chosen run side by side from the start, a mount for each of a few threads; who asks for one waits for it.
"""

import errno
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.faults.bucket import Bucket
from tests.faults.catalogue.rows import OUTAGE_SECONDS, TIMEOUT, Misbehaviour, Outcome
from tests.faults.faulty_mount import BUCKET, FaultyMount, MountOptions
from tests.faults.workloads import WorkDirectory, Workload

PATIENCE = 120  # seconds for all scenarios before one, and itself
STARTS_AT_ONCE = 3  # mounts; they cost a second of a processor each, and may wait 15 s for the store's first answer


@dataclass(frozen=True, slots=True)
class Scenario:
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
    def options(self) -> MountOptions:
        return MountOptions(self.transport, self.row.workload.ttl, TIMEOUT)

    @property
    def expected(self) -> Outcome:
        expected = self.row.once if self.is_once else self.row.always
        assert expected is not None
        return expected


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """What befell: under the fault and after it, how long a user was kept, and what the log says about it."""

    outcome: Outcome
    seconds: float
    after: Outcome
    hits: int
    is_alive: bool
    records: list[Any]
    redirected: int  # requests that followed a redirect


def scenarios_of(rows: Iterable[Misbehaviour], transport: str, *, first: int = 0) -> list[Scenario]:
    """Every scenario of the *rows*, numbered from *first* on."""
    kinds = (
        (row, is_once)
        for row in rows
        for is_once in (True, False)
        if (row.once if is_once else row.always)
    )
    return [
        Scenario(number, row, transport, is_once)
        for number, (row, is_once) in enumerate(kinds, first)
    ]


class ScenarioRunner:
    """Runs *chosen* scenarios on *width* mounts at a time."""

    def __init__(self, chosen: list[Scenario], width: int) -> None:
        self._chosen = chosen
        self._idle: dict[MountOptions, list[FaultyMount]] = {}
        self._starting = threading.Semaphore(STARTS_AT_ONCE)
        self._pool = ThreadPoolExecutor(width)
        self._reports = {
            scenario.name: self._pool.submit(self._run, scenario) for scenario in chosen
        }

    def report(self, scenario: Scenario) -> ScenarioResult:
        """Waits until *scenario* was run."""
        return self._reports[scenario.name].result(PATIENCE)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for mounts in self._idle.values():
            for mount in mounts:
                mount.__exit__()

    def _run(self, scenario: Scenario) -> ScenarioResult:
        mount = self._borrow(scenario.options)
        try:
            report = run(scenario, mount)
        except BaseException:
            mount.__exit__()
            raise
        self._idle.setdefault(scenario.options, []).append(mount)
        return report

    def _borrow(self, options: MountOptions) -> FaultyMount:
        try:
            return self._idle.get(options, []).pop()
        except IndexError:
            with self._starting:
                return FaultyMount(options, stocked(self._chosen)).__enter__()


def stocked(scenarios: Iterable[Scenario]) -> Bucket:
    """A bucket with the objects of all *scenarios*, each in a prefix of its own."""
    bucket = Bucket(BUCKET)
    for scenario in scenarios:
        for name, body in scenario.row.workload.objects.items():
            bucket.put(scenario.prefix + name, body)
    return bucket


def run(scenario: Scenario, mount: FaultyMount) -> ScenarioResult:
    row, place = scenario.row, WorkDirectory(mount.mountpoint, mount.bucket, scenario.prefix)
    since, redirected = len(mount.log_text), len(mount.elsewhere.requests)
    mount.bucket.page_size = row.page_size
    row.workload.prepare(place)
    step = row.step(scenario.prefix, is_once=scenario.is_once)
    mount.store.misbehave(step)
    if row.outage is not None:
        row.outage(mount.store)
        if scenario.is_once:
            threading.Timer(OUTAGE_SECONDS, mount.store.mend).start()
    begun = time.monotonic()
    outcome = attempt(row.workload, place)
    seconds = time.monotonic() - begun
    mount.store.mend()
    mount.bucket.page_size = 1000
    return ScenarioResult(
        outcome=outcome,
        seconds=seconds,
        after=[attempt(row.workload, place) for _ in range(row.tries_after)][-1],
        hits=step.hits if row.outage is None else 1,
        is_alive=mount.is_alive,
        records=mount.log_records(since),
        redirected=len(mount.elsewhere.requests) - redirected,
    )


def attempt(workload: Workload, place: WorkDirectory) -> Outcome:
    """What the user is told; raises WrongContentError, and OSError where the catalogue has no word for it."""
    try:
        workload.run(place)
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, "")
        if name not in Outcome.__members__:
            raise
        return Outcome[name]
    return Outcome.RIGHT
