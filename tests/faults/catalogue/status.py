"""Status faults: error statuses, and success statuses without success."""

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.http_faults import HTML, bodiless, page, refused
from tests.faults.workloads import LIST, LOOK, READ, READ_SMALL, STAT

RIGHT, EIO, FAILED = Outcome.RIGHT, Outcome.EIO, Outcome.FAILED
ENOENT, ESTALE = Outcome.ENOENT, Outcome.ESTALE

_PASSING = {
    "408 RequestTimeout": refused(408, "RequestTimeout"),
    "400 RequestTimeout": refused(400, "RequestTimeout"),
    "409 OperationAborted": refused(409, "OperationAborted"),
    "425 Too Early": bodiless(425),
    "429 TooManyRequests": refused(429, "TooManyRequests"),
    "500 InternalError": refused(500, "InternalError"),
    "500 without body": bodiless(500),
    "502 of a proxy": page(502),
    "503 SlowDown": refused(503, "SlowDown"),
    "503 ServiceUnavailable": refused(503, "ServiceUnavailable"),
    "503, come back in an hour": refused(503, "SlowDown", "Later", ("Retry-After", "3600")),
    "504 of a proxy": page(504),
    "507 without body": bodiless(507),
    "520 of a proxy": page(520),
}

_LASTING = {
    "410 Gone": refused(410, "Gone"),
    "400 of a proxy": page(400),
    "400 InvalidArgument": refused(400, "InvalidArgument"),
    "402 without body": bodiless(402),
    "406 of a proxy": page(406),
    "411 MissingContentLength": refused(411, "MissingContentLength"),
    "414 of a proxy": page(414),
    "418 of a teapot": page(418),
    "501 NotImplemented": refused(501, "NotImplemented"),
    "505 of a proxy": page(505),
}

_NO_SUCCESS = {
    "200 with S3's error document": refused(200, "InternalError"),
    "200 with a portal's page": page(200),
    "200 with nothing": bodiless(200),
    "202 with nothing": bodiless(202),
    "204": bodiless(204),
    "205": bodiless(205),
    "206 with nothing": bodiless(206),
    "206 with a portal's page": page(206),
    "300 with nothing": bodiless(300),
    "304 to a request without condition": bodiless(304),
}

_GONE = {
    "405 MethodNotAllowed (a deleted version)": refused(405, "MethodNotAllowed"),
    "416 InvalidRange (shorter than it was)": refused(416, "InvalidRange"),
    "404 NoSuchKey while open": refused(404, "NoSuchKey"),
    "404 without body while open": bodiless(404),
    "412 PreconditionFailed": refused(412, "PreconditionFailed"),
    "412 without body": bodiless(412),
}

ROWS = (
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT, always=FAILED)
        for name, fault in _PASSING.items()
    ),
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT | EIO, always=EIO)
        for name, fault in _LASTING.items()
    ),
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT | EIO, always=FAILED)
        for name, fault in _NO_SUCCESS.items()
    ),
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, always=ESTALE)
        for name, fault in _GONE.items()
    ),
    *(
        Misbehaviour(f"{name}, to a listing", LIST, Kind.LIST, fault, once=RIGHT, always=FAILED)
        for name, fault in _PASSING.items()
        if name[:3] in ("429", "500", "503")
    ),
    *(
        Misbehaviour(f"{name}, to a HEAD", STAT, Kind.HEAD, fault, once=RIGHT, always=FAILED)
        for name, fault in _PASSING.items()
        if name[:3] in ("429", "500", "503")
    ),
    *(
        Misbehaviour(f"{name}, to a listing", LIST, Kind.LIST, fault, once=RIGHT | EIO, always=EIO)
        for name, fault in _NO_SUCCESS.items()
        if not name.startswith("206")
    ),
    Misbehaviour(
        "405 to a HEAD", STAT, Kind.HEAD, refused(405, "MethodNotAllowed"), always=RIGHT | EIO
    ),
    Misbehaviour(
        "500 to the second part of a file",
        READ,
        Kind.GET,
        refused(500, "InternalError"),
        skip=1,
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        "500 where a name is looked for that is not there",
        LOOK,
        None,
        refused(500, "InternalError"),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        "404 NoSuchBucket to a listing",
        LIST,
        Kind.LIST,
        refused(404, "NoSuchBucket"),
        always=FAILED,
    ),
    Misbehaviour("404 of a proxy, to a listing", LIST, Kind.LIST, page(404, HTML), always=FAILED),
    Misbehaviour(
        "404 of a proxy while open", READ_SMALL, Kind.GET, page(404, HTML), always=FAILED | ESTALE
    ),
)
