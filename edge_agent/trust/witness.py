"""A witness: cosigns a node's checkpoint only when it continues the one it cosigned last (`docs/journal.md`,
«Witnesses»).

What is asked and answered is what an HTTP witness hears and says (c2sp.org/tlog-witness), but for the answer, which is
the whole cosigned note.  The state is on the disk before a cosignature leaves: a witness that is killed has signed what
its file says, or nobody has seen it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError, BusyError, ConfigError
from edge_agent.files import replace_durably
from edge_agent.trust.checkpoint import (
    Checkpoint,
    Verdict,
    cosign,
    cosignatures,
    judge,
    open_checkpoint,
    parse_checkpoint,
)
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.merkle import HASH_BYTES
from edge_agent.trust.note import MAX_NOTE_BYTES, BadNoteError, Note, NoteKey, SignatureKind, parse_note, strict_base64

MAX_PROOF = 63
MAX_EVIDENCE = 5
"""Contradicting notes that are kept of one node; two are enough for any court."""
_MAX_BYTES = 2 * MAX_NOTE_BYTES
_OLD = re.compile(r"old (0|[1-9]\d{0,17})", re.ASCII)
_ORIGIN = re.compile(r"edge-agent/([a-z0-9][a-z0-9_-]{0,31})/([a-z0-9][a-z0-9_-]{0,31})", re.ASCII)


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """A checkpoint to be cosigned, and the proof that it continues the tree of `old` entries; `str()` is what is sent:
    the body of `add-checkpoint`."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        return "\n".join(
            [f"old {self.old}", *(base64.b64encode(one).decode() for one in self.proof), "", str(self.note)]
        )


def parse_request(content: bytes) -> WitnessRequest:
    """BadNoteError says what is wrong; nothing is believed yet."""
    if len(content) > _MAX_BYTES:
        raise BadNoteError(f"a request is at most {_MAX_BYTES} bytes long")
    above, separator, below = content.partition(b"\n\n")
    first, *hashes = above.decode("utf-8", "replace").split("\n")
    old = _OLD.fullmatch(first)
    if not separator or old is None:
        raise BadNoteError("not a request to a witness: `old` and a size, hashes, an empty line, a checkpoint")
    if len(hashes) > MAX_PROOF:
        raise BadNoteError(f"a proof has at most {MAX_PROOF} hashes")
    try:
        proof = tuple(strict_base64(line) for line in hashes)
    except ValueError as error:
        raise BadNoteError(f"the proof: {error}") from error
    if any(len(one) != HASH_BYTES for one in proof):
        raise BadNoteError(f"a hash of the proof is not {HASH_BYTES} bytes long")
    return WitnessRequest(int(old[1]), proof, parse_note(below))


def state_file(site: str, node: str) -> str:
    """The name of the file with what was cosigned last of a node."""
    return f"{site}.{node}.checkpoint"


class Told(StrEnum):
    """What became of a request."""

    FIRST = "first"
    """Cosigned, as the first that was ever seen of this node: what was before it nobody vouches for."""
    COSIGNED = "cosigned"
    KNOWN = "known"
    """Cosigned before."""
    BEHIND = "behind"
    """Proved from another size than the last one cosigned, or older than it: the answer says which that was."""
    UNPROVED = "unproved"
    """It does not continue what was cosigned: the journal was rewritten, or somebody on the way spoiled the proof."""
    FORKED = "forked"
    """The node's key has signed two journals of one length: proved, and kept as evidence."""

    @property
    def alarming(self) -> bool:
        return self in (Told.UNPROVED, Told.FORKED)


@dataclass(frozen=True, slots=True)
class Decision:
    """`answer`: the note cosigned last, to be told to the node again whatever became of this request."""

    node: NoteKey
    told: Told
    asked: Checkpoint
    answer: Note | None


