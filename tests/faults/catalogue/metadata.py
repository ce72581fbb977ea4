"""Metadata faults: missing or false headers of a HEAD response."""

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.http_faults import header, length
from tests.faults.workloads import OPEN, STAT

RIGHT, FAILED, ESTALE, ENOENT = Outcome.RIGHT, Outcome.FAILED, Outcome.ESTALE, Outcome.ENOENT


def _head_with(name: str, value: str | None) -> Misbehaviour:
    what = f"without {name}" if value is None else f"with {name}: {value or '(empty)'}"
    return Misbehaviour(
        f"a HEAD {what}", STAT, Kind.HEAD, header(name, value), always=RIGHT | FAILED
    )


def _head_with_size(what: str, size: int) -> Misbehaviour:
    return Misbehaviour(
        f"a HEAD with a size that is {what}",
        OPEN,
        Kind.HEAD,
        length(lambda true_size: str(true_size + size)),
        always=RIGHT | FAILED | ESTALE,
    )


ROWS = (
    _head_with("ETag", None),
    _head_with("ETag", ""),
    _head_with("Last-Modified", None),
    _head_with("Last-Modified", "yesterday"),
    _head_with("Last-Modified", "Mon, 99 Foo 2024 99:99:99 GMT"),
    _head_with("Last-Modified", "Fri, 31 Dec 9999 23:59:59 GMT"),
    _head_with("Content-Length", "-1"),
    _head_with("Content-Length", "lots"),
    _head_with("Content-Type", None),
    _head_with_size("too large", 1000),
    _head_with_size("too small", -1000),
)
