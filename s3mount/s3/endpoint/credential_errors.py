"""Errors of the credential chain, as messages for users.

They never quote the exception, whose text may hold the output of a program.
"""

from botocore import exceptions

from s3mount.errors import AccessDenied, S3MountError, StoreError
from s3mount.printable import printable
from s3mount.s3.transport import Retryable

_LOG_IN_AGAIN = (
    exceptions.SSOTokenLoadError,
    exceptions.UnauthorizedSSOTokenError,
    exceptions.TokenRetrievalError,
)


def credential_error(exc: BaseException) -> S3MountError | Retryable:
    """Return a new exception that says what *exc* of a look-up means."""
    match exc:
        case FileNotFoundError() | NotADirectoryError() | PermissionError():
            pass
        case (
            exceptions.ConnectionError()
            | exceptions.HTTPClientError()
            | exceptions.MetadataRetrievalError()
            | OSError()
        ):
            return Retryable(
                StoreError(f"the source of the credentials does not answer ({type(exc).__name__})")
            )
        case exceptions.ClientError():
            code = printable(str(exc.response.get("Error", {}).get("Code", "")))
            return AccessDenied(
                f"the credentials were refused by their source ({code or 'no reason given'})",
                code=code,
            )
    return AccessDenied(_reason(exc))


def _reason(exc: BaseException) -> str:
    """Return why there are no credentials."""
    if isinstance(exc, _LOG_IN_AGAIN):
        return "the login of this profile has expired: run 'aws sso login', for this profile"
    match exc:
        case AccessDenied():
            return str(exc)
        case exceptions.NoCredentialsError():
            return (
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name "
                "a profile (--profile); for a public bucket use --no-sign-request"
            )
        case exceptions.PartialCredentialsError():
            return "incomplete credentials: both an access key and its secret key are needed"
        case OSError():
            return (
                "the configured source of credentials cannot be run, or read "
                f"({type(exc).__name__}): check credential_process, "
                "and the files that the profile names"
            )
    return f"the configured source of credentials gives none ({type(exc).__name__})"
