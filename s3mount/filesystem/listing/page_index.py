"""Index of a listing's pages by name. Pure."""

from bisect import bisect_right
from dataclasses import dataclass

from s3mount.filesystem.listing.entry_page import EntryPage


@dataclass(slots=True)
class _Run:
    """Pages whose names rise from each to the next: first names, numbers, and the last name."""

    first_names: list[bytes]
    numbers: list[int]
    last_name: bytes


class PageIndex:
    """Page numbers by name. An ordered listing is one run, or few if files were held back."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, page: EntryPage, number: int) -> None:
        """Append *page*, whose number is higher than all before it."""
        run = next((run for run in self._runs if run.last_name < page.first_name), None)
        if run is None:
            self._runs.append(_Run([page.first_name], [number], page.last_name))
        else:
            run.first_names.append(page.first_name)
            run.numbers.append(number)
            run.last_name = page.last_name

    def candidates(self, name: bytes) -> list[int]:
        """The numbers of the pages that can hold *name*."""
        return [
            run.numbers[after - 1]
            for run in self._runs
            if (after := bisect_right(run.first_names, name))
        ]

    @property
    def last_name(self) -> bytes:
        """The last name of the first run."""
        return self._runs[0].last_name
