"""Commands of the disk cache: which path they mean, and what they say without one."""

import logging
from collections.abc import Sequence

import pytest

from s3mount.control.disk_cache import disk_commands
from s3mount.control.protocol import COMMANDS, Arguments, Object, ProtocolError
from tests.fakes.control_sources import OneCachedObject


async def drop(items: Sequence[Object]) -> None:
    """Send an item nowhere."""


@pytest.mark.parametrize(
    ("command", "arguments", "call"),
    [
        ("cache-list", {"path": None}, ("list", None)),
        ("cache-list", {"path": ""}, ("list", ())),
        ("cache-verify", {"path": "a/b"}, ("verify", (b"a", b"b"))),
        ("cache-clear", {"path": None}, ("clear", None)),
        ("cache-clear", {"path": "a"}, ("clear", (b"a",))),
        ("cache-pin", {"path": "a", "pinned": True}, ("pin", (b"a",))),
        ("cache-pin", {"path": "", "pinned": False}, ("unpin", ())),
    ],
)
async def test_a_command_is_of_a_path_of_the_mount_or_of_all(
    command: str, arguments: Arguments, call: tuple[str, Sequence[bytes] | None]
) -> None:
    contents = OneCachedObject()

    await disk_commands(contents)[command](arguments, drop)

    assert contents.calls == [call]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name.startswith("cache-")])
async def test_without_a_disk_cache_each_command_says_how_to_get_one(command: str) -> None:
    with pytest.raises(ProtocolError, match="mount it with --cache-dir"):
        await disk_commands(None)[command]({"path": ""}, drop)


async def test_damage_that_is_found_is_logged_as_readers_would_have_met_it(
    caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("2 damaged extents")
    contents = OneCachedObject()
    contents.damaged = 2

    with caplog.at_level(logging.WARNING):
        await disk_commands(contents)["cache-verify"]({"path": None}, drop)

    assert "/var/cache/s3mount had 2 damaged extents" in caplog.text


@pytest.mark.parametrize("path", ["/a", "a/../b", "\0"])
async def test_a_path_that_is_none_of_the_mount_is_refused(path: str) -> None:
    contents = OneCachedObject()

    with pytest.raises(ProtocolError):
        await disk_commands(contents)["cache-clear"]({"path": path}, drop)

    assert contents.calls == []
