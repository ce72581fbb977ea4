"""Permission bits from metadata: what they may change."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.fuse.posix_operations import shown_mode

permissions = st.integers(0, 0o777)


@given(permissions, permissions, permissions)
def test_metadata_never_changes_who_may_read(mount_mode: int, mask: int, mode: int) -> None:
    shown = shown_mode(mount_mode & ~mask, mask, mode)

    assert shown & 0o444 == mount_mode & ~mask & 0o444


@given(permissions, permissions, permissions)
def test_metadata_grants_nothing_to_who_may_not_read(mount_mode: int, mask: int, mode: int) -> None:
    shown = shown_mode(mount_mode & ~mask, mask, mode)

    for bits in (0o700, 0o070, 0o007):
        if not mount_mode & ~mask & bits & 0o444:
            assert shown & bits == mount_mode & ~mask & bits


@given(permissions)
def test_readers_may_write_and_execute_as_metadata_says(mode: int) -> None:
    assert shown_mode(0o444, 0, mode) == 0o444 | mode
    assert shown_mode(0o555, 0, mode) == 0o444 | mode
    assert shown_mode(0o444, 0o222, mode) == 0o444 | mode & 0o111
    assert shown_mode(0o400, 0, mode) == 0o400 | mode & 0o700
