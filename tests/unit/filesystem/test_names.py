import pytest

from s3mount.filesystem.names import decode, encode, is_valid, parent_of


@pytest.mark.parametrize("name", [b"a", b" ", b"...", b"\\", b"\x01", b"\xff", b"n" * 255])
def test_a_linux_file_can_have_any_name_of_at_most_255_bytes(name: bytes) -> None:
    assert is_valid(name)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a\0b", b"n" * 256])
def test_no_linux_file_can_have_an_empty_a_dotted_a_nul_or_an_overlong_name(name: bytes) -> None:
    assert not is_valid(name)


def test_bytes_that_are_no_utf_8_survive_the_conversion_to_a_key_and_back() -> None:
    assert encode(decode(b"\xff\xfe")) == b"\xff\xfe"


@pytest.mark.parametrize(
    ("key", "above"), [("a", ""), ("a/b", "a/"), ("a/b/", "a/b/"), ("a//b", "a//")]
)
def test_the_parent_of_a_key_is_its_prefix_up_to_the_last_slash(key: str, above: str) -> None:
    assert parent_of(key) == above
