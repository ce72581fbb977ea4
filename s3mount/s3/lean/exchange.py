"""One question and its answer: signed, sent over a connection of the pool, and the connection sorted out afterwards.

Whatever the network or our checks raise comes out as one of ours. A kept-alive connection that the peer had closed is no
failure: the question is asked once more, on a new one.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from s3mount.errors import S3MountError
from s3mount.s3 import translate
from s3mount.s3.answers import WrongAnswerError
from s3mount.s3.cord import Cord, CutError
from s3mount.s3.credentials import ANONYMOUS, FrozenCredentials
from s3mount.s3.lean.connection import Answer, Connection, UnansweredError
from s3mount.s3.lean.dial import Dialer, forwarding_lines
from s3mount.s3.lean.pages import ErrorDocument, read_error
from s3mount.s3.lean.pool import Pool
from s3mount.s3.lean.signing import Signer
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.session import ResolvedStore
from s3mount.s3.translate import Asked, Fault, Refusal
from s3mount.s3.transport import Retryable

FAULTS = (ErrorDocument, WrongAnswerError, OSError)  # what a network, or our checks of an answer, raise
SKEW = 300.0  # seconds by which clocks differ before that can be the reason of a refusal; S3 allows 900


class Question(NamedTuple):
    """One request: *path* and *query* encoded, *lines* its headers beside those of every request, *key* for failures."""

    asked: Asked
    key: str
    path: str
    query: str = ""
    lines: str = ""
    method: str = "GET"


class Exchange:
    """Asks one store, from any thread. *clock* is monotonic, *wall_clock* in seconds since 1970."""

    def __init__(
        self, store: ResolvedStore, *, connections: int, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._pool = Pool(Dialer(store, connections=connections, clock=clock).dial, clock=clock)
        self._signer = Signer(store.host_header, store.region, store.service, store.headers)
        self._standing = f"User-Agent: {store.user_agent}\r\nAccept-Encoding: identity\r\n{forwarding_lines(store)}"
        self._origin = store.origin if store.proxy and store.scheme == "http" else ""  # what a forwarding proxy wants
        self._skew = 0.0  # seconds: the store's clock less ours, learnt where it refuses for that

    @contextmanager
    def ask(
        self, question: Question, deadline: float, cord: Cord | None = None, connection: Connection | None = None
    ) -> Iterator[Answer]:
        """The answer, whose body is to be read in the block. Raises as `Transport` does, and so does the block.

        *cord* ends it, until then. It was sent already where there is a *connection*.
        """
        cord = cord or Cord()
        try:
            connection, answer = self._send(question, deadline, cord, connection)
            try:
                try:
                    yield answer
                finally:
                    cord.untie()
            except (S3MountError, Retryable):
                self._part(connection, answer)
                raise
            except BaseException:  # raised again; where the answer ends is not known, so none may follow
                connection.close()
                raise
            self._part(connection, answer)
        except FAULTS as exc:
            raise self.told(exc, question) from exc

    def begin(self, question: Question, deadline: float, cord: Cord) -> Connection | None:
        """Send *question* without waiting, where that can be: the connection for `ask` to go on with."""
        credentials = self._store.credentials.frozen_nowait()
        if credentials is not None:
            with contextlib.suppress(*FAULTS, S3MountError, Retryable, CutError):  # `ask` will tell
                return self._begin(question, credentials, deadline, cord)
        return None

    def prepare(self, deadline: float) -> None:
        """Have one connection more ready, if there is one to be had: if not, the next question will tell why."""
        with contextlib.suppress(OSError):
            self._pool.give_back(self._pool.open(deadline, Cord()))

    def told(self, fault: Exception, question: Question) -> Fault:
        """One of FAULTS, as a failure of *question*."""
        where = {"bucket": self._store.bucket, "key": question.key}
        match fault:
            case ErrorDocument(code=code):
                return translate.fault(Refusal(status=200, code=code), question.asked, **where)
            case OSError():
                is_timeout = isinstance(fault, TimeoutError)
                return translate.silence(fault, question.asked, **where, is_timeout=is_timeout)
            case _:
                return translate.nonsense(str(fault), question.asked, **where)

    def refused(self, answer: Answer, question: Question) -> Fault:
        """What it means that *answer* has a status that does not answer *question*."""
        code, request_id = _said(answer)
        refusal = Refusal(
            status=answer.status,
            code=code,
            request_id=answer.headers.get("x-amz-request-id") or request_id,
            is_page=_is_page(answer),
        )
        fault = translate.fault(refusal, question.asked, bucket=self._store.bucket, key=question.key)
        if isinstance(fault, S3MountError) and self._learns_skew(refusal, answer):
            return Retryable(fault)
        return fault

    def close(self) -> None:
        """Wake every thread that waits for the store."""
        self._pool.close()

    def _begin(
        self, question: Question, credentials: FrozenCredentials, deadline: float, cord: Cord
    ) -> Connection | None:
        request = self._written(question, credentials)
        connection = self._pool.borrow_idle(deadline)
        if connection is None:
            return None
        try:
            cord.tie(connection.shut_down)
            connection.send(request, deadline=deadline)
        except BaseException:  # raised again
            cord.untie()
            connection.close()
            raise
        return connection

    def _send(
        self, question: Question, deadline: float, cord: Cord, begun: Connection | None
    ) -> tuple[Connection, Answer]:
        try:
            if begun is not None:
                return begun, self._read_head(begun, None, question, deadline, cord)
            request = self._written(question, self._store.credentials.frozen(deadline, cord))
            connection = self._pool.borrow(deadline, cord)
            return connection, self._read_head(connection, request, question, deadline, cord)
        except UnansweredError:
            cord.check()  # else it was us who ended it
            # before there is a connection, since credentials may fail
            request = self._written(question, self._store.credentials.frozen(deadline, cord))
            connection = self._pool.open(deadline, cord)
            return connection, self._read_head(connection, request, question, deadline, cord)

    def _read_head(
        self, connection: Connection, request: bytes | None, question: Question, deadline: float, cord: Cord
    ) -> Answer:
        head_by = min(deadline, self._clock() + self._store.idle_timeout)  # a head that drips is as good as none
        try:
            cord.tie(connection.shut_down)
            answer = connection.ask(request, deadline=head_by, is_bodiless=question.method == "HEAD")
        except BaseException as exc:  # raised again; a connection that has not answered serves nobody any more
            cord.untie()
            connection.close()
            if isinstance(exc, TimeoutError):  # a link that lost its state lost it for all that are idle
                self._pool.drop_idle()
            raise
        connection.wait_until(deadline)
        return answer

    def _part(self, connection: Connection, answer: Answer) -> None:
        """Keep the connection if the next answer will begin where this one ends."""
        with contextlib.suppress(OSError, WrongAnswerError):
            if answer.leaves_clean and answer.is_at_end():
                self._pool.give_back(connection)
                return
        connection.close()

    def _written(self, question: Question, credentials: FrozenCredentials) -> bytes:
        target = f"{question.path}?{question.query}" if question.query else question.path
        if credentials is ANONYMOUS:
            lines = self._signer.unsigned_lines()
        else:
            now = self._wall_clock() + self._skew
            lines = self._signer.header_lines(credentials, question.method, question.path, question.query, now)
        head = f"{question.method} {self._origin}{target} HTTP/1.1\r\n{lines}{self._standing}{question.lines}\r\n"
        return head.encode()

    def _learns_skew(self, refusal: Refusal, answer: Answer) -> bool:
        """Whether the refusal can come from our clock, which then goes by the store's. A HEAD is refused without a code."""
        if refusal.code not in ("RequestTimeTooSkewed", "") or refusal.status != 403:
            return False
        try:
            theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return False
        skew = theirs - self._wall_clock()
        is_news = abs(skew - self._skew) > SKEW
        if is_news:
            self._skew = skew
        return is_news


def _said(answer: Answer) -> tuple[str, str | None]:
    """Code and request id of a refusal. A server error is one however little of it arrives; an absence must be said in full."""
    try:
        body = answer.read_all(ERROR_LIMIT)
    except (OSError, WrongAnswerError):
        if answer.status < 500:
            raise
        return "", None
    code, request_id = read_error(body)
    return code or answer.headers.get("x-minio-error-code", ""), request_id  # MinIO tells it to a HEAD too


def _is_page(answer: Answer) -> bool:
    """Whether HTML or JSON was sent. moto says text/html of an empty body."""
    content_type = answer.headers.get("content-type", "").lower()
    return content_type.startswith(("text/html", "application/json")) and answer.headers.get("content-length") != "0"
