"""The boto3 side of the store's door: each question one call of a boto3 client, each answer checked before it is believed.

Knows botocore's calls and exceptions. What a refusal means is in `translate`, what an answer must look like in `answers`, how
requests travel in `wire`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import urllib3.exceptions
from botocore import exceptions
from botocore.parsers import ResponseParserError

from s3mount.config import StoreConfig
from s3mount.errors import StoreError
from s3mount.s3.boto.http_client import CHUNK, Wire
from s3mount.s3.endpoint.boto_session import Session, common_parameters, open_client, open_session
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.model import (
    ByteRange,
    ListedObject,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Revalidation,
)
from s3mount.s3.object_store import OnToken
from s3mount.s3.operations import error_mapping, validation
from s3mount.s3.operations.error_mapping import ErrorResponse, Operation
from s3mount.s3.operations.validation import InvalidResponseError, decoded
from s3mount.s3.scheduling.cancel_token import CancelToken

_TIMEOUTS = (
    urllib3.exceptions.TimeoutError,
    exceptions.ConnectTimeoutError,
    exceptions.ReadTimeoutError,
    TimeoutError,
)
_SILENCES = (
    *(urllib3.exceptions.HTTPError, OSError),
    *(
        exceptions.HTTPClientError,
        exceptions.ResponseStreamingError,
        exceptions.IncompleteReadError,
    ),
)


class BotoTransport:
    """`Transport` over one boto3 client, of *session* or a new one."""

    def __init__(
        self, config: StoreConfig, store: Endpoint, session: Session | None = None
    ) -> None:
        self._store = store
        self._bucket = store.bucket
        self._standing = common_parameters(config)
        self._wire = Wire(store, connections=config.max_connections)
        session = session or open_session(config)
        self._client = open_client(config, session, region=store.region, credentials=self._frozen)
        self._client.meta.events.register("before-send.s3", self._wire.send)

    def head(self, key: str, *, deadline: float) -> ObjectStat:
        with self._asking(Operation.OBJECT, key, deadline):
            headers = _headers(self._call(self._client.head_object, Key=_sent(key)))
            size = validation.content_length(headers)
            if size is None:
                raise InvalidResponseError("no Content-Length")
            return validation.object_stat(self._bucket, key, headers, size)

    def list_page(
        self,
        query: ListQuery,
        *,
        deadline: float,
        on_token: OnToken | None = None,  # noqa: ARG002 - botocore reads a page whole
    ) -> ListPage:
        with self._asking(Operation.LISTING, query.prefix, deadline):
            return _read_page(self._call(self._client.list_objects_v2, **_listing(query)), query)

    def get_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: Callable[[], memoryview],
        *,
        version_id: str | None,
        deadline: float,
        cord: CancelToken | None = None,
    ) -> str | None:
        which = {"VersionId": version_id} if version_id else _condition("IfMatch", version)
        with self._asking(Operation.VERSION, version.key, deadline, cord):
            answer = self._get(version.key, span, which)
            with closing(answer["Body"]) as body:
                headers = _headers(answer)
                part = validation.part_of(_status(answer), headers)
                if not validation.is_version(version, headers, part.size):
                    raise error_mapping.from_replacement(
                        version.key, bucket=self._bucket, request_id=_request_id(answer)
                    )
                validation.check_covers(part, span)
                _skip(body, span.start - part.span.start)
                _fill(body, into())
            return validation.version_id(headers)

    def begin_range(self, *_: object, **__: object) -> None:
        """There is no asking without waiting here."""

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation:
        if head_size == 0:  # a range of no bytes cannot be asked for
            return self._compare(version, deadline)
        condition = _condition("IfNoneMatch", version)
        try:
            return self._get_changed(version, head_size, condition, deadline)
        except StoreError as failure:
            match failure.status:
                case 304 if condition:
                    return NotModified()
                case 416:  # an empty object has no range, whether it is the old one or the new
                    return self._compare(version, deadline)
            raise

    def prepare(self, *, deadline: float) -> None:
        """Nothing: boto3 opens a connection with its first request, and not before."""

    def renew_credentials(self) -> None:
        self._store.credentials.invalidate()

    def close(self) -> None:
        self._wire.close()
        self._client.close()

    def _frozen(self) -> FrozenCredentials:
        """What botocore signs this thread's request with."""
        return self._store.credentials.frozen(self._wire.deadline, self._wire.cord)

    def _get(self, key: str, span: ByteRange, which: Mapping[str, str]) -> Any:
        byte_range = f"bytes={span.start}-{span.stop - 1}"
        return self._call(
            self._client.get_object, statuses=(200, 206), Key=_sent(key), Range=byte_range, **which
        )

    def _call(
        self,
        operation: Callable[..., Any],
        *,
        statuses: Collection[int] = (200,),
        **parameters: Any,
    ) -> Any:
        """What *operation* of the client answers. InvalidResponseError if botocore's parser stumbles over the answer.

        To botocore each status below 300 is a success; a HEAD with 206, for one, has the length of a part.
        """
        try:
            answer = operation(**self._standing, **parameters)
        except (
            AttributeError,
            LookupError,
            TypeError,
        ) as exc:  # an element where it takes a text for granted, or the reverse
            raise InvalidResponseError(f"it cannot be parsed ({type(exc).__name__})") from exc
        if _status(answer) not in statuses:
            raise InvalidResponseError(f"HTTP {_status(answer)}")
        return answer

    def _get_changed(
        self, version: ObjectVersion, head_size: int, condition: Mapping[str, str], deadline: float
    ) -> Revalidation:
        with self._asking(Operation.CHANGE, version.key, deadline):
            answer = self._get(version.key, ByteRange(0, head_size), condition)
            with closing(answer["Body"]) as body:
                headers = _headers(answer)
                part = validation.part_of(_status(answer), headers)
                if validation.is_version(version, headers, part.size):
                    return NotModified()  # from a store that does not know If-None-Match
                head = bytearray(min(head_size, part.size))
                validation.check_covers(part, ByteRange(0, len(head)))
                _fill(body, memoryview(head))
                return Modified(
                    validation.object_stat(self._bucket, version.key, headers, part.size),
                    bytes(head),
                )

    def _compare(self, version: ObjectVersion, deadline: float) -> Revalidation:
        stat = self.head(version.key, deadline=deadline)
        return NotModified() if stat.version == version else Modified(stat, b"")

    @contextmanager
    def _asking(
        self, asked: Operation, key: str, deadline: float, cord: CancelToken | None = None
    ) -> Iterator[None]:
        """Whatever botocore, the network or our checks raise in the block comes out as one of ours."""
        where = {"bucket": self._bucket, "key": key}
        try:
            with self._wire.until(deadline, cord):
                yield
        except exceptions.ClientError as exc:
            raise error_mapping.from_error_response(refusal(exc), asked, **where) from exc
        except InvalidResponseError as exc:
            raise error_mapping.from_invalid_response(str(exc), asked, **where) from exc
        except (
            ResponseParserError,
            ValueError,
        ) as exc:  # ValueError: how botocore meets a number or a date that is none
            raise error_mapping.from_invalid_response(
                "it cannot be parsed", asked, **where
            ) from exc
        except _SILENCES as exc:
            raise error_mapping.from_network_error(
                exc, asked, **where, is_timeout=isinstance(exc, _TIMEOUTS)
            ) from exc


