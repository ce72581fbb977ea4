"""What a HEAD says of an object is missing, or not so."""

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.http_faults import header, length
from tests.faults.workloads import OPEN, STAT

RIGHT, FAILED, ESTALE, ENOENT = Outcome.RIGHT, Outcome.FAILED, Outcome.ESTALE, Outcome.ENOENT


def _told(name: str, value: str | None) -> Misbehaviour:
    what = f"without {name}" if value is None else f"with {name}: {value or '(empty)'}"
    return Misbehaviour(
        name=f"a HEAD {what}",
        workload=STAT,
        on=Kind.HEAD,
        fault=header(name, value),
        always=RIGHT | FAILED,
    )


def _lying(what: str, size: int) -> Misbehaviour:
    return Misbehaviour(
        name=f"a HEAD that tells a size that is {what}",
        workload=OPEN,
        on=Kind.HEAD,
        fault=length(lambda true_size: str(true_size + size)),
        always=RIGHT | FAILED | ESTALE,
    )


ROWS = (
    _told("ETag", None),
    _told("ETag", ""),
    _told("Last-Modified", None),
    _told("Last-Modified", "yesterday"),
    _told("Last-Modified", "Mon, 99 Foo 2024 99:99:99 GMT"),
    _told("Last-Modified", "Fri, 31 Dec 9999 23:59:59 GMT"),
    _told("Content-Length", "-1"),
    _told("Content-Length", "lots"),
    _told("Content-Type", None),
    _lying("too large", 1000),
    _lying("too small", -1000),
)
