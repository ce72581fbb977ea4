"""HTTP faults: broken, late, malformed and refused responses.

Each function builds a fault for `hostile_store`, and knows one exchange. `catalogue` says which
outcomes are correct.
"""

import socket
from collections.abc import Callable
from dataclasses import replace

from tests.faults.bucket import Response, failure
from tests.faults.hostile_store import Exchange, Fault, HangUp

Edit = Callable[[Response], Response]
Ending = Callable[[Exchange, bytes], None]  # receives the unsent rest of the response

HTML = b"<!DOCTYPE html><html><head><title>Oops</title></head><body><h1>Bad luck</h1></body></html>"


# ---- truncated responses: the portion that is sent, and how the connection goes on


def nothing(response: Response) -> int:
    del response
    return 0


def half_the_head(response: Response) -> int:
    return len(response.head) // 2


def the_head(response: Response) -> int:
    return len(response.head)


def half_the_body(response: Response) -> int:
    return len(response.head) + len(response.body) // 2


def all_but_a_byte(response: Response) -> int:
    return len(response.head) + len(response.body) - 1


def reset(exchange: Exchange, rest: bytes) -> None:
    del rest
    exchange.reset()


def finish(exchange: Exchange, rest: bytes) -> None:
    del exchange, rest
    raise HangUp


def half_close(exchange: Exchange, rest: bytes) -> None:
    del rest
    exchange.connection.shutdown(socket.SHUT_WR)
    exchange.pause()


def stall(exchange: Exchange, rest: bytes) -> None:
    del rest
    exchange.pause()


def drip(exchange: Exchange, rest: bytes) -> None:
    """Send a byte every half second: never silent, never complete."""
    for octet in rest:
        exchange.send(bytes((octet,)))
        exchange.pause(0.5)


def crumble(exchange: Exchange, rest: bytes) -> None:
    """Send single bytes without delay."""
    for start in range(min(len(rest), 2000)):
        exchange.send(rest[start : start + 1])
    exchange.send(rest[2000:])


def broken(portion: Callable[[Response], int], ending: Ending) -> Fault:
    """Send the correct response up to *portion*, then do *ending*."""

    def fault(exchange: Exchange) -> None:
        response = exchange.stamp(exchange.response)
        octets, sent = response.head + response.sent_body, portion(response)
        exchange.send(octets[:sent])
        ending(exchange, octets[sent:])

    return fault


def delayed(seconds: float, fault: Fault | None = None) -> Fault:
    def late(exchange: Exchange) -> None:
        exchange.pause(seconds)
        (fault or edited(lambda response: response))(exchange)

    return late


# ---- bytes after a correct response


def followed(octets: bytes) -> Fault:
    """Send the correct response and, directly after it, unrequested *octets*."""

    def fault(exchange: Exchange) -> None:
        response = exchange.stamp(exchange.response)
        exchange.send(response.head + response.sent_body + octets)

    return fault


def followed_by_another_response(exchange: Exchange) -> None:
    """Send the correct response, and then a plausible one to another request."""
    response = exchange.stamp(exchange.response)
    other = replace(response, body=bytes(len(response.body)))
    exchange.send(response.head + response.sent_body + other.head + other.sent_body)


def then(ending: Ending) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.reply(exchange.response)
        ending(exchange, b"")

    return fault


# ---- malformed responses


def raw(octets: bytes, ending: Ending = finish) -> Fault:
    """Send *octets* instead of a response."""

    def fault(exchange: Exchange) -> None:
        exchange.send(octets)
        ending(exchange, b"")

    return fault


def preceded(octets: bytes) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.send(octets)
        exchange.reply(exchange.response)

    return fault


def endless(octets: bytes, *, before: bytes = b"") -> Fault:
    """Send *octets* again and again, as fast as the client reads."""

    def fault(exchange: Exchange) -> None:
        exchange.send(before)
        while not exchange.store.faults_ended.is_set():
            exchange.send(octets * 64)
        raise HangUp

    return fault


