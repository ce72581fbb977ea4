"""Command line of the benchmarks, which `scripts/bench` runs with all requirements installed.

It runs without them for --help: their imports are late.
"""

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import measure, table
from benchmarks.environment import Bench, bench_for, data_directory
from benchmarks.relay_cost import relay_cost
from benchmarks.row import DISK, FAR, HTTPS, MILLION_KEYS, NEAR, READERS, Row
from benchmarks.rows import ROWS
from benchmarks.run import samples_of
from benchmarks.samples import Report, Sample
from benchmarks.servers import CHECKOUT
from benchmarks.system import System
from benchmarks.systems import systems

_OPTIONAL = {"s3mount-boto3"}  # measured only if named
_READING_ONLY = {"rclone-16"}  # its streams do not make listings faster


def main() -> None:
    """Measure, print the table, and write the requested files; or print what is needed for it."""
    args = _arguments()
    if args.print_needed:
        rows = _chosen_rows(args)
        print(*sorted({name for row in rows for name in getattr(row, args.print_needed)}))
        return
    # the contexts end, and nothing stays
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    kept = [Report.load(path) for path in args.from_json or ()]
    report = Report.join(kept) if kept else _measure(args)
    print("\n" + table.text(report))
    if args.json:
        report.save(args.json)
    if args.write_results:
        (CHECKOUT / "benchmarks/RESULTS.md").write_text(table.markdown(report))
    if args.plot:
        from benchmarks import plot  # noqa: PLC0415  # the only part that needs matplotlib

        plot.draw(report, args.plot)


def _measure(args: argparse.Namespace) -> Report:
    machine, rows, installed = measure.machine(), _chosen_rows(args), _chosen_systems(args)
    report = Report(
        machine=machine,
        versions={system.name: system.version() for system in installed},
        relay_cost=None,
    )
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3mount-bench-")))
        data = stack.enter_context(data_directory(args.data))
        bench = stack.enter_context(bench_for(rows, data, scratch, args.keys))
        if any(row.dataset == "gibibyte" for row in rows) and shutil.which("curl"):
            report = replace(report, relay_cost=relay_cost(bench))
        print("\n".join(table.head(report)), flush=True)
        for sample in _samples(args, rows, installed, bench):
            report.samples.append(sample)
            print(_progress(sample), flush=True)
    return report


def _samples(
    args: argparse.Namespace, rows: list[Row], installed: list[System], bench: Bench
) -> Iterator[Sample]:
    for row in rows:
        for link in row.links:
            if link in args.links:
                yield from samples_of(
                    row, link, _systems_for(row, installed, args), args.rounds, bench
                )


def _systems_for(row: Row, installed: list[System], args: argparse.Namespace) -> list[System]:
    """Return the systems of *installed* to measure in *row*; all of them if they were named."""
    if args.systems:
        return installed
    idle = _READING_ONLY if row.beside != READERS else set()
    return [
        system for system in installed if system.name not in idle and _is_default(row, system.name)
    ]


def _is_default(row: Row, name: str) -> bool:
    """Whether the system *name* is measured in *row* if none was named."""
    return name not in DISK if row.systems is None else name in row.systems


def _chosen_rows(args: argparse.Namespace) -> list[Row]:
    known = {row.name: row for row in ROWS}
    names = args.rows.split(",") if args.rows else [*known]
    if unknown := set(names) - set(known):
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names if set(known[name].links) & set(args.links)]


def _chosen_systems(args: argparse.Namespace) -> list[System]:
    known = systems(args.floor)
    names = (
        args.systems.split(",")
        if args.systems
        else [name for name in known if name not in _OPTIONAL]
    )
    if unknown := set(names) - set(known):
        raise SystemExit(
            f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return [known[name] for name in names if known[name].is_installed]


def _progress(sample: Sample) -> str:
    what = f"{sample.round + 1}  {sample.row:<16}{sample.link:<6}{sample.system:<14}"
    if sample.error:
        return f"{what}{sample.error}"
    again = "  again" if sample.again else ""
    return f"{what}{sample.seconds:8.3f} s {sample.cpu:6.2f} CPU s  {sample.kinds() or ''}{again}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure s3mount and its peers on local servers, and print a table.",
    )
    parser.add_argument(
        "--rows",
        metavar="NAME,…",
        help=f"run these rows only: {', '.join(row.name for row in ROWS)}",
    )
    parser.add_argument(
        "--systems",
        metavar="NAME,…",
        help=f"measure these systems only: {', '.join(systems('floor'))}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each row (default: 3)")
    for link in (FAR, NEAR, HTTPS):
        parser.add_argument(
            f"--{link}",
            dest="links",
            action="append_const",
            const=link,
            help=f"run over the {link} link; without any of the three, over all",
        )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run one round, with 100,000 names instead of 1,000,000",
    )
    parser.add_argument(
        "--floor",
        metavar="CMD",
        help="measure a bare mount too, started as CMD BUCKET MOUNTPOINT --endpoint-url URL",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keep the store's data in DIR for the next run"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample as JSON")
    parser.add_argument(
        "--from-json",
        type=Path,
        metavar="FILE",
        nargs="+",
        help="read samples of one run or more instead of measuring",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot the table (.png or .svg)")
    parser.add_argument("--write-results", action="store_true", help="write benchmarks/RESULTS.md")
    parser.add_argument(
        "--print-needed",
        choices=["packages", "wheels"],
        help=argparse.SUPPRESS,  # for scripts/bench: what the chosen rows need of Debian or of PyPI
    )
    args = parser.parse_args()
    args.links = args.links or [FAR, NEAR, HTTPS]
    args.rounds, args.keys = (1, 100_000) if args.quick else (args.rounds, MILLION_KEYS)
    return args


if __name__ == "__main__":
    main()
