from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.buffer.documents import Documents
from edge_agent.clock import US
from edge_agent.clock_watch import ClockWatch
from edge_agent.config import load
from edge_agent.journal_notes import GapNotes, configuration_hash, start_entries
from edge_agent.model import CameraId, Gap, GapCause
from edge_agent.notes import note_clock_step
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from tests.simulators.clock import HandClock

CONFIG = 'site = "melitopol"\nnode = "node-7"\ndata = "data"\n[[camera]]\nid = "gate"\nurl = "rtsp://127.0.0.1/x"\n'


def hash_of(folder: Path, text: str) -> str:
    path = folder / "edge-agent.toml"
    path.write_text(text)
    return configuration_hash(load(path))


def test_a_configurations_hash_is_that_of_what_it_says(tmp_path: Path) -> None:
    plain = hash_of(tmp_path, CONFIG)
    assert hash_of(tmp_path, "# a remark\n" + CONFIG.replace("\n", "\n\n")) == plain
    assert hash_of(tmp_path, 'node = "node-7"\n' + CONFIG.replace('node = "node-7"\n', "")) == plain
    assert hash_of(tmp_path, CONFIG.replace("/x", "/y")) != plain


@pytest.mark.parametrize(
    ("before", "kinds"),
    [
        (None, ["start"]),
        ({}, ["start"]),
        ({"version": "1", "configuration": "a"}, ["start"]),
        ({"version": "0", "configuration": "a"}, ["start", "update"]),
        ({"version": "1", "configuration": "b"}, ["start", "configuration"]),
        ({"version": "0", "configuration": "b"}, ["start", "update", "configuration"]),
    ],
)
def test_a_start_tells_what_is_not_as_it_was(before: dict[str, str] | None, kinds: list[str]) -> None:
    known = None if before is None else JournalEntry(JournalKind.START, Outcome.DONE, args=before)
    entries = start_entries(known, "1", "a")
    assert [entry.kind for entry in entries] == kinds
    for entry in entries[1:]:
        assert entry.args["old"] in ("0", "b")
        assert entry.args["new"] in ("1", "a")


def test_gaps_are_told_together_once() -> None:
    notes = GapNotes()
    for camera, start, end, cause in [
        ("gate", 10, 20, GapCause.NETWORK),
        ("gate", 5_000_000, 7_000_000, GapCause.CAMERA),
        ("yard", 1, 3, GapCause.DISK),
        ("gate", 30, 40, GapCause.NETWORK),
    ]:
        notes.add(Gap(CameraId(camera), start, end, cause, "seen"))
    gate, yard = notes.take()
    assert gate.args == {
        "camera": "gate", "count": 3, "seconds": 2.0, "start_us": 10, "end_us": 7_000_000,
        "causes": {"camera": 1, "network": 2},
    }  # fmt: skip
    assert (yard.kind, yard.args["camera"]) == (JournalKind.GAPS, "yard")
    assert list(notes.take()) == []


def test_a_clock_that_is_set_is_an_entry_with_both_times(tmp_path: Path) -> None:
    clock = HandClock()
    journal = Journal(tmp_path / "journal.jsonl", clock)
    documents = Documents(tmp_path / "documents.json", clock)
    watch = ClockWatch(documents, clock, "a boot", lambda step: note_clock_step(journal, step))
    watch.look()
    clock.move(30)
    before_us = clock.utc_us()
    clock.step(3600, follows_server=False)
    watch.look()
    clock.move(30)
    watch.look()
    (entry,) = journal.read()
    assert isinstance(entry, JournalEntry)
    assert entry.kind is JournalKind.CLOCK
    assert entry.args == {"before_us": before_us, "after_us": before_us + 3600 * US, "synchronised": False}
    assert entry.reason


def test_every_kind_of_entry_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parents[1] / "docs" / "journal.md").read_text()
    table = page[page.index("| `kind` | entered when") : page.index("## The tree")]
    named = re.findall(r"^\| ((?:`[a-z]+`(?:, )?)+) \|", table, re.MULTILINE)
    assert {kind for names in named for kind in re.findall(r"[a-z]+", names)} - {"kind"} == set(JournalKind)
