"""Where and as whom the bucket is reached: from a StoreConfig to a ResolvedStore.

Credentials come from boto3's whole chain and from nowhere else; they are in no message and in no `repr`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class FrozenCredentials:
    """What one request is signed with. Equal values mean equal signing keys, so they may be cached by it."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStore:
    """All that is needed to send a request to one bucket, with the choices made.

    A request for *key* goes to `{scheme}://{host}:{port}{base_path}/{quoted key}`; *base_path* is "" or "/bucket", quoted
    already, with an endpoint's own path before it. *headers* go with every request, and are signed (requester pays, expected
    owner). *credentials* are asked before each request, may block (a refresh), are thread-safe, raise S3MountErrors or
    Retryable, and answer None where requests are not to be signed. *renew* makes the chain look again. *proxy* is a URL.
    """

    bucket: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    base_path: str
    region: str
    credentials: Callable[[], FrozenCredentials | None] = field(repr=False)
    renew: Callable[[], None] = field(repr=False)
    service: str = "s3"  # the signing name
    headers: Mapping[str, str] = MappingProxyType({})  # names in lower case
    ca_bundle: str | None = None  # None: the system's or certifi's
    verify_ssl: bool = True
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    user_agent: str = "s3mount"

    @property
    def host_header(self) -> str:
        """The Host header: the port is named unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == {"http": 80, "https": 443}[self.scheme]
        return host if is_default else f"{host}:{self.port}"
