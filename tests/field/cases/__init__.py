"""Tables of reports, by area."""

from collections.abc import Mapping

from tests.field.case import Case, with_both
from tests.field.cases import (
    bodies,
    environ,
    gateways,
    lists,
    network,
    people,
    settings,
    start,
    stores,
    tools,
    versions,
)

TABLES: Mapping[str, tuple[Case, ...]] = {
    "lists": lists.CASES,
    "stores": stores.CASES,
    "versions": with_both(versions.CASES),
    "bodies": with_both(bodies.CASES),
    "gateways": gateways.CASES,
    "start": start.CASES,
    "network": with_both(network.CASES),
    "environ": environ.CASES,
    "settings": settings.CASES,
    "people": people.CASES,
    "tools": tools.CASES,
}
