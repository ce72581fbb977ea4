"""The parser of ordinary command lines returns what click returns, or leaves the line to click."""

import click
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.cli.options import OPTION_TABLE
from s3mount.cli.parser import mount_command
from s3mount.cli.plain_parser import parse_plain

FLAGS = [word for row in OPTION_TABLE for word in (row.flag, row.short and f"-{row.short}") if word]
WORDS = st.one_of(
    st.sampled_from([*FLAGS, "--config", "--help", "-h", "--version", "--", "-", "--uid="]),
    st.sampled_from(["bucket", "/mnt", "1", "ro,uid=1", "", "\udcff"]),
    st.text("ab-/=1", max_size=4),
    st.tuples(st.sampled_from(FLAGS), st.text("ab-=1", max_size=3)).map("=".join),
)


@given(st.lists(WORDS, max_size=7))
@example(["b", "/m", "--uid", "--gid"])
@example(["b", "/m", "--foreground=true"])
@example(["b", "/m", "-oro", "-o=ro"])
@example(["b", "/m", "-o", "ro", "-o", "", "--uid", "1", "--uid", "2"])
@example(["b", "/m", "c"])
def test_what_is_parsed_without_click_is_what_click_returns(arguments: list[str]) -> None:
    plain = parse_plain(arguments)
    try:
        parsed = mount_command().make_context("s3mount", list(arguments)).params
    except click.UsageError:
        parsed = None

    assert plain is None or parsed == {**plain, "version": False, "help": False}


@given(
    st.lists(
        st.sampled_from(
            [("--foreground",), ("--uid", "5"), ("--region=eu-west-1",), ("-o", "ro"), ("-f",)]
        )
    )
)
def test_lines_as_people_write_them_need_no_click(flags: list[tuple[str, ...]]) -> None:
    assert parse_plain(["b", "/m", *(word for flag in flags for word in flag)]) is not None
