"""Traits of the store, as a mount has learned them: what a request may carry, what an ETag is.

One object for all operations, changed from any thread. A trait is learned from a response that came
out right, so a store that fails for other reasons teaches nothing. Neither does one refusal that
may have had another reason, after which the next request happened to succeed.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from s3mount.s3.operations.content_coding import TransformedBodyError
from s3mount.s3.operations.request_form import RequestForm, other_form, says_unknown
from s3mount.s3.transport import ErrorResponseError

T = TypeVar("T")

log = logging.getLogger(__name__)

REFUSALS_MAX: Final = 3  # of a header, one after another, if they may be about something else
TRIED_AGAIN_AFTER: Final = 60.0  # seconds; one request more a minute for stores without ranges
IGNORED_RANGES: Final = 2  # responses with a whole object to Range, until that is expected
USELESS_HEADS_MAX: Final = 5  # one after another, until GETs replace them


class StoreTraits:
    """Traits of one store.

    *verifies*: whole objects are checked, by their ETag too if *has_md5_etags* is not False.
    *form* is that of the next request. What it leaves out is tried again TRIED_AGAIN_AFTER seconds
    later, and so is HEAD: a proxy may have refused it for a while. *has_md5_etags* is None until an
    object has shown it. *clock* is monotonic.
    """

    def __init__(
        self,
        *,
        verifies: bool = True,
        checksums: bool = True,
        has_md5_etags: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.verifies = verifies
        self.has_md5_etags = has_md5_etags
        self._clock = clock
        self._full_form = self._form = RequestForm(checksums=verifies and checksums)
        self._full_again_at = math.inf
        self._told: set[str] = set()  # what the log says is refused or ignored
        self._whole_responses = 0  # to Range, one after another
        self._useless_heads = 0  # one after another
        self._heads_again_at = math.inf
        self._refusals = dict.fromkeys(_TEXTS, 0)
        self.has_refusals = False  # whether any of them is not 0
        self._lock = threading.Lock()
        self._probing = threading.Lock()  # held while it is found out whether ETags are MD5s
        self._has_probed = False

    @property
    def form(self) -> RequestForm:
        if self._full_again_at < math.inf and self._clock() >= self._full_again_at:
            self._restore()
        return self._form

    def _restore(self) -> None:
        full = self._full_form
        with self._lock:
            self._full_again_at = math.inf
            self._whole_responses = min(self._whole_responses, IGNORED_RANGES - 1)
            self._form = self._form._replace(checksums=full.checksums, ranges=full.ranges)
            for name in self._told & self._refusals.keys():  # one more refusal is enough
                self._refusals[name] = REFUSALS_MAX - 1

    def learn(self, form: RequestForm, *, is_certain: bool = False) -> None:
        """Account for a response that came out right to a request of *form*, and to no other.

        *is_certain*: the store has said that it does not know what *form* leaves out.
        """
        with self._lock:
            former = self._form
            for name in _TEXTS:
                if getattr(former, name) and not getattr(form, name):
                    self._refusals[name] += 1
                    self.has_refusals = True
                    if not is_certain and self._refusals[name] < REFUSALS_MAX:
                        form = _with(form, name)
            self._form = form
            refused = {name for name in _TEXTS if getattr(former, name) and not getattr(form, name)}
            if refused:
                self._full_again_at = self._clock() + TRIED_AGAIN_AFTER
            untold = refused - self._told
            self._told |= refused
        for name in untold:
            log.info("%s", _TEXTS[name])

    def record_accepted(self, name: str) -> None:
        """Account for a response that came out right to a request with "checksums" or "ranges"."""
        with self._lock:
            self._refusals[name] = 0
            self.has_refusals = any(self._refusals.values())

    @property
    def has_ranges(self) -> bool:
        """Whether Range is worth sending: it is not refused, and was not ignored lately."""
        return self.form.ranges and self._whole_responses < IGNORED_RANGES

    def record_range(self, *, is_part: bool) -> None:
        """Account for the response to a Range; a cache may send the whole object at first."""
        self._whole_responses = 0 if is_part else self._whole_responses + 1
        if self._whole_responses == IGNORED_RANGES:
            self._expect_whole_objects()

    def record_ignored_range(self) -> None:
        """Account for a whole object as response to a Range that asked for one byte of it."""
        self._whole_responses = IGNORED_RANGES
        self._expect_whole_objects()

    def _expect_whole_objects(self) -> None:
        with self._lock:
            self._full_again_at = self._clock() + TRIED_AGAIN_AFTER
            is_told = _IGNORED_RANGE in self._told
            self._told.add(_IGNORED_RANGE)
        if not is_told:
            log.info("%s", _IGNORED_RANGE)

    @property
    def has_heads(self) -> bool:
        """Whether HEAD is worth sending: it was not useless USELESS_HEADS_MAX times lately."""
        if self._useless_heads < USELESS_HEADS_MAX:
            return True
        if self._clock() < self._heads_again_at:
            return False
        with self._lock:
            self._useless_heads = USELESS_HEADS_MAX - 1  # one more is enough
        return True

    def record_head(self, *, is_useful: bool) -> None:
        """Account for a HEAD that described an object, or whose object only a GET described."""
        with self._lock:
            self._useless_heads = 0 if is_useful else self._useless_heads + 1
            if self._useless_heads >= USELESS_HEADS_MAX:
                self._heads_again_at = self._clock() + TRIED_AGAIN_AFTER

    def may_be_md5s(
        self, probe: Callable[[], bool | None], deadline: float, *, is_again: bool
    ) -> bool:
        """Return False if ETags are no MD5s, which *probe* finds out if nothing has told it yet.

        A probe that told nothing is repeated if *is_again*. Waits until *deadline* for another.
        """
        if not self._probing.acquire(timeout=max(0, deadline - time.monotonic())):
            return self.has_md5_etags is not False
        try:
            if self.has_md5_etags is None and (is_again or not self._has_probed):
                self._has_probed = True
                found = probe()
                if self.has_md5_etags is None:  # else an object has shown it meanwhile
                    self.has_md5_etags = found
                if self.has_md5_etags is False:
                    log.warning(
                        "the ETags of this store look like MD5s, and are none: whole objects are "
                        "checked by x-amz-checksum headers only, if it sends them"
                    )
        finally:
            self._probing.release()
        return self.has_md5_etags is not False


_TEXTS: Final = {
    "checksums": "the store refuses x-amz-checksum-mode: it is no longer sent",
    "ranges": "the store refuses Range: each object is read from its beginning",
}

_IGNORED_RANGE: Final = "the store ignores Range: each object is read from its beginning"


def _with(form: RequestForm, name: str) -> RequestForm:
    is_checksums = name == "checksums"
    return form._replace(checksums=True) if is_checksums else form._replace(ranges=True)


def try_forms(
    traits: StoreTraits, attempt: Callable[[RequestForm], T], *, is_whole: bool | None
) -> T:
    """Return what *attempt* returns, with the first form of its request that the store takes."""
    form = traits.form
    tried = {form}
    is_certain = False
    while True:
        try:
            result = attempt(form)
        except (TransformedBodyError, ErrorResponseError) as exc:
            other = other_form(form, exc, is_whole=is_whole)
            if other is None or other in tried:
                raise
            tried.add(other)
            form = other
            is_certain = says_unknown(exc)
        else:
            if len(tried) > 1:
                traits.learn(form, is_certain=is_certain)
            return result


def is_directory_bucket(bucket: str) -> bool:
    """Whether ETags are random: those of S3 Express One Zone are.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-bucket-naming-rules.html
    """
    return bucket.endswith("--x-s3")
