"""The command line: arguments become a Config, or one UsageError that names the word."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.config_file import parse_config_file
from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.option_types import FLAG
from s3mount.cli.options import BY_NAME, OPTION_TABLE
from s3mount.cli.parser import parse_arguments
from s3mount.config import (
    INDEFINITE,
    BlockConfig,
    Config,
    DiskConfig,
    EndpointVariant,
    LogConfig,
    MountConfig,
    Prefetch,
    PriceConfig,
    StoreConfig,
    TreeConfig,
)
from s3mount.errors import UsageError


def config_of(*arguments: str) -> Config:
    request = parse_arguments(arguments)
    assert isinstance(request, MountArguments)
    return build_config(request)


def error_of(*arguments: str) -> str:
    with pytest.raises(UsageError) as raised:
        config_of(*arguments)
    return str(raised.value)


def test_without_options_the_config_has_its_defaults() -> None:
    assert config_of("bucket/prefix", "/mnt/s3") == Config(
        store=StoreConfig(bucket="bucket", prefix="prefix/"),
        tree=TreeConfig(uid=os.getuid(), gid=os.getgid()),
        mount=MountConfig(mountpoint="/mnt/s3", source="bucket/prefix"),
    )


def test_every_option_reaches_its_field(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    line = (
        "s3://bucket /mnt/s3 --endpoint-url http://127.0.0.1:9000 --region eu-west-1 "
        "--profile me --addressing-style path --path-style --requester-pays "
        "--list-page-size 100 --endpoint-variant dualstack --endpoint-variant fips,dualstack "
        "--expected-bucket-owner 123456789012 "
        f"--ca-bundle {bundle} --max-connections 8 --timeout 5m --transport boto3 "
        "--foreground --allow-other --run-as nobody --uid 0 --gid 7 --dir-mode 755 "
        "--file-mode 0644 --umask 027 --fmask 1 --dmask 2 -o noexec -o fsname=x,dev "
        "--metadata-ttl indefinite --negative-ttl 0 "
        "--stale-while-revalidate 1h --metadata-limit 10 --part-size 1MiB --memory-limit 1GiB "
        "--cache-dir /var/cache/x/ --cache-size 20GiB --cache-free-space 0 --serve-stale 1h "
        "--no-prefetch walks,siblings --no-prefetch readahead "
        "--log-level debug --log-file /var/log/x --log-format json"
    )

    assert config_of(*line.split()) == Config(
        store=StoreConfig(
            bucket="bucket",
            endpoint_url="http://127.0.0.1:9000",
            region="eu-west-1",
            profile="me",
            addressing_style="path",
            path_style=True,
            endpoint_variants=frozenset((EndpointVariant.DUALSTACK, EndpointVariant.FIPS)),
            list_page_size=100,
            requester_pays=True,
            expected_bucket_owner="123456789012",
            ca_bundle=bundle,
            max_connections=8,
            timeout=300,
            transport="boto3",
        ),
        tree=TreeConfig(
            uid=0,
            gid=7,
            dir_mode=0o755,
            file_mode=0o644,
            umask=0o027,
            fmask=1,
            dmask=2,
            metadata_ttl=INDEFINITE,
            negative_ttl=0,
            stale_while_revalidate=3600,
            serve_stale=3600,
            metadata_limit=10,
        ),
        mount=MountConfig(
            mountpoint="/mnt/s3",
            source="s3://bucket",
            allow_other=True,
            run_as="nobody",
            fuse_options=("noexec", "fsname=x", "dev"),
        ),
        blocks=BlockConfig(part_size=1 << 20, memory_limit=1 << 30),
        disk=DiskConfig(folder=Path("/var/cache/x"), size=20 << 30, free_space=0),
        log=LogConfig(level="debug", file=Path("/var/log/x"), format="json"),
        foreground=True,
        no_prefetch=frozenset((Prefetch.WALKS, Prefetch.SIBLINGS, Prefetch.READAHEAD)),
    )


def test_files_of_customer_keys_add_up() -> None:
    """Each is opened by the user who serves, so none has to exist here."""
    config = config_of(
        *("b", "/m", "--sse-c-key-file", "/1", "--sse-c-allow-http"),
        *("-o", "sse_c_key_file=/2,sse-c-key-file=/3", "--sse-c-key-file", "4"),
    )

    assert set(config.store.sse_c_key_files) == {*map(Path, ("/1", "/2", "/3")), Path.cwd() / "4"}
    assert config.store.sse_c_allow_http


def test_negative_flags_turn_options_off() -> None:
    config = config_of("b", "/m", "--no-sign-request", "--no-verify-ssl", "--allow-root")

    assert (config.store.sign_requests, config.store.verify_ssl, config.mount.allow_root) == (
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("options", "modes"),
    [
        ((), (0o555, 0o444)),
        (("--allow-other",), (0o555, 0o444)),
        (("--allow-root",), (0o500, 0o400)),
        (("-o", "allow_root"), (0o500, 0o400)),
        (("--allow-root", "--file-mode", "0440"), (0o500, 0o440)),
        (("--allow-root", "--dir-mode", "0555"), (0o555, 0o400)),
    ],
)
def test_with_allow_root_modes_exclude_other_users(
    options: tuple[str, ...], modes: tuple[int, int]
) -> None:
    tree = config_of("b", "/m", *options).tree

    assert (tree.dir_mode, tree.file_mode) == modes


def test_a_relative_mount_point_is_made_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert config_of("b", "x/../here").mount.mountpoint == str(tmp_path / "here")


def test_a_disk_cache_has_a_size_and_leaves_free_space_by_default() -> None:
    assert config_of("b", "/m", "--cache-dir", "/c").disk == DiskConfig(
        folder=Path("/c"), size=10 << 30, free_space=1 << 30
    )


def test_the_cache_directory_is_absolute_before_the_process_leaves_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = parse_config_file("f", 'cache-dir = "c"').values
    fstab = tuple(parse_mount_options("cache_dir=c,cache_size=1GiB", "-o"))

    for values in (file, fstab):
        disk = build_config(MountArguments("b", "/m", values)).disk
        assert disk is not None
        assert disk.folder == tmp_path / "c"


def test_an_age_at_which_only_absent_names_have_expired_is_accepted() -> None:
    tree = config_of("b", "/m", "--negative-ttl", "5", "--serve-stale", "60").tree

    assert tree.serve_stale == 60


def test_the_user_of_run_as_owns_the_files_by_default() -> None:
    tree = config_of("b", "/m", "--run-as", "nobody", "--gid", "0").tree

    assert (tree.uid, tree.gid) == (65534, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            (
                "BUCKET is missing: s3mount BUCKET[/PREFIX] MOUNTPOINT, "
                "or --config FILE that names both"
            ),
        ),
        (
            ("b",),
            (
                "MOUNTPOINT is missing: s3mount BUCKET[/PREFIX] MOUNTPOINT, "
                "or --config FILE that names both"
            ),
        ),
        (("b", "/m", "more"), "got unexpected extra argument (more)"),
        (
            ("a b", "/m"),
            "BUCKET: 'a b' is not a bucket name: write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX",
        ),
        (
            ("/mnt/s3", "photos"),
            "BUCKET: '/mnt/s3' is a path, and the bucket comes first: s3mount BUCKET MOUNTPOINT",
        ),
        (
            ("https://user:secret@s3.example.org/b", "/m"),
            (
                "BUCKET: a URL is not a bucket name: write BUCKET, BUCKET/PREFIX or "
                "s3://BUCKET/PREFIX, and name the store with --endpoint-url"
            ),
        ),
        (
            ("b", "/m", "--metadta-ttl", "3"),
            "--metadta-ttl: there is no such option; did you mean --metadata-ttl?",
        ),
        (("b", "/m", "--frobnicate"), "--frobnicate: there is no such option; see s3mount --help"),
        (("b", "/m", "--region"), "--region: it needs a value"),
        (("b", "/m", "--allow-other=yes"), "--allow-other: it takes no value"),
        (("b", "/m", "--config"), "--config: it needs a value"),
        (
            ("b", "/m", "--config", "/nowhere/x.toml"),
            "--config /nowhere/x.toml: No such file or directory",
        ),
        (
            ("b", "/m", "--ca-bundle", "/nowhere/ca.pem"),
            "--ca-bundle: there is no file /nowhere/ca.pem",
        ),
        (("b", "/m", "--region", ""), "--region: it is empty"),
        (
            ("b", "/m", "--log-level", "inof"),
            "--log-level: 'inof' is not one of debug, info, warning, error; did you mean info?",
        ),
        (("b", "/m", "--run-as", "no-such-user"), "--run-as: there is no user 'no-such-user'"),
        (
            ("b", "/m", "--run-as", "root"),
            "--run-as: 'root' is root: name a user with fewer privileges",
        ),
        (("b", "/m", "--timeout", "0"), "--timeout: it must be more than 0"),
        (("b", "/m", "--metadata-limit", "0"), "--metadata-limit: it must be more than 0"),
        (("b", "/m", "--max-connections", "0"), "--max-connections: it must be 1 to 1024"),
        (("b", "/m", "--list-page-size", "0"), "--list-page-size: it must be 1 to 10000"),
        (("b", "/m", "--list-page-size", "10001"), "--list-page-size: it must be 1 to 10000"),
        (("b", "/m", "--part-size", "1KiB"), "--part-size: it must be 128KiB to 1GiB"),
        (
            ("b", "/m", "--memory-limit", "8MiB"),
            (
                "--memory-limit: 8MiB holds less than two parts: give it 16MiB or more, "
                "or a smaller --part-size"
            ),
        ),
        (
            ("b", "/m", "--cache-dir", "/c", "--cache-size", "15MiB"),
            "--cache-size: 15MiB is too small for a disk cache: give it 16MiB or more",
        ),
        (
            ("b", "/m", "--cache-size", "1GiB"),
            "--cache-size: there is no disk cache without --cache-dir",
        ),
        (
            ("b", "/m", "--cache-free-space", "1GiB"),
            "--cache-free-space: there is no disk cache without --cache-dir",
        ),
        (
            ("b", "/m", "--serve-stale", "60"),
            (
                "--serve-stale: 60 s is an age at which nothing has expired: "
                "give it more than --metadata-ttl, which is 60 s"
            ),
        ),
        (
            ("b", "/m", "--cache-dir", "/m/x"),
            (
                "--cache-dir: it is in the mount point, which the mount covers; "
                "name a directory elsewhere"
            ),
        ),
        (("b", "/m", "--cache-dir", ""), "--cache-dir: it is empty"),
        (
            ("b", "/m", "--buckets", "a*"),
            (
                "--buckets: it chooses among all buckets of the account: "
                "write s3:// in place of the bucket"
            ),
        ),
        (
            ("s3://", "/m", "--buckets", "a,b/c"),
            (
                "--buckets: 'b/c' is neither a bucket name nor a pattern of names: "
                "write them with commas between them, as in data-*,logs"
            ),
        ),
        (
            ("s3://", "/m", "--buckets", "x--use1-az4--x-s3"),
            ("--buckets: 'x--use1-az4--x-s3' is a directory bucket, which is mounted by itself"),
        ),
        (
            ("s3:///prefix", "/m"),
            "BUCKET: a prefix is in one bucket: write s3://BUCKET/PREFIX, or s3:// for all",
        ),
        (
            ("b", "/m", "--allow-other", "--allow-root"),
            "--allow-other and --allow-root contradict each other: --allow-other includes root",
        ),
        (
            ("b", "/m", "--profile", "me", "--no-sign-request"),
            (
                "--no-sign-request and --profile contradict each other: "
                "a request that is not signed needs no profile"
            ),
        ),
        (
            ("b", "/m", "--requester-pays", "--no-sign-request"),
            (
                "--no-sign-request and --requester-pays contradict each other: "
                "only a signed request can be paid for"
            ),
        ),
        (
            ("b", "/m", "--sse-c-key-file", "/k", "--no-verify-ssl"),
            (
                "--no-verify-ssl and --sse-c-key-file contradict each other: "
                "anyone in between could read the key; use --ca-bundle"
            ),
        ),
        (("b", "/m", "--sse-c-key-file", ""), "--sse-c-key-file: it is empty"),
        (
            ("b", "/m", "--symlinks", "rclone"),
            "--symlinks: a link is shown with its owner and mtime: add --posix-metadata",
        ),
        (
            ("b", "/m", "--posix-metadata", "--symlinks", "rclone,s3f"),
            "--symlinks: 's3f' is not one of rclone, s3fs, gcsfuse, geesefs; did you mean s3fs?",
        ),
        (
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/x", "/m", "--path-style"),
            "--path-style: an access point cannot be named in a path",
        ),
        (
            (
                "arn:aws:s3:eu-west-1:123456789012:accesspoint/x",
                *("/m", "--addressing-style", "path"),
            ),
            "--addressing-style: an access point cannot be named in a path",
        ),
        (
            ("b", "/m", "--path-style", "--addressing-style=virtual"),
            "--path-style and --addressing-style contradict each other: 'virtual' is not 'path'",
        ),
        (
            ("b", "/m", "--addressing-style", "auto", "--path-style"),
            "--path-style and --addressing-style contradict each other: 'auto' is not 'path'",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[str, ...], message: str) -> None:
    assert error_of(*arguments) == message


@pytest.mark.parametrize(
    ("words", "style"),
    [
        ("", "auto"),
        ("--path-style", "path"),
        ("--path-style --addressing-style path", "path"),
        ("--addressing-style virtual", "virtual"),
        ("--addressing-style auto", "auto"),
        ("-o addressing_style=virtual", "virtual"),
        ("-o path_style", "path"),
    ],
)
def test_the_addressing_style(words: str, style: str) -> None:
    assert config_of("b", "/m", *words.split()).store.style == style


@pytest.mark.parametrize(
    "name", ["--secret-key", "--aws-access-key-id", "--password", "--session-token"]
)
def test_credentials_are_not_options_and_are_not_repeated(name: str) -> None:
    message = error_of("b", "/m", f"{name}=hush")

    assert "they come from boto3's chain" in message
    assert "hush" not in message


@given(
    st.lists(
        st.sampled_from(
            [
                *(each.flag for each in OPTION_TABLE),
                "-o",
                "-f",
                "--",
                "=",
                "x",
                "",
                "0",
                "a,b=c",
                "-",
            ]
        )
    )
)
def test_any_arguments_result_in_a_config_or_a_usage_error(words: list[str]) -> None:
    with contextlib.suppress(UsageError):
        assert config_of("b", "/m", *words).store.bucket == "b"


def test_version_and_help_are_texts() -> None:
    assert parse_arguments(["--version"]) == "s3mount 0.1.0"
    assert isinstance(parse_arguments(["-h"]), str)


def test_help_shows_every_option_and_its_default() -> None:
    shown = " ".join(str(parse_arguments(["--help"])).split())

    for setting in OPTION_TABLE:
        assert setting.flag in shown
        assert setting.default_shown() is None or f"[{setting.default_shown()}]" in shown


def test_every_option_has_a_field_of_its_own() -> None:
    assert (
        len({(setting.section, setting.field) for setting in OPTION_TABLE})
        == len(OPTION_TABLE)
        == len(BY_NAME)
    )
    assert all(setting.field in setting.section.__dataclass_fields__ for setting in OPTION_TABLE)


def test_every_field_of_the_config_is_in_the_table() -> None:
    told = {(setting.section, setting.field) for setting in OPTION_TABLE}
    positional = {"bucket", "prefix", "source", "mountpoint"}
    positional |= {"store", "tree", "mount", "blocks", "disk", "prices", "log"}
    sections = (
        *(StoreConfig, TreeConfig, MountConfig, BlockConfig),
        *(DiskConfig, PriceConfig, LogConfig, Config),
    )

    untold = {
        (each, name)
        for each in sections
        for name in each.__dataclass_fields__
        if name not in positional
    } - told

    assert untold == set()


def test_only_flags_are_booleans() -> None:
    assert all(
        (setting.section.__dataclass_fields__[setting.field].type is bool) == (setting.type is FLAG)
        for setting in OPTION_TABLE
    )


def test_the_old_name_of_the_native_transport_is_accepted_everywhere() -> None:
    file = parse_config_file("f", 'transport = "lean"').values
    fstab = tuple(parse_mount_options("transport=lean", "-o"))

    assert config_of("b", "/m", "--transport", "lean").store.transport == "native"
    assert build_config(MountArguments("b", "/m", file)).store.transport == "native"
    assert build_config(MountArguments("b", "/m", fstab)).store.transport == "native"
    with pytest.raises(UsageError, match="is not one of native, boto3"):
        config_of("b", "/m", "--transport", "other")


@pytest.mark.parametrize("location", ["s3://", "s3:", "s3:///"])
def test_every_bucket_is_a_location_in_any_spelling(location: str) -> None:
    config = config_of(location, "/m", "--buckets", "data-*,logs", "--buckets", "x")

    assert (config.store.bucket, config.store.is_account) == ("", True)
    assert config.store.buckets == ("data-*", "logs", "x")
    assert config.mount.source == "s3://"
