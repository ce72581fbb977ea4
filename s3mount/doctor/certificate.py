"""Certificate of a TLS peer: its names, its issuer and its end, whether or not it is trusted.

Python decodes only certificates that it has verified. So one that is not trusted is received once
without verification, and then verified against itself alone, for no request.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from s3mount.frozen_dataclass import dataclass

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, openssl/x509_vfy.h

Handshake = Callable[[ssl.SSLContext], ssl.SSLObject]
"""Connects anew, and shakes hands by the context; raises OSErrors."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Names of a certificate, and when it ends, in seconds since 1970."""

    subject: str
    issuer: str
    expires_at: float

    @property
    def expiry(self) -> str:
        """The day on which it ends."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.expires_at))


def certificate_of(session: ssl.SSLObject) -> Certificate | None:
    """Return the certificate of a verified peer; None if it was not verified."""
    decoded: Mapping[str, Any] = session.getpeercert() or {}
    if "notAfter" not in decoded:
        return None
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind == "DNS"]
    return Certificate(
        _common_name(decoded.get("subject", ())) or (names or ["no name"])[0],
        _common_name(decoded.get("issuer", ())) or "an unnamed authority",
        ssl.cert_time_to_seconds(decoded["notAfter"]),
    )


def unverified_certificate(handshake: Handshake) -> Certificate | None:
    """Return the certificate of a peer that is not trusted; None if it cannot be decoded."""
    try:
        encoded = handshake(_trusting_nobody()).getpeercert(binary_form=True)
        if not encoded:
            return None
        return certificate_of(handshake(_trusting_only(encoded)))
    except OSError:  # another server answers, or the certificate is one that nothing verifies
        return None


def _trusting_nobody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting_only(encoded: bytes) -> ssl.SSLContext:
    """Return a context for which the certificate itself is an anchor, at any time, of any host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.load_verify_locations(cadata=encoded)
    return context


def _common_name(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return the common name in *name*, else its organization."""
    fields = {field: value for part in name for field, value in part}
    return fields.get("commonName") or fields.get("organizationName", "")
