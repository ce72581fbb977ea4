"""Samples and reports: a sample is one workload on one mount, a report all samples of its runs."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from benchmarks.measure import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement, in seconds and bytes.

    *seen* is the workload's result, *again* whether it had run on this mount before, *error* its
    failure.
    """

    row: str
    link: str
    system: str
    round: int
    again: bool = False
    seen: int = 0
    seconds: float = 0.0
    first: float | None = None
    cpu: float = 0.0
    peak: int = 0
    growth: int = 0
    requests: dict[str, int] | None = None  # by kind and status; None if nothing counted them
    down: int = 0
    object_bytes: int = 0  # of *down*: without listings
    error: str | None = None

    @property
    def growth_each(self) -> float:
        """Bytes of resident memory that the mount grew by for each item seen."""
        return self.growth / (self.seen or 1)

    def kinds(self) -> dict[str, int]:
        """Requests by kind, of any status."""
        kinds: dict[str, int] = {}
        for name, count in (self.requests or {}).items():
            kind = name.split(" ")[0]
            kinds[kind] = kinds.get(kind, 0) + count
        return kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run, or several: machine, versions, the relay's cost, and samples; stored as JSON."""

    machine: Machine
    versions: dict[str, str]
    relay_cost: (
        float | None
    )  # time of parallel ranges through the near relay over the time without it
    samples: list[Sample] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> "Report":
        fields = json.loads(path.read_text())
        samples = [Sample(**sample) for sample in fields.pop("samples")]
        return Report(machine=Machine(**fields.pop("machine")), samples=samples, **fields)

    @staticmethod
    def join(reports: Sequence["Report"]) -> "Report":
        """Join runs on one machine, of different rows; of how busy it was, the worst is kept."""
        first, last = reports[0].machine, reports[-1].machine
        machine = dataclasses.replace(
            first,
            date=first.date if first is last else f"{first.date} to {last.date}",
            load=max(report.machine.load for report in reports),
            spin=max(report.machine.spin for report in reports),
        )
        return Report(
            machine=machine,
            versions=dict(chain.from_iterable(report.versions.items() for report in reports)),
            relay_cost=max((each.relay_cost for each in reports if each.relay_cost), default=None),
            samples=[sample for report in reports for sample in report.samples],
        )
