"""S3 server of a bucket with a history: any key order, random pages, late responses."""

import random
import time
from collections.abc import Iterator, Mapping

from s3mount.s3.model import ListQuery
from tests.fakes.key_order import is_common_prefix, items_of
from tests.faults.bucket import Blob, Bucket, Request, _untoken
from tests.faults.hostile_store import Exchange, Fault, HostileStore
from tests.property.history import History
from tests.property.history_store import ORDERS, Behaviour, body_of, is_after, size_of


class ChangingBucket(Bucket):
    """Bucket that records its states; moments are those of `time.monotonic`."""

    def __init__(
        self, name: str, keys: tuple[str, ...], behaviour: Behaviour, rnd: random.Random
    ) -> None:
        super().__init__(name)
        self._behaviour = behaviour
        self._rnd = rnd
        self.history = History({})
        self._serials = 0
        for key in keys:
            self.replace(key)
        self.history = History(self.history.current.sizes)

    def replace(self, key: str) -> None:
        """Store a new version of *key*."""
        with self._lock:
            self._serials += 1
            size = size_of(key, self._serials)
            self.put(key, body_of(key, size))
            self.history.change(time.monotonic(), key, size)

    def remove(self, key: str) -> None:
        with self._lock:
            if key in self.history.current.sizes:
                self.delete(key)
                self.history.change(time.monotonic(), key, None)

    @property
    def page_size(self) -> int:
        """A size for the next page."""
        most = self._behaviour.page_max
        return self._rnd.randint(1, most) if self._behaviour.has_random_pages else most

    @page_size.setter
    def page_size(self, size: int) -> None:
        """Ignore *size*: page sizes follow from the behaviour."""

    def _items(self, query: Mapping[str, str]) -> Iterator[tuple[str, Blob | None]]:
        order, token = ORDERS[self._behaviour.order], query.get("continuation-token")
        start_after = query.get("start-after", "")
        listed = ListQuery(query.get("prefix", ""), query.get("delimiter", ""))
        keys = [
            key
            for key in self.history.current.sizes
            if token is not None or is_after(key, start_after, self._behaviour)
        ]
        last = None if token is None else order(_untoken(token))
        for item in items_of(keys, listed, order):
            if last is None or order(item) > last:
                yield item, None if is_common_prefix(item, listed) else self._current(item)


class LateStore(HostileStore):
    """Server of *bucket*, up to *delay* seconds late before and after evaluating a request."""

    def __init__(self, bucket: ChangingBucket, delay: float, rnd: random.Random) -> None:
        self._delay = delay
        self._rnd = rnd
        super().__init__(bucket)

    def _fault_for(self, request: Request) -> Fault:  # noqa: ARG002  # all are late
        return self._respond_late

    def _respond_late(self, exchange: Exchange) -> None:
        self._wait()
        response = exchange.response
        self._wait()
        exchange.reply(response)

    def _wait(self) -> None:
        if self._delay:
            time.sleep(self._rnd.random() * self._delay)  # latency of the store
