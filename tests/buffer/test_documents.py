"""Documents: replaced whole, never half."""

from __future__ import annotations

from pathlib import Path

from edge_agent.buffer.documents import Documents
from tests.simulators.clock import HandClock


def test_a_document_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    documents = Documents(path, HandClock())
    documents.put("export", {"id": "a", "state": "new"})
    documents.put("export", {"id": "a", "state": "done"})
    documents.put("export", {"id": "b", "state": "new"})
    again = Documents(path, HandClock())
    assert again.get("export", "a") == {"id": "a", "state": "done"}
    again.remove("export", "a")
    assert [d["id"] for d in Documents(path, HandClock()).all("export")] == ["b"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    path.write_text('{"export": {"1": {"id"')
    documents = Documents(path, HandClock())
    assert documents.all("export") == []
    assert list(tmp_path.glob("documents.json.damaged-*"))


def test_a_left_over_half_written_file_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    Documents(path, HandClock()).put("export", {"id": "a"})
    (tmp_path / "documents.json.new").write_text("half")
    assert Documents(path, HandClock()).get("export", "a") == {"id": "a"}
