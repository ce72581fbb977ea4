"""boto3's credential chain as a `Source`: blocking look-ups, and the programs that they start.

Names the kind of source that it uses, and shows nothing that a source printed. A program that the
chain starts (`credential_process`) ends: by itself, at a limit, or by `close`. See
docs/decisions/credentials.md.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from botocore import exceptions
from botocore.credentials import AssumeRoleProvider, ProcessProvider, RefreshableCredentials

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied
from s3mount.s3.endpoint.boto_session import open_session
from s3mount.s3.endpoint.credential_chain import CredentialChain, Keys
from s3mount.s3.endpoint.credential_process import CredentialProcess
from s3mount.s3.endpoint.credentials import FrozenCredentials

REFRESH_BEFORE: Final = 15 * 60.0  # seconds before expiry, as botocore's advisory refresh

_KINDS: Final = {
    "custom-process": "credential_process",
    "iam-role": "the instance metadata service",
    "container-role": "the container's credential endpoint",
    "assume-role": "the token service, for the role of this profile",
    "assume-role-with-web-identity": "the token service, for a web identity",
    "sso": "IAM Identity Center (SSO)",
    "login": "AWS sign-in",
    "env": "the environment",
}


def credential_chain(config: StoreConfig) -> CredentialChain:
    """Return the credentials of the profile, to be closed; nothing is looked up yet."""
    source = ChainSource(lambda: open_session(config).below)
    return CredentialChain(source, sign=config.sign_requests)


class ChainSource:
    """The credential chain of a session, which is opened again for each fresh look-up."""

    def __init__(self, open_session: Callable[[], Any]) -> None:
        self._open_session = open_session
        self._found: Any = None  # botocore's credentials, which refresh themselves on access
        self._kind = "the credential chain"
        # the program that runs or ran last, and whether no other may be started
        self._process: CredentialProcess | None = None
        self._is_closed = False

    @property
    def kind(self) -> str:
        return self._kind

    def look_up(self, *, fresh: bool) -> Keys:
        if fresh or self._found is None:
            self._found = None
            self._found = self._load()
        found = self._found
        if found is None:
            raise exceptions.NoCredentialsError
        self._set_kind(found.method)
        frozen = found.get_frozen_credentials()
        return _keys(frozen, found)

    def close(self) -> None:
        self._is_closed = True
        if self._process is not None:
            self._process.end()

    def _load(self) -> Any:
        """Return the credentials of the first provider that has any, as botocore does."""
        resolver = self._open_session().get_component("credential_provider")
        for provider in resolver.providers:
            self._set_kind(provider.METHOD)
            self._limit_processes(provider)
            found = provider.load()
            if found is not None:
                return found
        return None

    def _set_kind(self, method: str) -> None:
        self._kind = _KINDS.get(method, f"the provider {method!r}")

    def _limit_processes(self, provider: Any) -> None:
        """Let *provider*, and those that it makes, start programs by `_start`."""
        if isinstance(provider, ProcessProvider):
            provider._popen = self._start  # noqa: SLF001 - an argument of its constructor
        elif isinstance(provider, AssumeRoleProvider):
            builder = provider._profile_provider_builder  # noqa: SLF001 - as above
            if builder is not None:
                builder.providers = self._limiting(builder.providers)

    def _limiting(self, providers: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def limited(*args: Any, **kwargs: Any) -> list[Any]:
            made = providers(*args, **kwargs)
            for provider in made:
                self._limit_processes(provider)
            return made

        return limited

    def _start(self, command: list[str], **pipes: Any) -> CredentialProcess:
        self._set_kind(ProcessProvider.METHOD)
        process = self._process = CredentialProcess(command, **pipes)
        if self._is_closed:
            process.end()
        return process


def _keys(frozen: Any, found: Any) -> Keys:
    """Return *frozen* with its times. Raises AccessDenied if the source left out a part."""
    key, secret, token = frozen.access_key, frozen.secret_key, frozen.token
    is_complete = key and secret and isinstance(key, str) and isinstance(secret, str)
    if not is_complete or not isinstance(token, str | None):
        raise AccessDenied("the configured source of credentials gives incomplete ones")
    expiry = (
        getattr(found, "_expiry_time", None) if isinstance(found, RefreshableCredentials) else None
    )
    expires_at = math.inf if expiry is None else expiry.timestamp()
    return Keys(FrozenCredentials(key, secret, token), expires_at - REFRESH_BEFORE, expires_at)
