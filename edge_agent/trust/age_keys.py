"""The keys of sealed files: age's X25519 recipients (public) and identities (secret), C2SP age.md."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import bech32
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from edge_agent.errors import ConfigError

RECIPIENT_PREFIX = "age"
IDENTITY_PREFIX = "age-secret-key-"
KEY_BYTES = 32
MAX_TEXT = 100
"""No key of these kinds is longer as text; keeps a checksum from being computed over rubbish."""
MAX_KEY_FILE_BYTES = 65536


class BadKeyError(ConfigError, ValueError):
    """A text or a file is not the key it should be.  A ValueError too, so that pydantic reports it in its place."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a file is sealed to; `str()` is the text form `age1…`."""

    raw: bytes
    """32 bytes."""

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """From `age1…`; BadKeyError says what is wrong."""
        what = "an age recipient (age1… and 58 more letters and digits)"
        if text.startswith("age1pq1"):
            raise BadKeyError("post-quantum age recipients (age1pq1…) are not supported: give an X25519 one, age1…")
        if text != text.lower():
            raise BadKeyError(f"not {what}: it must be in lower case")
        raw = _from_bech32(RECIPIENT_PREFIX, text, what)
        try:
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(raw))
        except ValueError as error:
            raise BadKeyError("this age recipient is a weak point that anybody could open: make a new key") from error
        return cls(raw)

    def __str__(self) -> str:
        return _to_bech32(RECIPIENT_PREFIX, self.raw)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who opens a sealed file; `str()` is the secret itself, `repr()` never shows it."""

    raw: bytes = field(repr=False)
    """32 bytes, secret."""

    @classmethod
    def generate(cls) -> Identity:
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Identity:
        """From `AGE-SECRET-KEY-1…`; BadKeyError says what is wrong without repeating the text."""
        what = "an age identity (AGE-SECRET-KEY-1… in capitals)"
        if text != text.upper():
            raise BadKeyError(f"not {what}")
        return cls(_from_bech32(IDENTITY_PREFIX, text, what))

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.private_key().public_key().public_bytes_raw())

    def private_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.raw)

    def __str__(self) -> str:
        return _to_bech32(IDENTITY_PREFIX, self.raw).upper()


def load_identities(path: Path) -> list[Identity]:
    """Every identity of an age identity file, as `age-keygen` writes it: one a line, `#` comments, blank lines.

    ConfigError when the file can't be read, is open to others, or holds no identity or something else.
    """
    return parse_identities(read_secret_file(path), path)


def parse_identities(content: bytes, path: Path) -> list[Identity]:
    """The same of a content that `path` had."""
    text = content.decode("utf-8", "replace")
    if text.startswith("age-encryption.org/"):
        raise BadKeyError(f"the age key {path} is locked with a passphrase")
    identities = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            identities.append(Identity.parse(stripped))
        except BadKeyError as error:
            raise BadKeyError(f"{path}, line {number}: {error}") from error
    if not identities:
        raise BadKeyError(f"{path} holds no identity: make one with age-keygen -o {path}")
    return identities


def read_secret_file(path: Path) -> bytes:
    """The content of a file that only its owner may read; ConfigError when others may, too, or it can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"the key file {path} is not a file")
            if mode & (0o037 if _is_credential(path) else 0o077):
                raise ConfigError(
                    f"others can read or write the key file {path} (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
                )
            content = os.read(fd, MAX_KEY_FILE_BYTES + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be read: {error.strerror}") from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise BadKeyError(f"{path} is too large to be a key file")
    return content


def _is_credential(path: Path) -> bool:
    """systemd grants a unit its credentials by an access list, which shows as a group that may read."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and path.parent == Path(folder)


def _to_bech32(prefix: str, raw: bytes) -> str:
    return bech32.bech32_encode(prefix, bech32.convertbits(raw, 8, 5) or ())


def _from_bech32(prefix: str, text: str, what: str) -> bytes:
    if len(text) > MAX_TEXT:
        raise BadKeyError(f"not {what}: too long")
    found, words = bech32.bech32_decode(text)
    if found is None or words is None:
        raise BadKeyError(f"not {what}: a letter is wrong or missing")
    raw = bech32.convertbits(words, 5, 8, False) if found == prefix else None
    if raw is None or len(raw) != KEY_BYTES:
        raise BadKeyError(f"not {what}")
    return bytes(raw)
