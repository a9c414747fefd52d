"""Signed notes: a text and, below it, the signatures of those who stand by it (c2sp.org/signed-note).  Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import RefusedError
from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.keys import KEY_BYTES, PublicKey, parse_public_key, public_key_of

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 32
ID_BYTES = 4
SIGNATURE_BYTES = 64
_NAME = re.compile(r"[^\s+]+")
_LINE = re.compile(r"— (\S+) (\S+)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class BadNoteError(RefusedError):
    """A note that can't be believed: malformed, or not signed as it must be."""


class SignatureKind(IntEnum):
    """The byte that says what a key signs."""

    NOTE = 0x01
    """Ed25519 over the text."""
    COSIGNATURE = 0x04
    """Ed25519 over a checkpoint and the time (c2sp.org/tlog-cosignature)."""


TIME_BYTES = 8
_RAW_BYTES = {SignatureKind.NOTE: SIGNATURE_BYTES, SignatureKind.COSIGNATURE: TIME_BYTES + SIGNATURE_BYTES}


@dataclass(frozen=True, slots=True)
class NoteKey:
    """Whose signature is believed; `str()` is the C2SP verifier key."""

    name: str
    public: PublicKey
    kind: SignatureKind = SignatureKind.NOTE

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or _CONTROL.search(self.name):
            raise BadKeyError(f"{self.name!r} can't be the name of a key: no spaces, no plus signs")

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self._material).digest()[:ID_BYTES]

    @property
    def _material(self) -> bytes:
        return bytes([self.kind]) + self.public.raw

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material).decode()}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    name: str
    key_id: bytes
    raw: bytes
    """What follows the key's id."""

    def is_by(self, key: NoteKey) -> bool:
        """Whether it says so."""
        return self.name == key.name and self.key_id == key.key_id

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.raw).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends with a line feed; `str()` is the note as it is kept and sent."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def plus(self, *signatures: NoteSignature) -> Note:
        return replace(self, signatures=(*self.signatures, *signatures))

    def require(self, key: NoteKey) -> None:
        """BadNoteError unless `key`, of kind NOTE, has signed this; a signature of it that does not fit spoils all."""
        if not verified(self.signatures, key, lambda _: self.text.encode()):
            raise BadNoteError(f"the note is not signed by {key.name} with the key that is known here")

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(str(one) for one in self.signatures)}"


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> Note:
    """A note with one signature."""
    signature = NoteSignature(name, NoteKey(name, public_key_of(key)).key_id, key.sign(text.encode()))
    return Note(text, (signature,))


def parse_note(content: bytes | str) -> Note:
    """BadNoteError says what is wrong; nothing of the text may be believed before a signature is verified."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(raw) > MAX_NOTE_BYTES:
        raise BadNoteError(f"a note is at most {MAX_NOTE_BYTES} bytes long")
    try:
        whole = raw.decode()
    except UnicodeDecodeError as error:
        raise BadNoteError("the note is not UTF-8") from error
    if _CONTROL.search(whole):
        raise BadNoteError("the note holds control characters")
    text, separator, below = whole.rpartition("\n\n")
    if not separator or not below.endswith("\n"):
        raise BadNoteError("not a signed note: a text, an empty line, and lines with signatures")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise BadNoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(_signature(line) for line in lines))


def parse_note_key(text: str) -> NoteKey:
    """From a C2SP verifier key; BadKeyError says what is wrong."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise BadKeyError("not a verifier key: name, id and key, joined by plus signs")
    try:
        material = strict_base64(parts[2])
        kind = SignatureKind(material[0]) if material else SignatureKind(0)
    except ValueError as error:
        raise BadKeyError(f"not a verifier key of a kind that is known here: {error}") from error
    if len(material) != 1 + KEY_BYTES:
        raise BadKeyError(f"not a verifier key: {len(material) - 1} bytes of key instead of {KEY_BYTES}")
    key = NoteKey(parts[0], parse_public_key(str(PublicKey(material[1:]))), kind)
    if key.key_id.hex() != parts[1]:
        raise BadKeyError("not a verifier key: its id is not that of its name and key")
    return key


def verified(
    signatures: Iterable[NoteSignature], key: NoteKey, message: Callable[[NoteSignature], bytes]
) -> list[NoteSignature]:
    """Those by `key`; BadNoteError when one that says so is not.  `message`: what a signature is over."""
    found = []
    for one in signatures:
        if not one.is_by(key):
            continue
        if len(one.raw) != _RAW_BYTES[key.kind]:
            raise BadNoteError(f"the signature of {key.name} has {len(one.raw)} bytes: it is none")
        try:
            key.public.verifier().verify(one.raw[-SIGNATURE_BYTES:], message(one))
        except InvalidSignature as error:
            raise BadNoteError(f"the signature of {key.name} does not fit the note: it was changed") from error
        found.append(one)
    return found


def strict_base64(text: str) -> bytes:
    """Standard base64 with its one spelling; ValueError for any other."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("broken base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("base64 in a spelling that is not its own")
    return raw


def _signature(line: str) -> NoteSignature:
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadNoteError("not a line of a signature: — name base64")
    try:
        raw = strict_base64(found[2])
    except ValueError as error:
        raise BadNoteError(f"the signature of {found[1][:80]}: {error}") from error
    if len(raw) <= ID_BYTES or "+" in found[1]:
        raise BadNoteError(f"the signature of {found[1][:80]} has no key's id or a name that can't be")
    return NoteSignature(found[1], raw[:ID_BYTES], raw[ID_BYTES:])
