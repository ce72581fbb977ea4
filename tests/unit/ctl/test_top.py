"""The picture of top: how often the mount is asked, and the picture drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest
from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live

from s3mount.ctl.client import Client, Greeting, Reply
from s3mount.ctl.mounts import Mount
from s3mount.ctl.rates import RateHistory
from s3mount.ctl.screen import Keyboard
from s3mount.ctl.top_screen import TopState, run, view
from tests.fakes.control_replies import DISK, activity

SIZE = ConsoleDimensions(80, 24)
GREETING = Greeting({}, 1, 0.0, "")
MOUNT = Mount("s3://b", "/mnt", 1, (), 0)


@dataclass
class Session:
    """A mount, a terminal and a person, in a time of their own.

    *keys* are pressed at their times; an empty text is a change of the size.
    """

    keys: list[tuple[float, str]] = field(default_factory=list)
    now: float = 0.0
    asked: int = 0
    drawn: list[float] = field(default_factory=list)
    size: ConsoleDimensions = SIZE
    greeting: Greeting = GREETING
    mount: Mount = MOUNT

    @property
    def console(self) -> "Session":
        return self

    def call(self, command: str) -> Reply:
        assert command == "activity"
        self.asked += 1
        return activity(self.asked)

    def update(self, _picture: RenderableType, *, refresh: bool) -> None:
        assert refresh
        self.drawn.append(self.now)

    def wait(self, seconds: float) -> str:
        if self.keys and self.keys[0][0] <= self.now + seconds:
            self.now, key = self.keys.pop(0)
            return key
        self.now += seconds
        return ""

    def run(self, count: int | None) -> None:
        run(
            cast("Client", self),
            cast("Keyboard", self),
            cast("Live", self),
            1.0,
            count,
            clock=lambda: self.now,
        )


def test_each_second_has_one_request_and_one_picture() -> None:
    session = Session()

    session.run(10)

    assert session.asked == 11  # the first one has no rates yet
    assert session.drawn == [float(second) for second in range(11)]


@pytest.mark.parametrize("key", ["s", ""])
def test_a_key_and_a_change_of_the_size_draw_and_ask_nothing(key: str) -> None:
    session = Session([(0.5, key), (1.5, "q")])

    session.run(None)

    assert session.asked == 2
    assert session.drawn == [0.0, 0.5, 1.0]


def test_the_disk_cache_is_a_line_if_there_is_one() -> None:
    def drawn(disk: Mapping[str, object] | None) -> str:
        history = RateHistory()
        latest = history.add(0.0, {**activity(0), "disk": disk})
        screen = Console(width=120, height=24)
        with screen.capture() as capture:
            screen.print(view(cast("Client", Session()), history, latest, TopState(), SIZE))
        return capture.get()

    assert "2.5 GiB of 10.0 GiB, hits 75.0 %" in drawn(DISK)
    assert "Disk" not in drawn(None)


def test_a_pause_asks_nothing_and_draws_nothing() -> None:
    session = Session([(0.5, "p"), (100.5, "p"), (101.5, "q")])

    session.run(None)

    assert session.drawn == [0.0, 0.5, 100.5, 101.0]
    assert session.asked == 2
