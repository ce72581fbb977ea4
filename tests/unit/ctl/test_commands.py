"""The commands in a pipe: lines, JSON, exit status and errors."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s3mount.cli.exit_status import run_command
from s3mount.control.locations import FoundSocket
from s3mount.control.protocol import LINE_MAX
from s3mount.ctl.commands import COMMANDS, GROUP
from s3mount.ctl.main import s3mountctl
from s3mount.ctl.mounts import Machine
from s3mount.ctl.warm import merged, summary
from tests.fakes.control_replies import (
    RECORD,
    STATUS,
    VERSIONS_ITEMS,
    WARM_ITEMS,
    WARM_RESULT,
    activity,
)
from tests.fakes.control_server import (
    CONNECTION,
    GREETING,
    ControlServer,
    control_server,
    items,
    results,
)
from tests.unit.ctl.running import ENTRY, Run, runner

ATTRIBUTES = {
    "kind": "file",
    "size": 5,
    "owner": None,
    "fields": {"VersionId": "null"},
    "metadata": {"a\nb": "\x1b[31mred"},
    "parts": None,
}
SCRIPT = {
    "status": results(STATUS),
    "activity": results(*map(activity, range(5))),
    "trace": items(RECORD, {"dropped": 7}, result={}),
    "refresh": results({"forgotten": 12}),
    "log-level": results({"level": "debug", "before": "info"}),
    "versions": items(*VERSIONS_ITEMS, result={"key": "2024/a", "count": 2}),
    "attributes": results(ATTRIBUTES),
    "warm": items(*WARM_ITEMS, result=WARM_RESULT),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    with control_server(tmp_path / "socket", {**SCRIPT}) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, server: ControlServer, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line beside *server*; returns exit status, stdout and stderr."""
    assert server.requests == []
    return runner(tmp_path / "socket", capfd)


def test_list_has_a_line_for_each_mount(run: Run) -> None:
    status, out, err = run("list")
    head, line = out.splitlines()

    assert (status, err) == (0, "")
    assert head.split() == ["SOURCE", "MOUNTPOINT", "PID", "SINCE", "STATE", "REMEDY"]
    assert line.split()[:3] == ["s3://photos/2024", "/mnt/photos", "4711"]
    assert line.split()[4:] == ["healthy", "-"]


def test_a_blank_in_a_name_does_not_shift_the_columns_of_list(
    tmp_path: Path, server: ControlServer, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = replace(ENTRY, path="/mnt/my photos")
    socket = FoundSocket(CONNECTION, tmp_path / "socket", 0)
    machine = Machine(table=lambda: [entry], sockets=lambda: [socket])

    run_command("s3mountctl", lambda: s3mountctl(["list"], machine))

    assert server.requests == []
    assert capfd.readouterr().out.splitlines()[1].split()[1::3] == [r"/mnt/my\x20photos", "healthy"]


def test_list_of_a_dead_mount_has_the_command_that_clears_it(
    run: Run, server: ControlServer
) -> None:
    server.close()

    status, out, _ = run("list")

    assert status == 1
    assert out.splitlines()[1].split()[-3:] == ["dead", "s3mount-clear", "/mnt/photos"]
    assert json.loads(run("list", "--json")[1])["mounts"][0] == {
        "source": "s3://photos/2024",
        "mountpoint": "/mnt/photos",
        "connection": CONNECTION,
        "state": "dead",
        "pid": None,
        "since": None,
        "s3mount": None,
        "remedy": "s3mount-clear /mnt/photos",
    }


def test_status_has_a_line_for_each_value(run: Run) -> None:
    status, out, _ = run("status")
    values = dict(line.split(maxsplit=1) for line in out.splitlines())

    assert status == 0
    assert values["identity.credentials.source"] == "sso"
    assert values["requests.GET.by_status.206"] == "1230"
    assert values["errors.0.key"] == r"2024/a\udcff\x1b[31m.jpg"
    assert values["bytes.fetched"] == str(9 << 30)
    assert values["latency.HEAD.minute.p50"] == "-"


def test_json_is_what_the_mount_said(run: Run) -> None:
    assert json.loads(run("status", "--json")[1]) == STATUS
    assert json.loads(run("log-level", "debug", "--json")[1]) == {
        "level": "debug",
        "before": "info",
    }
    assert [json.loads(line) for line in run("trace", "--json")[1].splitlines()] == [
        RECORD,
        {"dropped": 7},
    ]
    assert [json.loads(line) for line in run("warm", "/mnt/photos", "--json")[1].splitlines()] == [
        *WARM_ITEMS,
        WARM_RESULT,
    ]
    assert json.loads(run("top", "--count", "1", "--json")[1]) == activity(0)
    lines = run("versions", "/mnt/photos/a", "--json")[1].splitlines()
    assert [json.loads(line) for line in lines] == [*VERSIONS_ITEMS]


def test_trace_has_a_line_for_each_request(run: Run, server: ControlServer) -> None:
    status, out, _ = run("trace", "--errors", "--key", "2024/*", "/mnt/photos")
    first, second = out.splitlines()

    assert status == 0
    assert server.requests[0]["arguments"] == {"errors": True, "key": "2024/*"}
    assert first.split()[1:] == [
        *("GET", "206", "8.0", "MiB", "41.2", "ms", "read", "0-8388608"),
        r"2024/a\udcff\x1b[31m.jpg",
    ]
    assert second.startswith("(7 requests are left out")


def test_refresh_sends_the_path_below_the_mount(run: Run, server: ControlServer) -> None:
    status, out, _ = run("refresh", "/mnt/photos/a\udcff/b")

    assert (status, out) == (0, "/mnt/photos/a\\udcff/b: 12 names forgotten\n")
    assert server.requests[-1]["arguments"] == {"path": "a\udcff/b"}
    assert run("refresh")[1] == "/mnt/photos: 12 names forgotten\n"
    assert server.requests[-1]["arguments"] == {"path": ""}


def test_attributes_has_a_line_for_each_value_that_is_known(
    run: Run, server: ControlServer
) -> None:
    status, out, err = run("attributes", "/mnt/photos/a", "--parts")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())

    assert (status, err) == (0, "")
    assert rows.keys() == {"kind", "size", "fields.VersionId", "metadata.a\\nb"}
    assert rows["fields.VersionId"] == "null"  # a word of S3's
    assert server.requests[-1]["arguments"] == {"path": "a", "parts": True}


