"""The node's TLS key for the broker, and the request that the city's authority for certificates signs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.errors import ConfigError
from edge_agent.trust.age_keys import BadKeyError, read_secret_file
from edge_agent.trust.keys import write_secret_file


def tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of a PEM file, made when there is none; ConfigError when it is open to others or no such key."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        write_secret_file(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return key
    try:
        found = serialization.load_pem_private_key(read_secret_file(path), None)
    except (ValueError, TypeError) as error:
        raise BadKeyError(f"{path} is not a PEM file with a private key, or it is locked") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise BadKeyError(f"{path} holds a key of another kind: an elliptic curve key is needed")
    return found


def signing_request(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A PKCS#10 request in PEM for a client that is called `name`; ConfigError when no certificate can be called so."""
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise ConfigError(f"no certificate can be made out to {name}: its name has at most 64 characters") from error
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(usage, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def fingerprint(key: ec.EllipticCurvePrivateKey) -> str:
    """SHA-256 of the public key's DER form, to compare by eye or on the telephone."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()
