"""docs/servers.md says of each server what it does."""

from pathlib import Path

import pytest

from tests.servers.observations import observe

DOCUMENT = Path(__file__).parents[2] / "docs" / "servers.md"
TABLE = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in DOCUMENT.read_text().splitlines()
    if line.startswith("| ")
]


@pytest.mark.parametrize("name", [name.lower() for name in TABLE[0][1:]])
def test_a_server_does_what_the_document_says(name: str, request: pytest.FixtureRequest) -> None:
    column = [title.lower() for title in TABLE[0]].index(name)

    observed = observe(request.getfixturevalue(name))

    assert observed == {row[0]: row[column] for row in TABLE[1:]}
