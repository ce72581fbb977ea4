"""Every misbehaviour known, and what is right to make of each.

The rows stand in the modules beside, by the layer that misbehaves. What an outcome means to a user stands in
docs/semantics.md, section Errors; docs/faults.md is this catalogue for users, and is checked against it.
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
