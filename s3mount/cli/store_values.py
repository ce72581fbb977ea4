"""Parsers of what names a store: endpoint, region, account, buckets, prefix. Pure.

Every parser raises `ValueError` with half a sentence that says how the value is written; the caller
puts the name of the option in front.
"""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

KEY_MAX = 1024  # bytes, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_OWNER = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)  # a host label
# with a tenant before it at Ceph, see https://docs.ceph.com/en/latest/radosgw/multitenancy/
_BUCKET = re.compile(r"(?!arn:)(?:[\w.-]{0,255}:)?[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
# with what chooses several, see fnmatch(3)
_BUCKETS = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]!-]{0,254}", re.ASCII)
_DIRECTORY_BUCKET = "--x-s3"  # ends its name; its listings are in no order
_ACCOUNT = re.compile(r"s3:/{0,3}")
_ACCESS_POINT = re.compile(
    r"(arn:[\w-]+:s3[\w-]*:[\w-]*:\d*:(?:outpost[/:][\w-]+[/:])?accesspoint[/:][\w.-]+)(?:/(.*))?",
    re.ASCII | re.DOTALL,
)


_URL = re.compile(r"https?:", re.IGNORECASE)
_FORMS = "write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX"


class Location(NamedTuple):
    """A bucket, or the ARN of an access point, and a prefix that is empty or ends with "/".

    An empty bucket is every bucket of the account.
    """

    bucket: str
    prefix: str


def parse_location(text: str) -> Location:
    """`[s3://][TENANT:]BUCKET[/PREFIX]`, `ARN-OF-AN-ACCESS-POINT[/PREFIX]`, or `s3://` for all."""
    if _ACCOUNT.fullmatch(text):
        return Location("", "")
    path = text.removeprefix("s3://")
    if "@" in path.partition("/")[0]:
        raise ValueError(
            "a bucket with a user or password before it is refused: "
            "credentials come from boto3's chain only"
        )
    access_point = _ACCESS_POINT.fullmatch(path)
    bucket, prefix = (
        (access_point[1], access_point[2] or "")
        if access_point
        else path.split("/", 1) + [""] * ("/" not in path)
    )
    if not bucket and text.startswith("s3:"):
        raise ValueError("a prefix is in one bucket: write s3://BUCKET/PREFIX, or s3:// for all")
    if not access_point and not _BUCKET.fullmatch(bucket):
        raise ValueError(_not_a_bucket(text, bucket))
    if "\0" in prefix:
        raise ValueError("a prefix with NUL cannot be mounted: no path can contain its keys")
    if len(os.fsencode(prefix)) > KEY_MAX:
        raise ValueError(f"the prefix is longer than a key may be ({KEY_MAX} bytes)")
    return Location(bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/")


def _not_a_bucket(text: str, bucket: str) -> str:
    """Why *text* names no *bucket*; a URL, which may have a password, is not repeated."""
    if text.startswith("/"):
        return f"{text!r} is a path, and the bucket comes first: s3mount BUCKET MOUNTPOINT"
    if _URL.match(text):
        return f"a URL is not a bucket name: {_FORMS}, and name the store with --endpoint-url"
    return f"{bucket!r} is not a bucket name: {_FORMS}"


def parse_buckets(text: str) -> tuple[str, ...]:
    """Names of buckets, and patterns of names, with commas between them."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not _BUCKETS.fullmatch(name):
            raise ValueError(
                f"{name!r} is neither a bucket name nor a pattern of names: "
                "write them with commas between them, as in data-*,logs"
            )
        if name.endswith(_DIRECTORY_BUCKET):
            raise ValueError(f"{name!r} is a directory bucket, which is mounted by itself")
    return names


def show_buckets(names: Iterable[str]) -> str:
    return ",".join(names)


def parse_endpoint(text: str) -> str:
    """An http or https URL of a host; a URL with credentials is refused, and not repeated."""
    if "@" in text:
        raise ValueError(
            "a URL with a user or password in it is refused: "
            "credentials come from boto3's chain only"
        )
    try:
        url = urlsplit(text)
        is_endpoint = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_endpoint = False
    if not is_endpoint or re.search(r"[^\x21-\x7e]|[?#\\]", text):
        raise ValueError(
            "that is not the URL of an endpoint: write http://HOST:PORT or https://HOST, in ASCII"
        )
    return text


def parse_region(text: str) -> str:
    """The name of a region, which becomes part of a host name, and of the signature."""
    if not text.strip():
        raise ValueError("it is empty")
    if not _REGION.fullmatch(text):
        raise ValueError(
            f"{text!r} is not the name of a region: "
            "write letters, digits and dashes, as in eu-central-1"
        )
    return text


def parse_bucket_owner(text: str) -> str:
    """The number of an account, which becomes a header of each request."""
    if not _OWNER.fullmatch(text):
        raise ValueError(
            "that is not an account: write its number of 12 digits, as in 123456789012"
        )
    return text
