"""The bill: what requests and bytes cost, and what they would cost without caches."""

import pytest

from s3mount.bill import AS_OF, CURRENCY, GIB, NAME, Usage, bill, bill_of
from s3mount.config import PriceConfig

PRICES = PriceConfig(get_per_1000=1.0, list_per_1000=10.0, transfer_per_gb=100.0)
COUNTED = {
    "get_requests": 1000,
    "head_requests": 2000,
    "list_requests": 3000,
    "bytes_received": GIB,
    "lookup_hits": 5000,
    "lookup_misses": 1000,
    "listing_pages_read": 4000,
    "reads": 10_000,
    "bytes_served": 2 * GIB,
}


def test_a_bill_is_the_sum_of_requests_and_transfer() -> None:
    made = bill_of(COUNTED, PRICES)

    assert (made.requests, made.transfer, made.total) == (3 + 30, 100, 133)


def test_without_caches_each_call_is_requests_of_its_own() -> None:
    gets, lists = 6000 + 10_000, 6000 + 4000

    assert bill_of(COUNTED, PRICES).without_caches == gets / 1000 + 10 * lists / 1000 + 200


def test_the_list_prices_are_named_with_their_date() -> None:
    made = bill(Usage(1e6, 1e5, 10 * GIB), Usage(0, 0, 0), PriceConfig())

    assert (made.name, made.as_of, made.currency) == (NAME, AS_OF, CURRENCY)
    assert made.requests == pytest.approx(0.4 + 0.5)
    assert made.transfer == pytest.approx(0.9)


def test_configured_prices_have_no_currency() -> None:
    made = bill(Usage(0, 0, 0), Usage(0, 0, 0), PRICES)

    assert (made.name, made.as_of, made.currency) == ("configured", None, None)