def refusal(exc: exceptions.ClientError) -> ErrorResponse:
    """What the store said. botocore puts the status where a code is missing."""
    code = str(exc.response.get("Error", {}).get("Code", ""))
    headers = _headers(exc.response)
    return ErrorResponse(
        status=_status(exc.response),
        code="" if code.isdigit() else code,
        request_id=_request_id(exc.response),
        is_page=headers.get("content-type", "")
        .lower()
        .startswith(("text/html", "application/json"))
        and headers.get("content-length") != "0",  # moto says text/html of the empty body of a HEAD
    )


def _listing(query: ListQuery) -> dict[str, Any]:
    asked = {
        "Prefix": _sent(query.prefix),
        "Delimiter": query.delimiter,
        "StartAfter": None if query.start_after is None else _sent(query.start_after),
        "ContinuationToken": query.token,
        "MaxKeys": query.max_keys,
        "EncodingType": "url",  # said here, botocore leaves the decoding to us
    }
    return {name: value for name, value in asked.items() if value not in (None, "", b"")}


def _read_page(page: Mapping[str, Any], query: ListQuery) -> ListPage:
    is_encoded = page.get("EncodingType") == "url"
    try:
        objects = [
            _read_object(listed, is_encoded=is_encoded) for listed in page.get("Contents", ())
        ]
        prefixes = [
            decoded(each["Prefix"], is_encoded=is_encoded)
            for each in page.get("CommonPrefixes", ())
        ]
    except (KeyError, TypeError, AttributeError) as exc:
        raise InvalidResponseError("an element of the listing lacks a part") from exc
    return validation.list_page(
        query,
        objects,
        prefixes,
        is_truncated=page.get("IsTruncated"),
        next_token=page.get("NextContinuationToken"),
    )


def _read_object(listed: Mapping[str, Any], *, is_encoded: bool) -> ListedObject:
    return validation.listed_object(
        decoded(listed["Key"], is_encoded=is_encoded),
        listed["Size"],
        listed["LastModified"],
        listed.get("ETag"),
        listed.get("StorageClass"),
    )


def _condition(name: str, version: ObjectVersion) -> dict[str, str]:
    return {} if validation.is_synthetic(version.etag) else {name: f'"{version.etag}"'}


def _sent(key: str) -> str | bytes:
    """A key as botocore takes it: bytes, where it is not Unicode, are passed through as they are."""
    return key if key.isascii() else key.encode("utf-8", "surrogateescape")


def _skip(body: Any, count: int) -> None:
    while count:
        count -= len(_some(body, count))


def _fill(body: Any, into: memoryview) -> None:
    filled = 0
    while filled < len(into):
        chunk = _some(body, len(into) - filled)
        into[filled : filled + len(chunk)] = chunk
        filled += len(chunk)


def _some(body: Any, most: int) -> bytes:
    chunk: bytes = body.read(min(CHUNK, most))
    if not chunk:
        raise InvalidResponseError("the body is cut short")
    return chunk


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def _headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = answer["ResponseMetadata"].get("HTTPHeaders", {})
    return headers


def _request_id(answer: Mapping[str, Any]) -> str | None:
    request_id = answer["ResponseMetadata"].get("RequestId")
    return (
        request_id if isinstance(request_id, str) else None
    )  # an element that has others is a dict
