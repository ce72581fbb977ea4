"""The bill of a mount: what its requests and bytes cost, and what they would without caches.

An estimate from counters and prices; docs/bill.md says what it leaves out. A HEAD is billed as a
GET.
"""

from collections.abc import Mapping
from typing import Final

from s3mount.config import PriceConfig
from s3mount.frozen_dataclass import dataclass

LIST_PRICES: Final = PriceConfig()
NAME: Final = "AWS S3 Standard, us-east-1, transfer to the internet"
AS_OF: Final = "2025-01"  # https://aws.amazon.com/s3/pricing/
CURRENCY: Final = "USD"
CONFIGURED: Final = "configured"
GIB: Final = 1 << 30  # what AWS meters as a GB


@dataclass(frozen=True, slots=True)
class Usage:
    """Billed work: GETs and HEADs, LISTs, and bytes that are transferred."""

    gets: float
    lists: float
    transferred: float

    def cost_of_requests(self, prices: PriceConfig) -> float:
        return (self.gets * prices.get_per_1000 + self.lists * prices.list_per_1000) / 1000

    def cost_of_transfer(self, prices: PriceConfig) -> float:
        return self.transferred / GIB * prices.transfer_per_gb

    def cost(self, prices: PriceConfig) -> float:
        return self.cost_of_requests(prices) + self.cost_of_transfer(prices)


@dataclass(frozen=True, slots=True)
class Bill:
    """Costs in *currency*, by *prices*, whose *name* and date (*as_of*) say where they are from.

    *as_of* and *currency* are None if the prices were configured.
    """

    prices: PriceConfig
    name: str
    as_of: str | None
    currency: str | None
    requests: float
    transfer: float
    without_caches: float

    @property
    def total(self) -> float:
        return self.requests + self.transfer


def bill(used: Usage, without_caches: Usage, prices: PriceConfig) -> Bill:
    """Return the bill of what was *used*, beside that of the same work *without_caches*."""
    is_list = prices == LIST_PRICES
    return Bill(
        prices=prices,
        name=NAME if is_list else CONFIGURED,
        as_of=AS_OF if is_list else None,
        currency=CURRENCY if is_list else None,
        requests=used.cost_of_requests(prices),
        transfer=used.cost_of_transfer(prices),
        without_caches=without_caches.cost(prices),
    )


def bill_of(values: Mapping[str, float], prices: PriceConfig) -> Bill:
    """Return the bill of a mount whose `Metrics` have *values*."""
    used = Usage(
        gets=values["get_requests"] + values["head_requests"],
        lists=values["list_requests"],
        transferred=values["bytes_received"],
    )
    return bill(used, _without_caches(values), prices)


def _without_caches(values: Mapping[str, float]) -> Usage:
    """Return the usage if each call of a program were requests of its own.

    A lookup is a HEAD and a LIST, a page of a listing a LIST, a read a GET of its bytes.
    """
    lookups = values["lookup_hits"] + values["lookup_misses"]
    return Usage(
        gets=lookups + values["reads"],
        lists=lookups + values["listing_pages_read"],
        transferred=values["bytes_served"],
    )
