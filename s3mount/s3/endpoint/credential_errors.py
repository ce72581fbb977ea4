"""Errors of the credential chain, as messages for users: what is wrong, where, and what to do.

They never quote what a program, a file or a service said, which may hold a secret. Of botocore's
exceptions only those of a configuration are quoted: they hold names of profiles.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from typing import Final

from botocore import exceptions

from s3mount.errors import AccessDenied, CredentialsUnavailable, S3MountError
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable
from s3mount.s3.endpoint.aws_files import CONFIG_FILE, CREDENTIALS_FILE, file_problems
from s3mount.s3.endpoint.credential_process import ProcessFailedError
from s3mount.s3.transport import Retryable

CONTAINER_VARIABLES: Final = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
KEY_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# the providers of botocore's exceptions, which botocore raises too if there is no answer
_SERVICES_OF_MACHINE: Final = ("container-role", "iam-role", "Ec2InstanceMetadata")
# of the token service
_BUSY: Final = (
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "IDPCommunicationError",
)
_TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - a name
_NO_CREDENTIALS: Final = (
    "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name "
    "a profile (--profile); for a public bucket use --no-sign-request"
)
_NO_ANSWER: Final = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.MetadataRetrievalError,
    OSError,  # but for those of a wrong path
)
_WRONG_PATH: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_WRONG_FILE: Final = {errno.ENOEXEC, errno.ELOOP, errno.ENAMETOOLONG}
_PAIRS: Final = (  # variables that mean nothing without another
    ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"),
    ("AWS_ROLE_ARN", _TOKEN_FILE),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The provider of botocore's chain that is used, by its *method*, and the profile."""

    method: str
    profile: str

    @property
    def subject(self) -> str:
        """What the user has set, for messages."""
        method = self.method
        if method == "container-role":
            return next(name for name in CONTAINER_VARIABLES if os.environ.get(name))
        if method == "assume-role-with-web-identity" and os.environ.get(_TOKEN_FILE):
            return f"AWS_ROLE_ARN, {_TOKEN_FILE}"
        return _SUBJECTS.get(method, "the AWS configuration of profile {profile!r}").format(
            profile=self.profile, credentials=CREDENTIALS_FILE.shown, config=CONFIG_FILE.shown
        )


_SUBJECTS: Final = {
    "env": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
    "shared-credentials-file": "profile {profile!r} in {credentials}",
    "config-file": "profile {profile!r} in {config}",
    "custom-process": "credential_process of profile {profile!r}",
    "assume-role": "role_arn of profile {profile!r}",
    "assume-role-with-web-identity": "web_identity_token_file of profile {profile!r}",
    "sso": "SSO of profile {profile!r}",
    "login": "login_session of profile {profile!r}",
    "iam-role": "the instance metadata service",
}


def no_credentials(profile: str, settings: Mapping[str, object]) -> str:
    """Return the message for a chain without any; *settings* are those of the profile."""
    return "; ".join([_NO_CREDENTIALS, *_unused(profile, settings)])


def source_error(exc: BaseException, origin: Origin) -> S3MountError | Retryable:
    """Return the error for *exc*, which a provider of *origin* raised."""
    if isinstance(exc, S3MountError | Retryable):
        return exc
    is_wrong_file = getattr(exc, "errno", None) in _WRONG_FILE
    if isinstance(exc, _NO_ANSWER) and not (isinstance(exc, _WRONG_PATH) or is_wrong_file):
        what = f"the source of the credentials does not answer ({type(exc).__name__})"
        return Retryable(CredentialsUnavailable(f"{what}: {origin.subject}"))
    if _may_pass(exc):
        return Retryable(CredentialsUnavailable(_reason(exc, origin)))
    if isinstance(exc, exceptions.ClientError):
        code = printable(str(exc.response.get("Error", {}).get("Code", "")))
        message = f"the credentials were refused by their source ({code or 'no reason given'})"
        return AccessDenied(f"{message}: check {origin.subject}", code=code)
    return AccessDenied(_reason(exc, origin))


def _may_pass(exc: BaseException) -> bool:
    """Whether the source may give credentials later: a service of a machine that just boots."""
    match exc:
        case exceptions.CredentialRetrievalError():
            return exc.kwargs.get("provider") in _SERVICES_OF_MACHINE
        case exceptions.ClientError():
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status >= 500 or exc.response.get("Error", {}).get("Code") in _BUSY
    return False


