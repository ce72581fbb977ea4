"""The line of the disk cache in top."""

from rich.text import Text

from s3mount.ctl.top_screen import disk_summary
from tests.fakes.control_replies import DISK


def test_the_line_has_size_hits_evictions_and_damage() -> None:
    assert Text.assemble(*disk_summary(DISK)).plain == (
        "2.5 GiB of 10.0 GiB, hits 75.0 %, evictions 7, damaged extents 0"
    )


def test_top_says_that_a_disk_is_bypassed_or_does_not_respond() -> None:
    silent = dict.fromkeys(("used", "evictions", "bad"))

    drawn = Text.assemble(*disk_summary({**DISK, **silent, "bypassed": True})).plain

    assert drawn.startswith("bypassed  it does not respond, ")
