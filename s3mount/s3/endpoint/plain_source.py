"""`Source` of keys that the environment or a plain profile has; all others are boto3's chain's.

A fresh look-up reads the configuration again, which may have changed from the one to the other.
"""

from s3mount.config import StoreConfig
from s3mount.s3.endpoint.aws_files import file_states
from s3mount.s3.endpoint.credential_chain import (
    CredentialChain,
    Keys,
    Source,
    not_importable,
)
from s3mount.s3.endpoint.plain_configuration import read_plain


def credential_chain(config: StoreConfig) -> CredentialChain:
    """Return the credentials of the profile, to be closed; nothing is looked up yet."""
    return CredentialChain(PlainSource(config), sign=config.sign_requests)


class PlainSource:
    """Keys of a plain configuration, or else of `ChainSource`."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        # the source of the last look-up: the environment, files in these states, or the chain
        self._is_environment = False
        self._files: tuple[tuple[int, ...], ...] = ()
        self._chain: Source | None = None
        self._is_closed = False

    @property
    def kind(self) -> str:
        if self._chain is not None:
            return self._chain.kind
        return "the environment" if self._is_environment else "the AWS configuration"

    def look_up(self, *, fresh: bool) -> Keys:
        """See `Source.look_up`. Raises AccessDenied and Retryable that name what is wrong."""
        if self._chain is None:
            files = file_states()  # before the files are read
            plain = read_plain(self._config)
            if plain is not None and plain.keys is not None:
                self._is_environment, self._files = plain.are_from_environment, files
                return Keys(plain.keys)
            self._open_chain()
        assert self._chain is not None
        return self._chain.look_up(fresh=fresh)

    def may_have_changed(self) -> bool | None:
        if self._chain is not None:
            return self._chain.may_have_changed()
        return not self._is_environment and self._files != file_states()

    def close(self) -> None:
        self._is_closed = True
        if self._chain is not None:
            self._chain.close()

    def _open_chain(self) -> None:
        try:
            # botocore: a third of a start's time, for roles, SSO, programs and metadata services
            from s3mount.s3.endpoint.boto_session import open_session  # noqa: PLC0415
            from s3mount.s3.endpoint.credential_source import ChainSource  # noqa: PLC0415
        except Exception as exc:  # modules of another version raise anything
            raise not_importable(exc) from exc
        self._chain = ChainSource(lambda: open_session(self._config).below)
        if self._is_closed:
            self._chain.close()
