"""Parsers of words: names on one line, and lists of words of a table. Pure.

Every parser raises `ValueError` with half a sentence that says how the value is written; the caller
puts the name of the option in front.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from s3mount.config import EndpointVariant, Prefetch, Symlinks

Word = TypeVar("Word", bound=StrEnum)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # C0, DEL, C1, Unicode line ends


def parse_name(text: str) -> str:
    """A name on one line: of a user, of a profile."""
    if not text.strip():
        raise ValueError("it is empty")
    if has_control_characters(text):
        raise ValueError(f"{text!r} contains control characters")
    return text


def parse_prefetch(text: str) -> frozenset[Prefetch]:
    """Kinds of prefetch, or `all`."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*Prefetch, "all"):
            raise ValueError(
                f"{name!r} is not one of all, {', '.join(Prefetch)}"
                f"{suggestion(name, [*Prefetch, 'all'])}"
            )
    return frozenset(Prefetch if "all" in names else map(Prefetch, names))


def parse_variants(text: str) -> frozenset[EndpointVariant]:
    """Variants of AWS's endpoints."""
    return _parse_words(text, EndpointVariant)


def parse_symlinks(text: str) -> frozenset[Symlinks]:
    """Programs that keep symbolic links."""
    return _parse_words(text, Symlinks)


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean X?` with the closest of *names*; an empty text if none is close."""
    import difflib  # noqa: PLC0415 - for mistakes only

    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def has_control_characters(text: str) -> bool:
    """Whether *text* could span lines, or control a terminal."""
    return bool(_CONTROL.search(text))


def _parse_words(text: str, words: type[Word]) -> frozenset[Word]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(words):
            raise ValueError(
                f"{name!r} is not one of {', '.join(words)}{suggestion(name, list(words))}"
            )
    return frozenset(map(words, names))
