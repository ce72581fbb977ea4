"""Versions of objects: a page of them (ListObjectVersions), and whether the bucket keeps any.

Requests are written one way only: a store that has versions has this API.
"""

from s3mount.s3.limits import DOCUMENT_LIMIT, ERROR_LIMIT
from s3mount.s3.model import Reason, VersionPage, VersionQuery
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.version_parser import parse_versions
from s3mount.s3.operations.xml_document import DocumentTurns, child_text, parse_document
from s3mount.s3.transport import InvalidResponseError, StoreRequest

_STATUSES = ("Enabled", "Suspended")


class ObjectVersions:
    """Listings of versions, requested over *runner*."""

    def __init__(self, runner: OperationRunner, page_size: int) -> None:
        self._runner = runner
        self._page_size = page_size
        self._turns = DocumentTurns()

    def list_versions(self, query: VersionQuery, *, deadline: float) -> VersionPage:
        """See `Operations.list_versions`."""
        return self._runner.run(Operation.LIST, query.prefix, self._list, query, deadline)

    def has_versioning(self, *, deadline: float) -> bool:
        """See `Operations.has_versioning`.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html
        """
        return self._runner.run(Operation.LIST, "", self._has_versioning, deadline)

    def _list(self, query: VersionQuery, deadline: float) -> VersionPage:
        marker = query.marker
        parameters = (
            ("delimiter", query.delimiter),
            ("encoding-type", "url"),
            ("key-marker", marker.key if marker else ""),
            ("max-keys", str(min(query.max_keys, self._page_size))),
            ("prefix", query.prefix),
            ("version-id-marker", (marker.version_id if marker else None) or ""),
            ("versions", ""),
        )
        given = tuple(
            (name, value) for name, value in parameters if value or name in ("prefix", "versions")
        )
        request = StoreRequest("ListObjectVersions", None, given, reason=query.reason)
        body = self._receive(request, DOCUMENT_LIMIT, deadline)
        with self._turns.turn(body, deadline):
            return parse_versions(body, query)

    def _has_versioning(self, deadline: float) -> bool:
        request = StoreRequest(
            "GetBucketVersioning", None, (("versioning", ""),), reason=Reason.CHECK
        )
        root = parse_document(self._receive(request, ERROR_LIMIT, deadline))
        return (child_text(root, "Status") or "").strip() in _STATUSES

    def _receive(self, request: StoreRequest, limit: int, deadline: float) -> bytes:
        with self._runner.transport.send(request, deadline=deadline) as response:
            if response.status != 200:
                raise read_error(response)
            try:
                return response.read_all(limit)
            except ConnectionError as exc:  # as invalid as half a document
                raise InvalidResponseError("a document that ends early") from exc
