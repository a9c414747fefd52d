"""The Ed25519 keys that sign: people's and the node's.

A secret key is a PKCS#8 PEM file that only its owner can read; a public key is written as the `x` of its JWK
(RFC 8037): its 32 bytes in base64url without padding, 43 characters.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from edge_agent.errors import ConfigError
from edge_agent.files import fsync_folder
from edge_agent.trust.age_keys import BadKeyError, read_secret_file

KEY_BYTES = 32
_FIELD_PRIME = 2**255 - 19


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whose signature is believed; `str()` is the text form."""

    raw: bytes
    """32 bytes."""

    def verifier(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.raw).rstrip(b"=").decode()


def parse_public_key(text: str) -> PublicKey:
    """From the text form; BadKeyError says what is wrong."""
    what = "an Ed25519 public key (43 letters, digits, '-' and '_')"
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKeyError(f"not {what}: it holds other characters or is cut") from error
    key = PublicKey(raw)
    if len(raw) != KEY_BYTES:
        raise BadKeyError(f"not {what}: {len(raw)} bytes instead of {KEY_BYTES}")
    if str(key) != text:
        raise BadKeyError(f"not {what}: the last character is wrong, or there is padding")
    if _is_weak(raw):
        raise BadKeyError("this public key is a weak point under which anybody could sign: make a new key")
    return key


def public_key_of(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key.public_key().public_bytes_raw())


def create_key(path: Path, passphrase: str | None = None) -> Ed25519PrivateKey:
    """A new key, written to a new file of mode 0600, encrypted when there is a passphrase, safe on disk at return.

    ConfigError when the file exists (a key is never overwritten) or can't be written.
    """
    key = Ed25519PrivateKey.generate()
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_secret_file(path, pem)
    return key


def load_key(path: Path, passphrase: str | None = None) -> Ed25519PrivateKey:
    """ConfigError when the file can't be read, is open to others, is no such key, or asks for a passphrase."""
    pem = read_secret_file(path)
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except TypeError as error:
        raise BadKeyError(
            f"the key {path} has no passphrase, but one was given"
            if passphrase
            else f"the key {path} is locked with a passphrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKeyError(
            f"{path} can't be opened with this passphrase, or is no key"
            if passphrase
            else f"{path} is not a PEM file with a private key"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKeyError(f"{path} holds a key of another kind: an Ed25519 key is needed")
    return key


def write_secret_file(path: Path, content: bytes) -> None:
    """A new file that only its owner can read, safe on disk at return; ConfigError when it exists or can't be made."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already, and a key is never overwritten: choose another name") from error
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be made: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        fsync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key would only be in the way of the next try
        raise ConfigError(f"the key file {path} can't be written: {error.strerror}") from error


def _is_weak(raw: bytes) -> bool:
    """Whether the point has a small order (an all-zero placeholder has, too): signatures under it can be made up.

    Its image on the Montgomery curve, u = (1 + y) / (1 - y) (RFC 7748 §4.1), then gives an all-zero X25519 exchange,
    which the library refuses.
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if (1 - y) % _FIELD_PRIME == 0:
        return True
    u = (1 + y) * pow(1 - y, -1, _FIELD_PRIME) % _FIELD_PRIME
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(u.to_bytes(KEY_BYTES, "little")))
    except ValueError:
        return True
    return False
