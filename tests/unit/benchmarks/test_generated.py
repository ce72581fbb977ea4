"""The generated bucket lists like S3: every key once, in order, wherever a page begins."""

import re
import urllib.request
from collections.abc import Iterator
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.content import MIB, body
from benchmarks.generated import GeneratedBucket, pieces
from benchmarks.generated_server import GeneratedServer

COUNT = 2_345
CONTENT = body(0, 6 * MIB)
KEYS = [f"object-{number:07}" for number in range(COUNT)]


def keys_of(page: bytes) -> list[str]:
    return [key.decode() for key in re.findall(rb"<Key>(.*?)</Key>", page)]


def text_of(page: bytes, name: str) -> str | None:
    found = re.search(f"<{name}>(.*?)</{name}>".encode(), page)
    return found and found[1].decode()


def walk(
    bucket: GeneratedBucket, query: dict[str, str], token_name: str, next_name: str
) -> list[str]:
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

    assert (
        walk(GeneratedBucket(COUNT), query, "continuation-token", "NextContinuationToken") == KEYS
    )


def test_version_1_goes_on_by_its_marker() -> None:
    assert walk(GeneratedBucket(COUNT), {}, "marker", "NextMarker") == KEYS


@given(
    prefix=st.sampled_from(
        ["", "o", "object-", "object-00012", "object-0002344", "object-00023449", "p", "a"]
    ),
    after=st.one_of(st.just(""), st.sampled_from(KEYS), st.text("abjecto-012/~", max_size=16)),
)
def test_prefix_and_start_after_select_what_they_say(prefix: str, after: str) -> None:
    page = GeneratedBucket(COUNT).page(
        "b", {"list-type": "2", "prefix": prefix, "start-after": after}
    )

    assert [key for key in KEYS if key.startswith(prefix) and key > after][:1000] == keys_of(page)


def test_every_key_has_an_etag_of_its_own() -> None:
    page = GeneratedBucket(COUNT).page("b", {"list-type": "2", "start-after": KEYS[499]})

    assert len(set(re.findall(rb"<ETag>(.*?)</ETag>", page))) == 1000


@pytest.fixture
def url() -> Iterator[str]:
    server = GeneratedServer({"bucket": GeneratedBucket(COUNT)})
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


FORM = "dir-#####/file-##"
TREE = [f"dir-{number // 100:05}/file-{number % 100:02}" for number in range(COUNT)]


def list_like_s3(prefix: str, after: str) -> tuple[list[str], list[str]]:
    """Return the keys and the common prefixes of a listing by "/"."""
    inside = [key for key in TREE if key.startswith(prefix) and key > after]
    rests = [key[len(prefix) :] for key in inside]
    return (
        [key for key, rest in zip(inside, rests, strict=True) if "/" not in rest],
        sorted({prefix + rest.partition("/")[0] + "/" for rest in rests if "/" in rest}),
    )


@given(
    prefix=st.sampled_from(["", "dir-0000", "dir-00003/", "dir-00003/file-0", "dir-00023/", "x"]),
    after=st.one_of(st.just(""), st.sampled_from(TREE), st.text("dir-0/file~", max_size=16)),
)
def test_keys_are_grouped_by_a_delimiter(prefix: str, after: str) -> None:
    query = {"list-type": "2", "delimiter": "/", "prefix": prefix, "start-after": after}

    page = GeneratedBucket(COUNT, FORM).page("b", query)

    groups = [group for group in prefixes_of(page) if group != prefix]
    assert list_like_s3(prefix, after) == (keys_of(page), groups)


@given(size=st.integers(1, 30))
def test_pages_of_groups_give_every_group_once(size: int) -> None:
    bucket = GeneratedBucket(COUNT, FORM)
    query = {"delimiter": "/", "max-keys": str(size)}
    groups: list[str] = []

    while (page := bucket.page("b", query)) and (token := text_of(page, "NextMarker")):
        groups += prefixes_of(page)
        query = query | {"marker": token}

    assert list_like_s3("", "")[1] == groups + prefixes_of(page)


def prefixes_of(page: bytes) -> list[str]:
    found = re.findall(rb"<CommonPrefixes><Prefix>(.*?)</Prefix>", page)
    return [group.decode() for group in found]


def test_a_form_without_seven_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="not a form"):
        GeneratedBucket(1, "object-###")


@given(start=st.integers(0, 3 * MIB), length=st.integers(1, 3 * MIB))
def test_pieces_are_the_bytes_of_an_object(start: int, length: int) -> None:
    assert b"".join(pieces(start, start + length)) == CONTENT[start : start + length]


def test_a_range_of_an_object_is_answered(url: str) -> None:
    asked = urllib.request.Request(f"{url}/{KEYS[7]}", headers={"Range": "bytes=1000-"})

    with urllib.request.urlopen(asked) as answer:
        assert (206, "bytes 1000-1023/1024") == (answer.status, answer.headers["Content-Range"])
        assert CONTENT[1000:1024] == answer.read()


def test_an_object_has_the_etag_that_its_listing_says(url: str) -> None:
    with urllib.request.urlopen(f"{url}/{KEYS[7]}") as answer:
        etag = answer.headers["ETag"].strip('"')

    page = GeneratedBucket(COUNT).page("b", {"prefix": KEYS[7]})
    assert text_of(page, "ETag") == f"&quot;{etag}&quot;"
