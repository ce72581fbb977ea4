"""Generator of docs/faults.md from the catalogue.

Run `python -m tests.faults.documentation >docs/faults.md` after each change of the catalogue.
"""

import sys
from collections.abc import Iterator

from tests.faults.catalogue import CATALOGUE
from tests.faults.catalogue.rows import Misbehaviour, Outcome

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


def pages() -> Iterator[str]:
    """Yield the lines of the document."""
    yield PREFACE
    for title, rows in CATALOGUE.items():
        yield f"## {title}\n"
        yield "| what the store does | while | once | for ever |"
        yield "|---|---|---|---|"
        yield from map(_line, rows)
        yield ""


def _line(row: Misbehaviour) -> str:
    name = row.name.replace("|", "\\|").replace("<", "&lt;")
    return f"| {name} | {row.workload.word} | {_outcome(row.once)} | {_outcome(row.always)} |"


def _outcome(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return " or ".join("right" if each is Outcome.RIGHT else f"`{each.name}`" for each in outcome)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in pages())
