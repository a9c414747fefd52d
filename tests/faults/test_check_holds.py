"""`edge-agent archive check` and holds: what a hold wants against what is there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edge_agent.buffer.check import Finding, Kind
from edge_agent.buffer.check_holds import of_holds
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import DeleteReason
from edge_agent.buffer.library import Library
from edge_agent.clock import US, SystemClock
from edge_agent.model import CameraId, Hold, Segment
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Action
from tests.faults.archive import Recordings, rewrite
from tests.faults.node import node_on
from tests.peers.agent import RunningAgent

GATE, YARD = CameraId("gate"), CameraId("yard")


def hold_of(first: Segment, last: Segment, *cameras: str, since_us: int | None = None) -> Hold:
    since = last.end_us if since_us is None else since_us
    names = tuple(CameraId(name) for name in cameras)
    return Hold("h0123456789", names, first.start_us, last.end_us, "12-р", "", "Мер Іван", "О. Коваленко", since)


def findings(recordings: Recordings, *holds: Hold) -> list[Finding]:
    index = recordings.index(read_only=True)
    try:
        library = Library(recordings.root, index, (), recordings.clock)
        return of_holds(holds, [GATE], index, library, recordings.findings(), recordings.clock.utc_us())
    finally:
        index.close()


def delete(recordings: Recordings, segment: Segment, at_us: int) -> None:
    index = recordings.index()
    index.gone([(segment, DeleteReason.SPACE)], at_us)
    index.close()
    (recordings.root / segment.path).unlink()


def test_a_hold_whose_footage_is_whole_has_no_findings(recordings: Recordings) -> None:
    segments = recordings.record("gate", 3)
    assert findings(recordings, hold_of(segments[0], segments[-1], "gate")) == []


def test_footage_that_went_under_a_hold_is_a_loss_and_what_went_before_it_a_note(recordings: Recordings) -> None:
    first, second, third = recordings.record("gate", 3)
    since_us = third.end_us + 60 * US
    delete(recordings, first, since_us - US)
    hold = hold_of(first, third, "gate", since_us=since_us)
    (missing,) = findings(recordings, hold)
    assert (missing.kind, missing.path) == (Kind.HELD_MISSING, "h0123456789/gate")
    assert missing.detail.startswith(f"deleted {first.interval.seconds:.1f} s; the first from")
    delete(recordings, second, since_us + US)
    found = findings(recordings, hold)
    assert [(one.kind, one.path) for one in found] == [
        (Kind.HELD_DELETED, second.path),
        (Kind.HELD_MISSING, "h0123456789/gate"),
    ]
    assert found[0].detail.endswith("(space)")
    assert findings(recordings, dataclasses.replace(hold, ended_us=since_us)) == []


def test_held_footage_that_is_torn_changed_or_removed_is_told_with_its_hold(recordings: Recordings) -> None:
    first, second, third = recordings.record("gate", 3)
    torn = recordings.torn()
    rewrite(recordings.root / first.path, lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 1))
    (recordings.root / second.path).unlink()
    found = findings(recordings, hold_of(first, torn))
    by_path = {one.path: (one.kind, one.detail.split("; ")[-1]) for one in found if one.kind is not Kind.HELD_MISSING}
    assert by_path == {
        first.path: (Kind.HELD_DAMAGED, "content-changed"),
        second.path: (Kind.HELD_DAMAGED, "file-missing"),
        torn.path: (Kind.HELD_TORN, f"{torn.interval.seconds:.1f} s are there"),
    }
    assert third.path not in by_path


def test_a_hold_of_a_camera_that_nobody_knows_keeps_nothing(recordings: Recordings) -> None:
    segments = recordings.record("gate", 2)
    found = findings(recordings, hold_of(segments[0], segments[-1], "gate", "yard"))
    assert [(one.kind, one.path) for one in found] == [(Kind.HELD_CAMERA_UNKNOWN, "h0123456789/yard")]


@pytest.fixture
def node(recordings: Recordings, tmp_path: Path) -> RunningAgent:
    (tmp_path / "node").mkdir()
    write_secret_file(tmp_path / "node" / "node.age", f"{recordings.identity}\n".encode())
    return node_on(tmp_path / "node", recordings.folder, {"gate": "rtsp://127.0.0.1/x"})


def checked(node: RunningAgent) -> tuple[int, list[tuple[str, str]]]:
    told = node.cli("archive", "check", "--json")
    answer = json.loads(told.stdout)
    return told.returncode, [(finding["kind"], finding["path"]) for finding in answer["findings"]]


def test_the_command_looks_at_the_holds_of_the_documents_and_of_the_journal(
    recordings: Recordings, node: RunningAgent
) -> None:
    first, last = recordings.record("gate", 2)
    documents = Documents(recordings.folder / "documents.json", SystemClock())
    Holds(documents).add(hold_of(first, last, "yard"))
    documents.settle()
    assert checked(node) == (1, [("held-camera-unknown", "h0123456789/yard")])
    (recordings.folder / "documents.json").write_text("{torn")
    assert checked(node) == (1, [("holds-unknown", "documents.json")])
    (recordings.folder / "documents.json").unlink()
    args = {"cameras": ["yard"], "start_us": first.start_us, "order_number": "12-р", "ordered_by": "Мер Іван"}
    entry = JournalEntry(JournalKind.ACCESS, Outcome.ACCEPTED, action=Action.HOLD, args=args, ref="n" * 16)
    Journal(recordings.folder / "journal.jsonl", SystemClock()).append(entry)
    code, found = checked(node)
    assert (code, [kind for kind, _ in found]) == (1, ["holds-unknown", "held-camera-unknown"])
