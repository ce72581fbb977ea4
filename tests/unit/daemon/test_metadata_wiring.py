"""What tells the metadata of mounts apart."""

from s3mount.config import StoreConfig
from s3mount.daemon.metadata_wiring import namespace_of
from s3mount.s3.endpoint.credentials import FrozenCredentials, lasting_access_key
from s3mount.s3.scheduling.cancel_token import CancelToken

LOCATION = StoreConfig(bucket="photos")
ENDPOINT = "https://storage.example.com"


class Fixed:
    """Credentials that are *frozen*."""

    def __init__(self, frozen: FrozenCredentials | None) -> None:
        self._frozen = frozen

    def frozen(self, deadline: float, cancel_token: CancelToken | None = None) -> FrozenCredentials:
        raise NotImplementedError

    def frozen_nowait(self) -> FrozenCredentials | None:
        return self._frozen

    def renew(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        raise NotImplementedError


def namespace(*keys: str) -> bytes:
    return namespace_of(LOCATION, ENDPOINT, lasting_access_key(Fixed(FrozenCredentials(*keys))))


def test_accounts_with_a_bucket_of_one_name_each_have_their_own_metadata() -> None:
    """As tenants of Ceph's gateway and projects of Swift have: the access key tells the bucket."""
    assert namespace("one", "secret") != namespace("other", "secret")
    assert namespace("one", "secret") == namespace("one", "renewed")


def test_temporary_credentials_find_the_metadata_of_those_before() -> None:
    assert namespace("first", "secret", "token") == namespace("next", "secret", "other token")
    assert lasting_access_key(Fixed(None)) == ""
