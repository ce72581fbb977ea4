"""docs/s3-api.md has every field of the four calls that botocore knows, and tests that exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit.s3.clients import session

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/s3-api.md"
CALLS = ("GetObject", "HeadObject", "ListObjects", "ListObjectsV2")
SIDES = ("request", "response")
_NOT_USED = re.compile(r"Not (used|needed): \S.*\.")


class Row(NamedTuple):
    """Row of the page: a field, where it is used or why not, and the cell of its tests."""

    field: str
    where: str
    tests: str


@cache
def tables() -> dict[tuple[str, str], list[Row]]:
    """Return the rows of each table by its call and its side."""
    found: dict[tuple[str, str], list[Row]] = {}
    rows: list[Row] = []
    for line in PAGE.read_text().splitlines():
        if match := re.fullmatch(r"## (\w+): (request|response)", line):
            rows = found[match[1], match[2]] = []
        elif match := re.fullmatch(r"\| `([\w.]+)` \| (.+?) \| ?(.*?) ?\|", line):
            rows.append(Row(match[1], match[2], match[3]))
    return found


def fields(shape: Any, above: str = "") -> Iterator[str]:
    """Yield the members of *shape*, and those of structures and lists in it."""
    for name, member in shape.members.items():
        yield above + name
        inner = member.member if member.type_name == "list" else member
        if inner.type_name == "structure":
            yield from fields(inner, f"{above}{name}.")


@cache
def functions_of(module: str) -> frozenset[str]:
    """Return the names of the test functions of *module*, a path in the repository."""
    path = ROOT / module
    if not path.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def is_test(name: str) -> bool:
    module, _, function = name.partition("::")
    return function.startswith("test_") and function in functions_of(module)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("side", SIDES)
def test_the_page_has_every_field_of_the_model_once_and_no_other(call: str, side: str) -> None:
    model = session().below.get_service_model("s3").operation_model(call)
    shape = model.input_shape if side == "request" else model.output_shape

    assert [row.field for row in tables()[call, side]] == list(fields(shape))


def test_the_page_is_about_these_calls_only() -> None:
    assert sorted(tables()) == sorted((call, side) for call in CALLS for side in SIDES)


@pytest.mark.parametrize(
    ("place", "row"),
    [
        pytest.param(f"{call}: {side}", row, id=f"{call}-{side}-{row.field}")
        for (call, side), rows in tables().items()
        for row in rows
    ],
)
def test_a_field_names_tests_that_exist_or_says_why_it_is_not_used(place: str, row: Row) -> None:
    named = re.findall(r"`([^`]+)`", row.tests)
    if not row.tests:
        assert _NOT_USED.fullmatch(row.where), place
    else:
        assert not row.where.startswith("Not "), place
        assert row.tests == ", ".join(f"`{name}`" for name in named), place
        assert [name for name in named if not is_test(name)] == []
