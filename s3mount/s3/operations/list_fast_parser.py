"""The objects of a listing page read as columns, by one regular expression: a third of what a tree of elements costs.

For pages as stores write them: each `Contents` has the parts of the first one, in its order, and plain text in them. What the
expression does not cover stays behind for the XML parser, so nothing is believed here that the parser would refuse: a part's
text excludes every character that means something to XML, or that it forbids.
"""

import re
from typing import NamedTuple

from s3mount.s3.limits import ROWS_LIMIT, SMALL_DOCUMENT, TEXT_LIMIT, WORD_LIMIT

LEFT = "<Contents/>"  # what stands in a document for each element that was taken out

_TEXT = rf"[^<>&\x00-\x1f\x7f\ufffe\uffff]{{0,{TEXT_LIMIT}}}+"
_WORD = rf"[^<>&\x00-\x1f\x7f\ufffe\uffff]{{0,{WORD_LIMIT}}}+"
_BARE = rf"[!#-%'-;=?-~]{{0,{WORD_LIMIT}}}+"  # what plain_etag would leave as it is
_QUOTE = r'(?:&quot;|&#34;|")?'
_SPACE = "[ \\n]*+"
_PART = re.compile("<([A-Za-z]+)>[^<]*</\\1>")
# Behind the ETag, for some objects of a page: those uploaded with a checksum.
_CHECKSUM = f"(?:<ChecksumAlgorithm>{_TEXT}</ChecksumAlgorithm>|<ChecksumType>{_TEXT}</ChecksumType>|[ \\n])*+"
_COLUMNS = {
    "Key": f"<Key>({_TEXT})</Key>",
    "Size": "<Size>([0-9]{1,18})</Size>",
    "LastModified": f"<LastModified>({_TEXT})</LastModified>",
    "ETag": f"<ETag>{_QUOTE}(?!W/)({_BARE}){_QUOTE}</ETag>{_CHECKSUM}",
    "StorageClass": f"<StorageClass>({_WORD})</StorageClass>",
}
_NEEDED = {"Key", "Size", "LastModified"}
_OTHERS = ("ChecksumAlgorithm", "ChecksumType")


PARTS = tuple(_COLUMNS)


class Columns(NamedTuple):
    """A column for each of `PARTS`, with "" for what an object does not have. ETags are without quotes."""

    keys: list[str]
    sizes: list[str]
    stamps: list[str]
    etags: list[str]
    storage_classes: list[str]


def take_columns(body: bytes) -> tuple[Columns, bytes] | None:
    """The objects of the page *body*, and what is left of it with `LEFT` for each; None where it is not written plainly.

    Holds if `LEFT` then stands for children of the root, as many as there are rows.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    if (
        "<!" in text or text.rfind("<?") > 0
    ):  # comments and the like could hold what looks like objects
        return None
    first = text[text.find("<Contents>") : text.find("</Contents>")]
    if len(first) > SMALL_DOCUMENT:
        return None
    names = [name for name in _PART.findall(first) if name not in _OTHERS]
    if len(set(names)) != len(names) or not _NEEDED <= set(names) <= _COLUMNS.keys():
        return None
    pieces = _pattern(names, _SPACE if "\n" in first else "").split(text, ROWS_LIMIT)
    between = pieces[:: len(names) + 1]
    if "<Contents" in "".join(between):
        return None
    columns = {name: pieces[place :: len(names) + 1] for place, name in enumerate(names, start=1)}
    nothing = [""] * (len(between) - 1)
    return Columns(*(columns.get(name, nothing) for name in PARTS)), LEFT.join(between).encode()


def _pattern(names: list[str], space: str) -> re.Pattern[str]:
    """One `Contents`. `re` keeps what it has compiled."""
    parts = space.join(_COLUMNS[name] for name in names)
    return re.compile(f"<Contents>{space}{parts}{space}</Contents>")
