"""Types of options: the syntax of their values, which words there are, and what may be repeated."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from s3mount.cli import local_values, quantities, store_values, words
from s3mount.config import EndpointVariant, Prefetch, Symlinks
from s3mount.frozen_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class OptionType:
    """Syntax of a value: *parse* takes text and raises ValueError; *show* is its inverse.

    *words* are values for the shell to complete, if they can be listed.
    """

    metavar: str
    parse: Callable[[str], object]
    show: Callable[..., str] = str
    words: tuple[str, ...] = ()


def _parse_options(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _parse_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _parse_moment(text: str) -> int:
    from s3mount.cli.moment import parse_moment  # noqa: PLC0415 - few mounts are of the past

    return parse_moment(text)


def choice(*names: str, aliases: Mapping[str, str] = MappingProxyType({})) -> OptionType:
    """Return the type for one of *names*; *aliases* are old names, which are not shown."""

    def parse(text: str) -> str:
        name = aliases.get(text, text)
        if name not in names:
            raise ValueError(
                f"{text!r} is not one of {', '.join(names)}{words.suggestion(text, names)}"
            )
        return name

    return OptionType("|".join(names), parse, words=names)


FLAG: Final = OptionType("", _parse_bool)
URL: Final = OptionType("URL", store_values.parse_endpoint)
BUCKETS: Final = OptionType("NAME[,NAME...]", store_values.parse_buckets, store_values.show_buckets)
REGION: Final = OptionType("TEXT", store_values.parse_region)
PROFILE: Final = OptionType("TEXT", words.parse_name)
ACCOUNT: Final = OptionType("DIGITS", store_values.parse_bucket_owner)
PATH: Final = OptionType("FILE", local_values.parse_path)
FOLDER: Final = OptionType("DIR", local_values.parse_path)
EXISTING_FILE: Final = OptionType("FILE", local_values.parse_existing_file)
KEY_FILES: Final = OptionType("FILE", local_values.parse_key_file)
SIZE: Final = OptionType("SIZE", quantities.parse_size, quantities.show_size)
DURATION: Final = OptionType("SECONDS", quantities.parse_duration, quantities.show_duration)
LIFETIME: Final = OptionType("SECONDS", quantities.parse_lifetime, quantities.show_duration)
PRICE: Final = OptionType("PRICE", quantities.parse_price, quantities.show_price)
COUNT: Final = OptionType("N", quantities.parse_count)
MODE: Final = OptionType("MODE", local_values.parse_mode, local_values.show_mode)
MOMENT: Final = OptionType("TIME", _parse_moment)
MASK: Final = replace(MODE, metavar="MASK")
USER: Final = OptionType("USER", local_values.parse_user)
USER_NAME: Final = OptionType("USER", words.parse_name)
GROUP: Final = OptionType("GROUP", local_values.parse_group)
LEVEL: Final = replace(choice("debug", "info", "warning", "error"), metavar="LEVEL")
FORMAT: Final = choice("text", "json")
METRICS: Final = OptionType("ADDRESS", local_values.parse_metrics_address)
LIST_VERSION: Final = choice("auto", "1", "2")
ADDRESSING: Final = choice("auto", "path", "virtual")
TRANSPORT: Final = choice("native", "boto3", aliases={"lean": "native"})
OPTIONS: Final = OptionType("WORD[,WORD...]", _parse_options)
PREFETCH: Final = OptionType("NAME[,NAME...]", words.parse_prefetch, words=(*Prefetch, "all"))
VARIANTS: Final = OptionType("NAME[,NAME...]", words.parse_variants, words=tuple(EndpointVariant))
SYMLINKS: Final = OptionType("NAME[,NAME...]", words.parse_symlinks, words=tuple(Symlinks))
REPEATABLE: Final = frozenset((BUCKETS, OPTIONS, PREFETCH, KEY_FILES, VARIANTS, SYMLINKS))
FILES: Final = frozenset((PATH, EXISTING_FILE, KEY_FILES))
