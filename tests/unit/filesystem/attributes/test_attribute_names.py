"""The table of names has every field that S3 tells, and values are any text."""

from pathlib import Path

from s3mount.filesystem.attributes import attribute_names as names
from s3mount.s3.model import ObjectMetadata, ObjectStat, ObjectVersion
from s3mount.s3.operations.head_metadata import FIELDS
from s3mount.s3.operations.validation import synthetic_etag

PAGE = (Path(__file__).parents[4] / "docs/attributes.md").read_text()
STAT = ObjectStat(ObjectVersion("b", "k", "e", 1), 0)


def test_every_member_of_a_head_has_a_name_or_is_left_out_on_purpose() -> None:
    assert set(FIELDS.values()) == set(names.OF_MEMBER) | names.NOT_SHOWN
    assert not set(names.OF_MEMBER) & names.NOT_SHOWN


def test_no_two_members_have_one_name() -> None:
    assert len(set(names.OF_MEMBER.values())) == len(names.OF_MEMBER)


def test_the_page_of_attributes_has_every_name_and_member() -> None:
    for member, name in names.OF_MEMBER.items():
        assert f"`{name.decode()}`" in PAGE
        assert f"`{member}`" in PAGE
    for name in (names.OWNER, names.PARTS_COUNT, names.PART_SIZE, names.ENTRIES):
        assert f"`{name.decode()}`" in PAGE


def test_values_are_utf_8_and_never_fail() -> None:
    assert names.value_of("äö") == "äö".encode()
    assert names.value_of("a\udcffb") == b"a\xffb"  # an octet of a key that is no UTF-8
    assert names.value_of("\ud800") == b"?"  # half a character, as UTF-7 may decode to


def test_a_name_that_the_kernel_cannot_have_is_left_out() -> None:
    user = {"a" * 300: "long", "nul\0": "odd", "": "empty", "fine": "x"}

    found = names.values_of(ObjectMetadata(STAT, {"ContentType": ""}, user))

    assert found == {
        b"user.s3.content_type": b"",
        b"user.s3.meta.": b"empty",
        b"user.s3.meta.fine": b"x",
    }


def test_an_etag_that_the_store_did_not_give_is_not_told() -> None:
    assert names.told_etag(synthetic_etag(10**9, 5)) is None
    assert names.told_etag("") is None
    assert names.told_etag("abc") == "abc"
