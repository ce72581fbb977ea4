"""Content faults: well-formed responses about another object, range or listing.

Each function builds a fault for `hostile_store`, like those of `http_faults`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.faults.bucket import Response, xml
from tests.faults.hostile_store import Exchange, Fault
from tests.faults.http_faults import Edit, edited

# ---- objects


def rewritten(edit: Callable[[Exchange], None]) -> Fault:
    """Apply *edit* to the bucket, then respond correctly."""

    def fault(exchange: Exchange) -> None:
        edit(exchange)
        exchange.reply(exchange.response)

    return fault


def replace_object(exchange: Exchange) -> None:
    """Replace the object by content that it never had, even if many requests run at once."""
    body = exchange.store.bucket.bodies(exchange.request.key)[-1]
    exchange.store.bucket.put(exchange.request.key, body[1:] + body[:1])


def delete_object(exchange: Exchange) -> None:
    exchange.store.bucket.delete(exchange.request.key)


def ignoring(*names: str, edit: Edit = lambda response: response) -> Fault:
    """Respond as if these headers had not been in the request."""

    def fault(exchange: Exchange) -> None:
        headers = {
            name: value for name, value in exchange.request.headers.items() if name not in names
        }
        exchange.request = replace(exchange.request, headers=headers)
        exchange.reply(edit(exchange.response))

    return fault


def both(first: Callable[[Exchange], None], second: Fault) -> Fault:
    def fault(exchange: Exchange) -> None:
        first(exchange)
        second(exchange)

    return fault


def content_range(change: Callable[[int, int, int], str | None]) -> Fault:
    """Send the right bytes with a Content-Range computed from the true first, last and total."""

    def edit(response: Response) -> Response:
        if response.status != 206:  # of a whole object
            return response
        first, last, total = (
            int(number) for number in re.findall(r"\d+", response.header("Content-Range"))
        )
        return response.with_header("Content-Range", change(first, last, total))

    return edited(edit)


def other_range(move: Callable[[int, int], tuple[int, int]]) -> Fault:
    """Send another range than requested, correctly labelled."""

    def fault(exchange: Exchange) -> None:
        requested = exchange.request.headers.get("range")
        if requested is None:  # of a whole object
            exchange.reply(exchange.response)
            return
        first, last = move(*(int(number) for number in re.findall(r"\d+", requested)))
        headers = {**exchange.request.headers, "range": f"bytes={first}-{last}"}
        exchange.request = replace(exchange.request, headers=headers)
        exchange.reply(exchange.response)

    return fault


# ---- listings


def rewrite(edit: Callable[[str], str]) -> Fault:
    """Send the correct page with its XML edited."""
    return edited(lambda response: xml(edit(_text(response))))


def swap(pattern: str, replacement: str, count: int = 0) -> Fault:
    """Send the correct page with the matches of *pattern* replaced, or only *count* of them."""
    return rewrite(lambda text: re.sub(pattern, replacement, text, count=count))


def asking(changes: Mapping[str, str | None]) -> Fault:
    """Send the page of another request: query parameters set, or removed if None."""

    def fault(exchange: Exchange) -> None:
        exchange.request = exchange.request.with_query(changes)
        exchange.reply(exchange.response)

    return fault


def _text(response: Response) -> str:
    return response.body.decode().partition("\n")[2]
