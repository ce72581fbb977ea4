"""Verification of a read of a whole object, over all its attempts.

Invariants:

1. What is verified is the whole buffer when it is full, whichever attempts filled it, against the
   checksum of the first of them that told one. All of them are of one version.
2. Bytes that do not match are not the result, unless the ETags of this store are found to be no
   MD5s, or the store has contradicted itself about this version: then its ETag is no evidence.
3. Bytes that do not match are requested again. The same bytes twice, or MISMATCHES different ones,
   are the failure of the read. Of a doubted version, the same bytes twice are the result if they
   arrive alike in two pieces.
4. The event loop never waits: what has to be found out by further requests is left to an attempt
   in a thread.
"""

from functools import partial
from typing import Final, Protocol

from s3mount.errors import ChecksumMismatch
from s3mount.s3.model import ObjectVersion
from s3mount.s3.operations.checksum import ETAG, Checksum, md5_of_etag, told_with
from s3mount.s3.operations.store_traits import StoreTraits
from s3mount.s3.transport import Response, Retryable

MISMATCHES: Final = 3


class Probe(Protocol):
    """Further requests about a *version* whose ETag is not the MD5 of *content*; they block."""

    def has_md5_etags(
        self, version: ObjectVersion, content: memoryview, deadline: float
    ) -> bool | None:
        """Return whether the ETags of the store are MD5s; None if nothing tells."""
        ...

    def arrives_alike(self, version: ObjectVersion, content: memoryview, deadline: float) -> bool:
        """Return whether two ranges bring *content*, too."""
        ...


class ReadVerification:
    """Verification of one read of a whole object.

    For one thread at a time: that of the buffer's owner. It costs a read
    nothing that begins and ends as it should: what it keeps is set when it is first needed.
    """

    # of the bytes that are in the buffer; digests of those that did not match
    checksum: Checksum | None = None
    _mismatches: tuple[bytes, ...] = ()
    has_mismatched = False  # the next attempt belongs to a thread

    def expect(self, traits: StoreTraits, response: Response) -> None:
        """Take the checksum from *response*, unless the bytes that are there have one.

        That of a part is none: S3 sends it without the suffix that says so.
        """
        if self.checksum is None:
            self.checksum = expected_checksum(traits, response)

    def check(
        self,
        content: memoryview,
        version: ObjectVersion,
        traits: StoreTraits,
        probe: Probe | None,
        *,
        deadline: float,
    ) -> None:
        """Raise Retryable, or ChecksumMismatch for good, unless *content* of *version* matches.

        Without a *probe* nothing may block. *deadline* is in `time.monotonic()` seconds.
        """
        checksum = self.checksum
        if checksum is None:
            return
        digest = checksum.of(content)
        if digest == checksum.expected:
            if checksum.algorithm == ETAG:
                traits.has_md5_etags = True
            return
        self.checksum = None
        is_repeated = digest in self._mismatches
        is_final = is_repeated or len(self._mismatches) + 1 >= MISMATCHES
        self._mismatches += (digest,)
        self.has_mismatched = True
        if is_final and checksum.algorithm == ETAG:
            is_final = probe is not None
            if probe is not None:
                has_md5_etags = partial(probe.has_md5_etags, version, content, deadline)
                is_again = not version.is_doubted
                if not traits.may_be_md5s(has_md5_etags, deadline, is_again=is_again):
                    return
                is_confirmed = is_repeated and version.is_doubted
                if is_confirmed and probe.arrives_alike(version, content, deadline):
                    return
        failure = self._failure(checksum, version)
        raise failure if is_final else Retryable(failure, is_corrupt=True)

    def _failure(self, checksum: Checksum, version: ObjectVersion) -> ChecksumMismatch:
        return ChecksumMismatch(
            f"the bytes do not match the {checksum.algorithm} of the object, "
            f"{len(self._mismatches)} times; --no-verify-checksums reads it unchecked",
            bucket=version.bucket,
            key=version.key,
        )


def expected_checksum(traits: StoreTraits, response: Response) -> Checksum | None:
    """Return the checksum that *response* tells of the whole object, by a header or its ETag."""
    headers = response.headers
    is_whole = response.status == 200 and "content-range" not in headers
    told = told_with(headers) if is_whole else None
    if told is None and traits.has_md5_etags is not False:
        return md5_of_etag(headers.get("etag"), headers)
    return told
