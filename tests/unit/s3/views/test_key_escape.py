"""Each key has one path, and each path one key at most; ordinary keys stay as they are."""

from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.s3.views.key_escape import KeyEscape, key_of, names, prefix_of
from tests.reference import can_be_a_name, encode

PIECES = [
    *("a", "b", ".", "..", "/", "//", "\0", "%", "%00", "%25", "%2500", "5", "25"),
    *("%file=", "%dir=", "%long=", "%file", "é", "\U0001f389", "\udcff", "\udcc3"),
    *("x" * 60, "é" * 99, "y" * 196, "z" * 200, "n" * 249),
]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
# as a store's keys are decoded: no two of their characters are parts of another one
keys = texts.map(lambda text: encode(text).decode("utf-8", "surrogateescape")).filter(bool)
paths = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def path_of(key: str) -> str:
    """The path of an object, as a directory of its name does not shadow it."""
    *above, last = key.split("/")
    spelt = [name for component in above for name in names(component, is_directory=True)]
    return "/".join([*spelt, *names(last, is_directory=False)])


@given(key=keys)
@example(key="a\0%00%25/%file=/..//" + "%25" * 100)
def test_a_key_is_what_its_path_stands_for(key: str) -> None:
    path = path_of(key)

    assert all(can_be_a_name(encode(name)) for name in path.split("/"))
    found = key_of(path)
    assert found is not None
    assert (found.key, found.is_shadowed) == (key, False)


@given(found=st.sets(keys, max_size=20))
def test_no_two_keys_share_a_path(found: set[str]) -> None:
    shadowed = {
        path_of(key).removesuffix(name) + KeyEscape().shadowed(name)
        for key in found
        if (name := path_of(key).rpartition("/")[2]) == key.rpartition("/")[2]
    }

    shown = {encode(path_of(key)) for key in found}

    assert len(shown) == len(found)
    assert shown.isdisjoint(map(encode, shadowed))


@given(path=paths)
@example(path="%long=" + "y" * 200 + "/%file=" + "y" * 50)
def test_a_path_that_stands_for_a_key_is_the_path_of_that_key(path: str) -> None:
    found = key_of(path)
    if found is None:
        return

    its_path = path_of(found.key)
    if found.is_shadowed:
        above, slash, name = its_path.rpartition("/")
        its_path = above + slash + KeyEscape().shadowed(name)
    assert its_path == path


@given(key=keys)
def test_a_directory_stands_for_the_beginning_of_the_keys_in_it(key: str) -> None:
    directories = path_of(key).split("/")[:-1]
    for above in accumulate(directories, lambda path, name: f"{path}{name}/", initial=""):
        own = prefix_of(above)

        assert own is not None
        assert key.startswith(own.prefix)
        assert own.has(key)
        assert KeyEscape().unescape(above) == own.prefix


@given(key=keys, path=paths)
def test_a_directory_has_no_key_of_another_path(key: str, path: str) -> None:
    own = prefix_of(f"{path}/")
    if own is not None and key.startswith(own.prefix) and own.has(key):
        assert path_of(key).startswith(f"{path}/")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b.txt", "a/b.txt"),
        ("100%/%2F=%D0%BF", "100%/%2F=%D0%BF"),
        ("n" * 249, "n" * 249),
        ("a//b", "a/%dir=/b"),
        ("/x", "%dir=/x"),
        ("./../.", "%dir=./%dir=../%file=."),
        ("d/", "d/%file="),
        ("nul\0/nul\0", "%dir=nul%00/%file=nul%00"),
        ("%file=a", "%file=%file=a"),
        ("%00\0", "%file=%2500%00"),
        ("%long=", "%file=%long="),
        ("n" * 250, "%long=" + "n" * 200 + "/" + "n" * 50),
        ("m" * 450 + "/é", "%long=" + "m" * 200 + "/%long=" + "m" * 200 + "/" + "m" * 50 + "/é"),
        ("é" * 150, "%long=" + "é" * 100 + "/" + "é" * 50),
        ("x" * 199 + "é" * 30, "%long=" + "x" * 199 + "/" + "é" * 30),
    ],
)
def test_a_key_has_this_path(key: str, path: str) -> None:
    assert path_of(key) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "a//b", "a/", "n" * 250, "%dir=a", "%dir=a/b", "%dir=.", "%file=/a", "a/%file=./b"),
        *("%file=a%2541", "%long=" + "n" * 200, "%long=abc/def", "%long=/%file="),
        "%long=" + "é" * 98 + "\udcc3/\udca9" + "é" * 60,
    ],
)
def test_a_path_that_no_key_has_stands_for_none(path: str) -> None:
    assert key_of(path) is None


def test_a_shadowed_file_is_named_beside_its_directory() -> None:
    assert key_of("d/%file=a") == ("d/a", True)
    assert KeyEscape().shadowed("%00") == "%file=%2500"
