"""Ways to answer untruthfully: well-formed answers about another object, another range or another listing.

As `http_faults`: each builds a fault for `hostile_store` to commit.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.faults.bucket import Response, xml
from tests.faults.hostile_store import Exchange, Fault
from tests.faults.http_faults import Edit, edited

# Other objects.


def rewritten(edit: Callable[[Exchange], None]) -> Fault:
    """Something happens to the bucket, and then the right answer is given."""

    def fault(exchange: Exchange) -> None:
        edit(exchange)
        exchange.reply(exchange.response)

    return fault


def replace_object(exchange: Exchange) -> None:
    """By what it never was before, however many requests are answered at once."""
    body = exchange.store.bucket.bodies(exchange.request.key)[-1]
    exchange.store.bucket.put(exchange.request.key, body[1:] + body[:1])


def delete_object(exchange: Exchange) -> None:
    exchange.store.bucket.delete(exchange.request.key)


def ignoring(*names: str, edit: Edit = lambda response: response) -> Fault:
    """As if these headers had not been in the request."""

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


def content_range(told: Callable[[int, int, int], str | None]) -> Fault:
    """The right bytes under another Content-Range, made of the right start, end and total."""

    def edit(response: Response) -> Response:
        first, last, total = (
            int(number) for number in re.findall(r"\d+", response.header("Content-Range"))
        )
        return response.with_header("Content-Range", told(first, last, total))

    return edited(edit)


def other_range(move: Callable[[int, int], tuple[int, int]]) -> Fault:
    """Another range than was asked for, honestly labelled."""

    def fault(exchange: Exchange) -> None:
        first, last = (
            int(number) for number in re.findall(r"\d+", exchange.request.headers["range"])
        )
        first, last = move(first, last)
        headers = {**exchange.request.headers, "range": f"bytes={first}-{last}"}
        exchange.request = replace(exchange.request, headers=headers)
        exchange.reply(exchange.response)

    return fault


# Other listings.


def rewrite(edit: Callable[[str], str]) -> Fault:
    """The right page, its XML edited."""
    return edited(lambda response: xml(edit(_text(response))))


def swap(pattern: str, replacement: str, count: int = 0) -> Fault:
    """The right page with each match of a regular expression (the first *count*, where given) replaced."""
    return rewrite(lambda text: re.sub(pattern, replacement, text, count=count))


def asking(changes: Mapping[str, str | None]) -> Fault:
    """The right page for another question: these parameters of the query changed, or dropped where None."""

    def fault(exchange: Exchange) -> None:
        exchange.request = exchange.request.asking(changes)
        exchange.reply(exchange.response)

    return fault


def _text(response: Response) -> str:
    return response.body.decode().partition("\n")[2]
