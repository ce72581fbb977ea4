"""Evidence of a store's key order, proved or refuted."""

from s3mount.filesystem.listing.order_evidence import PROOF, OrderEvidence
from s3mount.s3.model import ListedObject, ListPage

# a page that proves the order of its store
ORDERED_PAGE = ListPage(
    [ListedObject(f"{number:04}", 1, 0, "e") for number in range(PROOF + 1)], [], None
)


def proven() -> OrderEvidence:
    """Return the evidence of a store that has listed enough keys in order."""
    order = OrderEvidence(is_unordered=False)
    order.note_page(ORDERED_PAGE)
    assert order.proof == 0
    return order


def unordered() -> OrderEvidence:
    """Return the evidence of a store without an order."""
    return OrderEvidence(is_unordered=True)
