"""Authorization failures and redirects."""

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.http_faults import bodiless, page, redirect, refused
from tests.faults.workloads import LIST, READ_SMALL, STAT

RIGHT, EIO, ETIMEDOUT, EACCES = Outcome.RIGHT, Outcome.EIO, Outcome.ETIMEDOUT, Outcome.EACCES

_REFUSED = {
    "401 without body": bodiless(401),
    "403 AccessDenied": refused(403, "AccessDenied"),
    "403 without body": bodiless(403),
    "403 of a proxy": page(403),
    "403 SignatureDoesNotMatch": refused(403, "SignatureDoesNotMatch"),
    "403 InvalidAccessKeyId": refused(403, "InvalidAccessKeyId"),
    "403 InvalidObjectState (archived)": refused(403, "InvalidObjectState"),
    "403 RequestTimeTooSkewed": refused(403, "RequestTimeTooSkewed"),
    "403 ExpiredToken": refused(403, "ExpiredToken"),
    "400 ExpiredToken": refused(400, "ExpiredToken"),
    "400 InvalidToken": refused(400, "InvalidToken"),
    "400 KMS.DisabledException": refused(400, "KMS.DisabledException"),
}

_REDIRECTS = {
    "301 PermanentRedirect": redirect(301, "PermanentRedirect"),
    "302 Found": redirect(302, "Found"),
    "303 See Other": redirect(303, "SeeOther"),
    "307 TemporaryRedirect": redirect(307, "TemporaryRedirect"),
    "308 PermanentRedirect": redirect(308, "PermanentRedirect"),
    "301 without Location": refused(301, "PermanentRedirect"),
    "400 AuthorizationHeaderMalformed (another region)": refused(
        400,
        "AuthorizationHeaderMalformed",
        "expecting 'eu-north-1'",
        ("x-amz-bucket-region", "eu-north-1"),
    ),
}

ROWS = (
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT | EACCES, always=EACCES)
        for name, fault in _REFUSED.items()
    ),
    *(
        Misbehaviour(f"{name}, to a {thing}", workload, kind, fault, always=EACCES)
        for name, fault in _REFUSED.items()
        for thing, workload, kind in (("listing", LIST, Kind.LIST), ("HEAD", STAT, Kind.HEAD))
        if name in ("403 AccessDenied", "403 without body")
    ),
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT | EIO, always=EIO)
        for name, fault in _REDIRECTS.items()
    ),
    *(
        Misbehaviour(f"{name}, to a listing", LIST, Kind.LIST, fault, once=RIGHT | EIO, always=EIO)
        for name, fault in _REDIRECTS.items()
        if name.startswith("30")
    ),
)
