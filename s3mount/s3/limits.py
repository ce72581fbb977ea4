"""Limits of what a store may send, the same for both transports.

An element of an XML document costs up to 280 bytes of memory and as little as three bytes of the
document, so a limit of bytes alone bounds nothing. The depth of elements has no limit of its own:
nested elements cost no more than others, and no parser here recurses.
"""

from s3mount.s3.model import PAGE_SIZE

# Limits of a document are those of a page of PAGE_SIZE rows; a larger one has those of `pages_in`.
# A thousand keys of 1 KiB are 3 MiB with each byte as %XX. They are 6 MiB as XML entities, if a
# store does not encode them.
DOCUMENT_LIMIT = 8 * 1024 * 1024  # bytes of a listing page
ERROR_LIMIT = 64 * 1024  # bytes of an error document
SMALL_DOCUMENT = 64 * 1024  # bytes; whatever it holds, parsing it costs less than 6 MiB
LARGE_DOCUMENT = 1024 * 1024  # bytes; in a smaller document no text is too long
PIECES_LIMIT = 64 * 1024  # chunks or receives of one document; each costs as much as a kilobyte
PIECE_LEAST = 256  # bytes of a chunk on average, beyond so many chunks
MARKUP_LIMIT = 64 * 1024  # tags, comments and instructions; an object has 28 at most
TEXT_LIMIT = 16 * 1024  # bytes between two tags; a key of 1 KiB has 6 KiB at most
WORD_LIMIT = 1024  # bytes of an ETag, a version id or a storage class; Amazon's are below 100

# Amazon S3 sends at most 1,000 rows a page, objects and common prefixes together, as most imitators
# do. Others ignore max-keys, or send the whole listing as one page. The limits of a document bound
# that too: some 5,000 objects of six parts in a document that is parsed as a tree.
ROWS_LIMIT = 10_000  # objects, and as many common prefixes


def pages_in(rows: int) -> int:
    """Return how many times the limits of a page one of *rows* rows may have."""
    return max(1, -(-rows // PAGE_SIZE))
