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
        f"{what} {where}", READ, Kind.GET, broken(portion, ending), once=RIGHT, always=FAILED
    )
    for what, ending in {"reset": reset, "closed": finish, "half-closed": half_close}.items()
    for where, portion in _PORTIONS.items()
)

_SILENT = tuple(
    Misbehaviour(
        f"{what} {where}",
        READ,
        Kind.GET,
        broken(portion, ending),
        once=RIGHT if ending is stall else RIGHT | FAILED,
        always=FAILED,
    )
    for what, ending in {"silence": stall, "a byte each half second": drip}.items()
    for where, portion in _PORTIONS.items()
    if not (ending is drip and portion is all_but_a_byte)
)

_ELSEWHERE = tuple(
    Misbehaviour(f"{what} {where} of a {thing}", workload, kind, fault, once=once, always=always)
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
        "a listing closed within its body",
        LIST,
        Kind.LIST,
        broken(half_the_body, finish),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        "silence within the body of a listing",
        LIST,
        Kind.LIST,
        broken(half_the_body, stall),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        "silence where a name is looked for that is not there",
        LOOK,
        None,
        broken(nothing, stall),
        always=FAILED,
    ),
    Misbehaviour("byte by byte", READ_SMALL, Kind.GET, broken(nothing, crumble), always=RIGHT),
    Misbehaviour("every response a second late", READ_SMALL, Kind.GET, delayed(1), always=RIGHT),
    Misbehaviour(
        "every response later than the timeout", READ_SMALL, Kind.GET, delayed(8), always=FAILED
    ),
    Misbehaviour(
        "closed after each response, unannounced", READ, Kind.GET, then(finish), always=RIGHT
    ),
    Misbehaviour(
        "reset after each response", READ_SMALL, Kind.GET, then(reset), always=RIGHT | FAILED
    ),
    Misbehaviour("half-closed after each response", READ, Kind.GET, then(half_close), always=RIGHT),
    Misbehaviour(
        "junk after each response", READ, Kind.GET, followed(b"\0junk\r\n\r\n"), always=RIGHT
    ),
    Misbehaviour(
        "a 408 after each response",
        READ,
        Kind.GET,
        followed(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        always=RIGHT,
    ),
    Misbehaviour(
        "a second response of zeros after each response",
        READ,
        Kind.GET,
        followed_by_another_response,
        always=RIGHT,
    ),
    Misbehaviour(
        "noise without end", READ, Kind.GET, endless(b"\xde\xad\xbe\xef"), once=RIGHT, always=FAILED
    ),
)
