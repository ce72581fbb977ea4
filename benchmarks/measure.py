"""What a mount costs the machine, from /proc, and how busy the machine is by itself."""

import os
import platform
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_DROP_ALL = "3"  # pages, entries and inodes; see proc_sys_vm(5)
_RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


def cpu_seconds(pid: int) -> float:
    """CPU that *pid* and its children, ended ones included, have used; in steps of 10 ms."""
    return sum(sum(map(int, _stat(member)[11:15])) for member in _family(pid)) / _TICKS


def resident(pid: int) -> int:
    """Bytes that *pid* and its children have in memory now."""
    return sum(_status(member, "VmRSS") for member in _family(pid))


def peak_resident(pid: int) -> int:
    """The most bytes they had since they began, or since `reset_peak`."""
    return sum(_status(member, "VmHWM") for member in _family(pid))


def reset_peak(pid: int) -> None:
    for member in _family(pid):
        with suppress(OSError):
            Path(f"/proc/{member}/clear_refs").write_text(_RESET_PEAK)


def drop_caches() -> bool:
    """Empties the kernel's caches; returns whether that was permitted."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text(_DROP_ALL)
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when a run was made; *spin* is how much longer a typical one of equal loops took than the fastest."""

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
    """1.0 on a quiet machine: 50 equal loops of some 4 ms each, their median over the fastest."""
    times = []
    for _ in range(50):
        start = time.perf_counter()
        sum(range(200_000))
        times.append(time.perf_counter() - start)
    return statistics.median(times) / min(times)


def _family(pid: int) -> list[int]:
    """*pid* and all below it that live."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    family = [pid]
    for member in family:  # grows while it is walked
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third, behind the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status(pid: int, name: str) -> int:
    """Bytes; 0 for a process that has just ended."""
    with suppress(OSError, KeyError):
        return int(_field(f"/proc/{pid}/status", name).split()[0]) << 10
    return 0


def _field(path: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "0")
