"""`edge-agent archive check`: each thing that can be wrong is found, named, and put right where that loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.buffer import day_log
from edge_agent.buffer.check import RULES, Kind, Weight
from edge_agent.buffer.index import DeleteReason
from edge_agent.errors import UsageError
from edge_agent.model import Segment
from edge_agent.trust.keys import write_secret_file
from tests.faults.archive import Recordings, rewrite, without_hash
from tests.faults.node import node_on


def file_of(recordings: Recordings, segment: Segment) -> Path:
    return recordings.root / segment.path


def flip(data: bytearray) -> None:
    data[len(data) // 2] ^= 1


def halve(data: bytearray) -> None:
    del data[len(data) // 2 :]


def empty(data: bytearray) -> None:
    data.clear()


def test_a_sound_archive_of_whole_and_torn_files_has_no_findings(recordings: Recordings) -> None:
    recordings.record("gate", 3)
    recordings.record("yard", 2)
    recordings.torn()
    looked = recordings.checkup().look(running=False, deep=True, progress=lambda _part: None)
    assert looked.findings == ()
    assert looked.files == 6
    assert looked.read_bytes == looked.size_bytes


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (flip, [Kind.CONTENT_CHANGED]),
        (halve, [Kind.CONTENT_CHANGED, Kind.SIZE_CHANGED]),
        (empty, [Kind.CONTENT_CHANGED, Kind.SIZE_CHANGED]),
    ],
)
def test_changed_footage_is_told_and_neither_deleted_nor_taken_as_right(
    recordings: Recordings, change: Callable[[bytearray], None], kinds: list[Kind]
) -> None:
    _, second, _ = recordings.record("gate", 3)
    rewrite(file_of(recordings, second), change)
    left = file_of(recordings, second).read_bytes()
    assert recordings.kinds() == kinds
    assert recordings.repaired() == kinds
    assert file_of(recordings, second).read_bytes() == left


def test_without_a_hash_the_inside_says_what_is_wrong(recordings: Recordings) -> None:
    whole, torn, garbage = recordings.record("gate", 3)
    rewrite(file_of(recordings, torn), halve)
    rewrite(file_of(recordings, garbage), lambda data: data.__setitem__(slice(0, 500), bytes(500)))
    recordings.forget_log(whole)
    for segment in (whole, torn, garbage):
        without_hash(recordings, segment)
    found = {finding.path: finding.kind for finding in recordings.findings() if finding.kind is not Kind.SIZE_CHANGED}
    assert found == {torn.path: Kind.CLOSED_BUT_TORN, garbage.path: Kind.UNREADABLE}


def test_a_missing_file_becomes_a_receipt(recordings: Recordings) -> None:
    first, _ = recordings.record("gate", 2)
    file_of(recordings, first).unlink()
    assert recordings.kinds() == [Kind.FILE_MISSING]
    assert recordings.repaired() == []


def test_an_unknown_file_is_entered(recordings: Recordings) -> None:
    first, second = recordings.record("gate", 2)
    index = recordings.index()
    index.forget([second.path])
    index.close()
    assert recordings.kinds() == [Kind.NOT_INDEXED]
    assert recordings.repaired() == []
    index = recordings.index(read_only=True)
    assert set(index.paths()) == {first.path, second.path}


def test_what_a_crash_left_is_kept_up_to_its_last_picture_and_an_empty_file_removed(recordings: Recordings) -> None:
    recordings.record("gate", 2)
    path = recordings.left_open()
    begun = recordings.left_open(sequence=10, part=0.0001)
    assert recordings.kinds() == [Kind.LEFT_OPEN, Kind.LEFT_OPEN]
    assert recordings.kinds(running=True) == [Kind.LEFT_OPEN], "beside a running recorder the newest is its own"
    assert recordings.repaired() == []
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o400
    assert not begun.exists()


def test_marks_that_were_changed_are_set_again(recordings: Recordings) -> None:
    copied, touched = recordings.record("gate", 2)
    file_of(recordings, copied).chmod(0o644)
    os.utime(file_of(recordings, touched), (0, 0))
    assert recordings.kinds(deep=False) == [Kind.MARKS_CHANGED, Kind.MARKS_CHANGED]
    assert recordings.repaired() == []


def test_marks_are_not_set_again_on_a_file_that_holds_something_else(recordings: Recordings) -> None:
    """When it was changed is evidence."""
    (segment,) = recordings.record()
    rewrite(file_of(recordings, segment), flip)
    os.utime(file_of(recordings, segment), (0, 0))
    assert recordings.repaired() == [Kind.CONTENT_CHANGED, Kind.MARKS_CHANGED]


def test_a_whole_file_that_lost_its_marks_and_its_row_is_whole_again(recordings: Recordings) -> None:
    segment, _ = recordings.record("gate", 2)
    path = file_of(recordings, segment)
    recordings.forget_log(segment)
    os.utime(path, (0, 0))
    index = recordings.index()
    index.forget([segment.path])
    index.close()
    assert Kind.END_LOST in recordings.kinds()
    assert recordings.repaired() == []
    assert path.stat().st_mode & 0o777 == 0o440
    assert abs(path.stat().st_mtime_ns // 1000 - segment.end_us) < 100_000


def test_a_recording_without_its_line_gets_it_from_the_index_and_keeps_its_hash(recordings: Recordings) -> None:
    segments = recordings.record("gate", 2)
    recordings.forget_log(segments[0])
    assert recordings.kinds() == [Kind.NOT_LOGGED, Kind.NOT_LOGGED]
    assert recordings.repaired() == []
    (recordings.folder / "index.sqlite").unlink()
    recordings.repaired()
    assert recordings.index(read_only=True).by_path([s.path for s in segments]) == segments


def test_a_log_that_contradicts_the_index_is_told(recordings: Recordings) -> None:
    segment, _ = recordings.record("gate", 2)
    log = file_of(recordings, segment).parent / day_log.NAME
    log.write_bytes(log.read_bytes().replace(str(segment.sha256).encode(), b"0" * 64))
    assert recordings.kinds() == [Kind.LOG_DIFFERS]
    assert recordings.repaired() == [Kind.LOG_DIFFERS]


def test_the_day_logs_hash_serves_where_the_index_has_none(recordings: Recordings) -> None:
    (segment,) = recordings.record()
    without_hash(recordings, segment)
    assert recordings.kinds() == []
    rewrite(file_of(recordings, segment), flip)
    assert recordings.kinds() == [Kind.CONTENT_CHANGED]


@pytest.mark.parametrize("damage", ["gone", "scribbled"])
def test_an_index_that_is_gone_or_damaged_is_made_again(recordings: Recordings, damage: str) -> None:
    segments = recordings.record("gate", 3)
    path = recordings.folder / "index.sqlite"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(20_000))
    (finding,) = recordings.findings(deep=False)
    assert finding.kind is (Kind.INDEX_MISSING if damage == "gone" else Kind.INDEX_DAMAGED)
    assert recordings.repaired() == []
    assert set(recordings.index(read_only=True).paths()) == {segment.path for segment in segments}


def test_a_deletion_that_was_begun_is_left_to_the_agent(recordings: Recordings) -> None:
    going, gone, back = recordings.record("gate", 3)
    index = recordings.index()
    index.doom([going, gone], DeleteReason.AGE)
    file_of(recordings, gone).unlink()
    index.gone([(back, DeleteReason.SPACE)], 1)
    index.add([back])
    index.close()
    assert recordings.kinds() == [Kind.DELETED_BUT_THERE, Kind.HALF_DELETED, Kind.HALF_DELETED]
    assert recordings.repaired() == [Kind.DELETED_BUT_THERE, Kind.HALF_DELETED]
    assert file_of(recordings, going).exists()


def test_two_recordings_of_one_time_are_told(recordings: Recordings) -> None:
    recordings.record("gate", 1)
    recordings.clock.step(-3)
    recordings.record("gate", 1)
    (finding,) = recordings.findings()
    assert finding.kind is Kind.OVERLAP
    assert finding.detail.startswith("5.000 s of it are in ")


def test_whatever_is_not_of_the_layout_is_told_and_left(recordings: Recordings) -> None:
    (segment,) = recordings.record()
    day = file_of(recordings, segment).parent
    shutil.copy(file_of(recordings, segment), day / "holiday.mp4")
    (recordings.root / "lost+found").mkdir()
    (day / "00_000001.mp4.age").touch()
    (day / str(segment.path.split("/")[-1]).replace("_000001", "_000002")).symlink_to(file_of(recordings, segment))
    os.mkfifo(day / segment.path.split("/")[-1].replace("_000001", "_000003"))
    (day / segment.path.split("/")[-1].replace("_000001", "_000004")).mkdir()
    before = sorted(recordings.root.rglob("*"))
    assert recordings.kinds() == [Kind.FOREIGN] * 6
    assert recordings.repaired() == [Kind.FOREIGN] * 6
    assert sorted(recordings.root.rglob("*")) == before


def test_every_kind_is_explained_and_no_loss_promises_a_repair_of_footage() -> None:
    assert set(RULES) == set(Kind)
    assert all(rule.means for rule in RULES.values())
    repaired_losses = {kind for kind, rule in RULES.items() if rule.weight is Weight.LOSS and rule.repair}
    assert repaired_losses == {Kind.FILE_MISSING}


def test_the_index_is_only_read_by_a_look(recordings: Recordings) -> None:
    recordings.record("gate", 2)
    path = recordings.folder / "index.sqlite"
    before = path.read_bytes()
    recordings.left_open()
    recordings.findings()
    assert path.read_bytes() == before
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM segment").fetchone() == (2,)


def test_the_command_says_what_is_wrong_and_what_a_repair_would_do_and_does_it(
    recordings: Recordings, tmp_path: Path
) -> None:
    first, second = recordings.record("gate", 2)
    file_of(recordings, first).chmod(0o644)
    rewrite(file_of(recordings, second), flip)
    (recordings.root / "[red]\x1b[31mnotes").touch()
    (tmp_path / "node").mkdir()
    write_secret_file(tmp_path / "node" / "node.age", f"{recordings.identity}\n".encode())
    node = node_on(tmp_path / "node", recordings.folder, {"gate": "rtsp://127.0.0.1/x"})
    told = node.cli("archive", "check", "--deep")
    words = " ".join(told.stdout.decode().split())
    assert told.returncode == 1
    assert "1 × marks-changed: a closed recording's mode or modification time is not what was set" in words
    assert f"{first.path}: mode 0644, 0440 was set --repair sets them as the index has them" in words
    assert "1 × content-changed" in words
    assert "[red]\N{REPLACEMENT CHARACTER}[31mnotes" in words
    repaired = node.cli("archive", "check", "--deep", "--repair", "--json")
    answer = json.loads(repaired.stdout)
    assert (repaired.returncode, answer["ok"]) == (1, False), "changed footage stays told"
    assert {(f["kind"], f["repaired"]) for f in answer["findings"]} == {
        ("marks-changed", True),
        ("content-changed", False),
        ("foreign", False),
    }
    again = node.cli("archive", "check")
    assert (again.returncode, again.stderr) == (0, b"")
    assert b"nothing is wrong" in again.stdout


@pytest.mark.root
def test_a_repair_is_for_the_user_whose_data_it_is(recordings: Recordings) -> None:
    recordings.record()
    os.chown(recordings.folder, 65534, -1)
    node = node_on(recordings.folder, recordings.folder, {"gate": "rtsp://127.0.0.1/x"})
    refused = node.cli("archive", "check", "--repair")
    assert refused.returncode == UsageError.exit_code
    assert b"belongs to user nobody" in refused.stderr
