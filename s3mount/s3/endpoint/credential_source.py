"""boto3's credential chain as a `Source`: blocking look-ups, and the programs that they start.

Names the kind of source that it uses, and shows nothing that a source printed. A program that the
chain starts (`credential_process`) ends: by itself, at a limit, or by `close`. See
docs/decisions/credentials.md.
"""

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from botocore.credentials import AssumeRoleProvider, ProcessProvider, RefreshableCredentials

from s3mount.errors import AccessDenied, CredentialsUnavailable
from s3mount.s3.endpoint.aws_files import file_states
from s3mount.s3.endpoint.credential_chain import Keys
from s3mount.s3.endpoint.credential_errors import (
    KEY_VARIABLES,
    Origin,
    no_credentials,
    source_error,
)
from s3mount.s3.endpoint.credential_process import CredentialProcess
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.transport import Retryable

REFRESH_BEFORE: Final = 15 * 60.0  # seconds before expiry, as botocore's advisory refresh

_VENDOR: Final = Path("/sys/class/dmi/id/sys_vendor")

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


class ChainSource:
    """The credential chain of a session, which is opened again for each fresh look-up."""

    def __init__(self, open_session: Callable[[], Any]) -> None:
        self._open_session = open_session
        self._found: Any = None  # botocore's credentials, which refresh themselves on access
        self._kind = "the credential chain"
        self._origin = Origin("unknown", "default")
        self._settings: Mapping[str, Any] = {}  # of the profile
        self._has_metadata_service = False
        self._files: tuple[tuple[int, ...], ...] = ()  # their state at the last look-up
        # the program that runs or ran last, and whether no other may be started
        self._process: CredentialProcess | None = None
        self._is_closed = False

    @property
    def kind(self) -> str:
        return self._kind

    def look_up(self, *, fresh: bool) -> Keys:
        """See `Source.look_up`. Raises AccessDenied and Retryable that name what is wrong."""
        self._files = file_states()  # before the files are read
        try:
            return self._look_up(fresh=fresh)
        except Exception as exc:  # botocore and its plugins raise anything
            raise source_error(exc, self._origin) from exc

    def may_have_changed(self) -> bool | None:
        match self._origin.method:
            case "env":
                return False
            case "shared-credentials-file" | "config-file":
                return self._files != file_states()
        return None

    def _look_up(self, *, fresh: bool) -> Keys:
        if fresh or self._found is None:
            self._found = None
            self._found = self._load()
        found = self._found
        if found is None:
            message = no_credentials(self._origin.profile, self._settings)
            if self._has_metadata_service:
                message = f"{message}; the instance metadata service gives none"
                raise Retryable(CredentialsUnavailable(message))
            raise AccessDenied(message)
        self._set_method(found.method)
        frozen = found.get_frozen_credentials()
        return _keys(frozen, found, self._origin)

    def close(self) -> None:
        self._is_closed = True
        if self._process is not None:
            self._process.end()

    def _load(self) -> Any:
        """Return the credentials of the first provider that has any, as botocore does."""
        session = self._open_session()
        self._origin = Origin("unknown", session.profile or "default")
        self._settings = session.get_scoped_config()
        self._has_metadata_service = _has_metadata_service(session)
        resolver = session.get_component("credential_provider")
        for provider in resolver.providers:
            self._set_method(provider.METHOD)
            self._limit_processes(provider)
            found = provider.load()
            if found is not None:
                return found
        return None

    def _set_method(self, method: str) -> None:
        self._kind = _KINDS.get(method, f"the provider {method!r}")
        self._origin = Origin(method, self._origin.profile)

    def _limit_processes(self, provider: Any) -> None:
        """Let *provider*, and those that it makes, start programs by `_start`, and not prompt."""
        if isinstance(provider, ProcessProvider):
            provider._popen = self._start  # noqa: SLF001 - an argument of its constructor
        elif isinstance(provider, AssumeRoleProvider):
            provider._prompter = self._refuse_prompt  # noqa: SLF001 - as above
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
        self._set_method(ProcessProvider.METHOD)
        process = self._process = CredentialProcess(command, **pipes)
        if self._is_closed:
            process.end()
        return process

    def _refuse_prompt(self, _: str) -> str:
        """Refuse to ask for the code of an MFA device: a mount outlives the session it gives."""
        raise AccessDenied(
            f"profile {self._origin.profile!r} has mfa_serial, and a mount asks for no code: "
            "get a session first (aws sts get-session-token --serial-number ARN --token-code CODE, "
            "or assume-role), put its keys into a profile or the environment, and mount with those"
        )


def _has_metadata_service(session: Any) -> bool:
    """Whether an instance metadata service is there, perhaps later: an address is set, or on EC2.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    if session.get_config_variable("ec2_metadata_service_endpoint"):
        return True
    with contextlib.suppress(OSError):
        return _VENDOR.read_text(errors="replace").startswith("Amazon EC2")
    return False


def _keys(frozen: Any, found: Any, origin: Origin) -> Keys:
    """Return *frozen* with its times. Raises AccessDenied if a part is left out or mistyped."""
    key, secret, token = frozen.access_key, frozen.secret_key, frozen.token
    names = _part_names(origin.method)
    is_complete = key and secret and isinstance(key, str) and isinstance(secret, str)
    if not is_complete or not isinstance(token, str | None):
        raise AccessDenied(
            f"{origin.subject}: the configured source of credentials gives incomplete ones: "
            f"both {names[0]} and {names[1]} are needed"
        )
    for name, part in zip(names, (key, secret, token), strict=True):
        if part and (problem := _mistake(part, is_sent=part is not secret)):
            where = "" if origin.method == "env" else f"{origin.subject}: "
            raise AccessDenied(f"{where}{name} {problem}")
    expiry = (
        getattr(found, "_expiry_time", None) if isinstance(found, RefreshableCredentials) else None
    )
    expires_at = math.inf if expiry is None else expiry.timestamp()
    return Keys(FrozenCredentials(key, secret, token), expires_at - REFRESH_BEFORE, expires_at)


def _part_names(method: str) -> tuple[str, ...]:
    """Return the names of access key, secret key and token, as the source has them."""
    if method == "env":
        return KEY_VARIABLES
    if method in ("shared-credentials-file", "config-file"):
        return tuple(name.lower() for name in KEY_VARIABLES)
    return ("the access key", "the secret key", "the session token")


def _mistake(part: str, *, is_sent: bool) -> str | None:
    """Return what is wrong with *part* of credentials; *is_sent*: a header carries it.

    A secret key may hold any text, but no store gives one with white space at its ends.
    """
    if not part.isprintable():
        return "contains a line break, or another character that is none of text: remove it"
    if part != part.strip() or (is_sent and " " in part):
        return "contains white space: remove it"
    if len(part) > 1 and part[0] == part[-1] and part[0] in "'\"":
        return "stands in quotation marks, which count as a part of it: remove them"
    if is_sent and not part.isascii():
        return "contains a character that is not ASCII: write it again"
    return None
