"""While the journal can't be written an alarm says so, and afterwards the journal says what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.errors import ArchiveError
from edge_agent.journal_watch import ALARM, TRY_S, JournalWatch
from edge_agent.model import AlarmPhase
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.nonces import NonceStore
from tests.test_node_alarms import Told

ENTRY = JournalEntry(JournalKind.ACCESS, Outcome.REFUSED)


class Node:
    def __init__(self, folder: Path) -> None:
        self.told = Told(folder)
        self.path = folder / "journal.jsonl"
        self.journal = Journal(self.path, self.told.clock)
        self.nonces = NonceStore(folder / "nonces.sqlite", self.told.clock)
        self.watch = JournalWatch(self.journal, self.nonces, self.told.alarms, self.told.clock)

    def pass_time(self, seconds: float) -> None:
        """As the agent's loop does."""
        for _ in range(round(seconds / 2)):
            self.told.clock.move(2)
            self.watch.look()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


def test_a_journal_that_refuses_is_an_alarm_until_it_says_how_many_entries_are_missing(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.journal.append(ENTRY)
    node.pass_time(60)
    assert node.told.steps == []
    aside = node.path.rename(tmp_path / "aside")
    node.path.mkdir()  # root, too, can't write to that
    began_us = node.told.clock.utc_us()
    with pytest.raises(ArchiveError):
        node.journal.append(ENTRY)
    with pytest.raises(ArchiveError):
        node.journal.append_all([ENTRY, ENTRY])
    node.pass_time(2)
    (alarm,) = node.told.alarms.open
    assert (alarm.code, "Is a directory" in alarm.en, "відмовлено всім" in alarm.uk) == (ALARM, True, True)
    node.pass_time(10 * TRY_S)
    assert node.told.steps == [(ALARM, AlarmPhase.START)], "what is tried in vain is neither counted nor told anew"
    node.path.rmdir()
    aside.rename(node.path)
    node.journal.append(ENTRY)
    node.pass_time(TRY_S)
    assert node.told.steps == [(ALARM, AlarmPhase.START), (ALARM, AlarmPhase.END)]
    lost = node.lines()[-1]
    assert (lost["kind"], lost["count"], lost["args"]) == ("lost", 3, {"since_us": began_us})
    node.pass_time(10 * TRY_S)
    assert len(node.lines()) == 3


def test_a_memory_of_commands_that_refuses_is_the_same_alarm(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.nonces._database.execute("PRAGMA query_only = ON")
    with pytest.raises(ArchiveError):
        node.nonces.probe()
    node.pass_time(TRY_S * 2)
    assert "nonce store" in node.told.alarms.open[0].en
    node.nonces._database.execute("PRAGMA query_only = OFF")
    node.pass_time(TRY_S)
    assert node.told.alarms.open == []
    assert not node.path.exists(), "the journal itself lacks nothing"
    node.nonces.close()
