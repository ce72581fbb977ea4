"""`Transport` over a boto3 client: botocore signs each request, our HTTP client sends it.

botocore applies its endpoint rules, gets an S3 Express session if the bucket needs one, and signs.
Its `before-send` event then hands the signed request over, and the call into botocore ends there:
its parsers, retries and redirects never see the response.
https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
"""

import contextlib
from copy import copy
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from botocore import exceptions, xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.parsers import ResponseParserError

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError
from s3mount.s3.boto.http_client import Call, HttpClient
from s3mount.s3.boto.http_response import HttpResponse
from s3mount.s3.endpoint.boto_session import Session, common_parameters, open_client, open_session
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.model import Reason
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    RESTORE,
    ErrorResponse,
    ErrorResponseError,
    InvalidResponseError,
    StoreRequest,
)

# what botocore raises for a session that is none, or that has ended
_PARSER_ERRORS = (
    *(ResponseParserError, exceptions.CredentialRetrievalError),
    *(ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
)


class _SignedRequest(BaseException):
    """End of a call into botocore with the request that it would send.

    Not an Exception: botocore catches those around `before-send`, and would ask its retry handlers.
    """

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


class BotoTransport:
    """`Transport` of requests that a boto3 client, of *session* or a new one, has signed.

    *log* is told of each request. Without a *connected* transport, whose connections it uses and
    leaves open, it has its own.
    """

    def __init__(
        self,
        config: StoreConfig,
        store: Endpoint,
        session: Session | None = None,
        log: RequestLog | None = None,
        connected: "BotoTransport | None" = None,
    ) -> None:
        self._endpoint = store
        self._credentials = store.credentials
        self._common_parameters = common_parameters(config)
        self._has_own_http = connected is None
        self._call: Call = connected._call if connected else Call()  # noqa: SLF001 - its class
        self._http: HttpClient = (
            connected._http  # noqa: SLF001
            if connected
            else HttpClient(
                store, self._call, log or RequestLog(), connections=config.max_connections
            )
        )
        session = session or open_session(config)
        config = replace(config, addressing_style=store.style, path_style=False)
        self._client = open_client(config, session, region=store.region, credentials=self._frozen)
        self._client.meta.events.register("before-send.s3", self._before_send)
        self._has_own_client = True
        self._client.meta.events.register(f"before-call.s3.{RESTORE}", self._before_call)
        self._parameters: dict[str, dict[str, str]] = {}  # of each operation, see `_names`

    def for_bucket(self, config: StoreConfig, store: Endpoint) -> "BotoTransport":
        """Return a transport to *store*, of *config*, in the same region, by the same client.

        Its `close` leaves the client and the connections open.
        """
        other = copy(self)
        other._endpoint = store  # noqa: SLF001 - its own class
        other._common_parameters = common_parameters(config)  # noqa: SLF001
        other._has_own_http = other._has_own_client = False  # noqa: SLF001
        return other

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> "BotoExchange":
        return BotoExchange(self, request, deadline, cancel_token or CancelToken())

    def send_nowait(self, *_: object, **__: object) -> None:
        """Return None: urllib3 cannot send without waiting."""

    def preconnect(self, *, deadline: float) -> None:
        """Do nothing: urllib3 opens a connection with its first request, and not before."""

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        return self._credentials.renew(since, deadline, is_expired=is_expired)

    def adjust_clock(self, date: str | None) -> bool:  # noqa: ARG002 - botocore has its own clock
        return False

    def close(self) -> None:
        if self._has_own_http:
            self._http.close()
        if self._has_own_client:
            self._client.close()

    def open(
        self, request: StoreRequest, deadline: float, cancel_token: CancelToken
    ) -> HttpResponse:
        """Sign and send *request*, and read the header of the response."""
        call = self._call
        call.operation, call.body, call.has_sent = request.operation, request.body, False
        call.deadline, call.cancel_token = deadline, cancel_token
        try:
            signed = self._signed(request)
            if request.customer_key is not None:
                request.customer_key.fields_for(self._endpoint, signed.url)
            signed.headers["Accept-Encoding"] = request.accept_encoding
            return self._http.send(signed, request)
        finally:
            vars(call).clear()

    def _signed(self, request: StoreRequest) -> AWSPreparedRequest:
        method = getattr(self._client, xform_name(request.operation))
        parameters = self._common_parameters | self._given(request)
        try:
            method(**parameters)
        except _SignedRequest as signed:
            return signed.request
        except exceptions.ClientError as exc:  # no session
            raise _session_error(exc) from exc
        except _PARSER_ERRORS as exc:
            if not self._call.has_sent:
                raise
            raise InvalidResponseError(f"no session ({type(exc).__name__})") from exc
        raise AssertionError("botocore did not send the request")

    def _before_call(self, *, params: dict[str, Any], **_: Any) -> None:
        """Have botocore sign the body as the operation has it, and add its checksum."""
        params["body"] = self._call.body

    def _before_send(self, *, request: AWSPreparedRequest, event_name: str, **_: Any) -> Any:
        if event_name.endswith(f".{self._call.operation}"):
            raise _SignedRequest(request)
        self._call.has_sent = True
        logged = StoreRequest("CreateSession", None, reason=Reason.CHECK)
        response = self._http.send(request, logged)
        return AWSResponse(request.url, response.status, response.headers, response)

    def _frozen(self) -> FrozenCredentials:
        """Return what botocore signs this thread's request with."""
        return self._credentials.frozen(self._call.deadline, self._call.cancel_token)

    def _given(self, request: StoreRequest) -> dict[str, str | bytes]:
        """Return the query and the headers of *request* as botocore's parameters."""
        names = self._parameters.get(request.operation) or self._names(request.operation)
        fields = (*request.query, *request.headers, *request.signed_headers)
        if request.customer_key is not None:
            fields += request.customer_key.fields_for(self._endpoint)
        given = {names[name]: _sent(value) for name, value in fields if names[name]}
        return given if request.key is None else given | {"Key": _sent(request.key)}

    def _names(self, operation: str) -> dict[str, str]:
        """Return botocore's parameter for each query name and header of *operation*.

        It is "" for what botocore sends by itself (`?list-type=2`).
        """
        model = self._client.meta.service_model.operation_model(operation)
        standing = model.http["requestUri"].partition("?")[2].split("&")
        names = {pair.partition("=")[0]: "" for pair in standing}
        for parameter, shape in model.input_shape.members.items():
            match shape.serialization:
                case {"location": "header", "name": name}:
                    names[name.lower()] = parameter
                case {"location": "querystring", "name": name}:
                    names[name] = parameter
        self._parameters[operation] = names
        return names


@dataclass(slots=True, eq=False)
class BotoExchange:
    """`Exchange` of *request* over *transport*."""

    transport: BotoTransport
    request: StoreRequest
    deadline: float
    cancel_token: CancelToken
    response: HttpResponse | None = None  # from `__enter__` to `__exit__`

    def __enter__(self) -> HttpResponse:
        try:
            self.response = self.transport.open(self.request, self.deadline, self.cancel_token)
        except BaseException:  # raised again
            self.cancel_token.detach()
            raise
        return self.response

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        response, self.response = self.response, None
        assert response is not None
        response.end(exc)
        # after any other exception the end of the response is unknown
        is_clean = False
        if exc is None or isinstance(exc, S3MountError | ErrorResponseError):
            with contextlib.suppress(OSError, InvalidResponseError):
                is_clean = response.is_at_end()
        response.close(is_clean=is_clean)


def _session_error(exc: exceptions.ClientError) -> ErrorResponseError | InvalidResponseError:
    """Return what the response to a CreateSession of botocore means.

    A 404 without a code is not from S3, and would be taken for the absence of a key.
    """
    metadata = exc.response["ResponseMetadata"]
    status = int(metadata["HTTPStatusCode"])
    code = str(exc.response.get("Error", {}).get("Code", ""))
    if code.isdigit():  # botocore puts the status if there is no code
        code = ""
    if status == 404 and not code:
        return InvalidResponseError("no session (HTTP 404)")
    request_id = str(metadata.get("RequestId", "")) or None
    return ErrorResponseError(ErrorResponse(status=status, code=code, request_id=request_id))


def _sent(value: str) -> str | bytes:
    """Return *value* as botocore takes it: bytes that are not Unicode pass as they are."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape")
