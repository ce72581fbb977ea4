"""CPU and memory of a mount, from /proc, and how busy the machine is."""

import os
import platform
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_DROP_ALL = "3"  # pages, entries and inodes; see proc_sys_vm(5)
_SCHEDULED = 2  # of the clock of a process; see clock_getcpuclockid(3), CPUCLOCK_SCHED
_RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of *pid* and its children, ended ones included; in steps of 10 ms."""
    return sum(sum(map(int, _stat(member)[11:15])) for member in _family(pid)) / _TICKS


def precise_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of *pid* alone, ended threads included; in nanoseconds' steps."""
    return time.clock_gettime(~pid << 3 | _SCHEDULED)


def resident(pid: int) -> int:
    """Return the resident memory of *pid* and its children in bytes."""
    return sum(_status(member, "VmRSS") for member in _family(pid))


def peak_resident(pid: int) -> int:
    """Return their peak resident memory in bytes, since their start or `reset_peak`."""
    return sum(_status(member, "VmHWM") for member in _family(pid))


def reset_peak(pid: int) -> None:
    for member in _family(pid):
        with suppress(OSError):
            Path(f"/proc/{member}/clear_refs").write_text(_RESET_PEAK)


def drop_caches() -> bool:
    """Drop the kernel's caches; returns whether that was permitted."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text(_DROP_ALL)
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine and time of a run; *spin* is the median time of equal loops over the fastest one."""

    date: str
    processor: str
    cores: int
    memory: int
    kernel: str
    python: str
    load: float
    spin: float


def machine() -> Machine:
    return Machine(
        date=time.strftime("%Y-%m-%d %H:%M"),
        processor=_field("/proc/cpuinfo", "model name"),
        cores=os.cpu_count() or 0,
        memory=int(_field("/proc/meminfo", "MemTotal").split()[0]) << 10,
        kernel=platform.release().split("-")[0],
        python=platform.python_version(),
        load=os.getloadavg()[0],
        spin=_spin(),
    )


def _spin() -> float:
    """Time 50 equal loops of some 4 ms, and return median over minimum: 1.0 on a quiet machine."""
    times = []
    for _ in range(50):
        start = time.perf_counter()
        sum(range(200_000))
        times.append(time.perf_counter() - start)
    return statistics.median(times) / min(times)


def _family(pid: int) -> list[int]:
    """Return *pid* and all its living descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    family = [pid]
    for member in family:  # grows during the loop
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _stat(pid: int) -> list[str]:
    """Return the fields of proc_pid_stat(5) after the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status(pid: int, name: str) -> int:
    """Return a field in bytes; 0 for a process that has just ended."""
    with suppress(OSError, KeyError):
        return int(_field(f"/proc/{pid}/status", name).split()[0]) << 10
    return 0


def _field(path: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "0")
