"""Generator of docs/faults.md from the catalogue and from the reports of `tests/field`.

Run `python -m tests.faults.documentation >docs/faults.md` after each change of either.
"""

import sys
from collections.abc import Iterator

from tests.faults.catalogue import CATALOGUE
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.field.case import Case
from tests.field.cases import TABLES

PREFACE = """\
# What happens when the store misbehaves

Stores, proxies and networks fail in many ways. These tables say what a user of the mount then sees.
It is *right* bytes and names, or an error (`EIO`, `ETIMEDOUT`, `EACCES`, `ESTALE`, `ENOENT`) within
`--timeout`. A user never sees wrong bytes, an incomplete directory, or a failure as an absence. The
mount survives every fault, and works again as soon as the store does. One odd row of a listing
costs no other row: it is skipped, read generously or shown plainly. A row without a key, or whose
size nobody tells, is left out, and the log says so.

*Once*: one request meets the fault, or the fault lasts a second. s3mount retries transient failures
until attempts or time are used up. *For ever*: every such request meets the fault. A dash means
that the case makes no sense. `tests/faults` tests each line through the kernel, with the native
transport, and every fourth line with boto3 too. It also generates this page.

No client can detect wrong bytes of a part under the right length, range and ETag, so the tables
omit them. Whole objects are verified: `tests/field` has the cases.
"""

REPORTS = """\
## As users reported it

Each line is a report about a store, a network or an environment, or follows from one. `tests/field`
tests each through the command line and the kernel, with the native transport. Lines about HTTP are
tested with boto3 too, and so is every fourth other line that boto3 could change. *Right* is right
names and bytes, with these settings. An error is that of the file or the directory that the report
is about: the rest of the mount is right.
"""


def pages() -> Iterator[str]:
    """Yield the lines of the document."""
    yield PREFACE
    for title, rows in CATALOGUE.items():
        yield f"## {title}\n"
        yield "| what the store does | while | once | for ever |"
        yield "|---|---|---|---|"
        yield from map(_line, rows)
        yield ""
    yield REPORTS
    for area, cases in TABLES.items():
        if cases:
            yield f"### Reports: {area}\n"
            yield "| what happens | as reported | settings | outcome |"
            yield "|---|---|---|---|"
            yield from map(_report, cases)
            yield ""


def _line(row: Misbehaviour) -> str:
    cells = (_cell(row.name), row.workload.word, _outcome(row.once), _outcome(row.always))
    return f"| {' | '.join(cells)} |"


def _report(case: Case) -> str:
    variables = [f"{name}={value}" for name, value in case.environ.items() if value is not None]
    words = " ".join([*variables, *case.options])
    cells = (case.name, case.report, f"`{words}`" if words else "-")
    return f"| {' | '.join(map(_cell, cells))} | {case.outcome} |"


def _cell(text: str) -> str:
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return shown.replace("|", "\\|").replace("<", "&lt;")


def _outcome(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return " or ".join("right" if each is Outcome.RIGHT else f"`{each.name}`" for each in outcome)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in pages())
