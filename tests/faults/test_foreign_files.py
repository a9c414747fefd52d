"""Strange and damaged files in an archive: the agent starts, records, lists, and deletes its own only."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.promise import DAY_US, Rule
from edge_agent.buffer.retention import Deleter
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.errors import BusyError
from edge_agent.model import CameraId
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from tests.faults.archive import Recordings, rewrite
from tests.faults.node import node_on
from tests.peers.agent import TestPerson
from tests.peers.support import wait_until

OFFICER = TestPerson("officer", Role.ARCHIVE_OFFICER)
OLD_US = 30 * 86400 * US


def stranger(archive: Path, known: Path, outside: Path) -> set[Path]:
    """Everything that is not of the layout, as near to it as can be."""
    day, name = known.parent, known.name
    outside.mkdir()
    (outside / name).write_bytes(b"somebody else's")
    folder_like_a_file = day / name.replace("_000001", "_000007")
    folder_like_a_file.mkdir()
    (folder_like_a_file / "inside").touch()
    (day / name.replace("_000001", "_000002")).symlink_to(outside / name)
    (day / name.replace("_000001", "_0000003")).write_bytes(b"needless zero")
    (day / name.upper()).write_bytes(b"upper case")
    (day / f"{name}.part").write_bytes(b"half a copy")
    (day / ".hidden").touch()
    (day / "näme\n\x1b[31m").touch()
    os.mkfifo(day / name.replace("_000001", "_000004"))
    (archive / "lost+found").mkdir()
    (archive / "README").write_text("notes of the technician")
    (archive / "elsewhere").symlink_to(outside)
    (archive / "gate" / "2026-13-45").mkdir()
    (archive / "gate" / "2026-13-45" / name).write_bytes(b"no such date")
    other_date = archive / "gate" / "2001-01-01"
    other_date.mkdir()
    (other_date / name).write_bytes(b"the date of another day")
    return {path for path in (*archive.rglob("*"), *outside.rglob("*")) if not path.is_dir() and path != known}


def test_an_archive_full_of_strange_and_damaged_files_is_recorded_to_listed_and_only_its_own_deleted(
    tmp_path: Path, street_h264: Path, movie: bytes
) -> None:
    clock = SystemClock()
    made = Recordings.make(tmp_path / "made", movie)
    made.clock.step((clock.utc_us() - OLD_US - made.clock.utc_us()) / US)
    old, cut, flipped, gone, empty = made.record("gate", 5)
    left = made.left_open()
    data = tmp_path / "data"
    shutil.copytree(made.folder, data)
    archive = data / "archive"
    write_secret_file(tmp_path / "node.age", f"{made.identity}\n".encode())
    strange = stranger(archive, archive / old.path, tmp_path / "outside")
    strange -= {archive / segment.path for segment in (cut, flipped, gone, empty)}
    strange -= {archive / left.relative_to(made.root), (archive / old.path).with_name("segments.jsonl")}
    rewrite(archive / cut.path, lambda content: content.__delitem__(slice(5000, None)))
    rewrite(archive / empty.path, lambda content: content.clear())
    rewrite(archive / flipped.path, lambda content: content.__setitem__(70_000, content[70_000] ^ 1))
    (archive / gone.path).unlink()
    unknown = archive / str(SegmentName(CameraId("gate"), clock.utc_us() - 60 * US, 1))
    unknown.parent.mkdir(parents=True, exist_ok=True)
    unknown.write_bytes(os.urandom(300_000))
    unknown.chmod(0o600)
    before = {path: path.lstat() for path in strange}

    agent = node_on(tmp_path, data, {"gate": f"file://{street_h264}"}, segment_s=2, people=(OFFICER,))
    with agent:
        wait_until(lambda: [s for s in agent.segments("gate") if s.start_us > clock.utc_us() - 20 * US], 40, "recorded")
        listed = agent.by(OFFICER, "archive", "list", "gate", "--from", "60d ago", "--json")
        assert agent.cli("archive", "check", "--repair").returncode == BusyError.exit_code
        shallow = agent.cli("archive", "check", "--json")
        assert agent.stop() == 0
    assert listed.returncode == 0, listed.stderr.decode()
    paths = {part["path"] for part in json.loads(listed.stdout)}
    assert {old.path, cut.path, flipped.path, empty.path} < paths
    assert gone.path not in paths
    changed = dict.fromkeys((cut.path, empty.path), "size-changed")
    assert wrong(shallow.stdout) == changed
    assert wrong(agent.cli("archive", "check", "--deep", "--json").stdout).keys() == {*changed, flipped.path}
    assert b"\x1b" not in agent.cli("archive", "check").stdout

    index = Index(data / "index.sqlite", clock)
    holds = Holds(Documents(data / "documents.json", clock))
    swept = Deleter(archive, index, holds, Rule(10 * DAY_US, {}), clock, Ballast(data / "ballast")).sweep(
        clock_trusted=True
    )
    index.close()
    # what a crash left was entered by this machine's clock: where that is not trusted, its age counts from now
    left_by_crash = 1 if clock.synchronised() else 0
    assert swept.by_age == 4 + left_by_crash, "what is older than ten days goes"
    assert not any((archive / s.path).exists() for s in (old, cut, flipped, empty))
    assert {path: path.lstat() for path in strange} == before
    assert unknown.stat().st_size == 300_000, "nothing of it can be read, but it is not ten days old"
    assert wrong(agent.cli("archive", "check", "--deep", "--json").stdout) == {}


def wrong(output: bytes) -> dict[str, str]:
    """Kind by path of what is more than a note; all notes are of foreign files."""
    findings = json.loads(output)["findings"]
    assert {finding["kind"] for finding in findings if finding["weight"] == "note"} == {"foreign"}
    return {finding["path"]: finding["kind"] for finding in findings if finding["weight"] != "note"}
