"""HTTP faults: status lines, headers, lengths and transfer codings."""

from functools import partial

from tests.faults.bucket import Kind
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.http_faults import (
    bare_line_feeds,
    chunked,
    chunks,
    endless,
    everything,
    finish,
    half_the_body,
    head_line,
    header,
    length,
    preceded,
    raw,
    status_line,
    until_close,
)
from tests.faults.workloads import LIST, READ, READ_SMALL, STAT

RIGHT, FAILED = Outcome.RIGHT, Outcome.FAILED

_ONLY_ONCE_BAD = {
    "no HTTP at all": raw(b"220 mail.example.com ESMTP\r\n"),
    "binary noise": raw(bytes(range(256)) * 8),
    "a body without head (HTTP/0.9)": raw(b"<html>hello</html>"),
    "an HTTP/2 preface": raw(
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0\0\x06\0\0\x40\0"
    ),
    "a TLS alert": raw(b"\x15\x03\x01\0\x02\x02\x28"),
    "a status that is no number": status_line(b"HTTP/1.1 banana OK\r\n"),
    "status 99": status_line(b"HTTP/1.1 99 Low\r\n"),
    "status 999": status_line(b"HTTP/1.1 999 High\r\n"),
    "status 101, switching protocols": status_line(b"HTTP/1.1 101 Switching Protocols\r\n"),
    "a head of 1 MB in one line": head_line(b"X-Long: " + b"x" * 1_000_000 + b"\r\n"),
    "a head of 20,000 lines": head_line(b"X-Many: y\r\n" * 20_000),
    "a head without end": endless(b"X-More: and more\r\n", before=b"HTTP/1.1 200 OK\r\n"),
    "two lengths that differ": head_line(b"Content-Length: 7\r\n"),
    "a negative length": length(lambda _: "-5"),
    "a length that is no number": length(lambda _: "many"),
    "a length of 10^18": length(lambda _: str(10**18)),
    "a length of 10^4000": length(lambda _: "1" + "0" * 4000),
    "a length that is too long by one": length(lambda size: str(size + 1)),
    "a length that is too short by one": length(lambda size: str(size - 1)),
    "a length of zero": length(lambda _: "0"),
    "chunks cut within one": chunked(lambda body: chunks(body)[: len(body) // 2], finish),
    "a chunk size that is no number": chunked(lambda _: b"zz\r\nhello\r\n0\r\n\r\n", finish),
    "a negative chunk size": chunked(lambda _: b"-5\r\nhello\r\n0\r\n\r\n", finish),
    "chunks that end early": chunked(lambda body: chunks(body[:-1])),
    "a truncated body without a length": until_close(half_the_body),
    "a 103 without end": endless(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
}

_HARMLESS = {
    "HTTP/1.0": status_line(b"HTTP/1.0 200 OK\r\n"),
    "no reason in the status line": status_line(b"HTTP/1.1 200\r\n"),
    "100 Continue first": preceded(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunks": chunked(chunks),
    "chunks of one byte each": chunked(partial(chunks, size=1)),
    "chunks with extensions and trailers": chunked(
        partial(chunks, extension=b";name=value", last=b"0\r\nX-Trailer: yes\r\n\r\n")
    ),
    "a body without a length": until_close(everything),
    "Connection: close": header("Connection", "close"),
    "headers that are not ASCII": head_line(b"X-Amz-Meta-Name: J\xc3\xbcrgen \xff\r\n"),
    "odd spelling of header names": head_line(
        b"SERVER: x\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    ),
    "a date of another century": header("Date", "Mon, 01 Jan 1900 00:00:00 GMT"),
}

_DOUBTFUL = {
    "103 Early Hints first": preceded(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "a NUL in the head": head_line(b"X-Nul: a\0b\r\n"),
    "a line in the head without colon": head_line(b"what is this\r\n"),
    "an unknown transfer coding": header("Transfer-Encoding", "gzip, chunked"),
    "chunks that say too much": chunked(lambda body: chunks(body + b"x")),
    "a chunk of 10^18 bytes": chunked(lambda body: b"DE0B6B3A7640000\r\n" + body, finish),
    "chunks without the last": chunked(partial(chunks, last=b""), finish),
    "lines that end in a bare line feed": bare_line_feeds,
    "a folded header": head_line(b"X-Folded: a\r\n b\r\n"),
    "chunks and a length": chunked(chunks, has_length=True),
    "the same length twice": head_line(b"Content-Length: 50000\r\n"),
}

ROWS = (
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT, always=FAILED)
        for name, fault in _ONLY_ONCE_BAD.items()
    ),
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, always=RIGHT)
        for name, fault in _HARMLESS.items()
    ),
    *(
        Misbehaviour(name, READ_SMALL, Kind.GET, fault, once=RIGHT, always=RIGHT | FAILED)
        for name, fault in _DOUBTFUL.items()
    ),
    Misbehaviour("a large body in chunks", READ, Kind.GET, chunked(chunks), always=RIGHT),
    Misbehaviour("a listing in chunks", LIST, Kind.LIST, chunked(chunks), always=RIGHT),
    Misbehaviour(
        "a listing in chunks, cut",
        LIST,
        Kind.LIST,
        chunked(partial(chunks, last=b""), finish),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        "a listing without a length", LIST, Kind.LIST, until_close(everything), always=RIGHT
    ),
    Misbehaviour(
        "a truncated listing without a length",
        LIST,
        Kind.LIST,
        until_close(half_the_body),
        once=RIGHT,
        always=FAILED,
    ),
    Misbehaviour(
        "a HEAD without a length of any kind",
        STAT,
        Kind.HEAD,
        header("Content-Length", None),
        always=RIGHT | FAILED,
    ),
)
