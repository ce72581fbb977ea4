"""The limits of what a store may send, the same for both transports.

An element of an XML document costs up to 280 bytes of memory and as little as three bytes of the document, so that its bytes alone bound
nothing. How deep elements are nested needs no limit of its own: they cost no more there, and neither parser recurses.
"""

# A thousand keys of 1 KiB are 3 MiB with each byte as %XX, and 6 MiB as XML entities if a store does not encode.
DOCUMENT_LIMIT = 8 * 1024 * 1024  # bytes of a listing page
ERROR_LIMIT = 64 * 1024  # bytes of a document that says what is wrong
SMALL_DOCUMENT = 64 * 1024  # bytes; whatever it holds, it costs less than 6 MiB
PIECES_LIMIT = (
    64 * 1024
)  # chunks or receives that bring a document; each costs as much as a kilobyte
PIECE_LEAST = 256  # bytes of a chunk on average, beyond so many of them
MARKUP_LIMIT = 64 * 1024  # tags, comments and instructions; an object has 28 at most
TEXT_LIMIT = (
    16 * 1024
)  # bytes between two tags of a large document; a key of 1 KiB has 6 KiB at most
WORD_LIMIT = 1024  # bytes of an ETag, a version id or a storage class; Amazon S3's are below 100
LARGE_DOCUMENT = 1024 * 1024  # bytes; below, no text is too long

# Amazon S3 gives at most 1,000 rows a page, objects and common prefixes together, and so do its imitators. The limit is twice that, and does
# not go by max-keys, since a server may ignore max-keys, or count the two apart.
ROWS_LIMIT = 1000  # objects, and as many common prefixes
