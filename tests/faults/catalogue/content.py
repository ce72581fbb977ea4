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
    "no Content-Range": header("Content-Range", None),
    "a Content-Range that is none": header("Content-Range", "bytes banana"),
    "a Content-Range backwards": content_range(
        lambda first, last, total: f"bytes {last}-{first}/{total}"
    ),
    "a Content-Range in other units": content_range(
        lambda first, last, total: f"items {first}-{last}/{total}"
    ),
    "multipart/byteranges": edited(
        lambda response: response.with_header("Content-Range", None).with_header(
            "Content-Type", _MULTIPART
        )
    ),
    "fewer bytes than Content-Range says": resized(lambda body: body[:-1]),
    "more bytes than Content-Range says": resized(lambda body: body + b"x"),
    "no bytes, though Content-Range says some": resized(lambda _: b""),
}

_SHORT = other_range(lambda first, last: (first, (first + last) // 2))
_WHOLE = ignoring("range")

ROWS = (
    *(
        Misbehaviour(
            name=name,
            workload=READ,
            on=Kind.GET,
            fault=fault,
            once=RIGHT | FAILED | ESTALE,
            always=FAILED | ESTALE,
        )
        for name, fault in _WRONG_PARTS.items()
    ),
    Misbehaviour(
        name="half of the range, honestly labelled",
        workload=READ,
        on=Kind.GET,
        fault=_SHORT,
        once=RIGHT,
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        name="more than the range, honestly labelled",
        workload=READ,
        on=Kind.GET,
        fault=other_range(lambda first, last: (first, last + 100)),
        once=RIGHT,
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        name="no total in Content-Range",
        workload=READ,
        on=Kind.GET,
        fault=content_range(lambda first, last, _: f"bytes {first}-{last}/*"),
        always=RIGHT | FAILED,
    ),
    Misbehaviour(
        name="200 with the whole object",
        workload=READ,
        on=Kind.GET,
        fault=_WHOLE,
        once=RIGHT,
        always=RIGHT,
    ),
    Misbehaviour(
        name="200 with the whole of another version",
        workload=READ,
        on=Kind.GET,
        fault=both(replace_object, ignoring("range", "if-match")),
        skip=1,
        once=RIGHT | ESTALE,
    ),
    Misbehaviour(
        name="no ETag",
        workload=READ,
        on=Kind.GET,
        fault=header("ETag", None),
        always=RIGHT | FAILED | ESTALE,
    ),
    Misbehaviour(
        name="replaced, If-Match ignored, no ETag",
        workload=READ,
        on=Kind.GET,
        fault=both(
            replace_object,
            ignoring("if-match", edit=lambda response: response.with_header("ETag", None)),
        ),
        skip=1,
        once=RIGHT | FAILED | ESTALE,
    ),
    Misbehaviour(
        name="a weak ETag",
        workload=READ,
        on=Kind.GET,
        fault=edited(lambda response: response.with_header("ETag", "W/" + response.header("ETag"))),
        always=RIGHT,
    ),
    Misbehaviour(
        name="an ETag without quotes",
        workload=READ,
        on=Kind.GET,
        fault=edited(
            lambda response: response.with_header("ETag", response.header("ETag").strip('"'))
        ),
        always=RIGHT,
    ),
    Misbehaviour(
        name="another ETag",
        workload=READ,
        on=Kind.GET,
        fault=header("ETag", _OTHER_ETAG),
        always=ESTALE,
    ),
    Misbehaviour(
        name="another ETag in the middle of a file",
        workload=READ,
        on=Kind.GET,
        fault=header("ETag", _OTHER_ETAG),
        skip=1,
        always=ESTALE,
    ),
    Misbehaviour(
        name="replaced while read",
        workload=READ,
        on=Kind.GET,
        fault=rewritten(replace_object),
        skip=1,
        once=RIGHT | ESTALE,
    ),
    Misbehaviour(
        name="replaced while read, If-Match ignored",
        workload=READ,
        on=Kind.GET,
        fault=both(replace_object, ignoring("if-match")),
        skip=1,
        once=RIGHT | ESTALE,
    ),
    Misbehaviour(
        name="replaced with every request, If-Match ignored",
        workload=READ,
        on=Kind.GET,
        fault=both(replace_object, ignoring("if-match")),
        always=ESTALE,
        tries_after=2,  # a readahead request may replace it once more
    ),
    Misbehaviour(
        name="deleted while read",
        workload=READ,
        on=Kind.GET,
        fault=rewritten(delete_object),
        skip=1,
        once=ESTALE,
        after=ENOENT | ESTALE,
    ),
    Misbehaviour(
        name="a response that claims gzip",
        workload=READ,
        on=Kind.GET,
        fault=header("Content-Encoding", "gzip"),
        always=RIGHT,
    ),
    Misbehaviour(
        name="a response that claims aws-chunked",
        workload=READ,
        on=Kind.GET,
        fault=header("Content-Encoding", "aws-chunked"),
        always=RIGHT,
    ),
    Misbehaviour(
        name="a response to another object's name",
        workload=READ_SMALL,
        on=Kind.GET,
        fault=edited(
            lambda response: replace(response, body=bytes(len(response.body))).with_header(
                "ETag", _OTHER_ETAG
            )
        ),
        once=RIGHT | ESTALE,
        always=ESTALE,
    ),
    Misbehaviour(
        name="If-None-Match ignored",
        workload=REOPEN,
        on=Kind.GET,
        fault=ignoring("if-none-match"),
        always=RIGHT,
    ),
    Misbehaviour(
        name="replaced before it is opened again",
        workload=REOPEN,
        on=Kind.GET,
        fault=rewritten(replace_object),
        once=RIGHT,
    ),
)
