"""Parser of a listing page's objects into columns, by one regular expression.

Costs a third of a tree of elements. It is for pages as stores write them: each `Contents` has the
parts of the first one, in its order, with plain text in them. What the expression does not match
stays in the document for the XML parser. So nothing is accepted here that the XML parser would
refuse: a part's text excludes every character that XML gives a meaning to, or forbids.
"""

import re
from collections.abc import Sequence
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

# In all pages of version 1, and in those of version 2 that were requested with owners.
_DISPLAY_NAME = f"(?:<DisplayName>{_TEXT}</DisplayName>)?"
_OWNER = f"<Owner>{_SPACE}(?:<ID>%s</ID>)?{_SPACE}{_DISPLAY_NAME}{_SPACE}</Owner>"
_PATTERNS = {**_COLUMNS, "Owner": _OWNER % _WORD}
_PATTERNS_WITH_OWNERS = {**_COLUMNS, "Owner": _OWNER % f"({_WORD})"}


class Columns(NamedTuple):
    """A column for each of `PARTS`, with "" for what an object does not have.

    ETags are without quotes. *owners* has their ids; it is empty unless it was asked for.
    """

    keys: list[str]
    sizes: list[str]
    mtimes: list[str]
    etags: list[str]
    storage_classes: list[str]
    owners: Sequence[str] = ()


def take_columns(body: bytes, *, has_owners: bool = False) -> tuple[Columns, bytes] | None:
    """Return the objects of the page *body*, and the rest of it with `REST` for each object.

    Owners are read only if *has_owners*, and skipped otherwise. Returns None if the page is not
    written as described above. The result is valid only if the root of the rest has as many `REST`
    among its children as there are objects.
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
    parts = [each for each in _PART.findall(_with_bare_owner(first)) if each not in _IGNORED]
    if len(set(parts)) != len(parts) or not _REQUIRED <= set(parts) <= _PATTERNS.keys():
        return None
    names = parts if has_owners else [each for each in parts if each != "Owner"]
    patterns = _PATTERNS_WITH_OWNERS if has_owners else _PATTERNS
    space = _SPACE if "\n" in first else ""
    pieces = _pattern([patterns[each] for each in parts], space).split(text, ROWS_LIMIT)
    between = pieces[:: len(names) + 1]
    if "<Contents" in "".join(between):
        return None
    columns = {name: pieces[place :: len(names) + 1] for place, name in enumerate(names, start=1)}
    nothing = [""] * (len(between) - 1)
    read = Columns(*(columns.get(name, nothing) for name in PARTS))
    if has_owners:
        read = read._replace(owners=[each or "" for each in columns.get("Owner", nothing)])
    return read, REST.join(between).encode()


def _with_bare_owner(first: str) -> str:
    """Return the element *first* with nothing in its owner, which has parts of its own."""
    before, _, rest = first.partition("<Owner>")
    _, end, after = rest.partition("</Owner>")
    return f"{before}<Owner></Owner>{after}" if end else first


def _pattern(parts: list[str], space: str) -> re.Pattern[str]:
    """Return the pattern of one `Contents`; `re` keeps what it has compiled."""
    return re.compile(f"<Contents>{space}{space.join(parts)}{space}</Contents>")
