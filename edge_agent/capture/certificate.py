"""A look at the certificate that a camera shows, trusted or not.  Nothing secret is sent."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from dataclasses import dataclass

from edge_agent.capture.source import CameraFailed
from edge_agent.capture.tls import judge, reason
from edge_agent.capture.told import fit
from edge_agent.clock import US
from edge_agent.model import CameraFault

LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a camera shows before it is spoken to."""

    tls: str
    """The version agreed on: `TLSv1.3`."""
    trusted: bool
    problem: str
    """Why it is not trusted."""
    subject: str
    issuer: str
    valid_until_us: int | None
    sha256: str
    """Of the certificate, as cameras and browsers show it: AB:CD:…"""
    pem: str


def look(host: str, port: int, ca_file: str | None) -> Certificate:
    """Connect and see; CameraFailed when no TLS can be had there."""
    # only here, for every command line loads this module
    from cryptography import x509

    try:
        version, der = _shown(host, port, judge(ca_file))
        problem = ""
    except ssl.SSLCertVerificationError as error:
        problem = fit(error.verify_message.lower())
        anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anything.check_hostname = False
        anything.verify_mode = ssl.CERT_NONE
        try:
            version, der = _shown(host, port, anything)
        except (OSError, ValueError) as failed:
            raise _failed(host, port, failed) from None
    except (OSError, ValueError) as error:
        raise _failed(host, port, error) from None
    subject = issuer = ""
    until_us = None
    # certificates that cameras make themselves are not always well-formed
    with contextlib.suppress(ValueError):
        read = x509.load_der_x509_certificate(der)
        until_us = int(read.not_valid_after_utc.timestamp()) * US
        subject, issuer = fit(read.subject.rfc4514_string()), fit(read.issuer.rfc4514_string())
    return Certificate(
        tls=version,
        trusted=not problem,
        problem=problem,
        subject=subject,
        issuer=issuer,
        valid_until_us=until_us,
        sha256=hashlib.sha256(der).digest().hex(":").upper(),
        pem=ssl.DER_cert_to_PEM_cert(der),
    )


def _shown(host: str, port: int, context: ssl.SSLContext) -> tuple[str, bytes]:
    with (
        socket.create_connection((host, port), LOOK_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.version() or "", secure.getpeercert(binary_form=True) or b""


def _failed(host: str, port: int, error: Exception) -> CameraFailed:
    words = "does not speak TLS that can be used" if isinstance(error, ssl.SSLError) else "cannot be reached"
    return CameraFailed(CameraFault.UNREACHABLE, f"{host}:{port} {words}: {reason(error)}")
