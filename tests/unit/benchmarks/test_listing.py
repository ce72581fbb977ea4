"""The generated bucket lists like S3: every key once, in order, wherever a page begins."""

import re
import urllib.request
from collections.abc import Iterator
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.listing import FlatBucket, ListingServer

COUNT = 2_345
KEYS = [f"object-{number:07}" for number in range(COUNT)]


def keys_of(page: bytes) -> list[str]:
    return [key.decode() for key in re.findall(rb"<Key>(.*?)</Key>", page)]


def text_of(page: bytes, name: str) -> str | None:
    found = re.search(f"<{name}>(.*?)</{name}>".encode(), page)
    return found and found[1].decode()


def walk(bucket: FlatBucket, query: dict[str, str], token_name: str, next_name: str) -> list[str]:
    keys: list[str] = []
    while True:
        page = bucket.page("b", query)
        keys += keys_of(page)
        if text_of(page, "IsTruncated") == "false":
            return keys
        token = text_of(page, next_name)
        assert token is not None
        query = query | {token_name: token}


@given(size=st.integers(301, 1000))
def test_pages_of_any_size_give_every_key_once(size: int) -> None:
    query = {"list-type": "2", "max-keys": str(size)}

    assert walk(FlatBucket(COUNT), query, "continuation-token", "NextContinuationToken") == KEYS


def test_version_1_goes_on_by_its_marker() -> None:
    assert walk(FlatBucket(COUNT), {}, "marker", "NextMarker") == KEYS


@given(
    prefix=st.sampled_from(
        ["", "o", "object-", "object-00012", "object-0002344", "object-00023449", "p", "a"]
    ),
    after=st.one_of(st.just(""), st.sampled_from(KEYS), st.text("abjecto-012/~", max_size=16)),
)
def test_prefix_and_start_after_select_what_they_say(prefix: str, after: str) -> None:
    page = FlatBucket(COUNT).page("b", {"list-type": "2", "prefix": prefix, "start-after": after})

    assert [key for key in KEYS if key.startswith(prefix) and key > after][:1000] == keys_of(page)


def test_every_key_has_an_etag_of_its_own() -> None:
    page = FlatBucket(COUNT).page("b", {"list-type": "2", "start-after": KEYS[499]})

    assert len(set(re.findall(rb"<ETag>(.*?)</ETag>", page))) == 1000


@pytest.fixture
def url() -> Iterator[str]:
    server = ListingServer(FlatBucket(COUNT))
    Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_port}/bucket"
    server.shutdown()
    server.server_close()


def test_it_answers_over_http(url: str) -> None:
    with urllib.request.urlopen(f"{url}?list-type=2&prefix=object-00023") as answer:
        assert [key for key in KEYS if key >= "object-00023"] == keys_of(answer.read())


def test_a_key_it_lists_can_be_asked_for(url: str) -> None:
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/{KEYS[7]}", method="HEAD")
    ) as answer:
        assert answer.headers["Content-Length"] == "1024"
