"""docs/control.md and the code name the same commands, arguments, codes and fields."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from s3mount.config import PriceConfig, StoreConfig
from s3mount.control.activity import activity_command
from s3mount.control.command_set import build_commands
from s3mount.control.protocol import (
    CODES,
    COMMANDS,
    ArgumentType,
    Greeting,
    Object,
    encode,
    parse_request,
)
from s3mount.control.sources import Sources, StoreState
from s3mount.control.status import status_command
from s3mount.control.trace import INTERVAL, RECORDS_MAX, trace_command
from s3mount.control.verify import verify_command
from s3mount.control.warm import warm_command
from s3mount.errors import StoreError
from s3mount.filesystem.warming.warm_counts import WarmCounts
from s3mount.s3.endpoint.credentials import CredentialState
from s3mount.s3.model import ByteRange, ObjectVersion, StoreIdentity
from s3mount.s3.request_log import RequestLog
from s3mount.s3.transport import StoreRequest
from s3mount.verification.comparison import Progress
from s3mount.verification.verdict import BadRange, Verdict
from tests.fakes.control_sources import make_sources
from tests.fakes.memory_store import MemoryStore
from tests.unit.filesystem.attributes.test_extended_attributes import attributes
from tests.unit.filesystem.namespace.test_tree import names_in

PAGE = (Path(__file__).parents[3] / "docs/control.md").read_text()
BY_KEY = ("by_status", "fields", "metadata")  # its fields are data
GREETING = Greeting(s3mount="1", pid=1, connection=52, source="s3://b", mountpoint="/m", since=1.0)


def blocks(name: str) -> list[dict[str, Any]]:
    """Return the JSON blocks of the page with the name *name*."""
    found = re.findall(rf"^```json {name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [json.loads(each) for each in found]


def fields_of(value: object, path: str = "") -> set[str]:
    """Return the paths of all fields in *value*; of a list, those of its elements."""
    match value:
        case dict():
            below = [fields_of(inner, f"{path}.{name}") for name, inner in value.items()]
            is_data = path.rpartition(".")[2] in BY_KEY
            return {path} if is_data else set().union({path}, *below)
        case list():
            return set().union({path}, *(fields_of(inner, path) for inner in value))
    return {path}


def fields_of_reply(reply: Object) -> set[str]:
    """Return the fields of *reply* as a client gets it."""
    return fields_of(json.loads(encode(reply)))


def section(command: str) -> str:
    found = re.search(rf"^### `{command}`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def requests() -> RequestLog:
    """A log with a request that failed, and one in flight."""
    log = RequestLog()
    get = StoreRequest("GetObject", "k")
    log.end(log.begin(get), None, StoreError("it broke off"))
    log.begin(get)
    return log


@pytest.fixture
def sources(requests: RequestLog) -> Sources:
    return make_sources(
        requests,
        StoreState(
            StoreConfig(bucket="b"),
            StoreIdentity("https://e", "r", "native"),
            CredentialState("s", 1),
        ),
    )


async def drop(items: Sequence[Object]) -> None:
    """Send an item nowhere."""


def test_the_page_has_each_command_and_no_other() -> None:
    assert re.findall(r"^### `([^`]+)`$", PAGE, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_each_argument_with_its_type_and_default(command: str) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", section(command), re.MULTILINE
    )

    assert rows == [
        (name, argument.name, _default(argument))
        for name, argument in COMMANDS[command].arguments.items()
    ]


def _default(argument: ArgumentType) -> str:
    return "required" if argument.is_required else json.dumps(argument.default)


def test_the_page_has_each_code_with_its_meaning() -> None:
    before = PAGE.partition("## Commands")[0]

    assert re.findall(r"^\| `([\w-]+)` \| (.+) \|$", before, re.MULTILINE) == [*CODES.items()]


def test_the_greeting_is_as_documented() -> None:
    (documented,) = blocks("greeting")

    assert fields_of(documented) == fields_of(GREETING.as_object())


def test_the_request_of_the_page_is_one() -> None:
    (documented,) = blocks("request")

    assert parse_request(encode(documented).rstrip(b"\n")).command == "refresh"


async def test_the_fields_of_status_are_those_of_the_page(sources: Sources) -> None:
    (documented,) = blocks("status")

    reply = await status_command(sources, GREETING)({}, drop)

    assert fields_of(documented) == fields_of_reply(reply)


async def test_the_fields_of_activity_are_those_of_the_page(sources: Sources) -> None:
    (documented,) = blocks("activity")

    reply = await activity_command(sources)({}, drop)

    assert fields_of(documented) == fields_of_reply(reply)


async def test_the_fields_of_trace_are_those_of_the_page(
    requests: RequestLog,
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    (documented,), (dropped,) = blocks("trace"), blocks("dropped")
    items: list[Object] = []
    may_go_on = trio.Event()

    async def keep(sent: Sequence[Object]) -> None:
        items.extend(sent)
        await may_go_on.wait()

    async with trio.open_nursery() as nursery:
        trace = trace_command(requests)
        nursery.start_soon(trace, {"errors": False, "key": "k*"}, keep)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(RECORDS_MAX + 11):
            requests.end(requests.begin(StoreRequest("GetObject", "k")), None)
        requests.end(requests.begin(StoreRequest("GetObject", "other")), None)
        await trio.sleep(2 * INTERVAL)
        may_go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert fields_of(documented) == fields_of_reply(items[0])
    assert fields_of(dropped) == fields_of_reply(items[-1])
    assert sum(item.get("dropped", 1) for item in items) == RECORDS_MAX + 11


class EmptyWarmUp:
    """Warm-up of nothing: its own, and its own registry."""

    planned_requests = planned_checks = 0

    def __init__(self) -> None:
        self._counts = WarmCounts()
        self._counts.add_failure("a", StoreError("it broke off"))

    def begin(self, *_paths: object, **_options: object) -> "EmptyWarmUp":
        return self

    def end(self) -> None: ...
    async def list(self) -> None: ...
    async def fetch(self) -> None: ...
    def progress(self) -> Object:
        return self._counts.progress()

    def result(self) -> Object:
        return self._counts.result(is_dry=False)


async def test_the_fields_of_warm_are_those_of_the_page(requests: RequestLog) -> None:
    (item,), (result,) = blocks("warm-item"), blocks("warm")
    items: list[Object] = []

    async def keep(sent: Sequence[Object]) -> None:
        items.extend(sent)

    warm = warm_command(EmptyWarmUp(), requests, PriceConfig())
    arguments = {"paths": ["a"], "listing_only": False, "jobs": 4, "dry_run": False}
    reply = await warm(arguments, keep)

    assert fields_of(item) == fields_of_reply(items[-1])
    assert fields_of(result) == fields_of_reply(reply)


async def test_the_fields_of_versions_are_those_of_the_page(sources: Sources) -> None:
    (item,), (result,) = blocks("versions-item"), blocks("versions")
    items: list[Object] = []

    async def keep(more: Sequence[Object]) -> None:
        items.extend(more)

    reply = await build_commands(sources, GREETING, {})["versions"]({"path": "a"}, keep)

    assert fields_of(item) == fields_of_reply(items[-1])
    assert fields_of(result) == fields_of_reply(reply)


async def test_the_fields_of_restore_are_those_of_the_page(sources: Sources) -> None:
    (item,), (result,) = blocks("restore-item"), blocks("restore")
    items: list[Object] = []

    async def keep(sent: Sequence[Object]) -> None:
        items.extend(sent)

    arguments = {"paths": ["a"], "status": False, "tier": "Standard", "days": None}
    reply = await build_commands(sources, GREETING, {})["restore"](arguments, keep)

    assert fields_of(item) == fields_of_reply(items[-1])
    assert fields_of(result) == fields_of_reply(reply)


class OneVerification:
    """Verification that ends at once."""

    def progress(self) -> Object:
        return Progress().as_object()

    async def run(self) -> Object:
        bad = BadRange(ByteRange(0, 7), 1, b"right", b"wrong")
        version = ObjectVersion("bucket", "a", "etag", 7)
        return Verdict(version, matches=True, bad_ranges=(bad,)).as_object()


async def test_the_fields_of_verify_are_those_of_the_page(sources: Sources) -> None:
    (item,), (result,) = blocks("verify-item"), blocks("verify")
    items: list[Object] = []

    async def keep(sent: Sequence[Object]) -> None:
        items.extend(sent)

    verify = verify_command(sources.paths, sources.keys, lambda _: OneVerification())
    reply = await verify({"path": "a"}, keep)

    assert fields_of(item) == fields_of_reply(items[-1])
    assert fields_of(result) == fields_of_reply(reply)


@pytest.mark.parametrize("command", ["cache-list", "cache-verify"])
async def test_the_fields_of_the_disk_cache_are_those_of_the_page(
    sources: Sources, command: str
) -> None:
    (item,), (result,) = blocks(f"{command}-item"), blocks(command)
    items: list[Object] = []

    async def keep(sent: Sequence[Object]) -> None:
        items.extend(sent)

    reply = await build_commands(sources, GREETING, {})[command]({"path": None}, keep)

    assert fields_of(item) == fields_of_reply(items[-1])
    assert fields_of(result) == fields_of_reply(reply)


@pytest.mark.parametrize(("name", "path"), [("attributes", [b"k"]), ("attributes-directory", [])])
async def test_the_fields_of_attributes_are_those_of_the_page(
    name: str, path: Sequence[bytes]
) -> None:
    (documented,) = blocks(name)
    store = MemoryStore()
    store.put("k", b"body", fields={"PartsCount": "2"})
    async with attributes(store) as (_, filesystem, paths):
        await names_in(filesystem)

        reply = await paths.describe(path, has_parts=True)

    assert fields_of(documented) == fields_of_reply(reply)


async def test_the_other_results_are_as_documented(sources: Sources) -> None:
    commands = build_commands(sources, GREETING, {})
    arguments: Mapping[str, Mapping[str, object]] = {
        "refresh": {"path": "a"},
        "log-level": {"level": "debug"},
        "cache-clear": {"path": None},
        "cache-pin": {"path": "a", "pinned": True},
    }
    for name, given in arguments.items():
        (documented,) = blocks(name)

        assert fields_of(documented) == fields_of_reply(await commands[name](given, drop))
