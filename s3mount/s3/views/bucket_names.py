"""Names of the buckets that a mount of an account shows.

Those that the account lists and the user chooses, and those that the user names, listed or not.
There is a listing for each call that needs one: how long it is relied on is decided by the tree.
Calls that wait for a listing that begins after them share it.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import trio

from s3mount.errors import S3MountError, StoreError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import ListPage, ListQuery, Reason

_WILDCARD: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class BucketSelection:
    """Choice of buckets: *names*, listed or not, and those listed that match any of *patterns*."""

    names: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = (re.compile(""),)

    @classmethod
    def of(cls, words: Sequence[str]) -> "BucketSelection":
        """Return the choice of *words*, which are names and patterns as in a shell; none: all."""
        if not words:
            return cls()
        patterns = [word for word in words if _WILDCARD.search(word)]
        names = dict.fromkeys(word for word in words if word not in patterns)
        expressions = (re.compile(fnmatch.translate(word)) for word in patterns)
        return cls(tuple(names), tuple(expressions))

    @property
    def needs_listing(self) -> bool:
        """Whether the account has to be listed."""
        return bool(self.patterns)

    def matches(self, name: str) -> bool:
        return any(pattern.match(name) for pattern in self.patterns)

    def may_have(self, name: str) -> bool:
        """Whether it is chosen, if there is such a bucket."""
        return name in self.names or self.matches(name)


class Account(Protocol):
    """Listing of the buckets of an account; see `AccountOperations`."""

    async def list_page(self, query: ListQuery) -> ListPage: ...


class BucketNames:
    """The buckets of *selection*, listed from *account*; for one trio run."""

    def __init__(self, account: Account, selection: BucketSelection) -> None:
        self._account = account
        self._selection = selection
        # the names of the last listing; held while one is made, which has the number of those
        # begun; the last that ended, and its failure
        self._listed: frozenset[str] = frozenset()
        self._listing = trio.Lock()
        self._begun = 0
        self._ended = 0
        self._failure: S3MountError | None = None

    async def all(self, reason: Reason = Reason.LISTING) -> list[str]:
        """List the account, if need be; the names in order."""
        if self._selection.needs_listing:
            await self._list(reason)
        return sorted(self._listed.union(self._selection.names))

    async def has(self, name: str, reason: Reason = Reason.LOOKUP) -> bool:
        """Whether there is a bucket *name*, as far as it has been listed; listed if it has not."""
        if self.is_known(name):
            return True
        if not self._selection.matches(name):
            return False
        await self._list(reason)
        return name in self._listed

    def is_known(self, name: str) -> bool:
        """Whether *name* is named by the user, or in the last listing."""
        return name in self._listed or name in self._selection.names

    def forget(self, name: str) -> None:
        """Take *name* for listed no longer: the store has no such bucket."""
        self._listed -= {name}

    async def _list(self, reason: Reason) -> None:
        """Wait for a listing that begins from now on."""
        number = self._begun + 1
        async with self._listing:
            if self._ended < number:
                await self._list_once(reason)
            elif self._failure is not None:
                raise self._failure.detached()

    async def _list_once(self, reason: Reason) -> None:
        self._begun += 1
        number, self._failure = self._begun, None
        try:
            names = await self._read_pages(ListQuery("", reason=reason))
        except S3MountError as exc:
            self._failure, self._ended = exc.detached(), number
            raise
        self._listed, self._ended = frozenset(filter(self._selection.matches, names)), number

    async def _read_pages(self, query: ListQuery) -> list[str]:
        names, seen = list[str](), set[str]()
        while True:
            page = await self._account.list_page(query)
            names += [prefix[:-1] for prefix in page.prefixes]
            token = page.next_token
            if token is None:
                return names
            if token in seen:
                raise StoreError("the list of buckets repeats a continuation token")
            seen.add(token)
            query = replace(query, token=token)
