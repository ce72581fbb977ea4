"""Generated bucket: any number of keys of one form, of which nothing is stored.

All entries have the same length, so a listing is one long row of bytes of which a page is a slice.
"""

import bisect
from collections.abc import Iterator

from benchmarks.content import KIB, MIB, body

DIGITS = 7
_BLOCK = 1000  # entries rendered at a time; those of the next block differ in four digits
_MAX_KEYS = 1000
_ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>2024-05-01T12:00:00.000Z</LastModified>"
    "<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)
_PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>{bucket}</Name><Prefix>{prefix}</Prefix><MaxKeys>{max_keys}</MaxKeys><KeyCount>{count}</KeyCount>"
    "<IsTruncated>{truncated}</IsTruncated>{next}"
)


class GeneratedBucket:
    """*count* keys, in S3's order; objects of *size* bytes, as `content.body` has them.

    *form* is a key with seven # for the digits of its number, the first four of them together.
    """

    def __init__(self, count: int, form: str = "object-#######", size: int = KIB) -> None:
        if form.count("#") != DIGITS or "####" not in form:
            raise ValueError(f"not a form of keys: {form!r}")
        self.size = size
        self._form, self._filled = form, form.replace("#", "%s")
        self._numbers = range(count)
        self._block = "".join(map(self._entry, range(_BLOCK))).encode()
        self._entry_length = len(self._block) // _BLOCK

    def key(self, number: int) -> str:
        return self._filled % tuple(f"{number:0{DIGITS}}")

    def etag(self, key: str) -> str | None:
        """Return the ETag of the object *key*, without quotes; None if there is none."""
        number = bisect.bisect_left(self._numbers, key, key=self.key)
        found = number < len(self._numbers) and self.key(number) == key
        return f"{number:032}" if found else None

    def select(self, prefix: str, after: str) -> range:
        """Return the numbers of the keys that start with *prefix* and sort after *after*."""
        begin = bisect.bisect_left(self._numbers, prefix, key=self.key)
        end = bisect.bisect_right(
            self._numbers, prefix, key=lambda number: self.key(number)[: len(prefix)]
        )
        return self._numbers[
            max(begin, bisect.bisect_right(self._numbers, after, key=self.key)) : end
        ]

    def page(self, bucket: str, query: dict[str, str]) -> bytes:
        """Return a page of ListObjects, v2 or v1; its token is its last key or common prefix."""
        is_v2 = query.get("list-type") == "2"
        token = query.get("continuation-token" if is_v2 else "marker", "")
        after, prefix = token or query.get("start-after", ""), query.get("prefix", "")
        max_keys = min(int(query.get("max-keys", _MAX_KEYS)), _MAX_KEYS)
        wanted = self.select(prefix, after)
        # all keys have one form: below a prefix, all are grouped by the delimiter, or none is
        cut = self._form.find(query.get("delimiter") or "\0", len(prefix)) + 1
        if cut:
            groups = self._groups(wanted, cut, token)
            taken, total = groups[:max_keys], len(groups)
            last = self._group(taken[-1], cut) if taken else ""
            listed = "".join(
                f"<CommonPrefixes><Prefix>{self._group(group, cut)}</Prefix></CommonPrefixes>"
                for group in taken
            ).encode()
        else:
            taken, total = wanted[:max_keys], len(wanted)
            last = self.key(taken[-1]) if taken else ""
            listed = self._entries(taken)
        more = bool(taken) and len(taken) < total
        name = "NextContinuationToken" if is_v2 else "NextMarker"
        head = _PAGE.format(
            bucket=bucket,
            prefix=prefix,
            max_keys=max_keys,
            count=len(taken),
            truncated=str(more).lower(),
            next=f"<{name}>{last}</{name}>" if more else "",
        )
        return head.encode() + listed + b"</ListBucketResult>"

    def _entry(self, number: int) -> str:
        """Return the entry of *number* below 1,000, with @@@@ in place of its first digits."""
        return _ENTRY.format(
            key=self._filled % tuple(f"@@@@{number:03}"),
            etag=f"{'0' * 25}@@@@{number:03}",
            size=self.size,
        )

    def _entries(self, numbers: range) -> bytes:
        """Return the <Contents> elements of consecutive *numbers*."""
        if not numbers:
            return b""
        blocks = range(numbers[0] // _BLOCK, numbers[-1] // _BLOCK + 1)
        rendered = b"".join(self._block.replace(b"@@@@", b"%04d" % block) for block in blocks)
        first = numbers[0] % _BLOCK
        return rendered[first * self._entry_length : (first + len(numbers)) * self._entry_length]

    def _groups(self, numbers: range, cut: int, token: str) -> range:
        """Return the numbers of the common prefixes of *cut* characters, those behind *token*."""
        if not numbers:
            return range(0)
        width = 10 ** self._form.count("#", cut)
        first = numbers[0] // width
        return range(first + (token == self._group(first, cut)), numbers[-1] // width + 1)

    def _group(self, number: int, cut: int) -> str:
        return self.key(number * 10 ** self._form.count("#", cut))[:cut]


def pieces(start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of any object from *start* to *stop*, some at a time."""
    while start < stop:
        end = min(stop, start // MIB * MIB + MIB)
        begin = start // (4 * KIB) * (4 * KIB)
        yield body(begin, end)[start - begin :]
        start = end
