"""The journal as a log that answers for itself: checkpoints that never contradict one another, and proofs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import ArchiveError, NotFoundError
from edge_agent.files import replace_durably
from edge_agent.trust.audit import AuditQuery, answer, holds, sign_page
from edge_agent.trust.checkpoint import Checkpoint, cosignatures, open_checkpoint, sign_checkpoint
from edge_agent.trust.journal import Journal
from edge_agent.trust.journal_tree import JournalTree
from edge_agent.trust.node_key import journal_key
from edge_agent.trust.note import BadNoteError, Note, NoteKey, parse_note
from edge_agent.trust.tlog_proof import TlogProof


class BrokenJournalError(ArchiveError):
    """The lines are not those that were signed; nothing is signed any more until people have looked at it."""


class JournalLog:
    """A journal with the key that signs it; several processes of one node may have one.

    Methods raise ArchiveError when a disk refuses, BrokenJournalError when the journal contradicts what was signed.
    """

    def __init__(self, journal: Journal, checkpoint_path: Path, origin: str, key: Ed25519PrivateKey) -> None:
        self.journal = journal
        self.key: NoteKey = journal_key(origin, key)
        """What others have to know to believe it."""
        self._path = checkpoint_path
        self._origin = origin
        self._secret = key

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
        """That an entry stands in the journal; its line is the proof's `extra`.  NotFoundError when there is none."""
        with self.journal.tree() as tree:
            note = self.checkpoint_of(tree)
            try:
                line, path = tree.line(index), tree.inclusion(tree.count, index)
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
                page = answer(tree, self.checkpoint_of(tree), query)
                if not holds(page):
                    raise IndexError("a proof does not hold")
            except (IndexError, BrokenJournalError):
                tree.remake()
                page = answer(tree, self.checkpoint_of(tree), query)
        return sign_page(page, self._secret)

    def keep_cosigned(self, note: Note, witnesses: Iterable[NoteKey]) -> None:
        """Keep what these witnesses added to the newest checkpoint, nothing else.  ArchiveError when it is another
        checkpoint, BadNoteError when a cosignature does not fit."""
        with self.journal.tree():  # nobody signs a newer one meanwhile
            before = self._signed()
            if before is None or before[0].text != note.text:
                raise ArchiveError("cosigned is another checkpoint than this node's newest")
            known = tuple(witnesses)
            cosignatures(note, known)
            kept = before[0].signatures
            added = [one for one in note.signatures if one not in kept and any(one.is_by(key) for key in known)]
            replaced = [one for one in kept if not any(one.name == new.name for new in added)]
            if added:
                self._keep(Note(note.text, (*replaced, *added)))

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
