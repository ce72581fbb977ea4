"""Samples of a row: each system in turn, on a fresh mount, round after round."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import measure
from benchmarks.environment import Bench, StoreAddress
from benchmarks.mounted import Mount, mounted
from benchmarks.row import (
    COLD,
    COLD_FILE,
    LOCAL,
    MILLION_KEYS,
    MOUNTED,
    OURS,
    SCALED,
    SERIAL,
    START,
    Row,
)
from benchmarks.samples import Sample
from benchmarks.servers import Counted
from benchmarks.system import System, Target
from benchmarks.workload_process import workload_report
from benchmarks.yardsticks import yardstick_seconds

_QUIET = 0.3  # seconds without traffic after which nothing more is on its way
_LONG = 10.0  # seconds: in longer rows only the fastest peer runs in all rounds


def samples_of(
    row: Row, link: str, systems: list[System], rounds: int, bench: Bench
) -> Iterator[Sample]:
    """Measure each system in turn, *rounds* times; peers that are too slow skip the later ones."""
    if row.dataset in SCALED:
        row = replace(row, seen=row.seen * bench.keys // MILLION_KEYS)
    first: list[Sample] = []
    for number in range(rounds):
        for yardstick in {LOCAL, SERIAL, COLD_FILE, MOUNTED} & set(row.beside):
            yield _yardstick(yardstick, row, link, number, bench)
        for system in systems:
            if number and not _decides(system.name, row, link, first):
                continue
            for sample in _system(system, row, link, number, bench):
                first += [sample] if not number and not sample.again else []
                yield sample


def _decides(name: str, row: Row, link: str, first: list[Sample]) -> bool:
    """Return whether *name* needs more than its *first* round: s3mount, and ratio candidates."""
    if name.startswith(OURS):
        return True
    times = {sample.system: sample.seconds for sample in first if not sample.error}
    if name not in times:
        return False
    limits = row.links[link]
    peers = {*row.beside, *(limits.preferred or ())[:1]}
    if name not in peers:
        return times[name] < _LONG
    fastest = min(times[peer] for peer in peers if peer in times)
    return limits.ratio is not None and (times[name] < _LONG or times[name] == fastest)


def _system(system: System, row: Row, link: str, number: int, bench: Bench) -> Iterator[Sample]:
    """Measure a fresh mount with cold caches, and again if the row wants that."""
    address = bench.address(row, link)
    label = Sample(row=row.name, link=link, system=system.name, round=number)
    cache = bench.scratch / "disk-cache"
    target = Target(
        address.url, row.bucket, bench.scratch / "mnt", bench.scratch, row.ttl, address.ca, cache
    )
    if row.workload != START:  # a program that is used starts from the page cache
        measure.drop_caches()
    try:
        if row.is_remounted:
            yield from _fill_cache(system, target, row, label, address)
        yield from _mounted_yardstick(system, target, row, label, address)
        with mounted(system, target) as mount:
            if row.warmed_by is not None:
                workload_report(row.warmed_by, mount.root, mount.pid)
            cold = _sample(label, row, mount, address)
            yield cold
            if row.again is not None and (cold.seconds < _LONG or system.name not in row.beside):
                yield _sample(replace(label, again=True), row, mount, address)
    except (RuntimeError, OSError) as exc:
        yield replace(label, error=str(exc))
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _fill_cache(
    system: System, target: Target, row: Row, label: Sample, address: StoreAddress
) -> Iterator[Sample]:
    """Run the workload on a mount of its own, which fills its disk cache."""
    with mounted(system, target) as mount:
        cold = _sample(label, row, mount, address)
    if cold.error:
        raise RuntimeError(cold.error)
    if system.name == row.ours:
        yield replace(cold, system=COLD)
    measure.drop_caches()


def _mounted_yardstick(
    system: System, target: Target, row: Row, label: Sample, address: StoreAddress
) -> Iterator[Sample]:
    """Run the workload of the row's own yardstick on a mount of its own."""
    if row.yardstick is None or system.name != row.ours:
        return
    name, workload = row.yardstick
    with mounted(system, target) as mount:
        sample = _sample(label, replace(row, workload=workload), mount, address)
    yield replace(sample, system=name)
    measure.drop_caches()


def _sample(label: Sample, row: Row, mount: Mount, address: StoreAddress) -> Sample:
    if row.workload == START:
        return replace(
            label,
            seen=1,
            seconds=mount.started,
            cpu=measure.cpu_seconds(mount.pid),
            peak=measure.peak_resident(mount.pid),
        )
    measure.reset_peak(mount.pid)
    counted, cpu, resident = (
        address.counted(),
        measure.cpu_seconds(mount.pid),
        measure.resident(mount.pid),
    )
    done = workload_report(row.workload, mount.root, mount.pid)
    label = replace(
        label,
        seen=int(done["seen"]),
        seconds=done["seconds"],
        first=done.get("first"),
        cpu=measure.cpu_seconds(mount.pid) - cpu,
        peak=measure.peak_resident(mount.pid),
        growth=measure.resident(mount.pid) - resident,
        error=None if done["seen"] == row.seen else f"saw {done['seen']:.0f} of {row.seen}",
    )
    now = _settled(address) if row.is_of_bytes else address.counted()
    if counted is None or now is None:
        return label
    passed = now.since(counted)
    return replace(
        label,
        requests=passed.requests,
        down=sum(passed.down.values()),
        object_bytes=passed.object_bytes,
    )


def _settled(address: StoreAddress) -> Counted | None:
    """Return the counts when they change no more: what was fetched ahead is counted."""
    before, now = None, address.counted()
    while now != before:
        time.sleep(_QUIET)
        before, now = now, address.counted()
    return now


def _yardstick(name: str, row: Row, link: str, number: int, bench: Bench) -> Sample:
    url = f"{bench.address(row, link).url}/{row.bucket}"
    seconds = yardstick_seconds(name, row.workload, bench.scratch, url)
    return Sample(row=row.name, link=link, system=name, round=number, seconds=seconds)
