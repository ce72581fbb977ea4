"""Addresses of many buckets by botocore's rules are those of each by itself."""

from dataclasses import replace

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.boto_address import BotocoreAddresses, botocore_address
from tests.unit.s3.clients import session


@pytest.mark.parametrize("endpoint_url", [None, "https://store.example.com/s3"])
def test_addresses_by_shared_clients_are_those_of_each_bucket(endpoint_url: str | None) -> None:
    config = StoreConfig(bucket="", endpoint_url=endpoint_url)
    addresses = BotocoreAddresses()

    for bucket in ("photos", "dotted.name", "photos", "logs--old"):
        for region in ("eu-central-1", "us-east-1"):
            own = replace(config, bucket=bucket)
            found = addresses.address(own, session(), region)
            assert found == botocore_address(own, session(), region)


def test_a_name_without_an_address_fails_alone() -> None:
    config = StoreConfig(bucket="", endpoint_url="https://store.example.com")
    addresses = BotocoreAddresses()

    with pytest.raises(SetupError, match="no bucket can be named"):
        addresses.address(replace(config, bucket="a b"), session(), "us-east-1")

    assert "photos" in addresses.address(replace(config, bucket="photos"), session(), "de").url
