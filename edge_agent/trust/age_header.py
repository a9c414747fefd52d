"""The header of an age file: the file key, wrapped for each recipient, and its MAC (C2SP age.md, «Header»)."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_agent.errors import ArchiveError
from edge_agent.trust.age_keys import Identity, Recipient

VERSION_LINE = b"age-encryption.org/v1\n"
MAX_HEADER_BYTES = 65536
"""Some six hundred recipients; a longer header is an attack on memory, not a file."""
FILE_KEY_BYTES = 16
TAG_BYTES = 16
BODY_COLUMNS = 64
_ZERO_NONCE = bytes(12)
_X25519 = b"X25519"
_X25519_INFO = b"age-encryption.org/v1/X25519"


class NoIdentityError(ArchiveError):
    """The file is sealed to somebody else: none of the given identities opens it."""


@dataclass(frozen=True, slots=True)
class Stanza:
    """One way to the file key: `args` name the kind and its parameters, `body` is the wrapped key."""

    args: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Header:
    stanzas: tuple[Stanza, ...]
    authenticated: bytes
    """What the MAC covers: the header up to and including `---`."""
    mac: bytes


def seal_header(recipients: Sequence[Recipient]) -> tuple[bytes, bytes]:
    """A fresh file key and the header that wraps it: (header, file_key)."""
    file_key = os.urandom(FILE_KEY_BYTES)
    return wrap_header(file_key, recipients), file_key


def wrap_header(file_key: bytes, recipients: Sequence[Recipient]) -> bytes:
    """A header that gives this file key to these, and to nobody else."""
    if not recipients:
        raise ValueError("a sealed file needs at least one recipient, or nobody could ever open it")
    return header_of(file_key, [_wrap(file_key, recipient) for recipient in recipients])


def header_of(file_key: bytes, stanzas: Sequence[Stanza]) -> bytes:
    """The header with its MAC; bodies are of 32 bytes: one short line, which also ends the stanza."""
    lines = [VERSION_LINE]
    for stanza in stanzas:
        lines.append(b"-> " + b" ".join(stanza.args) + b"\n")
        lines.append(encode_base64(stanza.body) + b"\n")
    lines.append(b"---")
    authenticated = b"".join(lines)
    return authenticated + b" " + encode_base64(header_mac(file_key, authenticated)) + b"\n"


def parse_header(lines: Iterable[bytes]) -> Header:
    """From the header's lines, each with its line feed; ArchiveError when they are not a header of age v1.

    Takes no line after the MAC's.
    """
    source = iter(lines)
    first = _line(source)
    if first != VERSION_LINE[:-1]:
        raise ArchiveError(
            "a later version of age than this program reads"
            if first.startswith(b"age-encryption.org/")
            else "not an age file: it doesn't begin as one"
        )
    seen = [VERSION_LINE]
    stanzas: list[Stanza] = []
    while not (line := _line(source)).startswith(b"---"):
        args, body_lines = _args(line), []
        seen.append(line + b"\n")
        while True:
            body_line = _line(source)
            seen.append(body_line + b"\n")
            body_lines.append(body_line)
            if len(body_line) != BODY_COLUMNS:
                break
        if len(body_lines[-1]) > BODY_COLUMNS:
            raise ArchiveError("a malformed age header: a line of a stanza is too long")
        stanzas.append(Stanza(args, decode_base64(b"".join(body_lines))))
    if not stanzas:
        raise ArchiveError("a malformed age header: no recipients")
    if not line.startswith(b"--- ") or len(mac := decode_base64(line[4:])) != 32:
        raise ArchiveError("a malformed age header: no valid MAC")
    seen.append(b"---")
    return Header(tuple(stanzas), b"".join(seen), mac)


def unwrap(header: Header, identities: Sequence[Identity]) -> bytes:
    """The file key, its MAC verified.

    NoIdentityError when no identity matches, ArchiveError when the header is malformed or was altered.
    """
    if len(header.stanzas) > 1 and any(stanza.args[0] == b"scrypt" for stanza in header.stanzas):
        raise ArchiveError("a malformed age header: a passphrase beside other recipients")
    shares = [_share(stanza) for stanza in header.stanzas if stanza.args[0] == _X25519]
    for identity in identities:
        for share, body in shares:
            file_key = _unwrap(identity, share, body)
            if file_key is None:
                continue
            if not constant_time.bytes_eq(header_mac(file_key, header.authenticated), header.mac):
                raise ArchiveError("the header of the age file was altered: its MAC does not match")
            return file_key
    raise NoIdentityError("sealed to somebody else: none of the given identities opens it")


def derive(secret: bytes, salt: bytes | None, info: bytes) -> bytes:
    """HKDF-SHA-256, 32 bytes."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def _wrap(file_key: bytes, recipient: Recipient) -> Stanza:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient.raw))
    wrap_key = derive(shared, share + recipient.raw, _X25519_INFO)
    body = ChaCha20Poly1305(wrap_key).encrypt(_ZERO_NONCE, file_key, None)
    return Stanza((_X25519, encode_base64(share)), body)


def _share(stanza: Stanza) -> tuple[bytes, bytes]:
    """(ephemeral share, body) of an X25519 stanza, which must be well-formed whether it is ours or not."""
    if len(stanza.args) != 2 or len(share := decode_base64(stanza.args[1])) != 32:
        raise ArchiveError("a malformed age header: an X25519 stanza without its share")
    if len(stanza.body) != FILE_KEY_BYTES + TAG_BYTES:
        raise ArchiveError("a malformed age header: an X25519 stanza with a file key of the wrong length")
    return share, stanza.body


def _unwrap(identity: Identity, share: bytes, body: bytes) -> bytes | None:
    try:
        shared = identity.private_key().exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError as error:
        raise ArchiveError("a malformed age header: an X25519 share of low order") from error
    wrap_key = derive(shared, share + identity.recipient.raw, _X25519_INFO)
    try:
        return ChaCha20Poly1305(wrap_key).decrypt(_ZERO_NONCE, body, None)
    except InvalidTag:
        return None


def header_mac(file_key: bytes, authenticated: bytes) -> bytes:
    mac = hmac.HMAC(derive(file_key, None, b"header"), hashes.SHA256())
    mac.update(authenticated)
    return mac.finalize()


def _line(lines: Iterator[bytes]) -> bytes:
    line = next(lines, b"")
    if not line.endswith(b"\n"):
        raise ArchiveError("the age file ends within its header")
    return line[:-1]


def _args(line: bytes) -> tuple[bytes, ...]:
    args = tuple(line[3:].split(b" "))
    if not line.startswith(b"-> ") or not all(arg and all(0x21 <= char <= 0x7E for char in arg) for arg in args):
        raise ArchiveError("a malformed age header: a stanza doesn't begin as one")
    return args


def encode_base64(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")


def decode_base64(text: bytes) -> bytes:
    """Canonical unpadded base64 only: what does not encode back to itself was not written by an age program."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ArchiveError("a malformed age header: broken base64") from error
    if encode_base64(raw) != text:
        raise ArchiveError("a malformed age header: base64 in other than its one form")
    return raw
