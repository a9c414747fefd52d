from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import load
from edge_agent.journal_notes import GapNotes, configuration_hash, start_entries
from edge_agent.model import CameraId, Gap, GapCause
from edge_agent.trust.journal import JournalEntry, JournalKind, Outcome

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
