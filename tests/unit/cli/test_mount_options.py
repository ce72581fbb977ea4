"""`-o` and mount(8): s3mount's options, FUSE's, and those of other programs; none is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.mount_helper import helper_config
from s3mount.cli.mount_options import parse_mount_options
from s3mount.config import Config, EndpointVariant, Prefetch
from s3mount.errors import UsageError


def config_of(options: str) -> Config:
    return build_config(MountArguments("b", "/m", tuple(parse_mount_options(options, "-o"))))


def test_words_for_mount_and_systemd_are_ignored() -> None:
    options = (
        "rw,_netdev,nofail,auto,noauto,user=me,user,users,nouser,defaults,noatime,relatime,"
        "comment=x,x-systemd.automount,x-gvfs-hide"
    )

    assert config_of(options) == config_of("")


def test_options_may_have_dashes_or_underscores() -> None:
    config = config_of("metadata_ttl=5m,allow-other,path_style=true,profile=me")

    assert (config.tree.metadata_ttl, config.mount.allow_other) == (300, True)
    assert (config.store.path_style, config.store.profile) == (True, "me")


def test_fuse_options_are_kept_in_their_order() -> None:
    assert config_of("ro,noexec,exec,max_read=65536").mount.fuse_options == (
        "ro",
        "noexec",
        "exec",
        "max_read=65536",
    )


@pytest.mark.parametrize(
    "options", ["no_prefetch=walks,no_prefetch=siblings", "no_prefetch=walks\\,siblings"]
)
def test_kinds_of_prefetch_add_up(options: str) -> None:
    assert config_of(options).no_prefetch == {Prefetch.WALKS, Prefetch.SIBLINGS}


def test_variants_of_endpoints_add_up() -> None:
    options = "endpoint_variant=dualstack,endpoint_variant=fips"

    assert config_of(options).store.endpoint_variants == {
        EndpointVariant.DUALSTACK,
        EndpointVariant.FIPS,
    }


@given(st.text("ab,\\ ", min_size=1))
def test_an_escaped_value_is_unescaped(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace(",", "\\,")

    assert config_of(f"noexec,fsname={escaped},dev").mount.fuse_options == (
        "noexec",
        f"fsname={name}",
        "dev",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("noexe", "-o 'noexe': there is no such option; did you mean noexec?"),
        (
            "metadata_tll=3",
            "-o 'metadata_tll': there is no such option; did you mean metadata_ttl?",
        ),
        ("metadata_ttl", "-o metadata_ttl: it needs a value, as in metadata_ttl=SECONDS"),
        ("metadata_ttl=x", "-o metadata_ttl: 'x' is not a duration"),
        ("allow_other=x", "-o allow_other: 'x' is neither true nor false"),
        ("noexec=1", "-o noexec: it takes no value"),
        ("fsname", "-o fsname: it needs a value"),
        ("max_read=few", "-o max_read: write a number of bytes, as in max_read=131072"),
        ("foreground", "-o 'foreground': there is no such option"),
        (
            "remount",
            "-o remount: a mount cannot be changed; unmount it and mount again",
        ),
        ("allow_other,allow_root", "-o allow_other and -o allow_root contradict each other"),
        ("passwd_file=/x", "-o: passwd_file: credentials are never taken from here"),
    ],
)
def test_a_wrong_word_is_named(options: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        config_of(options)

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("no_prefetch", "-o no_prefetch: it needs a value, as in no_prefetch=NAME"),
        (
            "no_prefetch=walks,siblings",
            "-o 'siblings': there is no such option; for several, repeat no_prefetch=NAME",
        ),
        (
            "endpoint_variant=dualstack,fips",
            "-o 'fips': there is no such option; for several, repeat endpoint_variant=NAME",
        ),
        (
            "posix_metadata,symlinks=rclone,s3fs",
            "-o 's3fs': there is no such option; for several, repeat symlinks=NAME",
        ),
    ],
)
def test_an_error_says_how_several_values_are_written(options: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        config_of(options)

    assert str(raised.value) == message


def test_the_helper_accepts_the_arguments_of_mount() -> None:
    config, is_wanted = helper_config(
        ["bucket/a b", "/mnt/x", "-s", "-n", "-v", "-t", "s3mount", "-o", "rw,region=x,_netdev"]
    )

    assert (config.store.bucket, config.store.prefix, config.store.region) == (
        "bucket",
        "a b/",
        "x",
    )
    assert (config.mount.mountpoint, config.foreground, is_wanted) == ("/mnt/x", False, True)


def test_a_fake_mount_is_only_checked() -> None:
    assert helper_config(["bucket", "/mnt/x", "-f"])[1] is False


@pytest.mark.parametrize(
    "arguments",
    [[], ["bucket"], ["bucket", "/m", "extra"], ["bucket", "/m", "-z"], ["bucket", "/m", "-o"]],
)
def test_the_helper_shows_its_usage(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=r"usage: mount\.s3mount"):
        helper_config(arguments)


@pytest.mark.parametrize(
    "options",
    [
        "nonempty,big_writes,kernel_cache,auto_cache,direct_io,use_ino,readdir_ino,hard_remove",
        "async_read,sync_read,no_remote_lock,splice_read,clone_fd,intr,read-only,read_only",
        "attr_timeout=0,ac_attr_timeout=1.5,max_readahead=131072,max_write=4096,blksize=4096",
        "user_id=0,group_id=0,seclabel,iversion,x-mount.mkdir=0755,X-mount.owner=me",
        "x-gvfs-hide,x-systemd.requires=network-online.target,x-systemd.idle-timeout=1min",
        "comment=a b,uhelper=udisks2,,",
    ],
)
def test_options_that_change_nothing_here_are_accepted(options: str) -> None:
    """s3fs #449, rclone #5808, goofys #515: lines of fstab with them did not mount."""
    assert config_of(options) == config_of("")


