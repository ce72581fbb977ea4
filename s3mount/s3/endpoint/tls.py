"""TLS trust of an endpoint, the same for both transports."""

import ssl
from pathlib import Path

from s3mount.errors import SetupError


def tls_context(*, ca_bundle: str | None, verify_ssl: bool) -> ssl.SSLContext:
    """Return a context that trusts *ca_bundle* (a file, or a directory of hashed names).

    None trusts the system's certificate authorities, or those of botocore if the system has none.
    Raises SetupError if the bundle cannot be read.
    """
    if not verify_ssl:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if ca_bundle is None:
        context = ssl.create_default_context()
        if not context.cert_store_stats()["x509_ca"] and not _has_hashed_authorities():
            context.load_verify_locations(cafile=_authorities_of_botocore())
        return context
    return _context_for(Path(ca_bundle))


def _context_for(bundle: Path) -> ssl.SSLContext:
    try:
        if bundle.is_dir():
            return ssl.create_default_context(capath=str(bundle))
        return ssl.create_default_context(cafile=str(bundle))
    except (OSError, ssl.SSLError) as exc:
        reason = "it contains no certificate" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise SetupError(f"the CA bundle {str(bundle)!r} cannot be used: {reason}") from exc


def _authorities_of_botocore() -> str:
    # few systems have no certificate authorities
    from botocore.httpsession import get_cert_path  # noqa: PLC0415

    path: str = get_cert_path(verify=True)
    return path


def _has_hashed_authorities() -> bool:
    directory = ssl.get_default_verify_paths().capath
    return directory is not None and any(Path(directory).glob("*.0"))
