"""Binary fields of a record: fixed integers, byte strings with their length, columns.

Pure. Little endian on every machine. A reader never goes past the end of its record, and believes
no count before the bytes for it are there; what is malformed raises MalformedRecord.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

_U8: Final = struct.Struct("<B")
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_F64: Final = struct.Struct("<d")
ABSENT: Final = 0xFFFF  # the length of a text that is None
TEXT_MAX: Final = ABSENT - 1  # bytes


class MalformedRecord(Exception):
    """A record that no version of the program has written so, or one of another format."""


class UnwritableField(Exception):
    """A value that no field holds: the record is not written."""


class FieldWriter:
    """Fields, one after another."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def u8(self, value: int) -> None:
        self._parts.append(_U8.pack(value))

    def u16(self, value: int) -> None:
        self._parts.append(_U16.pack(value))

    def u32(self, value: int) -> None:
        self._parts.append(_U32.pack(value))

    def f64(self, value: float) -> None:
        self._parts.append(_F64.pack(value))

    def raw(self, value: bytes) -> None:
        self._parts.append(value)

    def column(self, typecode: str, values: Iterable[int]) -> None:
        """Add integers of the width of *typecode*; as many as the reader will ask for."""
        self._parts.append(_little_endian(array(typecode, values)).tobytes())

    def texts(self, texts: Sequence[bytes | None]) -> None:
        """Add byte strings, or None, of at most TEXT_MAX bytes each. UnwritableField."""
        if any(text is not None and len(text) > TEXT_MAX for text in texts):
            raise UnwritableField
        self.column("H", [ABSENT if text is None else len(text) for text in texts])
        self._parts.append(b"".join(text for text in texts if text))

    def content(self) -> bytes:
        return b"".join(self._parts)


class FieldReader:
    """Fields of *content*, in the order in which they were written."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def u8(self) -> int:
        return int(_U8.unpack(self.raw(_U8.size))[0])

    def u16(self) -> int:
        return int(_U16.unpack(self.raw(_U16.size))[0])

    def u32(self) -> int:
        return int(_U32.unpack(self.raw(_U32.size))[0])

    def f64(self) -> float:
        return float(_F64.unpack(self.raw(_F64.size))[0])

    def raw(self, size: int) -> bytes:
        """The next *size* bytes."""
        stop = self._at + size
        if stop > len(self._content):
            raise MalformedRecord("the record is too short")
        value = self._content[self._at : stop]
        self._at = stop
        return value

    def rest(self) -> bytes:
        """All that is left."""
        return self.raw(len(self._content) - self._at)

    def column(self, typecode: str, count: int) -> "array[int]":
        """The next *count* integers of the width of *typecode*."""
        values = array(typecode)
        values.frombytes(self.raw(count * values.itemsize))
        return _little_endian(values)

    def texts(self, count: int) -> list[bytes | None]:
        """The next *count* byte strings."""
        lengths = self.column("H", count)
        joined = self.raw(sum(length for length in lengths if length != ABSENT))
        texts: list[bytes | None] = []
        at = 0
        for length in lengths:
            if length == ABSENT:
                texts.append(None)
            else:
                texts.append(joined[at : at + length])
                at += length
        return texts

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._content)

    def end(self) -> None:
        """Check that nothing is left."""
        if not self.is_at_end:
            raise MalformedRecord("the record is too long")


def _little_endian(values: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        values.byteswap()
    return values
