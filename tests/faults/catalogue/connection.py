"""Connection faults: resets, stalls, and bytes beyond the response."""

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.http_faults import (
    all_but_a_byte,
    broken,
    crumble,
    delayed,
    drip,
    endless,
    finish,
    followed,
    followed_by_another_response,
    half_close,
    half_the_body,
    half_the_head,
    nothing,
    reset,
    stall,
    the_head,
    then,
)
from tests.faults.workloads import LIST, LOOK, READ, READ_SMALL, STAT

RIGHT, FAILED = Outcome.RIGHT, Outcome.FAILED

_PORTIONS = {
    "before the response": nothing,
    "within the head": half_the_head,
    "between head and body": the_head,
    "within the body": half_the_body,
    "one byte before the end": all_but_a_byte,
}

_BROKEN = tuple(
    Misbehaviour(
        name=f"{what} {where}",
        workload=READ,
        on=Kind.GET,
        fault=broken(portion, ending),
        once=RIGHT,
        always=FAILED,
    )
    for what, ending in {"reset": reset, "closed": finish, "half-closed": half_close}.items()
    for where, portion in _PORTIONS.items()
)

_SILENT = tuple(
    Misbehaviour(
        name=f"{what} {where}",
        workload=READ,
        on=Kind.GET,
        fault=broken(portion, ending),
        once=RIGHT if ending is stall else RIGHT | FAILED,
        always=FAILED,
    )
    for what, ending in {"silence": stall, "a byte each half second": drip}.items()
    for where, portion in _PORTIONS.items()
    if not (ending is drip and portion is all_but_a_byte)
)

_ELSEWHERE = tuple(
    Misbehaviour(
        name=f"{what} {where} of a {thing}",
        workload=workload,
        on=kind,
        fault=fault,
        once=once,
        always=always,
    )
    for thing, workload, kind in (("listing", LIST, Kind.LIST), ("HEAD", STAT, Kind.HEAD))
    for what, where, fault, once, always in (
        ("reset", "before the response", broken(nothing, reset), RIGHT, FAILED),
        ("closed", "within the head", broken(half_the_head, finish), RIGHT, FAILED),
        ("silence", "before the response", broken(nothing, stall), RIGHT, FAILED),
    )
)

ROWS = (
    *_BROKEN,
    *_SILENT,
    *_ELSEWHERE,
    Misbehaviour(
        name="a listing closed within its body",
        workload=LIST,
        on=Kind.LIST,
        fault=broken(half_the_body, finish),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        name="silence within the body of a listing",
        workload=LIST,
        on=Kind.LIST,
        fault=broken(half_the_body, stall),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        name="silence where a name is looked for that is not there",
        workload=LOOK,
        on=None,
        fault=broken(nothing, stall),
        always=FAILED,
    ),
    Misbehaviour(
        name="byte by byte",
        workload=READ_SMALL,
        on=Kind.GET,
        fault=broken(nothing, crumble),
        always=RIGHT,
    ),
    Misbehaviour(
        name="every response a second late",
        workload=READ_SMALL,
        on=Kind.GET,
        fault=delayed(1),
        always=RIGHT,
    ),
    Misbehaviour(
        name="every response later than the timeout",
        workload=READ_SMALL,
        on=Kind.GET,
        fault=delayed(8),
        always=FAILED,
    ),
    Misbehaviour(
        name="closed after each response, unannounced",
        workload=READ,
        on=Kind.GET,
        fault=then(finish),
        always=RIGHT,
    ),
    Misbehaviour(
        name="reset after each response",
        workload=READ_SMALL,
        on=Kind.GET,
        fault=then(reset),
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        name="half-closed after each response",
        workload=READ,
        on=Kind.GET,
        fault=then(half_close),
        always=RIGHT,
    ),
    Misbehaviour(
        name="junk after each response",
        workload=READ,
        on=Kind.GET,
        fault=followed(b"\0junk\r\n\r\n"),
        always=RIGHT,
    ),
    Misbehaviour(
        name="a 408 after each response",
        workload=READ,
        on=Kind.GET,
        fault=followed(
            b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        always=RIGHT,
    ),
    Misbehaviour(
        name="a second response of zeros after each response",
        workload=READ,
        on=Kind.GET,
        fault=followed_by_another_response,
        always=RIGHT,
    ),
    Misbehaviour(
        name="noise without end",
        workload=READ,
        on=Kind.GET,
        fault=endless(b"\xde\xad\xbe\xef"),
        once=RIGHT,
        always=FAILED,
    ),
)
