"""What witnesses have cosigned of this node's journal: asked for, verified, kept (`docs/journal.md`, «Witnesses»)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import ArchiveError
from edge_agent.files import replace_durably
from edge_agent.trust.checkpoint import Checkpoint, Cosignature, Verdict, cosignatures, judge, parse_checkpoint
from edge_agent.trust.note import MAX_NOTE_BYTES, BadNoteError, Note, NoteKey, parse_note

_log = logging.getLogger(__name__)
MAX_WITNESSES = 8


@dataclass(frozen=True, slots=True)
class Witnessed:
    """That a witness saw a journal of so many entries at a time, and what a later checkpoint makes of that."""

    by: Cosignature
    checkpoint: Checkpoint
    verdict: Verdict


def judge_witnessed(
    note: Note, proof: Sequence[bytes], witnesses: Sequence[NoteKey], later: Checkpoint
) -> list[Witnessed]:
    """For each cosignature of these witnesses, whether `later` continues what it vouches for.

    The cosignature is what counts, whoever else signed the note: a stolen node key proves nothing against it.
    BadNoteError when one does not fit.
    """
    checkpoint = parse_checkpoint(note.text)
    verdict = judge(checkpoint, later, proof)
    return [Witnessed(by, checkpoint, verdict) for by in cosignatures(note, witnesses)]


class WitnessedStore:
    """For each witness the newest note it cosigned, in a file named after its key's id; several processes may read."""

    def __init__(self, folder: Path, witnesses: Sequence[NoteKey]) -> None:
        self.witnesses = tuple(witnesses)
        self._folder = folder

    def note(self, witness: NoteKey) -> Note | None:
        """None where there is none, or it can't be read: then the witness is asked again."""
        path = self._folder / witness.key_id.hex()
        try:
            with path.open("rb") as file:
                note = parse_note(file.read(MAX_NOTE_BYTES + 1))
            if cosignatures(note, [witness]):
                parse_checkpoint(note.text)
                return note
            _log.error("%s is not cosigned by %s and is passed over", path, witness.name)
        except FileNotFoundError:
            pass
        except (OSError, BadNoteError) as error:
            _log.error("%s is passed over: %s", path, error)
        return None

    def notes(self) -> list[Note]:
        return [note for witness in self.witnesses if (note := self.note(witness))]

    def keep(self, note: Note, witness: NoteKey) -> None:
        """In place of the one before; whoever calls has verified it.  ArchiveError when the disk refuses."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            replace_durably(self._folder / witness.key_id.hex(), str(note).encode())
        except OSError as error:
            raise ArchiveError(f"a cosigned checkpoint can't be kept in {self._folder}: {error.strerror}") from error


def witnessed_store(checkpoint: Path, witnesses: Sequence[NoteKey]) -> WitnessedStore:
    """Beside the node's own newest checkpoint."""
    return WitnessedStore(checkpoint.with_suffix(".witnessed"), witnesses)
