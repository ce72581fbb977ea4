"""What users are told of the store's faults is what is tried."""

from collections import Counter
from pathlib import Path

from tests.faults.catalogue import CATALOGUE
from tests.faults.documentation import pages

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_document_says_what_the_catalogue_says() -> None:
    assert DOCUMENT.read_text() == "".join(f"{line}\n" for line in pages())


def test_no_misbehaviour_stands_in_one_table_twice() -> None:
    for rows in CATALOGUE.values():
        assert max(Counter((row.name, row.workload.word) for row in rows).values()) == 1
