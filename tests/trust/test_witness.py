"""Witnesses: what they sign, what they refuse, and that a stolen node key does not get past them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import US, SystemClock
from edge_agent.errors import ArchiveError, BusyError, ConfigError
from edge_agent.trust.audit import Audited, AuditQuery, open_page
from edge_agent.trust.checkpoint import Verdict, cosign, cosignatures, origin_of, parse_checkpoint, sign_checkpoint
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import BrokenJournalError, JournalLog
from edge_agent.trust.keys import create_key, load_key, public_key_of
from edge_agent.trust.note import BadNoteError, NoteKey, SignatureKind, parse_note
from edge_agent.trust.tlog_proof import parse_proof
from edge_agent.trust.witness import Decision, Told, Witness, WitnessRequest, parse_request
from edge_agent.trust.witnessed import WitnessedStore
from tests.simulators.clock import HandClock
from tests.trust.rfc6962 import heads_from_consistency, tree_head

ORIGIN = origin_of("melitopol/node-7")
NODE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NODE = NoteKey(ORIGIN, public_key_of(NODE_KEY))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
NAME = "witness/archive-desk"
WITNESS = NoteKey(NAME, public_key_of(WITNESS_KEY), SignatureKind.COSIGNATURE)


@dataclass(frozen=True)
class Node:
    """A node that has one witness, and whoever else has its key."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def log(self) -> JournalLog:
        journal = Journal(self.path, HandClock())
        return JournalLog(journal, self.folder / "journal.checkpoint", ORIGIN, NODE_KEY, [WITNESS])

    @property
    def leaves(self) -> list[bytes]:
        return self.path.read_bytes().split(b"\n")[:-1]

    def grow(self, count: int, what: str = "entry") -> None:
        entries = [JournalEntry(JournalKind.ACCESS, Outcome.DONE, reason=f"{what} {n}") for n in range(count)]
        Journal(self.path, HandClock()).append_all(entries)

    def ask(self, old: int) -> bytes:
        return str(self.log.ask_witness(old)).encode()

    def begin_anew(self, count: int, what: str) -> None:
        """As whoever has stolen the key does: other lines, everything made and signed anew."""
        for path in self.folder.glob("journal.*"):
            if path.is_file():
                path.unlink()
        self.grow(count, what)

    def audited(self, query: AuditQuery | None = None) -> Audited:
        asked = query or AuditQuery()
        return open_page(self.log.audit(asked), NODE, asked, witnesses=[WITNESS])


@pytest.fixture
def node(tmp_path: Path) -> Node:
    folder = tmp_path / "node"
    folder.mkdir()
    return Node(folder)


def witness(folder: Path, *nodes: NoteKey) -> Witness:
    return Witness(folder / "witness", NAME, WITNESS_KEY, nodes or [NODE], HandClock())


def size_of(decision: Decision) -> int:
    assert decision.answer is not None
    return parse_checkpoint(decision.answer.text).size


