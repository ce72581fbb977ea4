"""A customer's key of server-side encryption (SSE-C): its bytes, and the headers that carry it.

Nothing shows the key: no `repr`, no error, no copy by pickle. A fingerprint names it.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

import base64
import hashlib
from typing import Final, NoReturn

from s3mount.s3.endpoint.key_protection import check_destination
from s3mount.s3.transport import Destination, Fields

KEY_SIZE: Final = 32  # bytes, of AES-256
ALGORITHM: Final = "x-amz-server-side-encryption-customer-algorithm"
_KEY: Final = "x-amz-server-side-encryption-customer-key"
_KEY_MD5: Final = "x-amz-server-side-encryption-customer-key-md5"
_FINGERPRINT_LENGTH: Final = 8  # characters; enough to tell the keys of one mount apart


class CustomerKey:
    """Key of KEY_SIZE bytes. *fingerprint* is the beginning of its SHA-256, in hex."""

    __slots__ = ("_fields", "fingerprint")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a key has {KEY_SIZE} bytes")
        self.fingerprint = hashlib.sha256(key).hexdigest()[:_FINGERPRINT_LENGTH]
        digest = hashlib.md5(key, usedforsecurity=False).digest()
        self._fields: Fields = (
            (ALGORITHM, "AES256"),
            (_KEY, base64.b64encode(key).decode()),
            (_KEY_MD5, base64.b64encode(digest).decode()),
        )

    def fields_for(self, destination: Destination, url: str | None = None) -> Fields:
        """See `RequestKey`."""
        check_destination(destination, url)
        return self._fields

    def is_same(self, other: "CustomerKey") -> bool:
        return self._fields == other._fields

    def __repr__(self) -> str:
        return f"CustomerKey({self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied")
