"""Policy of customer keys (SSE-C): which key a request carries, and what its refusal means.

A listing tells nothing of encryption. So the first request for an object carries the key that
opened the last object nearby, or none; if the store refuses that, the others are tried in turn.

Invariants:

1. What is remembered decides requests, never bytes: a wrong guess is refused by the store, and
   then corrected.
2. A request without a key is the second one, so that a refusal of something else costs one request
   more, whatever the number of keys.
3. At most one search goes on for an object and a kind of request. Those who need its result wait
   for it, and take its failure for theirs.
4. At most REMEMBERED objects and REMEMBERED directories are remembered, the last ones used.
5. An object that was searched for stays remembered by itself, so objects with several keys in one
   directory are searched for once each.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from s3mount.s3.endpoint.customer_key import CustomerKey
from s3mount.s3.operations.error_mapping import KEY_REFUSALS
from s3mount.s3.transport import ErrorResponse

REMEMBERED: Final = 8192
# without a key; a HEAD has no code
_NEEDS_KEY: Final = frozenset((*KEY_REFUSALS, ""))
# with another key, or with one that is not needed
_OTHER_KEY: Final = frozenset((*_NEEDS_KEY, "AccessDenied", "InvalidDigest", "BadRequest"))

K = TypeVar("K")


class ObjectId(NamedTuple):
    """An object: its current version, or that of *version_id*."""

    key: str
    version_id: str | None = None


class CustomerKeys:
    """The keys of a mount, and which object each of them opened last. Thread-safe."""

    def __init__(self, keys: Sequence[CustomerKey], remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        # under the lock: the keys, the last one that was found first; the key that an object needs,
        # None for one without encryption; that of the last object that was searched for below a
        # directory; the objects that no key opens; whether responses tell encryption
        self._keys = list(keys)
        self._objects: OrderedDict[ObjectId, CustomerKey | None] = OrderedDict()
        self._directories: OrderedDict[str, CustomerKey | None] = OrderedDict()
        self._unopened: OrderedDict[ObjectId, CustomerKey | None] = OrderedDict()  # by no key
        self._tells_encryption = True

    def guess(self, item: ObjectId) -> CustomerKey | None:
        """Return the key that a request for *item* carries first."""
        with self._lock:
            for known in (item, ObjectId(item.key)):
                if known in self._objects:
                    self._objects.move_to_end(known)
                    return self._objects[known]
            if not self._directories:
                return None
            for directory in directories_of(item.key):
                if directory in self._directories:
                    self._directories.move_to_end(directory)
                    return self._directories[directory]
        return None

    def candidates(self, tried: CustomerKey | None) -> Iterator[CustomerKey | None]:
        """Return what to try after *tried* was refused, in order."""
        with self._lock:
            keys = [key for key in self._keys if key is not tried]
        if tried is not None:
            yield None
        yield from keys

    def record_found(
        self, item: ObjectId, key: CustomerKey | None, *, is_told: bool | None
    ) -> None:
        """Account for *key* as the one that a search has found for *item*.

        *is_told*: the response says that the object is encrypted; None if it may say nothing.
        """
        with self._lock:
            if key is not None and is_told is not None:
                self._tells_encryption = is_told
            self._put(self._objects, item, key)
            self._unopened.pop(item, None)
            for directory in (*directories_of(item.key),)[::-1]:  # the nearest is the last used
                self._put(self._directories, directory, key)
            if key is not None:
                self._keys.remove(key)
                self._keys.insert(0, key)

    def record_unopened(self, item: ObjectId) -> bool:
        """Account for *item* as one that no key opens; return False if that is known."""
        with self._lock:
            is_news = item not in self._unopened
            self._put(self._unopened, item, None)
            return is_news

    def record_unencrypted(self, item: ObjectId) -> None:
        """Account for *item* as not encrypted: the store did not use the key that it was sent.

        One that a search has found stays, since the store refused the request without a key. Of a
        store that does not tell encryption, nothing is known.
        """
        with self._lock:
            if self._tells_encryption and item not in self._objects:
                self._put(self._objects, item, None)

    def fingerprints(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(sorted(key.fingerprint for key in self._keys))

    def _put(
        self, known: OrderedDict[K, CustomerKey | None], name: K, key: CustomerKey | None
    ) -> None:
        known[name] = key
        known.move_to_end(name)
        if len(known) > self._remembered:
            known.popitem(last=False)


def directories_of(key: str) -> Iterator[str]:
    """Return the directories of *key*, the nearest first, the bucket ("") last. Pure."""
    end = len(key)
    while end >= 0:
        end = key.rfind("/", 0, end)
        yield key[: end + 1]


def refuses_key(error: ErrorResponse, key: CustomerKey | None) -> bool:
    """Whether *error* may be the refusal of *key*; None: of a request without one. Pure.

    A HEAD is refused without a code.
    """
    if error.is_html or error.redirect is not None:
        return False
    if key is None:
        return error.status == 400 and error.code in _NEEDS_KEY
    if error.status == 501:  # of a store that knows no SSE-C
        return True
    return error.status in (400, 403) and error.code in _OTHER_KEY
