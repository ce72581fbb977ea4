"""Names as numbers: where, among names not seen yet, the one that comes so many behind will be.

Pure, and a guess. A name is read as a number of which each character is a digit, in the alphabet that has been seen at its place;
so names at even distances (counters, hashes, times) are numbers at even distances, and a straight line goes on through them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import takewhile, zip_longest
from operator import sub

_DIGITS = frozenset("0123456789")
_HEX = _DIGITS | frozenset("abcdef")
_END = ""  # the character behind the last one of a name: before all others in every order
_DEPTH = 12  # characters behind those that all names share: enough to tell one name in a trillion


class KeyInterpolator:
    """The space around *names*, some names at about equal distances in rising order; at least two."""

    def __init__(self, names: Sequence[str]) -> None:
        self._alphabets = _alphabets(names)
        numbers = [self._number(name) for name in names]
        # the widest step is left out: where a digit carries, there may be a gap in which no name can be
        *self._steps, _ = sorted(map(sub, numbers[1:], numbers)) or [0]

    def key_after(self, name: str, steps: int) -> str | None:
        """Where the name so many distances behind *name* would be, if they go on as they have; None where the space ends before."""
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
    """For each place what can stand there, in order.

    Places to the right of the first one that varies have turned over, and shown all there is. That one itself, and those to the left of
    it, have not: they are taken to be like the first that has, where that can hold what they show.
    """
    shared = _shared(names[0], names[-1])
    begin = len(shared)
    turning, *turned = [
        {*column}
        for column in zip_longest(*(name[begin : begin + _DEPTH] for name in names), fillvalue=_END)
    ] or [{_END}]
    varied = [column for column in turned if len(column) > 1] or [turning]
    others = frozenset[str]().union(turning, *varied)
    wheel = _whole(varied[0], others)
    slow = [*({character} for character in shared), turning]
    return [
        *(wheel if seen <= {*wheel} else _whole(seen, others) for seen in slow),
        *(_whole(seen, others) for seen in turned),
    ]


def _whole(seen: set[str], others: frozenset[str]) -> list[str]:
    """The alphabet of which *seen* is a part: digits, hexadecimal ones, or all that the names vary in."""
    if len(seen) == 1:
        return [*seen]
    return sorted(
        seen
        | next(alphabet for alphabet in (_DIGITS, _HEX, others | seen) if seen - {_END} <= alphabet)
    )


def _shared(one: str, other: str) -> str:
    """What both begin with."""
    return "".join(
        pair[0]
        for pair in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    )
