"""Parser of a listing page's objects into columns, by one regular expression.

Costs a third of a tree of elements. It is for pages as stores write them: each `Contents` has the
parts of the first one, in its order, with plain text in them. What the expression does not match
stays in the document for the XML parser. So nothing is accepted here that the XML parser would
refuse: a part's text excludes every character that XML gives a meaning to, or forbids.
"""

import re
from typing import NamedTuple

from s3mount.s3.limits import ROWS_LIMIT, SMALL_DOCUMENT, TEXT_LIMIT, WORD_LIMIT

REST = "<Contents/>"  # what stands in a document for each element that was taken out

_TEXT = rf"[^<>&\x00-\x1f\x7f\ufffe\uffff]{{0,{TEXT_LIMIT}}}+"
_WORD = rf"[^<>&\x00-\x1f\x7f\ufffe\uffff]{{0,{WORD_LIMIT}}}+"
_BARE = rf"[!#-%'-;=?-~]{{0,{WORD_LIMIT}}}+"  # what `plain_etag` leaves as it is
_QUOTE = r'(?:&quot;|&#34;|")?'
_SPACE = "[ \\n]*+"
_PART = re.compile("<([A-Za-z]+)>[^<]*</\\1>")
# Follows the ETag of those objects of a page that were uploaded with a checksum.
_CHECKSUM = (
    f"(?:<ChecksumAlgorithm>{_TEXT}</ChecksumAlgorithm>"
    f"|<ChecksumType>{_TEXT}</ChecksumType>|[ \\n])*+"
)
_COLUMNS = {
    "Key": f"<Key>({_TEXT})</Key>",
    "Size": "<Size>([0-9]{1,18})</Size>",
    "LastModified": f"<LastModified>({_TEXT})</LastModified>",
    "ETag": f"<ETag>{_QUOTE}(?!W/)({_BARE}){_QUOTE}</ETag>{_CHECKSUM}",
    "StorageClass": f"<StorageClass>({_WORD})</StorageClass>",
}
_REQUIRED = {"Key", "Size", "LastModified"}
_IGNORED = ("ChecksumAlgorithm", "ChecksumType")
PARTS = tuple(_COLUMNS)


class Columns(NamedTuple):
    """A column for each of `PARTS`, with "" for what an object does not have.

    ETags are without quotes.
    """

    keys: list[str]
    sizes: list[str]
    mtimes: list[str]
    etags: list[str]
    storage_classes: list[str]


def take_columns(body: bytes) -> tuple[Columns, bytes] | None:
    """Return the objects of the page *body*, and the rest of it with `REST` for each object.

    Returns None if the page is not written as described above. The result is valid only if the
    root of the rest has as many `REST` among its children as there are objects.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    # comments and the like could hold what looks like objects
    if "<!" in text or text.rfind("<?") > 0:
        return None
    first = text[text.find("<Contents>") : text.find("</Contents>")]
    if len(first) > SMALL_DOCUMENT:
        return None
    names = [name for name in _PART.findall(first) if name not in _IGNORED]
    if len(set(names)) != len(names) or not _REQUIRED <= set(names) <= _COLUMNS.keys():
        return None
    pieces = _pattern(names, _SPACE if "\n" in first else "").split(text, ROWS_LIMIT)
    between = pieces[:: len(names) + 1]
    if "<Contents" in "".join(between):
        return None
    columns = {name: pieces[place :: len(names) + 1] for place, name in enumerate(names, start=1)}
    nothing = [""] * (len(between) - 1)
    return Columns(*(columns.get(name, nothing) for name in PARTS)), REST.join(between).encode()


def _pattern(names: list[str], space: str) -> re.Pattern[str]:
    """Return the pattern of one `Contents`; `re` keeps what it has compiled."""
    parts = space.join(_COLUMNS[name] for name in names)
    return re.compile(f"<Contents>{space}{parts}{space}</Contents>")
