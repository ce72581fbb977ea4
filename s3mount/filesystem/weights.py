"""Memory costs in bytes, which the metadata limit adds up.

Each is the growth of tracemalloc's traced memory per object (named beside it), over 1,000 to 50,000
objects on 64-bit CPython 3.11, rounded up by a tenth to four fifths: for the memory allocator's own
overhead and for dicts that grow by doubling. `tests/unit/filesystem/test_weights.py` repeats it.
"""

PAGE = 800  # an `EntryPage` without entries: 505; the first entry: 160
COLUMNS = 4 + 8 + 8 + 8  # an entry's end of name, size, mtime and inode number, exactly
ETAG = 57  # an ETag that is no MD5, as a str in a tuple, beside its characters; an MD5: 16
VERSION_ID = 300  # an entry's version id, of 32 to 100 characters, in the dict of its page
INODE = 120  # an entry's share of the inode table, once the kernel refers to it: 101 to 124
COMPACT_INODE = 22  # the same of some entries that are packed: 18 to 21

SCAN = 440  # a `ListingScan` and its `DirectoryListing`, complete, without pages: 385
LISTING_PAGE = 900  # a page's origin, token and place in a listing, beside the page: 850
PENDING_ENTRY = 400  # an `Entry` that a merger holds back: 259
TRIMMED_NAME = 8  # the hash of a name in an array, exactly
SHOWN_NAME = 100  # the hash of a name in a frozenset: 138 at worst, between two doublings

DIRECTORY = 600  # a `DirectoryState` without a scan, in the LRU cache: 410 to 490
PACKED = 170  # a packed directory, beside its bytes, in the table of pages: 105 to 175
DENTRY = 300  # a `CachedDentry` that a lookup has put, beside its page: 166
