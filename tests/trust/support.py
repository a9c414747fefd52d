"""What the tests of trust share: people, and age files built piece by piece."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import Buffer

from edge_agent.clock import US
from edge_agent.model import PersonId
from edge_agent.trust.age import AgeReader, AgeWriter, Identity, Recipient
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Person, Role

CHUNK = 65536
NOW_US = 1_790_000_000 * US
"""Where a hand-moved clock begins."""


def somebody(person_id: str, role: Role, key: Ed25519PrivateKey) -> Person:
    return person(person_id, key, role)


def person(person_id: str, key: Ed25519PrivateKey, *roles: Role, **more: Any) -> Person:
    """Somebody of several roles, of a time, of limits."""
    return Person(PersonId(person_id), "Шевченко", "Оксана", "Іванівна", roles, public_key_of(key), **more)


class _Trickle(io.RawIOBase):
    def __init__(self, data: bytes, at_a_time: int = 1000) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._at_a_time = at_a_time

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        piece = self._data.read(min(len(view), self._at_a_time))
        view[: len(piece)] = piece
        return len(piece)


def pipe(data: bytes) -> BinaryIO:
    """A source that can't seek and gives little at a time."""
    return cast(BinaryIO, _Trickle(data))


def sealed(plain: bytes, recipients: Sequence[Recipient], pieces: Sequence[int] = ()) -> bytes:
    """`plain` through the writer, in writes of the given sizes, the rest in one."""
    out = io.BytesIO()
    writer = AgeWriter(out, recipients)
    place = 0
    for size in pieces:
        writer.write(plain[place : place + size])
        place += size
    writer.write(plain[place:])
    writer.finish()
    return out.getvalue()


def read_all(reader: AgeReader) -> bytes:
    out = bytearray()
    while piece := reader.read(CHUNK):
        out += piece
    return bytes(out)


def header_bytes(file: bytes) -> int:
    """Length of the header and the payload's nonce."""
    return file.index(b"\n", file.index(b"\n---") + 1) + 1 + 16


def b64(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")


def hkdf(secret: bytes, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


@dataclass
class Forge:
    """Builds age files straight from the specification, so that each part can be made wrong."""

    identity: Identity
    file_key: bytes = b"sixteen byte key"
    nonce: bytes = bytes(range(16))
    ephemeral: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def stanza(
        self,
        *,
        kind: bytes = b"X25519",
        share: bytes | None = None,
        file_key: bytes | None = None,
        extra: bytes = b"",
        body: bytes | None = None,
    ) -> bytes:
        recipient = self.identity.recipient.raw
        own_share = self.ephemeral.public_key().public_bytes_raw()
        secret = self.ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
        wrap_key = hkdf(secret, own_share + recipient, b"age-encryption.org/v1/X25519")
        wrapped = ChaCha20Poly1305(wrap_key).encrypt(bytes(12), file_key or self.file_key, None)
        return b"-> %s %s%s\n%s\n" % (kind, b64(own_share) if share is None else share, extra, body or b64(wrapped))

    def header(self, *stanzas: bytes, version: bytes = b"v1", mac: bytes | None = None) -> bytes:
        text = b"age-encryption.org/" + version + b"\n" + b"".join(stanzas or (self.stanza(),)) + b"---"
        right = hmac.new(hkdf(self.file_key, None, b"header"), text, hashlib.sha256).digest()
        return text + b" " + (b64(right) if mac is None else mac) + b"\n"

    def chunk(self, number: int, plain: bytes, *, final: bool) -> bytes:
        key = hkdf(self.file_key, self.nonce, b"payload")
        return ChaCha20Poly1305(key).encrypt(number.to_bytes(11, "big") + bytes([final]), plain, None)

    def file(self, *chunks: bytes, header: bytes | None = None) -> bytes:
        return (self.header() if header is None else header) + self.nonce + b"".join(chunks)
