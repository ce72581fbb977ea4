"""Restore of one archived object: the only request that is not a read.

It changes no byte, no key and no attribute of an object: S3 copies it, for some days, to where it
can be read. It is safe to repeat, so an attempt without a response is: a restore that is under way
responds 409, and one that is done counts its days anew.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
"""

from typing import Final

from s3mount.errors import StoreError
from s3mount.s3.archive import RestoreOrder, RestoreOutcome, RestoreQuery
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.model import Reason
from s3mount.s3.operations.error_mapping import ARCHIVED, Operation
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.request_headers import version_query
from s3mount.s3.transport import RESTORE, ErrorResponse, Response, StoreRequest

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_OUTCOMES: Final = {200: RestoreOutcome.EXTENDED, 202: RestoreOutcome.REQUESTED}
_ONGOING: Final = "RestoreAlreadyInProgress"
_REFUSALS: Final = {
    ARCHIVED: "its storage class needs no restore, or the tier is not for it",
    "GlacierExpeditedRetrievalNotAvailable": (
        "there is no capacity for expedited retrievals now: use --tier Standard, or try later"
    ),
}
_UNKNOWN: Final = (405, 501)  # of stores without archives


class RestoreObject:
    """Restores of objects, requested over *runner*."""

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner

    def restore(self, query: RestoreQuery, *, deadline: float) -> RestoreOutcome:
        """See `Operations.restore`."""
        return self._runner.run(Operation.RESTORE, query.key, self._restore, query, deadline)

    def _restore(self, query: RestoreQuery, deadline: float) -> RestoreOutcome:
        request = StoreRequest(
            RESTORE,
            query.key,
            (("restore", ""), *version_query(query.version_id)),
            method="POST",
            reason=Reason.RESTORE,
            body=_document(query.order),
        )
        with self._runner.transport.send(request, deadline=deadline) as response:
            outcome = _OUTCOMES.get(response.status)
            if outcome is None:
                return self._refused(response, query.key)
            response.read_all(ERROR_LIMIT)
            return outcome

    def _refused(self, response: Response, key: str) -> RestoreOutcome:
        """Return ONGOING if that is the refusal, else raise it."""
        error = read_error(response)
        refused = error.response
        if refused.code == _ONGOING:
            return RestoreOutcome.ONGOING
        reason = _REFUSALS.get(refused.code)
        if reason is None and refused.status in _UNKNOWN:
            reason = "the store has no restores"
        if reason is None:
            raise error
        raise self._failure(refused, reason, key) from error

    def _failure(self, refused: ErrorResponse, reason: str, key: str) -> StoreError:
        return StoreError(
            f"restore refused: {reason} (HTTP {refused.status})",
            bucket=self._runner.bucket,
            key=key,
            status=refused.status,
            code=refused.code or None,
            request_id=refused.request_id,
        )


def _document(order: RestoreOrder) -> bytes:
    """Return the body of the request; it has no text but a number and a name of ours."""
    days = "" if order.days is None else f"<Days>{order.days}</Days>"
    return (
        f'<RestoreRequest xmlns="{_NAMESPACE}">{days}'
        f"<GlacierJobParameters><Tier>{order.tier}</Tier></GlacierJobParameters></RestoreRequest>"
    ).encode()
