"""What an audit makes of witnesses: a journal rewritten with the node's own key does not pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.desk.audit import NodeAnswer, gather
from edge_agent.desk.audit_words import TroubleKind
from edge_agent.desk.memory import Memory
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.checkpoint import Verdict, origin_of
from edge_agent.trust.journal import Journal
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.note import Note
from edge_agent.trust.witness import Witness
from edge_agent.uplink.payloads import Reply, ReplyState
from edge_agent.uplink.topics import Topics
from tests.desk.test_audit import N1, Node, kind, reply
from tests.simulators.clock import HandClock

ORIGIN = origin_of("town/n1")


class Town:
    """One node that its witness has seen, and an auditor who asks it for the first time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = Node(folder / "n1", N1, 20)
        self.witness = Witness(folder / "witness", "witness/one", Ed25519PrivateKey.generate(),
                               [self.node.log.key], HandClock())  # fmt: skip
        self.audits = 0

    @property
    def log(self) -> JournalLog:
        journal, checkpoint = Journal(self.node.path, HandClock()), self.node.folder / "journal.checkpoint"
        return JournalLog(journal, checkpoint, ORIGIN, self.node.key, [self.witness.key])

    def cosign(self, old: int = 0) -> Note:
        note = self.witness.consider(str(self.log.ask_witness(old)).encode()).answer
        assert note is not None
        return note

    def ask(self, node: Topics, query: AuditQuery) -> Reply:
        self.memory.pin(node, public_key_of(self.node.key))
        return reply(ReplyState.DONE, result=self.log.audit(query).decode())

    def audit(self, cosigned: Sequence[Note] = (), *, whole: bool = False) -> NodeAnswer:
        self.audits += 1
        self.memory = Memory(self.folder / f"state{self.audits}")
        (found,) = gather(
            [N1], AuditQuery(), self.ask, self.memory, whole=whole,
            witnesses=[self.witness.key], cosigned={ORIGIN: cosigned},
        )  # fmt: skip
        return found

    def rewrite(self, count: int) -> None:
        self.node.path.unlink()
        self.node.forget()
        self.node.grow(0, count, "another history")


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


@pytest.mark.parametrize("whole", [False, True], ids=["asked", "verified"])
def test_an_honest_journal_is_found_witnessed(town: Town, whole: bool) -> None:
    assert town.audit(whole=whole).witnessed == ()
    note = town.cosign()
    town.log.keep_witnessed(str(note).encode(), town.witness.key)
    town.node.grow(20, 25)
    told = town.audit([note], whole=whole)
    assert (told.trouble, len(told.entries)) == (None, 25)
    assert [(seen.by.witness, seen.checkpoint.size, seen.verdict) for seen in told.witnessed] == [
        (town.witness.key, 20, Verdict.GROWN)
    ]


@pytest.mark.parametrize("count", [10, 20, 30])
def test_history_rewritten_with_the_stolen_key_is_told_though_the_node_keeps_the_cosignature(
    town: Town, count: int
) -> None:
    town.log.keep_witnessed(str(town.cosign()).encode(), town.witness.key)
    town.rewrite(count)
    told = town.audit()
    assert kind(told) is TroubleKind.CONTRADICTED
    assert told.trouble is not None
    assert f"witness/one засвідчив 20 записів, тепер їх {count}" in told.trouble.uk
    assert town.memory.checkpoint(N1) is None  # what is forged is not remembered as the truth
    assert list((town.folder / "state1" / "town").glob("n1.*-*"))  # but kept as evidence


@pytest.mark.parametrize("count", [10, 20, 30])
def test_history_rewritten_is_told_though_the_node_hides_the_cosignature(town: Town, count: int) -> None:
    note = town.cosign()
    town.rewrite(count)
    assert town.audit().trouble is None  # what only the witness can tell
    told = town.audit([note])
    assert kind(told) is TroubleKind.CONTRADICTED
    assert not told.witnessed[0].verdict.honest


def test_a_cosignature_newer_than_the_nodes_answer_is_proved_by_a_second_question(town: Town) -> None:
    older = town.cosign()
    town.log.keep_witnessed(str(older).encode(), town.witness.key)
    town.node.grow(20, 30)
    newer = town.cosign(20)
    told = town.audit([newer, older])
    assert told.trouble is None
    assert [(seen.checkpoint.size, seen.verdict) for seen in told.witnessed] == [
        (20, Verdict.GROWN), (30, Verdict.SAME)
    ]  # fmt: skip


def test_the_word_of_witnesses_nobody_believes_changes_nothing(town: Town) -> None:
    note = town.cosign()
    town.rewrite(30)
    stranger = replace(note, signatures=tuple(replace(one, name="witness/other") for one in note.signatures))
    told = town.audit([stranger])
    assert (told.trouble, told.witnessed) == (None, ())
