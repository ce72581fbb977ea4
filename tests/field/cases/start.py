"""Reports about the start of a mount: what starts also serves, and what would serve also starts."""

from tests.field.case import Case

FEW = {"a.txt": b"first\n", "d/b": b"b"}

CASES: tuple[Case, ...] = ()
