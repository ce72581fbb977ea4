"""What the commands draw of replies with nulls, and of names that look like markup."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType

from s3mount.ctl.status_view import view
from s3mount.ctl.versions import table
from s3mount.ctl.warm import summary
from s3mount.ctl.warm_view import BarDisplay
from tests.fakes.control_replies import STATUS, WARM_ITEMS, WARM_RESULT


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
    drawn = _drawn(table([("time", "1", "old", "STANDARD", "[/b]", "id [red]")]))

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
