"""Object content faults: wrong ranges, wrong versions, wrong ETags."""

from dataclasses import replace

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.content_faults import (
    both,
    content_range,
    delete_object,
    ignoring,
    other_range,
    replace_object,
    rewritten,
)
from tests.faults.http_faults import edited, header, resized
from tests.faults.workloads import READ, READ_SMALL, REOPEN

RIGHT, FAILED, ESTALE, ENOENT = Outcome.RIGHT, Outcome.FAILED, Outcome.ESTALE, Outcome.ENOENT

_OTHER_ETAG = '"00000000000000000000000000000000"'
_MULTIPART = "multipart/byteranges; boundary=b"

_WRONG_PARTS = {
    "another Content-Range than requested": content_range(
        lambda first, last, total: f"bytes {first + 1}-{last + 1}/{total}"
    ),
    "a part that starts elsewhere": other_range(lambda first, last: (first + 1, last)),
    "a part from elsewhere": other_range(lambda first, last: (first + 7, last + 7)),
    "another total in Content-Range": content_range(
        lambda first, last, total: f"bytes {first}-{last}/{total + 1}"
    ),
    "a total below the part": content_range(lambda first, last, _: f"bytes {first}-{last}/{last}"),
    "a Content-Range that is none": header("Content-Range", "bytes banana"),
    "a Content-Range backwards": content_range(
        lambda first, last, total: f"bytes {last}-{first}/{total}"
    ),
    "a Content-Range in other units": content_range(
        lambda first, last, total: f"items {first}-{last}/{total}"
    ),
    "fewer bytes than Content-Range says": resized(lambda body: body[:-1]),
    "more bytes than Content-Range says": resized(lambda body: body + b"x"),
    "no bytes, though Content-Range says some": resized(lambda _: b""),
}

# the object is read without Range then
_UNLABELLED_PARTS = {
    "no Content-Range": header("Content-Range", None),
    "multipart/byteranges": edited(
        lambda response: response.with_header("Content-Range", None).with_header(
            "Content-Type", _MULTIPART
        )
    ),
}

_SHORT = other_range(lambda first, last: (first, (first + last) // 2))
_WHOLE = ignoring("range")

ROWS = (
    *(
        Misbehaviour(
            name, READ, Kind.GET, fault, once=RIGHT | FAILED | ESTALE, always=FAILED | ESTALE
        )
        for name, fault in _WRONG_PARTS.items()
    ),
    *(
        Misbehaviour(name, READ, Kind.GET, fault, once=RIGHT, always=RIGHT)
        for name, fault in _UNLABELLED_PARTS.items()
    ),
    Misbehaviour(
        "half of the range, honestly labelled",
        READ,
        Kind.GET,
        _SHORT,
        once=RIGHT,
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        "more than the range, honestly labelled",
        READ,
        Kind.GET,
        other_range(lambda first, last: (first, last + 100)),
        once=RIGHT,
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        "no total in Content-Range",
        READ,
        Kind.GET,
        content_range(lambda first, last, _: f"bytes {first}-{last}/*"),
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        "200 with the whole object",
        READ,
        Kind.GET,
        _WHOLE,
        once=RIGHT,
        always=RIGHT,
    ),
    Misbehaviour(
        "200 with the whole of another version",
        READ,
        Kind.GET,
        both(replace_object, ignoring("range", "if-match")),
        skip=1,
        once=RIGHT | ESTALE,
    ),
    Misbehaviour("no ETag", READ, Kind.GET, header("ETag", None), always=RIGHT | FAILED | ESTALE),
    Misbehaviour(
        "replaced, If-Match ignored, no ETag",
        READ,
        Kind.GET,
        both(
            replace_object,
            ignoring("if-match", edit=lambda response: response.with_header("ETag", None)),
        ),
        skip=1,
        once=RIGHT | FAILED | ESTALE,
    ),
    Misbehaviour(
        "a weak ETag",
        READ,
        Kind.GET,
        edited(lambda response: response.with_header("ETag", "W/" + response.header("ETag"))),
        always=RIGHT,
    ),
    Misbehaviour(
        "an ETag without quotes",
        READ,
        Kind.GET,
        edited(lambda response: response.with_header("ETag", response.header("ETag").strip('"'))),
        always=RIGHT,
    ),
    Misbehaviour("another ETag", READ, Kind.GET, header("ETag", _OTHER_ETAG), always=RIGHT),
    Misbehaviour(
        "another ETag in the middle of a file",
        READ,
        Kind.GET,
        header("ETag", _OTHER_ETAG),
        skip=1,
        always=ESTALE,
    ),
    Misbehaviour(
        "replaced while read",
        READ,
        Kind.GET,
        rewritten(replace_object),
        skip=1,
        once=RIGHT | ESTALE,
    ),
    Misbehaviour(
        "replaced while read, If-Match ignored",
        READ,
        Kind.GET,
        both(replace_object, ignoring("if-match")),
        skip=1,
        once=RIGHT | ESTALE,
    ),
    Misbehaviour(
        "replaced with every request, If-Match ignored",
        READ,
        Kind.GET,
        both(replace_object, ignoring("if-match")),
        always=ESTALE,
        tries_after=2,  # a readahead request may replace it once more
    ),
    Misbehaviour(
        "deleted while read",
        READ,
        Kind.GET,
        rewritten(delete_object),
        skip=1,
        once=ESTALE,
        after=ENOENT | ESTALE,
    ),
    Misbehaviour(
        "a response that claims gzip",
        READ,
        Kind.GET,
        header("Content-Encoding", "gzip"),
        always=RIGHT,
    ),
    Misbehaviour(
        "a response that claims aws-chunked",
        READ,
        Kind.GET,
        header("Content-Encoding", "aws-chunked"),
        always=RIGHT,
    ),
    Misbehaviour(
        "a response to another object's name",
        READ_SMALL,
        Kind.GET,
        edited(
            lambda response: replace(response, body=bytes(len(response.body))).with_header(
                "ETag", _OTHER_ETAG
            )
        ),
        once=RIGHT | FAILED | ESTALE,
        always=FAILED | ESTALE,  # its bytes have another checksum than its ETag
        tries_after=2,
    ),
    Misbehaviour(
        "If-None-Match ignored", REOPEN, Kind.GET, ignoring("if-none-match"), always=RIGHT
    ),
    Misbehaviour(
        "replaced before it is opened again",
        REOPEN,
        Kind.GET,
        rewritten(replace_object),
        once=RIGHT,
    ),
)