@pytest.mark.parametrize("option", ["symfollow", "nosymfollow"])
def test_a_mount_without_links_follows_none_in_any_case(option: str) -> None:
    assert config_of(option).store == config_of("").store


def test_links_that_are_not_to_be_followed_are_refused() -> None:
    with pytest.raises(UsageError, match="nosymfollow would follow no link"):
        config_of("nosymfollow,posix_metadata,symlinks=rclone,symlinks=s3fs")


def test_masks_are_those_of_other_file_systems() -> None:
    tree = config_of("umask=0027,fmask=0133,dmask=022").tree

    assert (tree.umask, tree.fmask, tree.dmask) == (0o027, 0o133, 0o022)


def test_times_of_libfuse_set_the_ttls() -> None:
    tree = config_of("entry_timeout=5,negative_timeout=0").tree

    assert (tree.metadata_ttl, tree.negative_ttl) == (5, 0)


@pytest.mark.parametrize(
    "options",
    [
        'noexec,context="system_u:object_r:container_file_t:s0:c1,c2",dev',
        "noexec,context=system_u:object_r:container_file_t:s0:c1\\,c2,dev",
    ],
)
def test_a_security_context_may_have_commas(options: str) -> None:
    """s3fs #1799; mount(8) wants quotes around a context with categories."""
    assert config_of(options).mount.fuse_options == (
        "noexec",
        "context=system_u:object_r:container_file_t:s0:c1,c2",
        "dev",
    )


def test_options_may_be_spelt_as_flags() -> None:
    """As for goofys and Mountpoint, which take flags in fstab: goofys #515."""
    config = config_of("--allow-other,--file-mode=0400,--metadata-ttl=5m")

    assert (config.mount.allow_other, config.tree.file_mode) == (True, 0o400)
    assert config.tree.metadata_ttl == 300


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("url=https://s3.example.org", "endpoint_url"),
        ("use_path_request_style", "path_style"),
        ("stat_cache_expire=5", "metadata_ttl"),
        ("mp_umask=0022", "umask"),
        ("dbglevel=info", "log_level=debug"),
        ("nonempy", "nonempty"),
        ("unmask=0027", "umask"),
        ("contxt=a:b:c:d", "context"),
    ],
)
def test_the_options_of_other_programs_are_refused_with_the_near_one(
    option: str, near: str
) -> None:
    with pytest.raises(UsageError, match=f"; did you mean {near}\\?$"):
        config_of(option)


def test_options_may_follow_the_places_whatever_posixly_correct_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "1")

    config, is_wanted = helper_config(["-n", "b", "-o", "noexec", "/m", "-fo", "allow_other"])

    assert (config.mount.fuse_options, config.mount.allow_other) == (("noexec",), True)
    assert not is_wanted


def test_the_mount_table_shows_the_source_as_it_was_written() -> None:
    """mount(8) compares it with fstab: s3fs #1468."""
    for source in ("bucket", "bucket/", "bucket/a b", "bucket/a/", "s3://bucket/a"):
        config, _ = helper_config([source, "/mnt/x"])

        assert config.mount.source == source


def test_a_source_that_mount_made_a_path_of_is_refused_with_the_remedy() -> None:
    """At boot mount(8) runs in /, so a bucket named `media` arrived as /media."""
    with pytest.raises(UsageError, match=r"^BUCKET: '/media' is a path; .* write s3://BUCKET"):
        helper_config(["/media", "/mnt/x", "-o", "rw"])
