"""Parts of a tree for unit tests: evidence of the order of a store, and invalidations."""

import math

from s3mount.filesystem.listing.order_evidence import PROOF, OrderEvidence
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.s3.model import ListedObject, ListPage


def proven() -> OrderEvidence:
    """Evidence of a store that has listed enough keys in order."""
    order = OrderEvidence(is_unordered=False)
    order.note_page(
        ListPage([ListedObject(f"{number:04}", 1, 0, "e") for number in range(PROOF + 1)], [], None)
    )
    assert order.keys_needed == 0
    return order


def unordered() -> OrderEvidence:
    """Evidence of a store that lists in no order."""
    return OrderEvidence(is_unordered=True)


def never_expiring() -> Invalidations:
    """Invalidations of metadata that lives forever; there are not too many of them."""
    return Invalidations(lambda _: None, lambda: 0.0, math.inf)
