"""Interpolation of keys: a guess of the name that comes so many after the names seen so far.

Pure. A name is read as a number whose characters are digits, each in the alphabet that has been
seen at its position. So names at even distances (counters, hashes, times) are numbers at even
distances, and a straight line goes on through them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import takewhile, zip_longest
from operator import sub

_DIGITS = frozenset("0123456789")
_HEX = _DIGITS | frozenset("abcdef")
_END = ""  # the character after the last one of a name: before all others in every order
_DEPTH = 12  # characters after those that all names share: enough to tell one in a trillion apart


class KeyInterpolator:
    """Extrapolates from *names*: at least two, rising, at about equal distances."""

    def __init__(self, names: Sequence[str]) -> None:
        self._alphabets = _alphabets(names)
        numbers = [self._number(name) for name in names]
        # without the widest step: where a digit carries, there may be a gap that no name can fill
        *self._steps, _ = sorted(map(sub, numbers[1:], numbers)) or [0]

    def key_after(self, name: str, steps: int) -> str | None:
        """The name *steps* distances after *name*; None if there can be none."""
        if not self._steps:
            return None
        guess = self._name(self._number(name) + sum(self._steps) * steps // len(self._steps))
        return guess if guess is not None and guess > name else None

    def _number(self, name: str) -> int:
        number = 0
        for at, alphabet in enumerate(self._alphabets):
            digit = bisect_left(alphabet, name[at : at + 1])
            number = number * len(alphabet) + min(digit, len(alphabet) - 1)
        return number

    def _name(self, number: int) -> str | None:
        characters = []
        for alphabet in reversed(self._alphabets):
            number, digit = divmod(number, len(alphabet))
            characters.append(alphabet[digit])
        if number:
            return None
        characters.reverse()
        return "".join(characters[: characters.index(_END)] if _END in characters else characters)


def _alphabets(names: Sequence[str]) -> list[list[str]]:
    """The alphabet of each position, in order.

    Positions to the right of the first that varies have turned over, and shown all characters. That
    one itself, and those to the left of it, have not: they are taken to be like the first that has,
    if its alphabet has what they show.
    """
    shared = _shared(names[0], names[-1])
    begin = len(shared)
    tails = (name[begin : begin + _DEPTH] for name in names)
    turning, *turned = [{*column} for column in zip_longest(*tails, fillvalue=_END)] or [{_END}]
    varied = [column for column in turned if len(column) > 1] or [turning]
    others = frozenset[str]().union(turning, *varied)
    wheel = _whole(varied[0], others)
    slow = [*({character} for character in shared), turning]
    return [
        *(wheel if seen <= {*wheel} else _whole(seen, others) for seen in slow),
        *(_whole(seen, others) for seen in turned),
    ]


def _whole(seen: set[str], others: frozenset[str]) -> list[str]:
    """The alphabet with *seen* in it: digits, hexadecimal digits, or all that the names vary in."""
    if len(seen) == 1:
        return [*seen]
    alphabets = (_DIGITS, _HEX, others | seen)
    return sorted(seen | next(each for each in alphabets if seen - {_END} <= each))


def _shared(one: str, other: str) -> str:
    """The common beginning of two names."""
    pairs = zip(one, other, strict=False)
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
