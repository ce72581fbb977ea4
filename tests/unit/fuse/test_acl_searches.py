"""A process that lists names and reads no value searches for ACLs."""

import pytest

from s3mount.fuse.acl_searches import (
    FILES_MAX,
    FORGOTTEN_AFTER,
    PROCESSES_MAX,
    UNKNOWN,
    AclSearches,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def list_files(searches: AclSearches, pid: int, files: int) -> None:
    for _ in range(files):
        searches.on_names(pid)


def test_a_process_that_lists_many_files_is_searching_and_no_other(clock: Clock) -> None:
    searches = AclSearches(clock)

    list_files(searches, 1, FILES_MAX - 1)
    assert not searches.is_search(1)
    list_files(searches, 1, 1)

    assert searches.is_search(1)
    assert not searches.is_search(2)


def test_processes_that_have_no_number_here_are_never_searching(clock: Clock) -> None:
    searches = AclSearches(clock)

    list_files(searches, UNKNOWN, 2 * FILES_MAX)

    assert not searches.is_search(UNKNOWN)


def test_a_process_that_reads_a_value_between_is_not_searching(clock: Clock) -> None:
    searches = AclSearches(clock)

    for _ in range(10 * FILES_MAX):
        assert not searches.is_search(1)
        searches.on_names(1)
        searches.on_value(1)


def test_a_search_goes_on_while_it_lists_and_ends_when_it_pauses(clock: Clock) -> None:
    searches = AclSearches(clock)
    list_files(searches, 1, FILES_MAX)

    for _ in range(10):
        clock.now += 0.9 * FORGOTTEN_AFTER
        assert searches.is_search(1)
    clock.now += 1.1 * FORGOTTEN_AFTER
    assert not searches.is_search(1)


def test_few_processes_are_remembered(clock: Clock) -> None:
    searches = AclSearches(clock)
    list_files(searches, 0, FILES_MAX)
    for pid in range(1, PROCESSES_MAX + 1):
        searches.on_names(pid)

    assert not searches.is_search(0)
    assert len(searches._listings) == PROCESSES_MAX
