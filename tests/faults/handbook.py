"""The catalogue as users read it: docs/faults.md.

To write it anew: python -m tests.faults.handbook >docs/faults.md
"""

import sys
from collections.abc import Iterator

from tests.faults.catalogue import CATALOGUE
from tests.faults.catalogue.rows import Misbehaviour, Outcome

PREFACE = """\
# What happens when the store misbehaves

Stores, proxies and networks fail in many ways. This table says what a user of the mount then sees: *right* bytes and names, or an
error (`EIO`, `ETIMEDOUT`, `EACCES`, `ESTALE`, `ENOENT`), within `--timeout`. Never wrong bytes, never a part of a directory for
the whole of it, never a failure shown as an absence. Whatever it was, the mount lives on, and is right again as soon as the
store is.

*Once*: one request meets it, or it lasts a second; what can pass is tried again until attempts or time are used up.
*For ever*: every such request meets it. A dash: it makes no sense so. Each line is tried through the kernel, with either
transport, by `tests/faults`, which is also where this page comes from.

What no client can see is not in the table: other bytes under the right length, range and ETag.
"""


def pages() -> Iterator[str]:
    """The document, line by line."""
    yield PREFACE
    for title, rows in CATALOGUE.items():
        yield f"## {title}\n"
        yield "| what the store does | while | once | for ever |"
        yield "|---|---|---|---|"
        yield from map(_line, rows)
        yield ""


def _line(row: Misbehaviour) -> str:
    name = row.name.replace("|", "\\|").replace("<", "&lt;")
    return f"| {name} | {row.workload.word} | {_told(row.once)} | {_told(row.always)} |"


def _told(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return " or ".join("right" if each is Outcome.RIGHT else f"`{each.name}`" for each in outcome)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in pages())
