"""Power cut under the journal at every step: what was appended and signed stands, and the node never contradicts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.trust.checkpoint import Checkpoint, open_checkpoint
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_check import check_journal
from edge_agent.trust.journal_log import JournalLog
from tests.faults.power_cut import cuts
from tests.peers.traced_disk import TracedDisk
from tests.simulators.clock import HandClock
from tests.trust.rfc6962 import tree_head

pytestmark = pytest.mark.root
ORIGIN = "edge-agent/melitopol/node-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def log_in(folder: Path) -> JournalLog:
    return JournalLog(Journal(folder / "journal.jsonl", HandClock()), folder / "journal.checkpoint", ORIGIN, KEY)


KEY_OF_NODE = log_in(Path()).key


def entry(word: str) -> JournalEntry:
    return JournalEntry(JournalKind.ACCESS, Outcome.DONE, reason=word + "." * 300)


def test_what_was_appended_and_signed_stands_wherever_the_power_is_cut(tmp_path: Path, scratch: Path) -> None:
    with TracedDisk(tmp_path) as disk:
        log = log_in(disk.folder)
        for number in range(12):
            log.journal.append(entry(f"entry {number}"))
            disk.mark(f"entry {number}")
            if number % 3 == 2:
                disk.mark("signed " + str(log.checkpoint()).replace("\n", "|"))
        log.journal.append_all([entry(f"together {number}") for number in range(20)])
        disk.mark("together 19")
        log.checkpoint()
        steps = disk.steps()
    tried = 0
    for cut in cuts(steps, scratch, seed=11, each=5):
        marks = [step.path for step in steps[: cut.after] if step.op == "mark"]
        words = [mark for mark in marks if not mark.startswith("signed ")]
        told: list[Checkpoint] = [
            open_checkpoint(mark.removeprefix("signed ").replace("|", "\n"), KEY_OF_NODE)
            for mark in marks
            if mark.startswith("signed ")
        ]
        log = log_in(cut.folder)
        log.settle()
        log.journal.append(entry("after the cut"))
        path = cut.folder / "journal.jsonl"
        text = path.read_bytes()
        assert [word for word in words if word.encode() not in text] == [], cut.words
        now = open_checkpoint(log.checkpoint(), KEY_OF_NODE)
        assert now.root == tree_head(text.split(b"\n")[:-1]), cut.words
        assert check_journal(path, [*told, now], now).honest, cut.words
        tried += 1
    assert tried > 300