def _reason(exc: BaseException, origin: Origin) -> str:
    """Return why there are no credentials."""
    if isinstance(exc, exceptions.ClientError):
        return f"the token service is busy, or failed: {origin.subject}"
    if isinstance(exc, exceptions.NoCredentialsError):
        return no_credentials(origin.profile, {})
    details = {
        **{name: printable(str(value)) for name, value in getattr(exc, "kwargs", {}).items()},
        "type": type(exc).__name__,
        "file": printable(str(getattr(exc, "filename", None) or "a file")),
        "error": getattr(exc, "strerror", None),
        "container": _container_problem(),
    }
    for methods, types, sentence in _FAILURES:
        if isinstance(exc, types) and (not methods or origin.method in methods):
            return f"{origin.subject}: {sentence.format_map(details)}"
    if isinstance(exc, ProcessFailedError):
        return f"{origin.subject}: {exc}"
    return f"{origin.subject}: {_GIVES_NONE.format_map(details)}"


_GIVES_NONE: Final = "the configured source of credentials gives none ({type})"
_LOG_IN_AGAIN: Final = "the login has expired: run 'aws sso login', for this profile"
_NOT_A_TIME: Final = "AWS_CREDENTIAL_EXPIRATION is not a time, as 2030-01-01T00:00:00Z is"
_NOTHING_THERE: Final = "there are no credentials at this address ({type})"
_ROLES: Final = ("assume-role", "assume-role-with-web-identity")

# methods (none: any), exceptions, and what they mean; the first row that fits counts
_FAILURES: Final[tuple[tuple[tuple[str, ...], tuple[type[BaseException], ...], str], ...]] = (
    ((), (exceptions.NoRegionError,), "the token service needs a region: set AWS_REGION"),
    (
        (),
        (exceptions.InfiniteLoopConfigError,),
        "source_profile leads back to where it began, and to no keys",
    ),
    ((), (exceptions.InvalidConfigError,), "{error_msg}"),
    ((), (exceptions.PartialCredentialsError,), "incomplete credentials: {cred_var} is missing"),
    (
        (),
        (exceptions.MissingDependencyException,),
        "another package is needed: pip install 'botocore[crt]'",
    ),
    (
        (),
        (exceptions.LoginError, exceptions.LoginTokenLoadError),
        "the login has expired: run 'aws login', for this profile",
    ),
    (
        (),
        (
            exceptions.SSOTokenLoadError,
            exceptions.UnauthorizedSSOTokenError,
            exceptions.TokenRetrievalError,
        ),
        _LOG_IN_AGAIN,
    ),
    (("sso",), (Exception,), _LOG_IN_AGAIN),  # what it cached cannot be read
    (("custom-process",), (OSError,), "the program {file!r} cannot be run: {error}"),
    (
        ("custom-process",),
        (IndexError, ValueError),
        "it is no command line: a program is missing, or a quotation mark",
    ),
    (
        ("container-role",),
        (OSError,),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read: {error}",
    ),
    (
        ("container-role",),
        (json.JSONDecodeError, exceptions.CredentialRetrievalError, KeyError, TypeError),
        _NOTHING_THERE,
    ),
    (("container-role",), (ValueError,), "{container}"),
    (
        _ROLES,
        (exceptions.ParamValidationError,),
        "the token service takes no such values: check the ARN, and what comes with it",
    ),
    (
        ("assume-role",),
        (exceptions.CredentialRetrievalError,),
        "there are no credentials where credential_source looks for them",
    ),
    (("env",), (RuntimeError,), "they have expired (AWS_CREDENTIAL_EXPIRATION): renew them"),
    (("env",), (ValueError, TypeError, OverflowError), _NOT_A_TIME),
    ((), (OSError,), "{file} cannot be read: {error}"),
    ((), (RuntimeError,), "the configured source of credentials gives expired ones"),
)


def _container_problem() -> str:
    if any(not c.isprintable() for c in os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")):
        return "AWS_CONTAINER_AUTHORIZATION_TOKEN contains a line break: remove it"
    return (
        "not an address that may give credentials: https, or http to this machine or the "
        "container service; the relative form begins with /"
    )


def _unused(profile: str, settings: Mapping[str, object]) -> Iterator[str]:
    """Yield what the user has set for credentials, and why it gave none."""
    if os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE"):
        yield f"profile {profile!r} has none"
    for name, other in _PAIRS:
        if os.environ.get(name) and not os.environ.get(other):
            yield f"{name} is set without {other}"
    if "aws_secret_access_key" in settings and "aws_access_key_id" not in settings:
        yield f"aws_secret_access_key of profile {profile!r} is set without aws_access_key_id"
    yield from file_problems()
