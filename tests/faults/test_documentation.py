"""docs/faults.md says what the catalogue says."""

from collections import Counter
from pathlib import Path

from tests.faults.catalogue import CATALOGUE
from tests.faults.documentation import pages

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_document_says_what_the_catalogue_says() -> None:
    assert DOCUMENT.read_text() == "".join(f"{line}\n" for line in pages())


def test_no_table_lists_a_misbehaviour_twice() -> None:
    for rows in CATALOGUE.values():
        assert max(Counter((row.name, row.workload.word) for row in rows).values()) == 1
