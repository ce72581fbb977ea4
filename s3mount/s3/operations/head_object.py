"""HEAD of objects, and the GET that replaces a HEAD that the store does not know."""

from dataclasses import replace

from s3mount.errors import AccessDenied, CredentialsRefused, S3MountError, StoreError
from s3mount.s3.model import ByteRange, ObjectStat, Reason
from s3mount.s3.operations import validation
from s3mount.s3.operations.content_coding import TransformedBodyError, check_stored
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.request_form import RequestForm
from s3mount.s3.operations.request_headers import range_header, version_query
from s3mount.s3.operations.response_body import check_body_ends
from s3mount.s3.operations.store_traits import StoreTraits, try_forms
from s3mount.s3.transport import Fields, Response, Retryable, StoreRequest, content_length

_REFUSALS_OF_HEAD = (405, 501)  # by gateways that have GET only


class HeadObject:
    """Attributes of objects, requested over *runner* in the form that *traits* tell."""

    def __init__(self, runner: OperationRunner, traits: StoreTraits) -> None:
        self._runner = runner
        self._traits = traits

    def head(
        self,
        key: str,
        *,
        deadline: float,
        reason: Reason = Reason.LOOKUP,
        version_id: str | None = None,
    ) -> ObjectStat:
        """See `Operations.head`. A store without HEAD is asked by GET, at once after some tries."""
        if not self._traits.has_heads:
            return self.head_by_get(key, deadline=deadline, reason=reason, version_id=version_id)
        try:
            stat = self._head(key, version_query(version_id), deadline, reason)
        except S3MountError as exc:
            if exc.status not in _REFUSALS_OF_HEAD:
                raise
            stat = None
        is_useful = stat is not None
        if stat is None:
            stat = self.head_by_get(key, deadline=deadline, reason=reason, version_id=version_id)
        self._traits.record_head(is_useful=is_useful)
        return stat

    def head_by_get(
        self,
        key: str,
        *,
        deadline: float,
        is_whole: bool = False,
        reason: Reason = Reason.REVALIDATE,
        version_id: str | None = None,
    ) -> ObjectStat:
        """See `Operations.head_by_get`."""
        query, stat = version_query(version_id), None
        if not is_whole:
            stat = self._head_of_get(key, query, deadline, reason, is_whole=False)
        if stat is None:  # an empty object has no range, and some stores tell no size with one
            stat = self._head_of_get(key, query, deadline, reason, is_whole=True)
        if stat is None:
            raise Retryable(StoreError("GET tells no size", bucket=self._runner.bucket, key=key))
        return stat

    def check_encryption(self, key: str, *, deadline: float, version_id: str | None) -> None:
        """Raise AccessDenied if *key* is encrypted with a customer key (SSE-C) that is not known.

        For a GET whose refusal may have many reasons; here a key that is missing is the only one.
        """
        try:
            self.head(key, deadline=deadline, reason=Reason.CHECK, version_id=version_id)
        except CredentialsRefused:
            return
        except AccessDenied:
            raise
        except (S3MountError, Retryable):
            return

    def _head(self, key: str, query: Fields, deadline: float, reason: Reason) -> ObjectStat | None:
        """Return what HEAD tells; None if only a GET tells it."""

        def receive(form: RequestForm) -> ObjectStat | None:
            request = StoreRequest(
                "HeadObject",
                key,
                query,
                method="HEAD",
                accept_encoding=form.accept_encoding,
                reason=reason,
            )
            with self._runner.transport.send(request, deadline=deadline) as response:
                if response.status != 200:
                    return self._refused_head(response)
                headers = response.headers
                check_stored(headers, None)
                size = content_length(headers)
                if size is None:
                    raise TransformedBodyError("no Content-Length")
                return validation.object_stat(self._runner.bucket, key, headers, size)

        def attempt() -> ObjectStat | None:
            try:
                return try_forms(self._traits, receive, is_whole=None)
            except TransformedBodyError:  # in each form
                return None

        return self._runner.run(Operation.HEAD, key, attempt)

    def _head_of_get(
        self, key: str, query: Fields, deadline: float, reason: Reason, *, is_whole: bool
    ) -> ObjectStat | None:
        """Return what the header of a GET tells; None if it has no size or no such range."""

        def receive(form: RequestForm) -> ObjectStat | None:
            is_part = form.ranges and not is_whole
            request = StoreRequest(
                "GetObject",
                key,
                query,
                headers=range_header(ByteRange(0, 1)) if is_part else (),
                accept_encoding=form.accept_encoding,
                reason=reason,
            )
            with self._runner.transport.send(request, deadline=deadline) as response:
                headers = response.headers
                if response.status == 416 or headers.get("content-range", "").endswith("/*"):
                    return None
                if response.status not in (200, 206):
                    raise read_error(response)
                check_stored(headers, None)
                content = validation.content_range(response.status, headers)
                if is_part and response.status == 200 and content.size == 1:
                    return None  # the object, or a part of it that is sent as a whole
                check_body_ends(response, content.stop - content.start)
                stat = validation.object_stat(self._runner.bucket, key, headers, content.size)
                if is_part and content.stop > 1 and "etag" in headers:
                    self._traits.record_ignored_range()  # a page of a portal has no ETag
                return replace(stat, is_size_certain=validation.tells_range(headers))

        return self._runner.run(
            Operation.REVALIDATION, key, try_forms, self._traits, receive, is_whole=is_whole
        )

    @staticmethod
    def _refused_head(response: Response) -> None:
        """Raise the refusal of a HEAD; return if only a GET says what it means.

        S3 refuses a HEAD with 400 for an expired token, and for an object under SSE-C. A page of a
        gateway, whose 404 is no absence, may have no body either.
        """
        error = read_error(response)
        is_of_a_gateway = response.status == 404 and error.response.is_html
        if error.response.code or not (response.status == 400 or is_of_a_gateway):
            raise error
