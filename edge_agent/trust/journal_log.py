"""The journal as a log that answers for itself: checkpoints that never contradict one another, and proofs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import ArchiveError, NotFoundError
from edge_agent.files import replace_durably
from edge_agent.trust.audit import AuditQuery, answer, holds, sign_page
from edge_agent.trust.checkpoint import Checkpoint, cosignatures, open_checkpoint, parse_checkpoint, sign_checkpoint
from edge_agent.trust.journal import Journal
from edge_agent.trust.journal_tree import JournalTree
from edge_agent.trust.node_key import journal_key
from edge_agent.trust.note import BadNoteError, Note, NoteKey, parse_note
from edge_agent.trust.tlog_proof import TlogProof
from edge_agent.trust.witness import WitnessRequest
from edge_agent.trust.witnessed import witnessed_store


class BrokenJournalError(ArchiveError):
    """The lines are not those that were signed; nothing is signed any more until people have looked at it."""


class JournalLog:
    """A journal with the key that signs it; several processes of one node may have one.

    Methods raise ArchiveError when a disk refuses, BrokenJournalError when the journal contradicts what was signed.
    """

    def __init__(
        self,
        journal: Journal,
        checkpoint_path: Path,
        origin: str,
        key: Ed25519PrivateKey,
        witnesses: Sequence[NoteKey] = (),
    ) -> None:
        """`witnesses`: whose cosignatures are kept, beside the checkpoint."""
        self.journal = journal
        self.key: NoteKey = journal_key(origin, key)
        """What others have to know to believe it."""
        self._path = checkpoint_path
        self._origin = origin
        self._secret = key
        self._witnessed = witnessed_store(checkpoint_path, witnesses)

    @property
    def witnessed(self) -> list[Note]:
        """For each witness the newest checkpoint that it has cosigned, where there is one."""
        return self._witnessed.notes()

    def settle(self) -> None:
        """To be called once at the agent's start: what a power cut left in the tree's files is not believed."""
        found = self._signed()
        size, root = (0, b"") if found is None else (found[1].size, found[1].root)
        self.journal.settle(size, root)

    def checkpoint(self) -> Note:
        """Signed over all entries that are there now, on the disk at return; the same note while there are no more."""
        with self.journal.tree() as tree:
            return self.checkpoint_of(tree)

    def checkpoint_of(self, tree: JournalTree) -> Note:
        """As `checkpoint`, within the lock that the caller holds."""
        before = self._signed()
        if before is not None:
            note, promised = before
            if promised.size > tree.count:
                raise BrokenJournalError(
                    f"the journal was shortened: {promised.size} entries were signed, {tree.count} are there"
                )
            if tree.root(promised.size) != promised.root:
                raise BrokenJournalError(f"the journal was rewritten: its first {promised.size} entries were signed")
            if promised.size == tree.count:
                return note
        # What a checkpoint vouches for must not hang on what the disk has not got yet.
        tree.sync()
        note = sign_checkpoint(Checkpoint(self._origin, tree.count, tree.root(tree.count)), self._secret)
        self._keep(note)
        return note

    def prove(self, index: int) -> TlogProof:
        """That an entry stands in the journal; its line is the proof's `extra`.  NotFoundError when there is none.

        It stands under the newest checkpoint that a witness has cosigned, where one covers it.
        """
        with self.journal.tree() as tree:
            note, size = self._strongest(tree, index)
            try:
                line, path = tree.line(index), tree.inclusion(size, index)
            except IndexError as error:
                raise NotFoundError(str(error)) from error
        proof = TlogProof(index, tuple(path), note, line)
        try:
            proof.verify(line, self.key)
        except BadNoteError as error:
            raise BrokenJournalError(f"the journal's entry {index} is not the one that was appended") from error
        return proof

    def reply_key(self) -> Ed25519PrivateKey | None:
        """What replies are signed with; None when another key has signed this journal so far: then the right one is
        lost, and answers under this one would only look forged."""
        try:
            signatures = parse_note(self._path.read_bytes()).signatures
        except (OSError, BadNoteError):
            return self._secret  # what becomes of a file says nothing of the key
        own = [one for one in signatures if one.name == self._origin]
        return self._secret if not own or any(one.is_by(self.key) for one in own) else None

    def audit(self, query: AuditQuery) -> bytes:
        """The signed page that answers a question (`audit.py`).

        Where the tree's files don't fit the lines, they are made again first; BrokenJournalError when the lines are
        not those that were signed.
        """
        with self.journal.tree() as tree:
            try:
                page = answer(tree, self.checkpoint_of(tree), query, self.witnessed)
                if not holds(page):
                    raise IndexError("a proof does not hold")
            except (IndexError, BrokenJournalError):
                tree.remake()
                page = answer(tree, self.checkpoint_of(tree), query, self.witnessed)
        return sign_page(page, self._secret)

    def witnessed_by(self, witness: NoteKey) -> Note | None:
        return self._witnessed.note(witness)

    def ask_witness(self, old: int) -> WitnessRequest:
        """The newest checkpoint for a witness to cosign, with the proof that it continues the tree of `old` entries;
        none where there never was such a tree."""
        with self.journal.tree() as tree:
            note = self.checkpoint_of(tree)
            proof = tree.consistency(tree.count, old) if 0 < old <= tree.count else []
            return WitnessRequest(old, tuple(proof), note)

    def keep_witnessed(self, content: bytes, witness: NoteKey) -> Checkpoint:
        """What a witness cosigned of this journal; kept where it is newer than what it cosigned before.

        BadNoteError when it is no such thing, BrokenJournalError when this journal contradicts it, ArchiveError when a
        disk refuses.
        """
        note = parse_note(content)
        checkpoint = parse_checkpoint(note.text)
        if checkpoint.origin != self._origin or not cosignatures(note, [witness]):
            raise BadNoteError(f"not a checkpoint of {self._origin}, cosigned by {witness.name}")
        with self.journal.tree() as tree:
            if checkpoint.size > tree.count or tree.root(checkpoint.size) != checkpoint.root:
                raise BrokenJournalError(
                    f"{witness.name} has cosigned {checkpoint.size} entries of this journal, but it has "
                    + (f"only {tree.count}" if checkpoint.size > tree.count else "others")
                )
            known = self._witnessed.note(witness)
            if known is None or parse_checkpoint(known.text).size < checkpoint.size:
                ours = tuple(one for one in note.signatures if one.is_by(self.key) or one.is_by(witness))
                self._witnessed.keep(Note(note.text, ours), witness)
        return checkpoint

    def _strongest(self, tree: JournalTree, index: int) -> tuple[Note, int]:
        """The checkpoint that proves an entry best, and its size."""
        newest = self.checkpoint_of(tree)
        for note in sorted(self.witnessed, key=lambda note: -parse_checkpoint(note.text).size):
            checkpoint = parse_checkpoint(note.text)
            own = any(one.is_by(self.key) for one in note.signatures)  # not of a key that was replaced
            if own and index < checkpoint.size <= tree.count and tree.root(checkpoint.size) == checkpoint.root:
                return note, checkpoint.size
        return newest, tree.count

    def _signed(self) -> tuple[Note, Checkpoint] | None:
        try:
            note = parse_note(self._path.read_bytes())
            return note, open_checkpoint(note, self.key)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveError(f"the checkpoint {self._path} can't be read: {error.strerror}") from error
        except BadNoteError as error:
            raise BrokenJournalError(
                f"{self._path}: {error}; when the node's key was replaced, set this file aside (docs/journal.md)"
            ) from error

    def _keep(self, note: Note) -> None:
        try:
            replace_durably(self._path, str(note).encode())
        except OSError as error:
            raise ArchiveError(f"the checkpoint {self._path} can't be written: {error.strerror}") from error
