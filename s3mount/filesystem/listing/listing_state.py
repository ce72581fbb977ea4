"""State of a complete listing of at most one page, beside its page. Pure.

What many listings have in common is apart (`ListingSource`), for it is kept once.
"""

from typing import NamedTuple

from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.names import ViewNames


class ListingSource(NamedTuple):
    """Source of listings, which they share: of one bucket, and of one scan if one has made them."""

    bucket: str
    order: OrderEvidence
    names: ViewNames
    prefetched_by: object


class ListingState(NamedTuple):
    """State of one listing; see the attributes of `DirectoryListing`."""

    prefix: str
    requested_at: float
    subtree_breaks: int
    is_derived: bool
    is_partial: bool
    is_ordered: bool
    is_unreferenced: bool
