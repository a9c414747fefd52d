"""The index: what is where, what is missing, what is gone."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from edge_agent.buffer.index import DeleteReason, Holdings, Index
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Gap, GapCause, Interval, Segment
from tests.simulators.clock import HandClock

CAMERA = CameraId("gate")


def segment(start_s: int, length_s: int = 60, camera: CameraId = CAMERA, size: int = 1000) -> Segment:
    path = f"{camera}/1970-01-01/{start_s * US}_000001.mp4.age"
    return Segment(camera, path, start_s * US, (start_s + length_s) * US, size, length_s * 25, "ab" * 32)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index.sqlite", HandClock())


def test_segments_are_found_by_camera_and_time(index: Index) -> None:
    index.add([segment(60 * n) for n in range(10)] + [segment(0, camera=CameraId("yard"))])
    found = index.segments(CAMERA, Interval(90 * US, 180 * US))
    assert [s.start_us // US for s in found] == [60, 120]
    assert index.segments(CAMERA, Interval(600 * US, 700 * US)) == []
    assert index.cameras() == [CAMERA, CameraId("yard")]


def test_a_segment_that_is_entered_twice_counts_once(index: Index) -> None:
    index.add([segment(0)])
    index.add([segment(0)])
    assert index.holdings(CAMERA).files == 1


def test_what_was_entered_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    first = Index(path, HandClock())
    first.add([segment(0)])
    gap = Gap(CAMERA, 60 * US, 70 * US, GapCause.CAMERA, "stalled")
    first.add_gap(gap)
    again = Index(path, HandClock())
    assert again.segments(CAMERA, Interval(0, US)) == [segment(0)]
    assert again.gaps(CAMERA, Interval(65 * US, 66 * US)) == [gap]
    assert again.last_end_us(CAMERA) == 70 * US
    first.close()
    again.close()


def test_a_deletion_leaves_a_receipt_and_survives_a_crash_in_the_middle(index: Index) -> None:
    index.add([segment(0), segment(60)])
    index.doom([(segment(0), DeleteReason.AGE)])
    assert index.segments(CAMERA, Interval(0, 60 * US)) == []
    assert index.doomed() == [(segment(0), "age")]
    index.gone(index.doomed(), 5 * US)
    assert index.doomed() == []
    (receipt,) = index.receipts(CAMERA, Interval(0, US))
    assert (receipt.reason, receipt.deleted_us, receipt.segment.sha256) == ("age", 5 * US, "ab" * 32)


def test_reading_beside_the_writer_works_and_cannot_write(tmp_path: Path) -> None:
    writer = Index(tmp_path / "index.sqlite", HandClock())
    writer.add([segment(0)])
    reader = Index(tmp_path / "index.sqlite", HandClock(), read_only=True)
    assert reader.holdings().files == 1
    with pytest.raises(ArchiveError, match="index"):
        reader.add([segment(60)])


def test_a_long_recording_that_others_overlap_is_found(index: Index) -> None:
    """As after the clock went back."""
    index.add([segment(0, 100), segment(50, 10), segment(300)])
    assert [s.start_us // US for s in index.segments(CAMERA, Interval(0, 40 * US))] == [0]
    assert [s.start_us // US for s in index.segments(CAMERA, Interval(99 * US, 300 * US))] == [0]


def test_what_each_camera_holds_is_counted_as_segments_come_change_and_go(index: Index) -> None:
    index.add([segment(n * 60, size=10) for n in range(3)] + [segment(0, camera=CameraId("yard"), size=7)])
    index.add([segment(0, size=15)])
    index.doom([(segment(60, size=10), DeleteReason.SPACE)])
    index.gone(index.doomed(), 0)
    index.forget([segment(120).path])
    assert index.holdings(CAMERA) == Holdings(1, 15, 0, 60 * US)
    assert index.holdings() == Holdings(2, 22, 0, 60 * US)
    assert index.holdings(CameraId("nobody")) == Holdings(0, 0, None, None)


_FIRST_SCHEMA = """
CREATE TABLE segment (path TEXT PRIMARY KEY, camera TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, frames INTEGER, sha256 TEXT, torn INTEGER NOT NULL DEFAULT 0, doomed TEXT)
    WITHOUT ROWID;
CREATE INDEX segment_by_time ON segment (camera, end_us);
CREATE INDEX segment_by_age ON segment (end_us);
CREATE INDEX segment_doomed ON segment (doomed) WHERE doomed IS NOT NULL;
CREATE TABLE gap (camera TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, cause TEXT NOT NULL,
    evidence TEXT NOT NULL, PRIMARY KEY (camera, start_us)) WITHOUT ROWID;
CREATE TABLE receipt (path TEXT NOT NULL, camera TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, sha256 TEXT, reason TEXT NOT NULL, deleted_us INTEGER NOT NULL);
CREATE INDEX receipt_by_time ON receipt (camera, start_us);
"""


def test_an_index_of_the_first_version_is_carried_over_whole(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    old = sqlite3.connect(path)
    old.executescript(_FIRST_SCHEMA)
    rows = [(s.path, CAMERA, s.start_us, s.end_us, 1000, 1500, "ab" * 32, 0) for s in map(segment, (0, 60, 120))]
    old.executemany("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", rows)
    old.execute("UPDATE segment SET doomed = 'age' WHERE start_us = 0")
    old.execute("INSERT INTO gap VALUES ('gate', 180000000, 190000000, 'camera', 'stalled')")
    old.execute(f"INSERT INTO receipt VALUES ('{segment(30).path}', 'gate', 30000000, 90000000, 5, NULL, 'space', 77)")
    old.commit()
    old.close()
    with pytest.raises(ArchiveError, match="another version"):
        Index(path, HandClock(), read_only=True)
    for _ in range(2):
        index = Index(path, HandClock())
        assert index.segments(CAMERA, Interval(0, 500 * US)) == [segment(60), segment(120)]
        assert index.doomed() == [(segment(0), "age")]
        assert index.gaps(CAMERA, Interval(0, 500 * US)) == [
            Gap(CAMERA, 180 * US, 190 * US, GapCause.CAMERA, "stalled")
        ]
        (receipt,) = index.receipts(CAMERA, Interval(80 * US, 81 * US))
        assert (receipt.reason, receipt.deleted_us, receipt.segment.path) == ("space", 77, segment(30).path)
        assert index.holdings(CAMERA) == Holdings(3, 3000, 0, 180 * US)
        assert index.installed(CAMERA).since_us == 0
        index.close()


def test_an_index_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    Index(path, HandClock()).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ArchiveError, match="newer version"):
        Index(path, HandClock())
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.sqlite"]


def test_damage_is_looked_for_unless_the_agent_ended_in_order(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = Index(path, HandClock())
    index.add([segment(n * 40) for n in range(2000)])
    index.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 & ~4095
    content[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(content)
    Index(path, HandClock())._db.close()  # as a crash ends it
    again = Index(path, HandClock())
    assert again.holdings().files == 0
    assert [entry.name for entry in tmp_path.glob("*.damaged-*")]
