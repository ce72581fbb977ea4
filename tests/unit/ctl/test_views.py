"""What the commands draw of replies with nulls, and of names that look like markup."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType

from s3mount.ctl.output import table
from s3mount.ctl.status_view import view
from s3mount.ctl.versions import HEAD
from s3mount.ctl.warm import summary
from s3mount.ctl.warm_view import BarDisplay
from tests.fakes.control_replies import DISK, STATUS, WARM_ITEMS, WARM_RESULT


def _drawn(picture: RenderableType) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(picture)
    return capture.get()


def _with_bill(**changed: object) -> Mapping[str, Any]:
    return {**STATUS, "bill": {**STATUS["bill"], **changed}}


def test_configured_prices_have_no_currency_and_no_date() -> None:
    prices = {**STATUS["bill"]["prices"], "name": "configured", "as_of": None}

    drawn = _drawn(view(_with_bill(currency=None, prices=prices), 0.0))

    assert "configured" in drawn
    assert "None" not in drawn


def test_names_of_fields_are_no_markup() -> None:
    hits = {"[/b] [red]": {"hits": 1, "misses": 0}}

    assert "[/b]" in _drawn(view({**STATUS, "hits": hits}, 0.0))


def test_a_cost_without_a_currency_is_a_number() -> None:
    result = {**WARM_RESULT, "cost": {"total": 0.5, "currency": None}}

    assert not any("None" in line for _, line in summary(result, is_dry=False))


def test_versions_are_no_markup() -> None:
    drawn = _drawn(table(HEAD, [("time", "1", "old", "STANDARD", "[/b]", "id [red]")]))

    assert drawn.split()[:6] == ["Time", "Size", "State", "Class", "Etag", "Version"]
    assert "[/b]  id [red]" in drawn


def test_the_status_has_the_moment_that_is_shown() -> None:
    identity = {**STATUS["identity"], "at": 1764160000.0}

    assert "As it was" in _drawn(view({**STATUS, "identity": identity}, 0.0))
    assert "As it was" not in _drawn(view(STATUS, 0.0))


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    console = Console(width=120, color_system=None, force_terminal=True)
    with console.capture() as capture, BarDisplay(console) as bars:
        bars.show({**WARM_ITEMS[1], "phase": "fetching", "path": "a [/b] [red]"})

    assert "a [/b] [red]" in capture.get()


def test_a_mount_without_a_disk_cache_shows_none() -> None:
    assert "Disk cache" not in _drawn(view({**STATUS, "disk": None}, 0.0))
    assert "Disk cache" not in _drawn(view(STATUS, 0.0))  # of an older version


def test_the_disk_cache_shows_its_size_hits_evictions_and_damage() -> None:
    drawn = " ".join(_drawn(view({**STATUS, "disk": DISK}, 0.0)).split())

    assert "Directory /var/cache/s3mount" in drawn
    assert "25.0 % 2.5 GiB of 10.0 GiB, 1,200 objects" in drawn
    assert "75.0 % 300 of 400" in drawn
    assert "Bytes 1.0 GiB read, 2.0 GiB written" in drawn
    assert "Evictions 7; damaged extents 0" in drawn
    assert "bypassed" not in drawn


def test_what_was_served_beyond_its_lifetime_is_said() -> None:
    now = _drawn(view({**STATUS, "stale": {"answers": 2, "seconds": 12.0}}, 0.0))
    later = _drawn(view({**STATUS, "stale": {"answers": 2, "seconds": 0.0}}, 0.0))

    assert "2 answers, the store has been away for 12.0 s" in now
    assert "2 answers" in later
    assert "away" not in later
    assert "Stale" not in _drawn(view({**STATUS, "stale": {"answers": 0, "seconds": 0.0}}, 0.0))


def test_the_status_says_that_a_disk_is_bypassed_or_does_not_respond() -> None:
    silent = dict.fromkeys(("used", "pinned", "objects", "evictions", "bad"))
    drawn = _drawn(view({**STATUS, "disk": {**DISK, **silent, "bypassed": True}}, 0.0))

    assert "bypassed: it fails or is slow" in drawn
    assert "it does not respond" in drawn
