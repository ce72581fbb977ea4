"""Text from a hostile store never forges, floods or controls the log."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.bucket import Bucket, Kind, Response
from tests.faults.faulty_mount import BUCKET, FaultyMount, MountOptions
from tests.faults.hostile_store import Exchange, Fault, Step
from tests.faults.http_faults import refused
from tests.faults.workloads import SMALL

FORGED = "2026-11-26 02:00:00,000 CRITICAL root: forged"
CODE = f"x (HTTP 403)\n{FORGED}\x85\u2028\u202e{'A' * 50_000}"
LINE_MAX = 1000  # bytes: our own text, and a few foreign texts of at most 200 bytes
LINES_MAX = 20


@pytest.fixture(params=["native", "boto3"])
def mount(request: pytest.FixtureRequest) -> Iterator[FaultyMount]:
    bucket = Bucket(BUCKET)
    bucket.put("file", SMALL)
    with FaultyMount(MountOptions(request.param, 0, 4.0), bucket, log_format="text") as running:
        yield running


def _edited_head(edit: Callable[[Response], Response]) -> Fault:
    def fault(exchange: Exchange) -> None:
        response = exchange.stamp(edit(exchange.response))
        exchange.send(response.head + response.sent_body)

    return fault


def test_an_error_code_is_escaped_and_truncated(mount: FaultyMount) -> None:
    mount.store.misbehave(Step(Kind.GET, refused(403, CODE)))

    with pytest.raises(PermissionError):
        (mount.mountpoint / "file").read_bytes()

    _assert_is_sane(mount.log_text)
    assert rf"x (HTTP 403)\n{FORGED}" in mount.log_text


def test_header_values_are_escaped_and_truncated(mount: FaultyMount) -> None:
    words = f"\x1b[2J\x9b\x85{'A' * 20_000}"
    mount.store.misbehave(
        Step(Kind.GET, _edited_head(lambda response: response.with_header("Content-Range", words)))
    )

    with pytest.raises(OSError, match=r"\[Errno (5|110)\]"):
        (mount.mountpoint / "file").read_bytes()

    _assert_is_sane(mount.log_text)


def test_the_name_of_a_root_element_is_escaped_and_truncated(mount: FaultyMount) -> None:
    mount.store.misbehave(Step(Kind.LIST, refused(200, CODE)))

    with pytest.raises(OSError, match=r"\[Errno (5|110)\]"):
        list(mount.mountpoint.iterdir())

    _assert_is_sane(mount.log_text)


def _assert_is_sane(log: str) -> None:
    lines = log.removesuffix("\n").split("\n")
    assert len(lines) <= LINES_MAX
    assert all(line.isprintable() for line in lines)
    assert max(len(line.encode()) for line in lines) <= LINE_MAX
    assert not any(line.startswith(FORGED) for line in lines)
