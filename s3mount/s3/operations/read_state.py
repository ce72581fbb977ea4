"""State of one read over its attempts: what a response that cannot be used leads to.

It tells another version from a response that says too little (no ETag, an odd length, a part that
does not say which one it is), and chooses the form of the next request. Each doubt is cleared by
one more request, and never by a guess.
"""

from collections.abc import Mapping

from s3mount.errors import StoreError, UnknownVersion
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations import error_mapping, validation
from s3mount.s3.operations.content_coding import (
    TransformedBodyError,
    UnlocatedPartError,
    check_stored,
)
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.operation_runner import OperationRunner
from s3mount.s3.operations.read_verification import ReadVerification
from s3mount.s3.operations.request_form import RequestForm, is_final, other_form, says_unknown
from s3mount.s3.operations.validation import ContentRange
from s3mount.s3.transport import Retryable

TRANSFORMED = 4  # responses with other bytes than are stored, after which the read fails


class ReadState(ReadVerification):
    """State that the attempts at one read share.

    *form* is that of its requests, once it differs from the mount's, after those of *tried*. The
    store *says_unknown* of what it leaves out.
    *transformed* counts responses with other bytes than are stored. *has_odd_length*: only the
    length of a response has shown another version; a response to Range would tell the size twice.
    *has_no_etag*: a response had none, though the version has.
    """

    form: RequestForm | None = None
    tried: tuple[RequestForm, ...] = ()
    says_unknown = False
    transformed = 0
    has_odd_length = False
    has_no_etag = False
    has_unlocated_part = False

    def check_coding(
        self, version: ObjectVersion, headers: Mapping[str, str], form: RequestForm
    ) -> None:
        """Raise TransformedBodyError for a body that was packed, unless it is in both forms."""
        if all(each.accept_encoding == form.accept_encoding for each in self.tried):
            check_stored(headers, version)

    def other_version(
        self,
        version: ObjectVersion,
        missing: ByteRange,
        headers: Mapping[str, str],
        content: ContentRange,
    ) -> Exception:
        """Return what *headers* mean, which are not those of *version*: StaleVersion, or a doubt.

        *missing* was requested, and *content* came. Raises UnlocatedPartError, or Retryable.
        """
        if self._lacks_etag(version, headers):
            message = "a response without ETag"
            return UnknownVersion(message, bucket=version.bucket, key=version.key)
        self._check_part(version, missing, headers, content)
        if self._is_odd_length(version, headers):
            return _repeated(version, f"a length of {content.size} bytes under the same ETag")
        return error_mapping.from_replacement(version, request_id=headers.get("x-amz-request-id"))

    def _lacks_etag(self, version: ObjectVersion, headers: Mapping[str, str]) -> bool:
        """Whether the ETag is missing for the second time; then the version is found out anew."""
        if validation.tells_version(version, headers):
            return False
        is_first, self.has_no_etag = not self.has_no_etag, True
        if is_first:
            raise _repeated(version, "no ETag")
        return True

    def _check_part(
        self,
        version: ObjectVersion,
        missing: ByteRange,
        headers: Mapping[str, str],
        content: ContentRange,
    ) -> None:
        """Raise UnlocatedPartError for a part that is sent as a whole object, as lakeFS does."""
        is_part_long = content.size == len(missing) and "content-range" not in headers
        if (
            is_part_long
            and not self.has_no_etag
            and validation.is_version(version, headers, version.size)
        ):
            raise UnlocatedPartError("a part that does not say which one it is")

    def _is_odd_length(self, version: ObjectVersion, headers: Mapping[str, str]) -> bool:
        """Whether nothing but the length, for the first time, shows another version."""
        is_first, self.has_odd_length = not self.has_odd_length, True
        return is_first and validation.is_odd_length(version, headers)

    def adapted(
        self,
        version: ObjectVersion,
        exc: Exception,
        form: RequestForm,
        runner: OperationRunner,
        *,
        is_whole: bool,
    ) -> Exception:
        """Return the failure after which another form is tried at once; *exc* if there is none.

        *exc* is of a request of *form*, for the whole object if *is_whole*.
        """
        if isinstance(exc, UnlocatedPartError) and not self.has_unlocated_part:
            self.has_unlocated_part = True
            return _repeated(version, str(exc))
        if isinstance(exc, TransformedBodyError):
            self.transformed += 1
            if self.transformed > TRANSFORMED:
                return StoreError(str(exc), bucket=version.bucket, key=version.key)
        other = other_form(form, exc, is_whole=is_whole)
        if other is None or other in self.tried:
            if self.form is form and is_final(exc):  # the form was not why: nothing is learned
                self.tried = (*self.tried, form)
                self.form = None
            return exc
        self.tried = (*self.tried, form)
        self.form = other
        self.says_unknown = says_unknown(exc)
        return _repeated(version, str(runner.failure(exc, Operation.GET, version.key)))


def _repeated(version: ObjectVersion, message: str) -> Retryable:
    """Return the failure after which a request is sent once more, at once."""
    return Retryable(StoreError(message, bucket=version.bucket, key=version.key), is_adapted=True)
