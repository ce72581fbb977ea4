"""Checks of the way to the store: endpoint, names, proxy, TLS, first response, clock."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from s3mount.doctor.certificate import Certificate, certificate_of, unverified_certificate
from s3mount.doctor.check import Check, NotTriedError
from s3mount.doctor.facts import FirstResponse, StoreFacts
from s3mount.doctor.report import Finding, failure, ok, warning
from s3mount.errors import SetupError
from s3mount.printable import printable
from s3mount.s3.composition import is_native
from s3mount.s3.endpoint.aws_files import file_problems
from s3mount.s3.endpoint.proxy import ProxyError

SAME = 2.0  # seconds between two clocks that are the same
SKEW_WARNING = 30.0  # seconds
SKEW_FAILURE = 300.0  # seconds; S3 refuses requests from 900 on
EXPIRY_WARNING = 14 * 86_400.0  # seconds before the end of a certificate
_SET_CLOCK = "set the clock: timedatectl set-ntp true"
_CHECK_DNS = "ask those who run the name, or the firewall; s3mount itself tries all side by side"


def network_checks(facts: StoreFacts) -> Iterator[Check]:
    yield Check("endpoint", lambda: check_endpoint(facts))
    yield Check("names", lambda: check_names(facts))
    yield Check("proxy", lambda: check_proxy(facts))
    yield Check("tls", lambda: check_tls(facts))
    yield Check("response", lambda: check_response(facts))
    yield Check("clock", lambda: check_clock(facts.response.need()))


def check_endpoint(facts: StoreFacts) -> Finding:
    """Check that bucket and AWS configuration give an address. Raises SetupError."""
    endpoint = facts.endpoint.get()
    transport = "native" if is_native(facts.store, endpoint) else "boto3"
    text = f"{endpoint.origin}{endpoint.base_path}, region {endpoint.region}, transport {transport}"
    problems = list(file_problems())
    if problems:
        return warning(f"{text}; {'; '.join(problems)}", "mend the file, or its permissions")
    return ok(text)


def check_names(facts: StoreFacts) -> Finding:
    """Check each address of the peer. Raises SetupError if none answers."""
    peer = facts.peer()
    try:
        addresses = facts.addresses.get()
    except OSError as exc:
        if not peer.is_proxy:
            raise facts.explained(exc) from exc
        reason = "is not known" if isinstance(exc, socket.gaierror) else "does not answer"
        return failure(f"the proxy's host {peer.host!r} {reason}", _named_by(facts))
    name = f"{'the proxy ' if peer.is_proxy else ''}{peer.host}"
    shown = ", ".join(
        f"{address} ({why})" if why else address for address, why in addresses.items()
    )
    silent = [address for address, why in addresses.items() if why]
    if silent:
        counted = f"{len(addresses) - len(silent)} of {len(addresses)} addresses answer"
        return warning(f"{name}: {counted}: {shown}", _CHECK_DNS)
    return ok(f"{name}: {shown}" if shown != peer.host else f"{name} answers")


def check_proxy(facts: StoreFacts) -> Finding:
    """Say which variable decides, and check that the proxy lets a connection through."""
    choice, address = facts.proxy(), facts.proxy_address()
    if address is None:
        if choice.excluded_by and choice.variable:
            return ok(
                f"none: {choice.excluded_by} lists the host, although {choice.variable} is set"
            )
        return ok("none: no variable names one for this host")
    try:
        facts.connection.get()
    except ProxyError as exc:
        why = f" (HTTP {exc.status})" if exc.status else ""
        return failure(f"{choice.variable}{why}: {facts.explained(exc)}")
    except (OSError, NotTriedError, SetupError):
        pass  # reported by others
    return ok(f"{choice.variable} names {address[0]}:{address[1]}")


def _named_by(facts: StoreFacts) -> str:
    return f"check {facts.proxy().variable}, or list the endpoint's host in NO_PROXY"


def check_tls(facts: StoreFacts) -> Finding:
    """Check the certificate, as connections of a mount verify it."""
    endpoint = facts.endpoint.need()
    try:
        session = facts.connection.get()
    except ProxyError as exc:
        raise NotTriedError("it depends on proxy, see there") from exc
    except ssl.SSLCertVerificationError as exc:
        return failure(str(facts.explained(exc)), _presented(facts))
    except OSError as exc:
        raise facts.explained(exc) from exc
    if endpoint.scheme == "http":
        return _without_tls(facts)
    if session is None:
        raise NotTriedError("the proxy speaks HTTPS, so boto3 connects; see response")
    if not endpoint.verify_ssl:
        found = unverified_certificate(_handshake(facts))
        whose = f", of {_described(found)}" if found else ""
        text = f"{session.version()}, and the certificate{whose} is not verified (--no-verify-ssl)"
        return warning(text, "verify it, with --ca-bundle FILE for an authority of your own")
    certificate = certificate_of(session)
    assert certificate is not None, "it was verified"
    authority = f"--ca-bundle or variable: {endpoint.ca_bundle}"
    trusted = f"trusted by {authority if endpoint.ca_bundle else 'the authorities of the system'}"
    text = f"{session.version()}, certificate of {_described(certificate)}, {trusted}"
    if certificate.expires_at - time.time() < EXPIRY_WARNING:
        return warning(text, "it ends soon: renew it")
    return ok(text)


def _presented(facts: StoreFacts) -> str:
    """Return whose certificate the peer has, which tells a proxy that reads along."""
    found = unverified_certificate(_handshake(facts))
    return f"its certificate is of {_described(found)}" if found else ""


def _handshake(facts: StoreFacts) -> Callable[[ssl.SSLContext], ssl.SSLObject]:
    def handshake(context: ssl.SSLContext) -> ssl.SSLObject:
        session = facts.handshake(context)
        assert session is not None, "the endpoint is https"
        return session

    return handshake


def _described(certificate: Certificate) -> str:
    subject, issuer = printable(certificate.subject), printable(certificate.issuer)
    return f"{subject!r}, issued by {issuer!r}, until {certificate.expiry}"


def _without_tls(facts: StoreFacts) -> Finding:
    host = facts.endpoint.need().host
    if _is_loopback(host):
        return ok("none, to this machine itself")
    return warning(
        "none: whoever is on the way can read and change what is read",
        f"write https:// in {facts.endpoint.need().named_by}, if the store speaks it",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def check_response(facts: StoreFacts) -> Finding:
    """Check that the store answers HTTP, whatever the status. Raises SetupError."""
    first = facts.response.get()
    server = first.headers.get("server")
    said = f", server {printable(server, 60)!r}" if server else ""
    text = (
        f"HTTP {first.status} to an unsigned request, after {_milliseconds(first.duration)}{said}"
    )
    if first.status == 407:
        return failure(
            f"the proxy wants a password (HTTP 407); {_named_by(facts)}",
            "name it as http://USER:PASSWORD@HOST:PORT",
        )
    if first.status >= 500:
        return warning(text, "the store, or a gateway before it, is not well: look at its status")
    return ok(text)


def check_clock(first: FirstResponse) -> Finding:
    """Compare the clocks. A Date has whole seconds, so half a second is not known."""
    try:
        date = parsedate_to_datetime(first.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return warning(
            "the store tells no time, so the clock is not checked", "look at it: timedatectl"
        )
    skew = first.received_at - first.duration / 2 - (date + 0.5)
    if abs(skew) <= SAME + first.duration / 2:
        return ok("as the store's")
    direction = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew):,.0f} s {direction} the store's"
    if abs(skew) > SKEW_FAILURE:
        return failure(f"{text}: signed requests are refused, or soon will be", _SET_CLOCK)
    return warning(text, _SET_CLOCK) if abs(skew) > SKEW_WARNING else ok(text)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
