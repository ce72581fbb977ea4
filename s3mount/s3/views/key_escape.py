"""Escape of keys: paths of file names for all keys, one to one. Pure.

A component that a file can have as its name stays as it is. The others are escaped, and so is what
looks escaped:

- `%file=` stands before the last component of a key, and `%dir=` before another one: an empty one,
  `.`, `..`, one with a NUL, and one that begins with any of the three marks. `d/%file=` is the
  object `d/`. `%file=a` is also the file `a` beside a directory of its name.
- A component that has no room for a mark in one name is a directory for each part of it, of about
  200 bytes, which begins with `%long=`. The rest is a component in the last of them.
- After a mark a NUL is written `%00`, and a `%` before `00` or `25` is written `%25`.

A key has one path: what is escaped without need, or cut elsewhere, is none. So what decides is
always whether the names are those that `names` gives.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

FILE: Final = "%file="
DIRECTORY: Final = "%dir="
LONG: Final = "%long="
_MARKS: Final = (FILE, DIRECTORY, LONG)
_NAME_MAX: Final = 255  # bytes, see limits.h
_SHORT: Final = _NAME_MAX - max(map(len, _MARKS))  # bytes, quoted, for which a mark has room
_PART: Final = 200  # bytes, quoted, of a part of a longer component, at most
_CHARACTER: Final = 4  # bytes of a character, quoted, at most
_SHORT_TEXT: Final = _SHORT // _CHARACTER  # characters that are never more bytes than that
_QUOTED: Final = {"\0": "%00", "%": "%25"}
_UNQUOTED: Final = {quoted: text for text, quoted in _QUOTED.items()}
_TO_QUOTE: Final = re.compile("\0|%(?=00|25)")
_TO_UNQUOTE: Final = re.compile("%(?:00|25)")


class EscapedKey(NamedTuple):
    """The key that a path stands for. *is_shadowed*: only beside a directory of its name."""

    key: str
    is_shadowed: bool


class EscapedPrefix(NamedTuple):
    """The keys that a directory stands for: those that begin with *above* and *begun*.

    *above* is empty or ends with a slash. *begun* is the beginning of one over-long component,
    which *names* spell; a component that begins with it has these names, or is elsewhere.
    """

    above: str
    begun: str
    names: tuple[str, ...]

    @property
    def prefix(self) -> str:
        return self.above + self.begun

    def has(self, key: str) -> bool:
        """Whether *key*, which begins with the prefix, is of this directory."""
        component = key[len(self.above) :].partition("/")[0]
        return names(component, is_directory=False)[: len(self.names)] == self.names


class KeyEscape:
    """The escape, as the listings of a tree need it."""

    def names(self, component: str, *, is_directory: bool) -> tuple[str, ...]:
        """The names of a component of a key: directories, but perhaps for the last."""
        return names(component, is_directory=is_directory)

    def shadowed(self, name: str) -> str:
        """The name of a file beside a directory *name*."""
        return FILE + _quoted(name)

    def unescape(self, path: str) -> str:
        """What the keys have that a directory stands for, by its *path*, which ends with a slash.

        The path may also be in a directory that is the beginning of an over-long component.
        """
        parts, begun = _parts(path.split("/")[:-1])
        return "".join(f"{part.text}/" for part in parts) + begun.text


def names(component: str, *, is_directory: bool) -> tuple[str, ...]:
    """The names of *component* of a key, see `KeyEscape.names`."""
    found, start = [], 0
    while len(component) - start > _SHORT_TEXT:
        begin = component[start : start + _SHORT + 1]
        if _size(begin) <= _SHORT:
            break
        length = _part_length(begin)
        found.append(LONG + _quoted(begin[:length]))
        start += length
    component = component[start:]
    if _is_escaped(component):
        component = (DIRECTORY if is_directory else FILE) + _quoted(component)
    return (*found, component)


def key_of(path: str) -> EscapedKey | None:
    """The key that the file at *path* stands for; None if it can stand for none."""
    parts, begun = _parts(path.split("/"))
    if begun.names or not _are_directories(parts[:-1]):
        return None
    text, spelt = parts[-1]
    key = "".join(f"{part.text}/" for part in parts[:-1]) + text
    *long, name = names(text, is_directory=False)
    if spelt == (*long, name):
        return EscapedKey(key, is_shadowed=False)
    is_shadowed = spelt == (*long, FILE + _quoted(name))
    return EscapedKey(key, is_shadowed=True) if is_shadowed else None


def prefix_of(path: str) -> EscapedPrefix | None:
    """The keys that the directory *path* ("", or ending with a slash) stands for; None if none."""
    parts, begun = _parts(path.split("/")[:-1])
    are_parts = all(_size(_text(name)) > _PART - _CHARACTER for name in begun.names)
    if not are_parts or not _are_directories(parts):
        return None
    above = "".join(f"{part.text}/" for part in parts)
    return EscapedPrefix(above, begun.text, begun.names)


class _Part(NamedTuple):
    """Text of one component, and the names that spell it."""

    text: str
    names: tuple[str, ...]


def _parts(spelt: Iterable[str]) -> tuple[list[_Part], _Part]:
    """The components that names spell, and the beginning of another one."""
    parts, text, its_names = list[_Part](), "", tuple[str, ...]()
    for name in spelt:
        text += _text(name)
        its_names = (*its_names, name)
        if not name.startswith(LONG):
            # two names may each have a part of a character, which no key has
            whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
            parts.append(_Part(whole, its_names))
            text, its_names = "", ()
    return parts, _Part(text, its_names)


def _are_directories(parts: Sequence[_Part]) -> bool:
    return all(names(text, is_directory=True) == spelt for text, spelt in parts)


def _text(name: str) -> str:
    for mark in _MARKS:
        if name.startswith(mark):
            return _TO_UNQUOTE.sub(lambda match: _UNQUOTED[match[0]], name[len(mark) :])
    return name


def _is_escaped(component: str) -> bool:
    """Whether a component that is short enough has a mark."""
    return component in ("", ".", "..") or component.startswith(_MARKS) or "\0" in component


def _quoted(text: str) -> str:
    return _TO_QUOTE.sub(lambda match: _QUOTED[match[0]], text)


def _size(text: str) -> int:
    """The bytes of *text* in an escaped name."""
    return len(_quoted(text).encode("utf-8", "surrogateescape"))


def _part_length(text: str) -> int:
    """How many characters the first part of *text* has, which is longer: as many as fit."""
    lengths = range(min(len(text), _PART) + 1)
    return bisect_right(lengths, _PART, key=lambda length: _size(text[:length])) - 1
