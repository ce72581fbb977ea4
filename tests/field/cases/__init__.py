"""Tables of reports, by area."""

from collections.abc import Mapping

from tests.field.case import Case
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
    "versions": versions.CASES,
    "bodies": bodies.CASES,
    "gateways": gateways.CASES,
    "start": start.CASES,
    "network": network.CASES,
    "environ": environ.CASES,
    "settings": settings.CASES,
    "people": people.CASES,
    "tools": tools.CASES,
}
