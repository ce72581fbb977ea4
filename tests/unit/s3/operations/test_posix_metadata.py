"""POSIX attributes in user metadata: the conventions, and what is none of them."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.model import PosixAttributes
from s3mount.s3.operations.posix_metadata import posix_attributes

NAMES = (
    *("mode", "uid", "gid", "mtime", "permissions", "owner", "group", "gcsfuse_mtime"),
    *("goog-reserved-posix-mode", "goog-reserved-posix-uid", "goog-reserved-posix-gid"),
    *("goog-reserved-file-mtime", "file-permissions", "file-owner", "file-group", "file-mtime"),
)
MTIME_NS = 1354040105_123456789
permissions = st.integers(0, 0o777)


def told(**metadata: str) -> PosixAttributes | None:
    """What *metadata* tells, whose names have "_" for "-" but in gcsfuse's."""
    names = {name: name if "gcsfuse" in name else name.replace("_", "-") for name in metadata}
    return posix_attributes({f"x-amz-meta-{names[name]}": metadata[name] for name in metadata})


@pytest.mark.parametrize(
    "metadata",
    [
        {"mode": "100640", "uid": "1000", "gid": "100", "mtime": "1354040105.123456789"},
        {"mode": "33184", "uid": "1000", "gid": "100", "mtime": "1354040105.123456789"},
        {
            "goog_reserved_posix_mode": "640",
            "goog_reserved_posix_uid": "1000",
            "goog_reserved_posix_gid": "100",
            "goog_reserved_file_mtime": "1354040105.123456789",
        },
        {
            "permissions": "416",
            "owner": "1000",
            "group": "100",
            "gcsfuse_mtime": "2012-11-27T18:15:05.123456789Z",
        },
        {
            "file_permissions": "0100640",
            "file_owner": "1000",
            "file_group": "100",
            "file_mtime": "1354040105123456789ns",
        },
    ],
    ids=["rclone", "s3fs", "gsutil", "s3sync-and-gcsfuse", "aws"],
)
def test_the_attributes_of_each_convention_are_read(metadata: dict[str, str]) -> None:
    assert told(**metadata) == PosixAttributes(0o640, 1000, 100, MTIME_NS)


@given(permissions)
def test_rclones_and_s3fs_modes_are_told_apart(mode: int) -> None:
    regular = stat.S_IFREG | mode

    assert told(mode=f"{regular:o}") == told(mode=f"{regular}") == PosixAttributes(mode)


@given(permissions, st.integers(1, 7))
def test_setuid_setgid_and_sticky_bits_are_dropped(mode: int, special: int) -> None:
    regular = stat.S_IFREG | special << 9 | mode

    assert told(mode=f"{regular:o}") == told(mode=f"{regular}") == PosixAttributes(mode)


@given(
    permissions,
    st.sampled_from((stat.S_IFLNK, stat.S_IFDIR, stat.S_IFSOCK, stat.S_IFBLK)),
)
def test_the_mode_of_another_type_of_file_is_ignored(mode: int, kind: int) -> None:
    for text in (f"{kind | mode:o}", f"{kind | mode}"):
        assert (told(mode=text) or PosixAttributes())._replace(target=None) == PosixAttributes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mode", text) for text in ("", "-1", "0o644", "rw-r--r--", "100644 ", "420420420420")),
        *(
            ("mode", text)
            for text in ("9", "688", "1" * 5000, "\u0661\u0660\u0660\u0666\u0664\u0664")
        ),
        *(("uid", text) for text in ("-1", "4294967295", "1.0", "root", "0x0", "1, 1", "")),
        *(("mtime", text) for text in ("-1", "1e9", "nan", "inf", "9999999999", "1.", ".5", "")),
        *(("mtime", text) for text in ("2012-11-27T18:15:05Z", "1" * 5000, "\u0661")),
        *(("gcsfuse_mtime", text) for text in ("1354040105", "1969-12-31T23:59:59Z", "now")),
        *(("file_mtime", text) for text in ("1354040105", "99999999999999999999ns", "ns")),
        ("permissions", "rwx"),
    ],
)
def test_a_malformed_value_is_ignored_and_the_others_count(name: str, value: str) -> None:
    assert told(**{name: value}) is None
    assert told(**{name: value}, gid="7") == PosixAttributes(gid=7)


@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.from_regex(r"[0-9.:TZns-]*")))
def test_whatever_metadata_says_attributes_are_within_their_bounds(values: dict[str, str]) -> None:
    found = posix_attributes({f"x-amz-meta-{name}": value for name, value in values.items()})

    mode, uid, gid, mtime_ns, target, _ = found or PosixAttributes()
    assert target in (None, "")
    assert 0 <= (mode or 0) <= 0o777
    assert 0 <= (uid or 0) < 2**32 - 1
    assert 0 <= (gid or 0) < 2**32 - 1
    assert 0 <= (mtime_ns or 0) < 2**63


@given(st.integers(0, 9223372035), st.integers(0, 999_999_999))
def test_times_are_exact_to_the_nanosecond(seconds: int, fraction: int) -> None:
    expected = PosixAttributes(mtime_ns=seconds * 10**9 + fraction)

    assert told(mtime=f"{seconds}.{fraction:09}") == expected
    assert told(file_mtime=f"{seconds}{fraction:09}ns") == expected


@pytest.mark.parametrize(
    ("name", "value", "target"),
    [
        ("mode", "41471", ""),  # s3fs
        ("mode", "120777", ""),  # rclone
        ("mode", "0120777", ""),
        ("goog-reserved-file-is-symlink", "true", ""),
        ("gcsfuse_symlink_target", "../a b", "../a b"),
        ("gcsfuse_symlink_target", "a%2Fb", "a%2Fb"),
        ("--symlink-target", "..%2Fa%20b%25", "../a b%"),
        ("--symlink-target", "caf%C3%A9", "caf\u00e9"),
        ("--symlink-target", "%FF", "\udcff"),
        ("gcsfuse_symlink_target", "x" * 4095, "x" * 4095),
    ],
)
def test_each_program_keeps_symbolic_links_in_its_own_way(
    name: str, value: str, target: str
) -> None:
    found = posix_attributes({f"x-amz-meta-{name}": value})

    assert found is not None
    assert found.target == target


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "33188"),
        ("mode", "100644"),
        ("mode", "40755"),
        ("mode", "16877"),
        ("mode", "-41471"),
        ("goog-reserved-file-is-symlink", "false"),
        ("gcsfuse_symlink_target", ""),
        ("gcsfuse_symlink_target", "x" * 4096),
        ("gcsfuse_symlink_target", "caf\u00c3\u00a9"),  # bytes of UTF-8, read as Latin-1
        ("gcsfuse_symlink_target", "=?UTF-8?Q?caf=C3=A9?="),
        ("--symlink-target", "a%00b"),
        ("--symlink-target", "caf\u00e9"),
    ],
)
def test_what_names_no_target_is_no_link(name: str, value: str) -> None:
    found = posix_attributes({f"x-amz-meta-{name}": value})

    assert (found or PosixAttributes()).target is None


def test_a_target_in_the_body_counts_more_than_one_in_the_metadata() -> None:
    headers = {
        "x-amz-meta-goog-reserved-file-is-symlink": "true",
        "x-amz-meta-gcsfuse_symlink_target": "there",
    }
    assert posix_attributes(headers) == PosixAttributes(target="")
