"""Catalogue of known misbehaviours, and the correct outcomes of each.

One module for each layer that misbehaves. docs/semantics.md, section Errors, says what an outcome
means; `documentation` generates docs/faults.md from this catalogue.
"""

from tests.faults.catalogue.rows import Misbehaviour, Outcome

__all__ = ["CATALOGUE", "Misbehaviour", "Outcome"]

from tests.faults.catalogue import (
    access,
    availability,
    connection,
    content,
    listing,
    metadata,
    protocol,
    status,
)

CATALOGUE: dict[str, tuple[Misbehaviour, ...]] = {
    "Availability": availability.ROWS,
    "Connection": connection.ROWS,
    "HTTP": protocol.ROWS,
    "Statuses": status.ROWS,
    "Credentials and redirects": access.ROWS,
    "Objects": content.ROWS,
    "Metadata": metadata.ROWS,
    "Listings": listing.ROWS,
}
