"""Lines of `s3mountctl restore`, from whatever a mount says."""

import pytest

from s3mount.ctl.client import Reply
from s3mount.ctl.restore import described

COLD = {"storage_class": "GLACIER", "state": "archived"}
DONE = {"storage_class": "GLACIER", "tier": "Bulk", "days": 1}


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (COLD, "archived (GLACIER)"),
        ({**COLD, "state": "readable", "storage_class": "STANDARD"}, "not archived (STANDARD)"),
        (
            {**COLD, "state": "restored", "until": 0},
            "restored until 1970-01-01 00:00 UTC (GLACIER)",
        ),
        ({**COLD, "state": "restored", "until": 1e99}, "restored (GLACIER)"),
        ({**COLD, "state": "restoring", "outcome": "ongoing"}, "a restore is under way (GLACIER)"),
        (
            {**DONE, "state": "restoring", "outcome": "requested"},
            "restore requested, tier Bulk, kept for 1 day (GLACIER)",
        ),
        (
            {**DONE, "state": "restoring", "outcome": "requested", "days": None},
            "restore requested, tier Bulk (GLACIER)",
        ),
        (
            {**DONE, "state": "restored", "outcome": "extended", "days": 2},
            "restored, kept for 2 days from now on (GLACIER)",
        ),
        ({"error": "no\x1b[2J such file"}, r"failed: no\x1b[2J such file"),
        ({"storage_class": "\x1b[2J", "state": "\x1b"}, r"\x1b (\x1b[2J)"),
    ],
)
def test_an_item_is_one_line_that_controls_no_terminal(item: Reply, line: str) -> None:
    assert described(item) == line
