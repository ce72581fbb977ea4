"""Scenarios: one misbehaviour, once or for ever, against one mount.

The runner starts all chosen scenarios at once, a mount for each of a few threads; a test waits
for the result of its own.
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
# mounts: each start may wait 15 s for the store's first response
STARTS_AT_ONCE = 3
# log messages of what a mount has learned of its store, and heeds for a while
TRAITS = ("the store refuses ", "the store ignores ", "the store pages ")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Misbehaviour in one request if *is_once*, else in every one until the scenario ends."""

    number: int
    row: Misbehaviour
    transport: str
    is_once: bool

    @property
    def name(self) -> str:
        return f"{self.transport}: {self.row.name}, {'once' if self.is_once else 'for ever'}"

    @property
    def prefix(self) -> str:
        # scattered, so that consecutive scenarios are not neighbours in the tree
        return f"{self.number * 7919 % 10007:05}/"

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
    """What the user, the store and the log saw during and after the fault."""

    outcome: Outcome
    seconds: float
    after: Outcome
    hits: int
    is_alive: bool
    records: list[Any]
    redirected: int  # requests that followed a redirect


def scenarios_of(rows: Iterable[Misbehaviour], transport: str, *, first: int = 0) -> list[Scenario]:
    """Return every scenario of *rows*, numbered from *first*."""
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
    """Runner of *chosen* scenarios, on *width* mounts at a time."""

    def __init__(self, chosen: list[Scenario], width: int) -> None:
        self._chosen = chosen
        self._idle: dict[MountOptions, list[FaultyMount]] = {}
        self._starting = threading.Semaphore(STARTS_AT_ONCE)
        self._pool = ThreadPoolExecutor(width)
        self._reports = {
            scenario.name: self._pool.submit(self._run, scenario) for scenario in chosen
        }

    def result(self, scenario: Scenario) -> ScenarioResult:
        """Wait for *scenario*, and return its result."""
        return self._reports[scenario.name].result(PATIENCE)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for mounts in self._idle.values():
            for mount in mounts:
                mount.__exit__()

    def _run(self, scenario: Scenario) -> ScenarioResult:
        mount = self._borrow(scenario.options)
        try:
            result = run(scenario, mount)
        except BaseException:  # raised again: no other scenario borrows the mount
            mount.__exit__()
            raise
        self._idle.setdefault(scenario.options, []).append(mount)
        return result

    def _borrow(self, options: MountOptions) -> FaultyMount:
        while True:
            try:
                mount = self._idle.get(options, []).pop()
            except IndexError:
                with self._starting:
                    return FaultyMount(options, stocked(self._chosen)).__enter__()
            if not has_learned_traits(mount):
                return mount
            mount.__exit__()


def has_learned_traits(mount: FaultyMount) -> bool:
    """Return whether earlier faults have changed what *mount* requests of its store."""
    return any(trait in mount.log_text for trait in TRAITS)


def stocked(scenarios: Iterable[Scenario]) -> Bucket:
    """Return a bucket with the objects of all *scenarios*, each below its own prefix."""
    bucket = Bucket(BUCKET)
    for scenario in scenarios:
        for name, body in scenario.row.workload.objects.items():
            bucket.put(scenario.prefix + name, body)
    return bucket


def run(scenario: Scenario, mount: FaultyMount) -> ScenarioResult:
    row, directory = scenario.row, WorkDirectory(mount.mountpoint, mount.bucket, scenario.prefix)
    since, redirected = len(mount.log_text), len(mount.elsewhere.requests)
    mount.bucket.page_size = row.page_size
    row.workload.prepare(directory)
    step = row.step(scenario.prefix, is_once=scenario.is_once)
    mount.store.misbehave(step)
    if row.outage is not None:
        row.outage(mount.store)
        if scenario.is_once:
            threading.Timer(OUTAGE_SECONDS, mount.store.end_faults).start()
    begun = time.monotonic()
    outcome = attempt(row.workload, directory)
    seconds = time.monotonic() - begun
    mount.store.end_faults()
    mount.bucket.page_size = 1000
    return ScenarioResult(
        outcome=outcome,
        seconds=seconds,
        after=[attempt(row.workload, directory) for _ in range(row.tries_after)][-1],
        hits=step.hits if row.outage is None else 1,
        is_alive=mount.is_alive,
        records=mount.log_records(since),
        redirected=len(mount.elsewhere.requests) - redirected,
    )


def attempt(workload: Workload, directory: WorkDirectory) -> Outcome:
    """Run *workload* and return its outcome.

    Raises WrongContentError, and OSError for an errno that is not in the catalogue.
    """
    try:
        workload.run(directory)
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, "")
        if name not in Outcome.__members__:
            raise
        return Outcome[name]
    return Outcome.RIGHT
