"""fuse.conf, as fusermount3 reads it: read_conf of libfuse's util/fusermount.c."""

import pytest

from s3mount.daemon.mounting.mount_point import has_user_allow_other


@pytest.mark.parametrize(
    "text",
    [
        b"user_allow_other\n",
        b"user_allow_other  # for s3\n",
        b"user_allow_other# for s3\n",
        b" \tuser_allow_other \r\n",
        b"# a comment\n\nmount_max = 1000\nuser_allow_other\n",
        b"\x0b user_allow_other\x0c\n# the end",
        b"user_allow_other" + b" " * 238 + b"\n",
    ],
)
def test_the_line_is_found(text: bytes) -> None:
    assert has_user_allow_other(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"#user_allow_other\n",
        b"user_allow_other = 1\n",
        b"user_allow_others\n",
        b"user_allow other\n",
        b"mount_max = 1 user_allow_other\n",
        b"user_allow_other",  # "missing newline at end of file"
        b"user_allow_other" + b" " * 239 + b"\n",  # "line 1 too long"
    ],
)
def test_other_lines_are_not(text: bytes) -> None:
    assert not has_user_allow_other(text)
