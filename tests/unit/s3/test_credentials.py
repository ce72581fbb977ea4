"""When credentials can be had without waiting for their source."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from s3mount.s3.credentials import CredentialChain


def refreshable(lifetime: timedelta) -> RefreshableCredentials:
    expiry = (datetime.now(UTC) + lifetime).isoformat()
    source = {"access_key": "AKID", "secret_key": "s", "token": "t", "expiry_time": expiry}
    return RefreshableCredentials.create_from_metadata(source, refresh_using=lambda: source, method="test")


def chain_of(found: Any, *, sign: bool = True) -> CredentialChain:
    session = SimpleNamespace(get_credentials=lambda: found)
    return CredentialChain(lambda: session, sign=sign)


@pytest.mark.parametrize(
    "found", [Credentials("AKID", "s"), refreshable(timedelta(hours=6))], ids=["for-ever", "for-hours"]
)
def test_credentials_that_were_looked_up_are_at_hand(found: Any) -> None:
    chain = chain_of(found)
    chain.frozen()

    assert chain.is_at_hand()


def test_they_are_not_where_a_refresh_is_due() -> None:
    chain = chain_of(refreshable(timedelta(minutes=5)))  # botocore refreshes a quarter of an hour ahead
    chain.frozen()

    assert not chain.is_at_hand()


def test_what_was_not_looked_up_is_not_at_hand() -> None:
    chain = chain_of(Credentials("AKID", "s"))
    was_at_hand = chain.is_at_hand()
    chain.frozen()
    chain.renew()

    assert (was_at_hand, chain.is_at_hand()) == (False, False)


def test_nothing_is_looked_up_where_nothing_is_signed() -> None:
    assert chain_of(None, sign=False).is_at_hand()
