"""Proofs that somebody can check without the node: an entry's place under a signed checkpoint
(c2sp.org/tlog-proof).  Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from edge_agent.trust.checkpoint import Checkpoint, open_checkpoint
from edge_agent.trust.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from edge_agent.trust.note import MAX_NOTE_BYTES, BadNoteError, Note, NoteKey, parse_note, strict_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
_MAX_BYTES = 2 * MAX_NOTE_BYTES
_INDEX = re.compile(r"index (0|[1-9]\d{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TlogProof:
    """`str()` is the file, by custom named `….tlog-proof`."""

    index: int
    path: tuple[bytes, ...]
    """The audit path, the leaf's sibling first."""
    note: Note
    """The checkpoint."""
    extra: bytes | None = None
    """Not proved by anything; the product puts the entry's line here, so that the file is enough by itself."""

    def __str__(self) -> str:
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        path = [base64.b64encode(node).decode() for node in self.path]
        return "\n".join([HEADER, *extra, f"index {self.index}", *path, "", str(self.note)])

    def verify(self, line: bytes, key: NoteKey) -> Checkpoint:
        """The checkpoint under which the entry stands; BadNoteError when it does not stand there, or nobody who is
        known signed it."""
        checkpoint = open_checkpoint(self.note, key)
        if not verify_inclusion(leaf_hash(line), self.index, checkpoint.size, self.path, checkpoint.root):
            raise BadNoteError(f"the entry is not number {self.index} of the journal that {key.name} signed")
        return checkpoint


def parse_proof(content: bytes | str) -> TlogProof:
    """BadNoteError says what is wrong."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(raw) > _MAX_BYTES:
        raise BadNoteError(f"a proof is at most {_MAX_BYTES} bytes long")
    above, separator, below = raw.partition(b"\n\n")
    if not separator:
        raise BadNoteError("not a proof: it holds no checkpoint")
    lines = above.decode("utf-8", "replace").split("\n")
    if lines.pop(0) != HEADER:
        raise BadNoteError(f"not a proof: the first line must be {HEADER}")
    try:
        extra = strict_base64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
        index = _INDEX.fullmatch(lines.pop(0) if lines else "")
        if index is None:
            raise BadNoteError("not a proof: the entry's index is missing")
        if len(lines) > MAX_PATH:
            raise BadNoteError(f"a proof has at most {MAX_PATH} hashes")
        path = tuple(strict_base64(line) for line in lines)
    except ValueError as error:
        raise BadNoteError(f"the proof: {error}") from error
    if any(len(node) != HASH_BYTES for node in path):
        raise BadNoteError(f"a hash of the proof is not {HASH_BYTES} bytes long")
    return TlogProof(int(index[1]), path, parse_note(below), extra)