def test_log_level_says_the_level_before(run: Run) -> None:
    assert run("log-level", "debug") == (
        0,
        "/mnt/photos: log level debug, before info\n",
        "",
    )


def test_versions_has_a_line_for_each_version(run: Run, server: ControlServer) -> None:
    status, out, _ = run("versions", "/mnt/photos/a")
    head, marker, version = out.splitlines()

    assert status == 0
    assert server.requests[0]["arguments"] == {"path": "a"}
    assert head.split() == ["TIME", "SIZE", "STATE", "CLASS", "ETAG", "VERSION"]
    assert marker.split()[2:] == ["-", "deleted", "-", "-", r"m\x1b[2J"]
    assert version.split()[2:] == ["8388608", "old", "STANDARD", "9b2cf5", "3HL4kq"]


def test_warm_says_what_was_fetched_and_what_did_not_fit(run: Run, server: ControlServer) -> None:
    status, out, _ = run("warm", "--jobs", "2", "/mnt/photos/a", "/mnt/photos")

    assert status == 1
    assert server.requests[0]["arguments"] == {
        "paths": ["a", ""],
        "listing_only": False,
        "jobs": 2,
        "dry_run": False,
    }
    assert out.splitlines() == [
        "listing: 2 directories, 10 files, 100 MiB",
        "fetching will cost 0.0100 USD",
        "fetching: 2 directories, 10 files, 100 MiB, 4 files, 40.0 MiB done",
        "listed: 2 directories, 10 files, 100 MiB",
        "fetched: 6 files, 60.0 MiB; 1 were cached",
        "it took: 1 LIST, 8 GET, 0 HEAD; cost 0.000100 USD",
        "did not fit: 2 files, 20.0 MiB; mount with a larger --memory-limit, or --cache-dir",
        "failed: 2024/b.raw: access denied",
        "failed: 2 more; the log of the mount names them",
    ]


def test_a_dry_run_says_what_it_would_take(run: Run) -> None:
    _, out, _ = run("warm", "--dry-run", "/mnt/photos")

    assert "it would take: 1 LIST, 8 GET" in out
    assert "would fetch: 6 files, 60.0 MiB" in out
    assert "would not fit: 2 files" in out
    assert "fetched" not in out


def test_more_paths_than_a_request_can_have_are_sent_in_several(
    run: Run, server: ControlServer
) -> None:
    names = [f"{number:04}" + "\udcff" * 20 for number in range(1200)]

    status, out, _ = run("warm", *(f"/mnt/photos/{name}" for name in (*names, *names)))

    sent = [request["arguments"]["paths"] for request in server.requests]
    assert len(sent) > 1
    assert [name for batch in sent for name in batch] == names
    assert all(len(json.dumps(request)) < LINE_MAX for request in server.requests)
    assert status == 1
    assert f"listed: {2 * len(sent)} directories, {10 * len(sent)} files" in out


