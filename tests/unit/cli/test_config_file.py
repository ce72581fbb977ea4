"""Configuration files: the names of the flags, which win; errors name the file and the key."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.config_file import parse_config_file
from s3mount.cli.parser import parse_arguments
from s3mount.config import Config, EndpointVariant, Prefetch
from s3mount.errors import UsageError


def config_of(path: Path, *arguments: str) -> Config:
    request = parse_arguments(["--config", str(path), *arguments])
    assert isinstance(request, MountArguments)
    return build_config(request)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "photos.toml"
    path.write_text(
        """
        bucket = "photos/2024"
        mountpoint = "/mnt/photos"
        region = "eu-central-1"
        metadata_ttl = "5m"
        negative-ttl = 3
        timeout = 2.5
        part-size = 1048576
        allow-other = true
        no-sign-request = false
        dir-mode = "0755"
        file-mode = 0o444
        fuse-options = ["noexec", "fsname=photos"]
        """
    )
    return path


def test_a_file_can_configure_a_whole_mount(file: Path) -> None:
    config = config_of(file)

    assert (config.store.bucket, config.store.prefix, config.mount.mountpoint) == (
        "photos",
        "2024/",
        "/mnt/photos",
    )
    assert (config.tree.metadata_ttl, config.tree.negative_ttl, config.store.timeout) == (
        300,
        3,
        2.5,
    )
    assert (config.blocks.part_size, config.tree.dir_mode, config.tree.file_mode) == (
        1 << 20,
        0o755,
        0o444,
    )
    assert (config.mount.allow_other, config.store.sign_requests) == (True, True)
    assert config.mount.fuse_options == ("noexec", "fsname=photos")


def test_the_command_line_wins(file: Path) -> None:
    config = config_of(
        file, "other", "/mnt/other", "--region", "us-east-1", "--metadata-ttl", "0", "-o", "exec"
    )

    assert (config.store.bucket, config.store.prefix, config.mount.mountpoint) == (
        "other",
        "",
        "/mnt/other",
    )
    assert (config.store.region, config.tree.metadata_ttl) == ("us-east-1", 0)
    assert config.mount.fuse_options == ("noexec", "fsname=photos", "exec")


def test_prefetch_that_the_command_line_turns_off_adds_to_that_of_the_file() -> None:
    file = parse_config_file(
        "f", 'bucket = "b"\nmountpoint = "/m"\nno-prefetch = "walks, siblings"'
    )
    flag = parse_arguments(("b", "/m", "--no-prefetch", "readahead"))
    assert isinstance(flag, MountArguments)

    config = build_config(MountArguments("b", "/m", (*file.values, *flag.values)))

    assert config.no_prefetch == {Prefetch.WALKS, Prefetch.SIBLINGS, Prefetch.READAHEAD}


@pytest.mark.parametrize("written", ['["/1", "/2"]', '"/1"'])
def test_an_option_that_may_be_repeated_may_be_a_list(written: str) -> None:
    file = parse_config_file("f", f"bucket = 'b'\nmountpoint = '/m'\nsse-c-key-file = {written}")
    flag = parse_arguments(("b", "/m", "--sse-c-key-file", "/2"))
    assert isinstance(flag, MountArguments)

    config = build_config(MountArguments("b", "/m", (*file.values, *flag.values)))

    expected = (*(["/1", "/2"] if "[" in written else ["/1"]), "/2")
    assert tuple(map(Path, expected)) == config.store.sse_c_key_files


def test_variants_of_endpoints_are_named_in_a_file() -> None:
    file = parse_config_file(
        "f", 'bucket = "b"\nmountpoint = "/m"\nendpoint-variant = "dualstack, fips"'
    )

    config = build_config(MountArguments("b", "/m", file.values))

    assert config.store.endpoint_variants == {EndpointVariant.DUALSTACK, EndpointVariant.FIPS}


def test_a_single_argument_is_the_mount_point_if_the_file_names_only_the_bucket(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.toml"
    path.write_text('bucket = "photos"')

    config = config_of(path, "/mnt/elsewhere")

    assert (config.store.bucket, config.mount.mountpoint) == ("photos", "/mnt/elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('regoin = "x"', "f: regoin: there is no such key; did you mean region?"),
        ('buckt = "x"', "f: buckt: there is no such key; did you mean bucket?"),
        (
            "[store]\nregion = 'x'",
            (
                "f: [store]: there are no tables here: write all keys at the top, "
                'as in region = "us-east-1"'
            ),
        ),
        (
            "metadata-ttl = 1\nmetadata_ttl = 1",
            "f: metadata_ttl: it is given twice, with a dash and with an underscore",
        ),
        ('metadata-ttl = "soon"', "f: metadata-ttl: 'soon' is not a duration"),
        ("timeout = -1", "f: timeout: '-1' is not a duration"),
        ("timeout = inf", "f: timeout: 'inf' is not a duration"),
        ("timeout = true", "f: timeout: true is not a value of it: write SECONDS"),
        ("timeout = [1]", "f: timeout: list is not a value of it: write SECONDS"),
        ("allow-other = 1", "f: allow-other: 1 is neither true nor false"),
        ('allow-other = "yes"', "f: allow-other: 'yes' is neither true nor false"),
        ("dir-mode = 444", 'f: dir-mode: write the mode in quotes, in octal, as in "0555"'),
        ("dir-mode = 755", 'f: dir-mode: write the mode in quotes, in octal, as in "0555"'),
        ("bucket = 3", 'f: bucket: write it in quotes, as in bucket = "..."'),
        ("fuse-options = 3", 'f: fuse-options: write it in quotes, as in fuse-options = "..."'),
        ('o = ["noexe"]', "f: fuse-options 'noexe': there is no such option; did you mean noexec?"),
        ('mountpoint = "/a\\u0000b"', "f: mountpoint: it must not contain NUL"),
        ("region = eu-west-1", "f: this is not TOML: "),
        ("region = " + "[" * 10_000, "f: lists and tables are nested too deeply"),
        ("timeout = " + "9" * 5_000, "f: a number in it is too long"),
        (
            "expected-bucket-owner = 1234",
            "f: expected-bucket-owner: that is not an account: write its number of 12 digits",
        ),
        (
            'expected-bucket-owner = "123456789012\\r\\nx: y"',
            "f: expected-bucket-owner: that is not an account",
        ),
        ('run-as = "a\\u0000b"', "f: run-as: 'a\\x00b' contains control characters"),
    ],
)
def test_an_error_in_a_file_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_config_file("f", text)

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    "key",
    [
        "aws_access_key_id",
        "aws-secret-access-key",
        "secret_key",
        "session_token",
        "password",
        "credentials",
    ],
)
def test_credentials_in_a_file_are_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="credentials are never taken from here") as raised:
        parse_config_file("f", f'{key} = "hush"')

    assert "hush" not in str(raised.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(UsageError, match="this is not TOML: it is not in UTF-8"):
        config_of(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_a_regular_file_is_read_without_waiting(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x.toml")

    with pytest.raises(
        UsageError, match=r"^--config .*/x.toml: (it is not a regular file|Is a directory)$"
    ):
        config_of(tmp_path / "x.toml")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.toml").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(UsageError, match=r"it is larger than a configuration can be \(64KiB\)"):
        config_of(tmp_path / "x.toml")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x.toml", "/none/x.toml", "x" * 300, "a\0b"])
def test_an_impossible_path_is_one_line(path: str) -> None:
    with pytest.raises(UsageError, match=r"^--config[^\n]*: [^\n]*$"):
        parse_arguments(["--config", path])


@pytest.mark.parametrize("number", ["27", "0o27", "27.0"])
def test_a_mask_is_written_in_quotes(number: str) -> None:
    """TOML's 0o27 arrives as 23, which cannot be told from a decimal number."""
    file = parse_config_file("f", 'umask = "0027"')

    assert build_config(MountArguments("b", "/m", file.values)).tree.umask == 0o027
    with pytest.raises(UsageError, match='umask: write the mask in quotes, in octal, as in "0027"'):
        parse_config_file("f", f"umask = {number}")