class Witness:
    """One key and the folder of what it has cosigned; nobody else may use the folder meanwhile (BusyError).

    `nodes`: the verifier keys of those it witnesses; checkpoints of others are refused.
    """

    def __init__(self, folder: Path, name: str, key: Ed25519PrivateKey, nodes: Iterable[NoteKey], clock: Clock) -> None:
        self.key = NoteKey(name, public_key_of(key), SignatureKind.COSIGNATURE)
        """By which others believe it."""
        self.nodes = {node.name: node for node in nodes}
        if odd := next((origin for origin in self.nodes if not _ORIGIN.fullmatch(origin)), None):
            raise ConfigError(f"{odd[:80]} is not the key of a node's journal: edge-agent journal checkpoint --key")
        self._folder, self._secret, self._clock = folder, key, clock
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ArchiveError(f"the witness's folder {folder} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise BusyError(f"another witness already works with {folder}") from error

    def consider(self, content: bytes) -> Decision:
        """BadNoteError for what is no request by a known node; ArchiveError, and nothing signed, when the state can't
        be read or kept."""
        request = parse_request(content)
        node = self._node_of(request.note)
        asked = open_checkpoint(request.note, node)
        last = self.last(node)
        if last is None:
            return Decision(node, Told.FIRST, asked, self._cosigned(request.note, node))
        seen = parse_checkpoint(last.text)
        if asked.size < seen.size or (asked.size > seen.size and request.old != seen.size):
            return Decision(node, Told.BEHIND, asked, last)
        match judge(seen, asked, request.proof):
            case Verdict.SAME:
                return Decision(node, Told.KNOWN, asked, last)
            case Verdict.GROWN:
                return Decision(node, Told.COSIGNED, asked, self._cosigned(request.note, node))
            case Verdict.FORKED:
                self._keep_evidence(request.note, node)
                return Decision(node, Told.FORKED, asked, last)
        return Decision(node, Told.UNPROVED, asked, last)

    def last(self, node: NoteKey) -> Note | None:
        """What was cosigned last of a node; ArchiveError when the file is not this witness's word."""
        path = self._path(node)
        try:
            note = parse_note(path.read_bytes())
            if cosignatures(note, [self.key]) and parse_checkpoint(note.text).origin == node.name:
                return note
            why = "it is not signed by this key"
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveError(f"{path} can't be read, so nothing is cosigned: {error.strerror}") from error
        except BadNoteError as error:
            why = str(error)
        raise ArchiveError(f"{path} does not tell what was cosigned last ({why}): bring the right file back")

    def close(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _node_of(self, note: Note) -> NoteKey:
        origin = parse_checkpoint(note.text).origin
        if origin not in self.nodes:
            raise BadNoteError(f"a checkpoint of {origin[:80]}, which is not witnessed here")
        return self.nodes[origin]

    def _cosigned(self, note: Note, node: NoteKey) -> Note:
        """With the node's signature and this witness's, others left out; on the disk at return."""
        own = Note(note.text, tuple(one for one in note.signatures if one.is_by(node)))
        cosigned = cosign(own, self.key.name, self._secret, self._clock.utc_us() // US)
        self._write(self._path(node), cosigned)
        return cosigned

    def _keep_evidence(self, note: Note, node: NoteKey) -> None:
        path = self._path(node)
        stem = f"{path.stem}.forked-"
        known = list(self._folder.glob(f"{stem}*"))
        file = self._folder / f"{stem}{hashlib.sha256(note.text.encode()).hexdigest()[:16]}"
        if file not in known and len(known) < MAX_EVIDENCE:
            self._write(file, note)

    def _path(self, node: NoteKey) -> Path:
        found = _ORIGIN.fullmatch(node.name)
        assert found is not None  # of __init__
        return self._folder / state_file(found[1], found[2])

    @staticmethod
    def _write(path: Path, note: Note) -> None:
        try:
            replace_durably(path, str(note).encode())
        except OSError as error:
            raise ArchiveError(f"{path} can't be written, so nothing is cosigned: {error.strerror}") from error
