"""A process that lists names and reads no value searches for ACLs."""

import os
import subprocess
import threading

import pytest

from s3mount.fuse.acl_searches import (
    FILES_MAX,
    FORGOTTEN_AFTER,
    PROCESSES_MAX,
    AclSearches,
    has_one_thread_now,
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
    searches = AclSearches(clock, lambda _: True)

    list_files(searches, 1, FILES_MAX - 1)
    assert not searches.is_search(1)
    list_files(searches, 1, 1)

    assert searches.is_search(1)
    assert not searches.is_search(2)


def test_a_process_of_several_threads_or_without_a_number_is_never_searching(clock: Clock) -> None:
    searches = AclSearches(clock, lambda _: False)

    list_files(searches, 1, 2 * FILES_MAX)

    assert not searches.is_search(1)


def test_the_threads_of_a_process_are_known_unless_it_has_no_number_here() -> None:
    ended = threading.Event()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as alone:
        assert has_one_thread_now(alone.pid)
        alone.communicate()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    assert not has_one_thread_now(os.getpid())
    assert not has_one_thread_now(thread.native_id or 0)
    ended.set()
    thread.join()
    assert not has_one_thread_now(0)


def test_a_process_that_reads_a_value_between_is_not_searching(clock: Clock) -> None:
    searches = AclSearches(clock, lambda _: True)

    for _ in range(10 * FILES_MAX):
        assert not searches.is_search(1)
        searches.on_names(1)
        searches.on_value(1)


def test_a_search_goes_on_while_it_lists_and_ends_when_it_pauses(clock: Clock) -> None:
    searches = AclSearches(clock, lambda _: True)
    list_files(searches, 1, FILES_MAX)

    for _ in range(10):
        clock.now += 0.9 * FORGOTTEN_AFTER
        assert searches.is_search(1)
    clock.now += 1.1 * FORGOTTEN_AFTER
    assert not searches.is_search(1)


def test_few_processes_are_remembered(clock: Clock) -> None:
    searches = AclSearches(clock, lambda _: True)
    list_files(searches, 0, FILES_MAX)
    for pid in range(1, PROCESSES_MAX + 1):
        searches.on_names(pid)

    assert not searches.is_search(0)
    assert len(searches._listings) == PROCESSES_MAX
