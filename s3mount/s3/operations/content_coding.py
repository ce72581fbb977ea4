"""Content codings: whether a body is the object as it is stored.

GCS unpacks an object that is stored with gzip unless the request accepts gzip. Cloudflare's R2, and
nginx in front of any store, pack an object that is not. So each request accepts gzip, and one whose
response was changed on its way is sent again without, or the other way round.
https://cloud.google.com/storage/docs/transcoding
"""

import re
from collections.abc import Mapping
from typing import Final

from s3mount.s3.model import ObjectVersion
from s3mount.s3.transport import InvalidResponseError, content_length

# aws-chunked is none of them: uploads were framed so, and some stores have kept the word
_CODINGS: Final = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress"}
_PACKED_ETAG = re.compile(r"(?:--?|;)(?:gzip|br|deflate|zstd)$", re.IGNORECASE)


class TransformedBodyError(InvalidResponseError):
    """A body that is not the object as it is stored: it was packed or unpacked on its way."""


class UnlocatedPartError(TransformedBodyError):
    """A part of an object that does not say which one it is. A response to no Range is whole."""


def check_stored(headers: Mapping[str, str], version: ObjectVersion | None) -> None:
    """Raise TransformedBodyError if *headers*, of *version* if that is known, show a change."""
    words = re.split(r"[\s,]+", headers.get("content-encoding", "").lower())
    if _CODINGS.isdisjoint(words):
        return
    etag, length = headers.get("etag", ""), content_length(headers)
    is_part = "content-range" in headers
    if (
        length is None
        or _PACKED_ETAG.search(etag.strip('"'))
        or (version is not None and not is_part and length != version.size)
    ):
        raise TransformedBodyError(f"the body was packed on its way ({' '.join(words)})")
