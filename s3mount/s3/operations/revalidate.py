"""Revalidation: a conditional GET of the first bytes of an object, or a HEAD in its place."""

from s3mount.errors import S3MountError, StoreError
from s3mount.s3.model import (
    ByteRange,
    Modified,
    NotModified,
    ObjectVersion,
    Reason,
    Revalidation,
)
from s3mount.s3.operations import validation
from s3mount.s3.operations.checksum import CHECKSUM_MODE
from s3mount.s3.operations.content_coding import check_stored
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.operations.modification_time import ModificationTimes
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.read_verification import expected_checksum
from s3mount.s3.operations.request_form import RequestForm
from s3mount.s3.operations.request_headers import none_match_header, range_header
from s3mount.s3.operations.response_body import check_body_ends, is_sized
from s3mount.s3.operations.store_traits import StoreTraits, try_forms
from s3mount.s3.transport import Response, Retryable, StoreRequest

_REFUSALS_OF_CONDITIONS = (400, 405, 412, 501)  # to an If-None-Match


class Revalidate:
    """Revalidations over *runner*, and by *head_object* if no condition can be sent."""

    def __init__(
        self,
        runner: OperationRunner,
        traits: StoreTraits,
        head_object: HeadObject,
        times: ModificationTimes,
    ) -> None:
        self._runner = runner
        self._traits = traits
        self._times = times
        self._head_object = head_object

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation:
        """See `Operations.revalidate`."""
        outcome = None
        if head_size:  # a range of no bytes cannot be requested

            def receive(form: RequestForm) -> Revalidation | None:
                request = self._request(version, head_size, form)
                with self._runner.transport.send(request, deadline=deadline) as response:
                    if response.status == 304 and _is_by_time(request):
                        return self._read_not_modified(response, version, deadline)
                    return self._read_revalidation(response, version, head_size, deadline)

            is_whole = version.size <= head_size
            try:
                outcome = self._runner.run(
                    Operation.REVALIDATION,
                    version.key,
                    try_forms,
                    self._traits,
                    receive,
                    is_whole=is_whole,
                )
            except S3MountError as exc:
                if exc.status not in _REFUSALS_OF_CONDITIONS:
                    raise
                if self._times.may_settle(version):  # else the condition was another one
                    self._times.disable()
                head_size = 0
        return outcome or self._compare(version, head_size, deadline)

    def _request(self, version: ObjectVersion, head_size: int, form: RequestForm) -> StoreRequest:
        """Return the request for what replaced *version*, which is probably as small or as large.

        A small one is requested without Range, since a part has no checksum.
        """
        headers = none_match_header(version, self._times)
        if version.size > head_size and form.ranges:
            headers = range_header(ByteRange(0, head_size)) + headers
        signed = CHECKSUM_MODE if form.checksums and version.size <= head_size else ()
        return StoreRequest(
            "GetObject",
            version.key,
            (),
            headers,
            signed,
            accept_encoding=form.accept_encoding,
            reason=Reason.REVALIDATE,
        )

    def _read_revalidation(
        self, response: Response, version: ObjectVersion, head_size: int, deadline: float
    ) -> Revalidation | None:
        """Return None for 416: an empty object has no range, be it the old one or the new."""
        match response.status:
            case 200 | 206:
                return self._read_modified(response, version, head_size, deadline)
            case 304 if validation.has_sendable_etag(version):
                validation.check_not_modified(version, response.headers)
                return NotModified()
            case 416:
                return None
            case _:
                raise read_error(response)

    def _read_not_modified(
        self, response: Response, version: ObjectVersion, deadline: float
    ) -> Revalidation:
        """Read a 304 to If-Modified-Since; one that tells another time, or none, tells nothing."""
        if self._times.is_unmodified(version, response.headers):
            return NotModified()
        return self._compare(version, 0, deadline)

    def _read_modified(
        self, response: Response, version: ObjectVersion, head_size: int, deadline: float
    ) -> Revalidation:
        check_stored(response.headers, None)
        if not is_sized(response):
            return self._compare(version, 0, deadline)
        content = validation.content_range(response.status, response.headers, version.size)
        if validation.is_version(version, response.headers, content.size):
            return NotModified()  # from a store that ignores If-None-Match
        is_odd = validation.is_odd_length(version, response.headers)
        if is_odd or not validation.tells_size(response.headers, content.size, head_size):
            return self._compare(version, 0, deadline)
        head = bytearray(min(head_size, content.size))
        validation.check_covers(content, ByteRange(0, len(head)))
        response.read_into(memoryview(head))
        check_body_ends(response, content.stop - len(head))
        stat = validation.object_stat(
            self._runner.bucket, version.key, response.headers, content.size
        )
        if len(head) == content.size and not self._is_intact(response, head):
            return Modified(stat, b"")  # its reader requests it again, and verifies it
        return Modified(stat, bytes(head))

    def _is_intact(self, response: Response, whole: bytearray) -> bool:
        """Whether *whole* has the checksum that *response* tells, if it tells one."""
        if not self._traits.verifies:
            return True
        checksum = expected_checksum(self._traits, response)
        return checksum is None or checksum.of(memoryview(whole)) == checksum.expected

    def _compare(self, version: ObjectVersion, head_size: int, deadline: float) -> Revalidation:
        """Revalidate by HEAD, if no range or no condition can be requested."""
        stat = self._head_object.head(version.key, deadline=deadline, reason=Reason.REVALIDATE)
        if stat.version.is_same(version):
            return NotModified()
        if head_size and stat.version.size:
            failure = StoreError(
                "replaced during its revalidation", bucket=self._runner.bucket, key=version.key
            )
            raise Retryable(failure)
        return Modified(stat, b"")


def _is_by_time(request: StoreRequest) -> bool:
    return any(name == "if-modified-since" for name, _ in request.headers)
