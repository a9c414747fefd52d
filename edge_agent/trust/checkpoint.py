"""Checkpoints: how long a journal was and its tree's root, signed by its node (c2sp.org/tlog-checkpoint) and
cosigned by those who saw it (c2sp.org/tlog-cosignature).  Pure."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.trust.keys import public_key_of
from edge_agent.trust.merkle import HASH_BYTES, verify_consistency
from edge_agent.trust.note import (
    BadNoteError,
    Note,
    NoteKey,
    NoteSignature,
    SignatureKind,
    parse_note,
    sign_note,
    strict_base64,
    verified,
)

_SIZE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)
_TIME = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one journal was at some moment."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Lines of others; the product writes none."""

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in (self.origin, self.size, _base64(self.root), *self.extensions))


@dataclass(frozen=True, slots=True)
class Cosignature:
    """That a witness saw a checkpoint, and no longer journal that contradicts it, at a time."""

    witness: NoteKey
    time_s: int
    """Seconds since 1970."""


class Verdict(StrEnum):
    """What a later checkpoint of a node says about the journal that an earlier one promised."""

    SAME = "same"
    GROWN = "grown"
    SHORTENED = "shortened"
    """Fewer entries than were signed: cut, or replaced by an older copy."""
    REWRITTEN = "rewritten"
    """As many or more, but the earlier ones are not those that were signed, or that is not proved."""
    FORKED = "forked"
    """Two different journals of one length, both signed."""
    ANOTHER = "another"
    """Of another node."""

    @property
    def honest(self) -> bool:
        return self in (Verdict.SAME, Verdict.GROWN)


def origin_of(audience: str) -> str:
    """The journal of `site/node`."""
    return f"edge-agent/{audience}"


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> Note:
    return sign_note(checkpoint.text, checkpoint.origin, key)


def open_checkpoint(note: Note | bytes | str, key: NoteKey) -> Checkpoint:
    """What a node has signed; BadNoteError when it is not by `key`, of another origin, or no checkpoint."""
    parsed = note if isinstance(note, Note) else parse_note(note)
    parsed.require(key)
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != key.name:
        raise BadNoteError(f"a checkpoint of {checkpoint.origin[:80]}, not of {key.name}")
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """The text of a note, whose signatures somebody else verifies."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise BadNoteError("not a checkpoint: an origin, a size and a root, each on its line")
    if not _SIZE.fullmatch(lines[1]):
        raise BadNoteError(f"the checkpoint's size is no number: {lines[1][:40]!r}")
    try:
        root = strict_base64(lines[2])
    except ValueError as error:
        raise BadNoteError(f"the checkpoint's root: {error}") from error
    if len(root) != HASH_BYTES:
        raise BadNoteError(f"the checkpoint's root has {len(root)} bytes instead of {HASH_BYTES}")
    return Checkpoint(lines[0], int(lines[1]), root, tuple(lines[3:]))


def cosign(note: Note, name: str, key: Ed25519PrivateKey, time_s: int) -> Note:
    """The note with a witness's cosignature; that it continues what the witness saw before is the caller's duty."""
    parse_checkpoint(note.text)
    witness = NoteKey(name, public_key_of(key), SignatureKind.COSIGNATURE)
    raw = _TIME.pack(time_s) + key.sign(_cosigned(note.text, time_s))
    others = tuple(one for one in note.signatures if not one.is_by(witness))
    return Note(note.text, (*others, NoteSignature(name, witness.key_id, raw)))


def cosignatures(note: Note, witnesses: Iterable[NoteKey]) -> list[Cosignature]:
    """By known witnesses (keys of kind COSIGNATURE); BadNoteError when one of theirs does not fit."""
    found = []
    for witness in witnesses:
        for one in verified(note.signatures, witness, lambda one: _cosigned(note.text, _time_of(one))):
            found.append(Cosignature(witness, _time_of(one)))
    return found


def judge(earlier: Checkpoint, later: Checkpoint, proof: Sequence[bytes]) -> Verdict:
    """Whether `later` continues `earlier`, by the consistency proof; both are of signatures that were verified."""
    if earlier.origin != later.origin:
        return Verdict.ANOTHER
    if earlier.size > later.size:
        return Verdict.SHORTENED
    if earlier.size == later.size:
        return Verdict.SAME if earlier.root == later.root else Verdict.FORKED
    if verify_consistency(earlier.size, later.size, proof, earlier.root, later.root):
        return Verdict.GROWN
    return Verdict.REWRITTEN


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _time_of(signature: NoteSignature) -> int:
    (time_s,) = _TIME.unpack_from(signature.raw)
    if time_s >= 1 << 63:
        raise BadNoteError(f"the cosignature of {signature.name[:80]} is of a time that can't be")
    return int(time_s)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
