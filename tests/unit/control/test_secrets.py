"""No secret of the configuration or of the environment is in a reply of the control socket."""

import json
import time
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from s3mount.config import StoreConfig
from s3mount.control.command_set import build_commands
from s3mount.control.protocol import Greeting, Object, encode
from s3mount.control.sources import Sources, StoreState
from s3mount.s3.endpoint.credential_chain import CredentialChain, Keys
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.model import Reason, StoreIdentity
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import RequestKind
from s3mount.s3.transport import StoreRequest
from tests.fakes.control_sources import make_sources
from tests.property.running import run

GREETING = Greeting(s3mount="1", pid=1, connection=52, source="s3://b", mountpoint="/m", since=1.0)
secrets = st.text("ABCDEF0123456789/+", min_size=16, max_size=40)


class FixedSource:
    """A source of credentials that has *keys*."""

    kind = "the environment"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def look_up(self, *, fresh: bool) -> Keys:  # noqa: ARG002
        return self._keys

    def may_have_changed(self) -> bool:
        return False

    def close(self) -> None: ...


@given(key=secrets, secret=secrets, token=secrets, password=secrets)
def test_no_secret_is_in_a_reply(key: str, secret: str, token: str, password: str) -> None:
    keys = Keys(FrozenCredentials(key, secret, token), expires_at=4e9)
    chain = CredentialChain(FixedSource(keys), sign=True)
    chain.frozen(deadline=time.monotonic() + 60)
    endpoint = Endpoint(
        bucket="b",
        scheme="https",
        host="store.example",
        port=443,
        base_path="",
        region="r",
        credentials=chain,
        proxy=f"http://joe:{password}@proxy:3128",
    )
    log = RequestLog()
    signed = StoreRequest("GetObject", "k", headers=(("x-amz-security-token", token),))
    failure = OSError(f"proxy http://joe:{password}@proxy:3128 refused {signed.headers}")
    log.end(log.begin(signed._replace(reason=Reason.CHECK)), None, failure)
    log.begin(signed)

    identity = StoreIdentity(endpoint.origin, endpoint.region, "native")
    state = StoreState(StoreConfig(bucket="b"), identity, chain.state())
    told = run(lambda: _replies(make_sources(log, state)))

    assert "the environment" in told
    assert RequestKind.GET in told
    assert [each for each in (key, secret, token, password) if each in told] == []


async def _replies(sources: Sources) -> str:
    commands = build_commands(sources, GREETING, {})
    replies = [await commands[name]({}, _drop) for name in ("status", "activity")]
    return json.dumps([json.loads(encode(reply)) for reply in replies])


async def _drop(items: Sequence[Object]) -> None:
    """Send an item nowhere."""
