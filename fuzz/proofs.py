"""What is kept and passed on of a node's journal: checkpoints, proofs, verifier keys, pages of answers."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import SystemClock
from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.audit import TYPE, AuditQuery, open_page
from edge_agent.trust.checkpoint import cosign, cosignatures, open_checkpoint, parse_checkpoint
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.note import BadNoteError, NoteKey, SignatureKind, parse_note, parse_note_key
from edge_agent.trust.tlog_proof import parse_proof
from fuzz.target import Target, pure, require

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_NODE = NoteKey("edge-agent/a/b", public_key_of(_KEY))
_WITNESS = NoteKey("desk", public_key_of(_KEY), SignatureKind.COSIGNATURE)
_QUERY = AuditQuery(limit=2, seen=2)
_ENTRIES = 3


def _notes(data: bytes) -> None:
    for reading in (_read_note, _read_proof, _read_key):
        try:
            reading(data)
        except (BadNoteError, BadKeyError) as error:
            require(0 < len(str(error)) < 1000, "words that are unfit to be shown")


def _read_note(data: bytes) -> None:
    note = parse_note(data)
    require(str(note).encode() == data, "a note reads differently when written")
    checkpoint = parse_checkpoint(note.text)
    require(checkpoint.text == note.text, "a checkpoint reads differently when written")
    cosignatures(note, [_WITNESS])
    open_checkpoint(note, _NODE)
    require(note.text == _genuine().checkpoint_text, "the node never signed this")


def _read_proof(data: bytes) -> None:
    proof = parse_proof(data)
    require(str(proof).encode() == data, "a proof reads differently when written")
    if proof.extra is not None:
        proof.verify(proof.extra, _NODE)
        require(_genuine().lines.get(proof.index) == proof.extra, "a line that the journal never had was proved")


def _read_key(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    require(str(parse_note_key(text)) == text, "a key reads differently when written")


def _page(data: bytes) -> None:
    """The payload is rightly signed: what a node says that lies."""
    token = jwt.PyJWS(algorithms=["EdDSA"]).encode(data, _KEY, "EdDSA", {"typ": TYPE}).encode()
    try:
        audited = open_page(token, _NODE, _QUERY)
    except BadNoteError as error:
        require(0 < len(str(error)) < 1000, "words that are unfit to be shown")
        return
    for entry in audited.page.entries:
        require(_genuine().lines.get(entry.index) == entry.raw, "an entry that the journal never had was believed")


class _Genuine:
    """A journal of three entries and all that can be said of it."""

    def __init__(self, folder: Path) -> None:
        journal = Journal(folder / "journal.jsonl", SystemClock())
        journal.append_all(
            [JournalEntry(JournalKind.START, Outcome.DONE, reason=str(n), at_us=n) for n in range(_ENTRIES)]
        )
        log = JournalLog(journal, folder / "journal.checkpoint", _NODE.name, _KEY)
        note = log.checkpoint()
        self.checkpoint_text = note.text
        self.lines = dict(enumerate((folder / "journal.jsonl").read_bytes().split(b"\n")[:-1]))
        self.notes = [
            str(note).encode(),
            str(cosign(note, "desk", _KEY, 1_790_000_000)).encode(),
            *(str(log.prove(index)).encode() for index in range(_ENTRIES)),
            str(_NODE).encode(),
            str(_WITNESS).encode(),
        ]
        payload = log.audit(_QUERY).split(b".")[1]
        self.page = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))


@cache
def _genuine() -> _Genuine:
    with TemporaryDirectory() as folder:
        return _Genuine(Path(folder))


NOTES = Target(
    "notes",
    pure(_notes),
    lambda: _genuine().notes,
    ("— edge-agent/a/b ".encode(), "— desk ".encode(), b"\n\n", b"index 2", b"extra ", b"c2sp.org/tlog-proof@v1\n"),
)
PAGE = Target(
    "page",
    pure(_page),
    lambda: [_genuine().page],
    (b'"entries":[', b'"index":', b'"line":"', b'"path":[', b'"checkpoint":"', b'"next":', b'"consistency":['),
)

TARGETS = (NOTES, PAGE)
