"""Searches for the keys of objects: one at a time for each object, whose result others share.

Knows threads, and nothing of keys.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from s3mount.s3.scheduling.cancel_token import CancelToken

R = TypeVar("R")


class Search(Generic[R]):
    """A search that one thread makes; *result* is None until it has failed for all."""

    def __init__(self) -> None:
        self.result: R | None = None
        self.waiting: list[threading.Event] = []


class SharedSearches(Generic[R]):
    """Searches that are in progress, by what is searched for. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._searches: dict[Hashable, Search[R]] = {}  # under the lock, as is all of a search

    def is_searching(self, name: Hashable) -> bool:
        return name in self._searches

    @contextmanager
    def leading(self, name: Hashable) -> Iterator[Search[R] | None]:
        """Begin the search for *name*, which ends with the block; None if there is one."""
        with self._lock:
            search = None if name in self._searches else Search[R]()
            if search is not None:
                self._searches[name] = search
        try:
            yield search
        finally:
            if search is not None:
                with self._lock:
                    del self._searches[name]
                    for event in search.waiting:
                        event.set()

    def wait(self, name: Hashable, deadline: float, cancel_token: CancelToken) -> R | None:
        """Wait for the end of the search for *name*, if there is one; return its result.

        TimeoutError at *deadline*, RequestCancelledError if *cancel_token* is cancelled.
        """
        ended = threading.Event()
        with self._lock:
            search = self._searches.get(name)
            if search is None:
                return None
            search.waiting.append(ended)
        cancel_token.attach(ended.set)
        try:
            has_ended = ended.wait(max(0, deadline - self._clock()))
        finally:
            cancel_token.detach()
        cancel_token.check()
        if not has_ended:
            raise TimeoutError("the search for a customer key takes too long")
        return search.result
