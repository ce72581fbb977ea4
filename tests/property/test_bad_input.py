"""Any input makes a Config, or a UsageError of one line without secrets.

Control characters in a header, an address or a mount option could make one value two.
"""

import contextlib
import re
import tomllib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.config_file import parse_config_file
from s3mount.cli.mount_helper import helper_config
from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.option_types import OPTIONS
from s3mount.cli.options import BY_NAME, OPTION_TABLE, Option
from s3mount.cli.parser import parse_arguments
from s3mount.cli.store_values import parse_location
from s3mount.config import Config
from s3mount.daemon.mounting.options import mount_request
from s3mount.errors import UsageError

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
SEEDS = [
    "1",
    "8MiB",
    "5m",
    "0555",
    "root",
    "nobody",
    "eu-central-1",
    "http://h:1",
    "123456789012",
    "info",
    "lean",
    "/etc/passwd",
    "~",
    "a",
]
NOISE = st.text("\x00\n\r\x1b\x7f\x85\u2028 ,=\\/@:~9.-é\udcff", max_size=4)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.builds(
        lambda before, seed, after: before + seed + after, NOISE, st.sampled_from(SEEDS), NOISE
    ),
    st.integers(0, 6000).map(lambda count: "9" * count),
)
VALUED = [
    setting for setting in OPTION_TABLE if not setting.is_flag and setting.type is not OPTIONS
]


@given(st.sampled_from(VALUED), TEXTS)
@example(BY_NAME["expected-bucket-owner"], "123456789012\r\nx-amz-acl: public-read")
@example(BY_NAME["expected-bucket-owner"], "123456789012\n")
@example(BY_NAME["region"], "us-east-1\n")
@example(BY_NAME["ca-bundle"], "~nobody-of-this-name/x")
@example(BY_NAME["ca-bundle"], "/" + "x" * 300)
@example(BY_NAME["log-file"], "a\x00b")
@example(BY_NAME["run-as"], "a\x00b")
@example(BY_NAME["memory-limit"], "9" * 400 + ".5")
@example(BY_NAME["uid"], "0" * 20 + "9" * 20)
def test_a_value_is_refused_or_is_one_line(setting: Option, text: str) -> None:
    try:
        value = setting.type.parse(text)
    except ValueError:
        return
    assert not isinstance(value, str) or not CONTROL.search(value)
    assert not isinstance(value, int) or 0 <= value <= 2**62


@given(
    st.lists(
        st.one_of(TEXTS, st.sampled_from([setting.flag for setting in OPTION_TABLE])), max_size=6
    )
)
@example(["b", "/m", "--run-as", "a\x00b"])
@example(["b", "/m", "--uid", "a\x00b"])
@example(["b", "/m", "-o", "fsname=a\nb"])
@example(["b/\x00", "/m"])
@example(["--config", "~nobody-of-this-name/x"])
@example(["--config", "a\x00b"])
def test_a_command_line_is_understood_or_refused_in_words(arguments: list[str]) -> None:
    try:
        request = parse_arguments(arguments)
        config = build_config(request) if isinstance(request, MountArguments) else None
    except UsageError:
        return
    assert config is None or is_sound(config)


@given(st.lists(TEXTS, max_size=5))
@example(["b", "/m", "-o"])
def test_the_mount_helper_understands_or_refuses_in_words(arguments: list[str]) -> None:
    try:
        config, _ = helper_config(arguments)
    except UsageError:
        return
    assert is_sound(config)


VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.floats(), st.booleans(), st.datetimes()),
    lambda inner: st.lists(inner, max_size=2),
)


@given(
    st.dictionaries(
        st.one_of(st.sampled_from([*BY_NAME, "bucket", "mountpoint", "o"]), TEXTS),
        VALUES,
        max_size=4,
    )
)
def test_a_file_is_understood_or_refused_in_words(table: dict[str, object]) -> None:
    text = "\n".join(f"{spelled(key)} = {spelled(value)}" for key, value in table.items())
    try:
        file = parse_config_file("f", text)
        config = build_config(MountArguments(file.bucket, file.mountpoint, file.values))
    except UsageError:
        return
    assert is_sound(config)


@given(st.text("[]{}=.\"'0123456789-:Tae# \n\\u_", max_size=40))
@example("a = " + "[" * 100_000)
@example("a = " + "{a = " * 5_000)
@example("a" + ".a" * 2_000 + " = 1")
@example("a = " + "9" * 5_000)
@example("a = 0x" + "9" * 50_000)
@example("a = 1e999999")
@example("a = 9999-99-99")
@settings(max_examples=300)
def test_text_that_is_no_configuration_is_refused_in_words(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_config_file("f", text)


@given(st.sampled_from(["fsname", "subtype", "max_read", "comment"]), TEXTS)
def test_an_option_of_a_mount_is_one_option(name: str, text: str) -> None:
    try:
        options = [
            each.value for each in parse_mount_options(f"{name}={text}".replace(",", "\\,"), "-o")
        ]
    except UsageError:
        return
    assert all(not CONTROL.search(str(option)) for option in options)


@given(TEXTS)
def test_a_bucket_is_a_name_and_its_prefix_has_no_nul(text: str) -> None:
    try:
        location = parse_location(text)
    except ValueError:
        return
    assert re.fullmatch(r"[\w.:/-]+", location.bucket, re.ASCII)
    assert "\0" not in location.prefix


def is_sound(config: Config) -> bool:
    """Whether nothing that reaches a header, an address or a mount is more than one word of it."""
    request = mount_request(config.mount, "source")
    words = [
        config.store.bucket,
        config.store.endpoint_url,
        config.store.region,
        config.store.profile,
    ]
    words += [
        config.store.expected_bucket_owner,
        config.mount.run_as,
        request.source,
        request.fstype,
    ]
    return (
        not any(word and CONTROL.search(word) for word in words)
        and "\0" not in config.mount.mountpoint
    )


def spelled(value: object) -> str:
    """As TOML, near enough: what is no TOML must be refused as well."""
    if isinstance(value, str):
        return (
            '"'
            + "".join(
                f"\\u{ord(char):04x}" if ord(char) < 0x20 or char in '"\\\x7f' else char
                for char in value
            )
            + '"'
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return str(value).lower() if isinstance(value, bool | float) else str(value)


def test_the_spelling_of_the_test_is_toml() -> None:
    value = 'a"\\\n\x00'

    assert tomllib.loads(f"{spelled('k')} = {spelled(value)}") == {"k": value}
