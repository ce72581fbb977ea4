"""Reports about versions: sizes, ETags and conditions that contradict each other."""

from tests.field.case import Case

BIG = {"big": bytes(range(251)) * 9000, "small": b"a few bytes\n"}

CASES: tuple[Case, ...] = ()