def test_results_of_several_requests_are_summed() -> None:
    one = {"files": 1, "failed": ["a"], "cost": {"total": 0.5, "currency": "USD"}}
    other = {"files": 2, "failed": ["b"], "cost": {"total": 0.25, "currency": "USD"}}

    assert merged({}, one) == one
    assert merged(one, other) == {
        "files": 3,
        "failed": ["a", "b"],
        "cost": {"total": 0.75, "currency": "USD"},
    }


def test_directories_that_were_not_listed_are_told() -> None:
    lines = [line for _, line in summary({"did_not_fit_directories": 1234}, is_dry=False)]

    told = "not listed: 1,234 directories, or parts of them; mount with a larger --metadata-limit"
    assert told in lines


def test_top_in_a_pipe_prints_a_line_each_second(run: Run) -> None:
    status, out, _ = run("top", "--count", "2")
    head, *lines = out.splitlines()

    assert status == 0
    assert head.split()[:5] == ["TIME", "REQ/S", "GET/S", "LIST/S", "HEAD/S"]
    assert len(lines) == 2
    assert lines[0].endswith(r"2024/busy\x1b[2J.raw")


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ((), 2, "missing command; see s3mountctl --help"),
        (("statsu",), 2, "statsu: there is no such command; did you mean status?"),
        (("status", "--jsn"), 2, "no such option '--jsn'; did you mean '--json'; see"),
        (("log-level", "loud"), 2, "'loud' is not one of"),
        (("warm",), 2, "missing argument 'PATH...'; see s3mountctl warm --help"),
        (("status", "/elsewhere"), 3, "/elsewhere is not in a mount of s3mount"),
        (("versions",), 2, "missing argument 'PATH'; see s3mountctl versions --help"),
        (("refresh", "/elsewhere"), 3, "/elsewhere is not in a mount of s3mount"),
    ],
)
def test_errors_are_one_line_and_an_exit_status(
    run: Run, arguments: tuple[str, ...], status: int, error: str
) -> None:
    done, out, err = run(*arguments)

    assert (done, out, err.count("\n")) == (status, "", 1)
    assert err.startswith("s3mountctl: ")
    assert error in err


def test_a_mount_that_ends_is_status_3(run: Run, server: ControlServer) -> None:
    server.close()

    status, _, err = run("status")

    assert (status, "is dead; clear it: s3mount-clear /mnt/photos" in err) == (3, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_the_registry_is_there_by_its_name(run: Run, name: str) -> None:
    status, out, _ = run(name, "--help")

    assert status == 0
    assert out.startswith(f"Usage: s3mountctl {name} ")
    assert GROUP.commands == {}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"matches": True}, {"matches": True}], 0),
        ([{"matches": False}, {"matches": None}, {"matches": True}], 1),
        ([{"matches": True}, {"matches": None}], 5),
    ],
)
def test_verify_ends_with_the_status_of_the_worst_file(
    run: Run, server: ControlServer, answers: list[dict[str, object]], expected: int
) -> None:
    server.script["verify"] = results(*answers)
    paths = [f"/mnt/photos/{number}" for number in range(len(answers))]

    status, out, err = run("verify", "--json", *paths)

    assert (status, err) == (expected, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert told == [{"path": path, **each} for path, each in zip(paths, answers, strict=True)]


def test_verify_goes_on_after_a_file_that_failed(run: Run, server: ControlServer) -> None:
    error = {"error": {"code": "no-such-path", "message": "no such file"}}
    answers: list[list[dict[str, Any]]] = [
        [error],
        [{"result": {"matches": True, "method": "CRC32C"}}],
    ]
    server.script["verify"] = lambda _: answers.pop(0)

    status, out, err = run("verify", "/mnt/photos/a", "/mnt/photos/b")

    assert (status, err) == (4, "")
    assert out.splitlines() == [
        "/mnt/photos/a: FAILED: no such file (no-such-path)",
        "/mnt/photos/b: OK: CRC32C",
    ]


def test_verify_on_a_mount_that_takes_no_command_does_not_end_as_a_mismatch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(
        table=lambda: [ENTRY], sockets=lambda: [FoundSocket(CONNECTION, tmp_path / "socket", 0)]
    )
    with control_server(tmp_path / "socket", SCRIPT, {**GREETING, "protocol": 99}):
        arguments = ("verify", "/mnt/photos/a", "/mnt/photos/b")
        status = run_command("s3mountctl", lambda: s3mountctl(arguments, machine))

    assert status == 4
    assert capfd.readouterr().out.count("FAILED: ") == 2
