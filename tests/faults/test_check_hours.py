"""Root at the node edits the index: the hours' roots in the journal show it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.buffer.check import Finding, Kind
from edge_agent.buffer.check_hours import of_hours
from edge_agent.buffer.hours import journal_hours, leaf_of
from edge_agent.buffer.index import Index
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.model import CameraId, Segment
from edge_agent.trust.journal import Journal
from edge_agent.trust.merkle import leaf_hash, root
from tests.peers.agent import RunningAgent

CLOCK = SystemClock()
HOUR_US = 3600 * US
START = CLOCK.utc_us() // HOUR_US * HOUR_US - 48 * HOUR_US


class Node:
    def __init__(self, folder: Path) -> None:
        self.agent = RunningAgent(folder, {"gate": "rtsp://127.0.0.1:9/x"})
        self.agent.data.mkdir()
        self.agent.archive.mkdir()
        self.path = self.agent.data / "index.sqlite"
        index = Index(self.path, CLOCK)
        for minute in range(150):
            name = SegmentName(CameraId("gate"), START + minute * 60 * US, minute + 1)
            index.add([Segment(name.camera, str(name), name.start_us, name.start_us + 60 * US, 9, 1, f"{minute:064x}")])
        index.close()
        self.seal()

    def seal(self) -> None:
        index = Index(self.path, CLOCK)
        journal_hours(index, Journal(self.agent.data / "journal.jsonl", CLOCK), CLOCK.utc_us())
        index.close()

    def edit(self, *statements: str) -> None:
        with sqlite3.connect(self.path) as database:
            for statement in statements:
                assert database.execute(statement).rowcount > 0
        database.close()

    def findings(self) -> list[Finding]:
        index = Index(self.path, CLOCK, read_only=True)
        try:
            return of_hours(Journal(self.agent.data / "journal.jsonl", CLOCK).read(), index, CLOCK.utc_us())
        finally:
            index.close()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_an_index_that_nobody_edited_gives_the_journals_roots(node: Node) -> None:
    assert len(node.agent.journal()) == 3
    assert node.findings() == []


HASH = f"UPDATE segment SET sha256 = x'{'ee' * 32}' WHERE sequence = 8"


@pytest.mark.parametrize(
    "statements",
    [
        [HASH],
        ["DELETE FROM segment WHERE sequence = 8"],
        ["UPDATE segment SET end_us = end_us - 1000000 WHERE sequence = 8"],
        ["UPDATE segment SET batch = NULL WHERE sequence = 8"],
        ["DELETE FROM segment WHERE sequence <= 60", "DELETE FROM hour WHERE count = 60"],
    ],
    ids=["another-hash", "a-row-gone", "a-second-less", "in-no-hour", "an-hour-gone"],
)
def test_what_root_edits_in_the_index_shows(node: Node, statements: list[str]) -> None:
    node.edit(*statements)
    assert {one.kind for one in node.findings()} == {Kind.HOUR_DIFFERS}
    assert "another root" in node.findings()[0].detail


def with_another_root(node: Node) -> None:
    """Even the root that the index keeps of the hour is made to fit."""
    node.edit(HASH)
    index = Index(node.path, CLOCK, read_only=True)
    made = root([leaf_hash(leaf_of(segment)) for segment in index.batch(START, 0)])
    index.close()
    with sqlite3.connect(node.path) as database:
        database.execute("UPDATE hour SET root = ? WHERE hour_us = ?", (made, START))
    database.close()


def and_entered_again(node: Node) -> None:
    with_another_root(node)
    node.edit(f"UPDATE hour SET journalled = 0 WHERE hour_us = {START}")
    node.seal()
    assert len(node.agent.journal()) == 4


@pytest.mark.parametrize(("tamper", "said"), [(with_another_root, "another root"), (and_entered_again, "two roots")])
def test_an_index_that_was_edited_to_fit_itself_does_not_fit_the_journal(
    node: Node, tamper: Callable[[Node], None], said: str
) -> None:
    tamper(node)
    (found,) = node.findings()
    assert said in found.detail


def test_the_command_tells_it_and_ends_with_1(node: Node) -> None:
    with_another_root(node)
    done = node.agent.cli("archive", "check", "--json")
    assert done.returncode == 1, done.stderr
    found = [one for one in json.loads(done.stdout)["findings"] if one["kind"] == "hour-differs"]
    assert len(found) == 1
    assert found[0]["weight"] == "loss"