def test_a_growing_journal_is_cosigned_step_by_step_and_the_node_keeps_the_last(node: Node, tmp_path: Path) -> None:
    with witness(tmp_path) as desk:
        seen = 0
        for step in range(6):
            node.grow(step + 1)
            decision = desk.consider(node.ask(seen))
            assert decision.told is (Told.COSIGNED if step else Told.FIRST)
            seen = node.log.keep_witnessed(str(decision.answer).encode(), WITNESS).size
            assert seen == len(node.leaves)
    (kept,) = node.log.witnessed
    (found,) = cosignatures(kept, [desk.key])
    assert (found.witness, found.time_s) == (WITNESS, HandClock().utc_us() // US)
    assert parse_checkpoint(kept.text).root == tree_head(node.leaves)
    assert len(list((node.folder / "journal.witnessed").iterdir())) == 1


def test_what_is_asked_of_a_witness_is_proved_by_other_code_too(node: Node) -> None:
    node.grow(5)
    before = tree_head(node.leaves)
    node.grow(6)
    request = parse_request(node.ask(5))
    assert str(request).startswith("old 5\n")
    heads = heads_from_consistency(5, 11, list(request.proof), before)
    assert heads == (before, tree_head(node.leaves))


def test_a_witness_that_was_asked_before_says_the_same_again(node: Node, tmp_path: Path) -> None:
    node.grow(3)
    with witness(tmp_path) as desk:
        first, again = desk.consider(node.ask(0)), desk.consider(node.ask(0))
        assert (again.told, again.answer) == (Told.KNOWN, first.answer)


def test_a_smaller_tree_or_one_proved_from_elsewhere_is_not_signed_but_told_where_to_go_on(
    node: Node, tmp_path: Path
) -> None:
    node.grow(3)
    small = node.ask(0)
    node.grow(4)
    with witness(tmp_path) as desk:
        last = desk.consider(node.ask(0))
        assert size_of(last) == 7
        node.grow(2)
        for request in (small, node.ask(3), node.ask(0)):
            decision = desk.consider(request)
            assert (decision.told, decision.answer) == (Told.BEHIND, last.answer)
        assert size_of(desk.consider(node.ask(7))) == 9


def test_a_rewritten_journal_gets_no_cosignature_though_the_nodes_key_signed_it(node: Node, tmp_path: Path) -> None:
    node.grow(5)
    with witness(tmp_path) as desk:
        last = desk.consider(node.ask(0)).answer
        for count, told in ((4, Told.BEHIND), (5, Told.FORKED), (9, Told.UNPROVED)):
            node.begin_anew(count, "another history")
            decision = desk.consider(node.ask(5))
            assert (decision.told, decision.answer) == (told, last)
            assert decision.told.alarming is (told is not Told.BEHIND)
        assert desk.last(NODE) == last
    (evidence,) = (tmp_path / "witness").glob("*.forked-*")
    assert parse_note(evidence.read_bytes()).signatures[0].is_by(NODE)


def test_evidence_is_bounded(node: Node, tmp_path: Path) -> None:
    node.grow(2)
    with witness(tmp_path) as desk:
        desk.consider(node.ask(0))
        for number in range(8):
            node.begin_anew(2, f"history {number}")
            assert desk.consider(node.ask(2)).told is Told.FORKED
    assert len(list((tmp_path / "witness").iterdir())) == 6


def test_an_auditor_sees_how_far_and_by_whom_the_history_is_witnessed(node: Node, tmp_path: Path) -> None:
    node.grow(5)
    assert node.audited().witnessed == ()
    with witness(tmp_path) as desk:
        node.log.keep_witnessed(str(desk.consider(node.ask(0)).answer).encode(), WITNESS)
    node.grow(3)
    (found,) = node.audited().witnessed
    assert (found.by.witness, found.checkpoint.size, found.verdict) == (WITNESS, 5, Verdict.GROWN)
    stranger = NoteKey("witness/other", public_key_of(NODE_KEY), SignatureKind.COSIGNATURE)
    query = AuditQuery()
    assert open_page(node.log.audit(query), NODE, query, witnesses=[stranger]).witnessed == ()


@pytest.mark.parametrize(("count", "verdict"), [(3, Verdict.SHORTENED), (5, Verdict.FORKED), (9, Verdict.REWRITTEN)])
def test_history_rewritten_with_the_stolen_key_fails_against_the_witness(
    node: Node, tmp_path: Path, count: int, verdict: Verdict
) -> None:
    node.grow(5)
    with witness(tmp_path) as desk:
        node.log.keep_witnessed(str(desk.consider(node.ask(0)).answer).encode(), WITNESS)
    node.begin_anew(count, "another history")
    # The auditor has never seen this node before: by the node's own key all is well.
    (found,) = node.audited().witnessed
    assert (found.verdict, found.verdict.honest) == (verdict, False)


def test_a_node_whose_journal_is_older_than_its_witness_saw_says_so(node: Node, tmp_path: Path) -> None:
    node.grow(5)
    with witness(tmp_path) as desk:
        cosigned = str(desk.consider(node.ask(0)).answer).encode()
    for count, words in ((3, "only 3"), (8, "others")):
        node.begin_anew(count, "restored")
        with pytest.raises(BrokenJournalError, match=words):
            node.log.keep_witnessed(cosigned, WITNESS)
    assert node.log.witnessed == []


def test_a_node_keeps_only_what_its_witness_signed_of_its_own_journal(node: Node) -> None:
    node.grow(2)
    note = node.log.checkpoint()
    other = sign_checkpoint(parse_checkpoint(note.text.replace("node-7", "node-8")), NODE_KEY)
    stranger = Ed25519PrivateKey.generate()
    bad = [
        str(note),
        str(cosign(note, NAME, stranger, 1)),
        str(cosign(note, "witness/else", WITNESS_KEY, 1)),
        str(cosign(other, NAME, WITNESS_KEY, 1)),
        str(cosign(note, NAME, WITNESS_KEY, 1)).replace("— witness", "— wirness"),
        "",
    ]
    for content in bad:
        with pytest.raises(BadNoteError):
            node.log.keep_witnessed(content.encode(), WITNESS)
    assert node.log.witnessed == []
    third = cosign(cosign(note, "witness/else", stranger, 1), NAME, WITNESS_KEY, 1)
    node.log.keep_witnessed(str(third).encode(), WITNESS)
    assert [one.name for one in node.log.witnessed[0].signatures] == [ORIGIN, NAME]


def test_an_older_cosignature_does_not_replace_a_newer_one(node: Node) -> None:
    node.grow(2)
    older = cosign(node.log.checkpoint(), NAME, WITNESS_KEY, 1)
    node.grow(2)
    newer = cosign(node.log.checkpoint(), NAME, WITNESS_KEY, 2)
    for note, size in ((newer, 4), (older, 2)):
        assert node.log.keep_witnessed(str(note).encode(), WITNESS).size == size
    assert node.log.witnessed == [newer]


def test_an_entry_is_proved_under_what_was_witnessed_where_that_covers_it(node: Node, tmp_path: Path) -> None:
    node.grow(4)
    with witness(tmp_path) as desk:
        node.log.keep_witnessed(str(desk.consider(node.ask(0)).answer).encode(), WITNESS)
    node.grow(3)
    for index, size, cosigned in ((2, 4, 1), (5, 7, 0)):
        proof = parse_proof(str(node.log.prove(index)))
        assert proof.verify(node.leaves[index], NODE).size == size
        assert len(cosignatures(proof.note, [WITNESS])) == cosigned


def test_checkpoints_of_unknown_nodes_and_forged_ones_are_refused(node: Node, tmp_path: Path) -> None:
    node.grow(2)
    request = parse_request(node.ask(0))
    forged = WitnessRequest(0, (), sign_checkpoint(parse_checkpoint(request.note.text), Ed25519PrivateKey.generate()))
    with witness(tmp_path) as desk, pytest.raises(BadNoteError, match="not signed by"):
        desk.consider(str(forged).encode())
    other = NoteKey(origin_of("melitopol/node-8"), NODE.public)
    with witness(tmp_path, other) as desk, pytest.raises(BadNoteError, match="not witnessed here"):
        desk.consider(node.ask(0))
    assert [path.name for path in (tmp_path / "witness").iterdir()] == []


def test_a_state_that_can_not_be_believed_or_written_lets_nothing_out(node: Node, tmp_path: Path) -> None:
    node.grow(2)
    with witness(tmp_path) as desk:
        desk.consider(node.ask(0))
        state = tmp_path / "witness" / "melitopol.node-7.checkpoint"
        whole = state.read_bytes()
        node.grow(1)
        for content in (b"", whole[:-30], str(node.log.checkpoint()).encode(), b"\xff" * 40):
            state.write_bytes(content)
            with pytest.raises(ArchiveError, match="bring the right file back"):
                desk.consider(node.ask(2))
        state.write_bytes(whole)
        state.with_name(state.name + ".new").mkdir()  # nothing can be written there now, not by root either
        with pytest.raises(ArchiveError, match="nothing is cosigned"):
            desk.consider(node.ask(2))
        assert state.read_bytes() == whole


def test_two_witnesses_can_not_share_a_folder_and_only_nodes_are_witnessed(tmp_path: Path) -> None:
    with witness(tmp_path), pytest.raises(BusyError, match="another witness"):
        witness(tmp_path)
    witness(tmp_path).close()
    with pytest.raises(ConfigError, match="not the key of a node's journal"):
        witness(tmp_path, NoteKey("edge-agent/../etc", NODE.public))


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.trust.keys import load_key
from edge_agent.trust.note import parse_note_key
from edge_agent.trust.witness import Witness
folder = Path(sys.argv[1])
desk = Witness(folder / "witness", sys.argv[2], load_key(folder / "key"), [parse_note_key(sys.argv[3])], SystemClock())
desk.consider(sys.stdin.buffer.read())
os.kill(os.getpid(), signal.SIGKILL)  # before the answer leaves
"""


def test_a_witness_killed_before_its_answer_leaves_never_signs_another_history(node: Node, tmp_path: Path) -> None:
    key = create_key(tmp_path / "key")
    command = [sys.executable, "-c", KILLED, str(tmp_path), NAME, str(NODE)]
    node.grow(3)
    killed = subprocess.run(command, input=node.ask(0), env=dict(os.environ), timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    honest = node.leaves
    lock = Witness(tmp_path / "witness", NAME, load_key(tmp_path / "key"), [NODE], SystemClock())
    with lock as desk:
        again = desk.consider(node.ask(0))
        assert again.told is Told.KNOWN
        assert again.answer is not None
        assert cosignatures(again.answer, [desk.key])[0].witness.public == public_key_of(key)
        assert parse_checkpoint(again.answer.text).root == tree_head(honest)
        node.begin_anew(3, "what the thief would have liked")
        assert desk.consider(node.ask(0)).told is Told.FORKED


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"old 3\n{text}".encode()))
def test_garbage_is_no_request(garbage: bytes) -> None:
    with pytest.raises(BadNoteError):
        parse_request(garbage)


@given(st.integers(0, 1 << 53), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_request_reads_as_it_is_written(old: int, proof: list[bytes]) -> None:
    note = sign_checkpoint(parse_checkpoint(f"{ORIGIN}\n1\n{'A' * 43}=\n"), NODE_KEY)
    request = WitnessRequest(old, tuple(proof), note)
    assert parse_request(str(request).encode()) == request


def test_too_long_proofs_and_requests_are_refused() -> None:
    line = "A" * 43 + "="
    for content in ("old 1\n" + f"{line}\n" * 64 + "\n", "old 01\n\n", "old 1\nAAAA\n\n", "old 1\n" + "x" * 200_000):
        with pytest.raises(BadNoteError):
            parse_request(content.encode())


def test_a_kept_note_that_was_damaged_is_passed_over_and_got_again(node: Node, tmp_path: Path) -> None:
    node.grow(2)
    note = cosign(node.log.checkpoint(), NAME, WITNESS_KEY, 1)
    store = WitnessedStore(tmp_path / "kept", [WITNESS])
    store.keep(note, WITNESS)
    file = tmp_path / "kept" / WITNESS.key_id.hex()
    for content in (b"", b"\xff", str(node.log.checkpoint()).encode(), str(note).encode()[:-20]):
        file.write_bytes(content)
        assert store.note(WITNESS) is None
    store.keep(note, WITNESS)
    assert store.notes() == [note]