def status_line(line: bytes) -> Fault:
    def fault(exchange: Exchange) -> None:
        response = exchange.stamp(exchange.response)
        exchange.send(line + response.head[len(response.status_line) :] + response.sent_body)
        raise HangUp

    return fault


def head_line(line: bytes) -> Fault:
    """Add a line to the header, byte by byte as given, its line ending included."""

    def fault(exchange: Exchange) -> None:
        response = exchange.stamp(exchange.response)
        exchange.send(response.head[:-2] + line + b"\r\n" + response.sent_body)

    return fault


def bare_line_feeds(exchange: Exchange) -> None:
    response = exchange.stamp(exchange.response)
    exchange.send(response.head.replace(b"\r\n", b"\n") + response.sent_body)


def chunked(
    encode: Callable[[bytes], bytes], ending: Ending | None = None, *, has_length: bool = False
) -> Fault:
    """Send the body in the transfer coding that *encode* applies."""

    def fault(exchange: Exchange) -> None:
        response = exchange.stamp(exchange.response).with_header("Transfer-Encoding", "chunked")
        if not has_length:
            response = response.with_header("Content-Length", None)
        exchange.send(response.head + (encode(response.body) if response.sent_body else b""))
        if ending is not None:
            ending(exchange, b"")

    return fault


def chunks(
    body: bytes, *, size: int = 10_000, extension: bytes = b"", last: bytes = b"0\r\n\r\n"
) -> bytes:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces) + last


def until_close(portion: Callable[[Response], int]) -> Fault:
    """Send a body without a length, which ends with the connection."""

    def fault(exchange: Exchange) -> None:
        response = (
            exchange.stamp(exchange.response)
            .with_header("Content-Length", None)
            .with_header("Connection", "close")
        )
        exchange.send((response.head + response.sent_body)[: portion(response)])
        raise HangUp

    return fault


def everything(response: Response) -> int:
    return len(response.head) + len(response.body)


# ---- other responses


def edited(edit: Edit, ending: Ending | None = None) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.reply(edit(exchange.response))
        if ending is not None:
            ending(exchange, b"")

    return fault


def header(name: str, value: str | None) -> Fault:
    """Set this header of the correct response, or remove it if *value* is None."""
    return edited(lambda response: response.with_header(name, value))


def length(change: Callable[[int], str]) -> Fault:
    """Send the correct body under another Content-Length, and close the connection."""
    return edited(
        lambda response: response.with_header("Content-Length", change(len(response.body))), finish
    )


def resized(resize: Callable[[bytes], bytes]) -> Fault:
    """Send another body, with its correct length."""

    def edit(response: Response) -> Response:
        body = resize(response.body)
        return replace(response, body=body).with_header("Content-Length", str(len(body)))

    return edited(edit)


def refused(status: int, code: str, message: str = "No", *headers: tuple[str, str]) -> Fault:
    """Send S3's error document with this status."""
    response = failure(status, code, message)
    return edited(lambda _: replace(response, headers=(*response.headers, *headers)))


def bodiless(status: int, *headers: tuple[str, str]) -> Fault:
    """Send a status without a body."""
    return edited(lambda _: Response(status, (("Content-Length", "0"), *headers)))


def page(status: int, body: bytes = HTML, kind: str = "text/html") -> Fault:
    """Send a document of a proxy or a captive portal."""
    return edited(
        lambda _: Response(
            status, (("Content-Type", kind), ("Content-Length", str(len(body)))), body
        )
    )


def redirect(status: int, code: str) -> Fault:
    """Redirect to a server that records its requests."""

    def fault(exchange: Exchange) -> None:
        target = exchange.store.elsewhere + exchange.request.target
        exchange.reply(failure(status, code, "Go elsewhere").with_header("Location", target))

    return fault
