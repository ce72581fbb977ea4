"""Views of stores: an `ObjectStore` that shows other keys than the stores beneath it have.

A view stands between the tree and the stores. The tree asks it as it asks a store, so what a mount
shows (many buckets, older versions, escaped names) is decided here and nowhere else.
"""

from typing import Final

VERSIONS_DIRECTORY: Final = ".versions"  # in each directory, with the versions of its objects
