"""The index made again: from files alone nothing of a closed recording is lost, and the old one's facts are kept."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from edge_agent.buffer.hours import prove, seal_next
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.index_facts import Installed, Life
from edge_agent.buffer.rebuild import KEPT_BEFORE, rebuild
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, ClockTrust, Gap, GapCause, Interval, Segment
from edge_agent.trust.age import Identity
from tests.simulators.clock import HandClock

CAMERA = CameraId("gate")
ALWAYS = Interval(0, 4_000_000_000 * US)
SEALED_TO = [Identity.generate().recipient]
"""Of somebody else: this node is write-only."""


class World:
    """An archive, its index and its clock."""

    def __init__(self, folder: Path) -> None:
        self.root, self.path, self.clock = folder / "archive", folder / "index.sqlite", HandClock()
        self.root.mkdir()
        self.start_us = self.clock.utc_us()
        self.made: list[Segment] = []

    def record(self, *, day: int = 0) -> Segment:
        start = self.start_us + day * 86400 * US + len(self.made) * 60 * US
        file = SegmentFile(self.root, SegmentName(CAMERA, start, len(self.made) + 1), SEALED_TO)
        file.write(b"x" * 100)
        self.made.append(file.close(start + 60 * US, 1500, 3, ClockTrust.FREE))
        return self.made[-1]

    def index(self) -> Index:
        return Index(self.path, self.clock)

    def rebuilt(self) -> list[Segment]:
        index = self.index()
        found = index.segments(CAMERA, ALWAYS)
        index.close()
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    for day in (0, 0, 1):
        made.record(day=day)
    return made


def test_without_any_index_the_day_logs_say_all_of_every_closed_recording(world: World) -> None:
    result = rebuild(world.root, world.path, world.clock)
    assert (result.segments, result.unfinished, result.unhashed, result.before) == (3, 0, 0, None)
    assert "no index" in result.unknown[0]
    assert world.rebuilt() == world.made
    index = world.index()
    assert index.holdings().size_bytes == sum(one.size_bytes for one in world.made)
    assert index.installed(CAMERA) == Installed(world.start_us, None)


def test_gaps_receipts_hours_and_installation_come_from_the_old_index(world: World) -> None:
    index = world.index()
    index.add(world.made)
    gap = Gap(CAMERA, 5, 9, GapCause.CAMERA, "stalled")
    index.add_gap(gap)
    index.note_installed(CAMERA, Installed(4, None))
    index.note_life(Life(1, 2, True, "boot"))
    index.doom(world.made[:1], DeleteReason.AGE)
    (world.root / world.made[0].path).unlink()
    assert seal_next(index, world.start_us + 10 * 86400 * US) is not None
    assert seal_next(index, world.start_us + 10 * 86400 * US) is not None
    roots = [prove(index, one.path).hour for one in world.made]
    index.close()
    result = rebuild(world.root, world.path, world.clock)
    assert (result.segments, result.vanished, result.unknown) == (2, 1, ())
    assert world.rebuilt() == world.made[1:]
    again = world.index()
    assert again.gaps(CAMERA, ALWAYS) == [gap]
    assert [(r.segment.path, r.reason) for r in again.receipts(CAMERA, ALWAYS)] == [(world.made[0].path, "age")]
    assert again.installed(CAMERA) == Installed(4, None)
    assert again.last_life() == Life(1, 2, True, "boot")
    assert [prove(again, one.path).hour for one in world.made] == roots
    assert result.before is not None
    assert result.before.exists()


def test_what_the_day_logs_lost_comes_from_the_old_index_and_the_other_way_round(world: World) -> None:
    index = world.index()
    index.add(world.made[:2])
    index.close()
    first, _, third = ((world.root / one.path).parent / "segments.jsonl" for one in world.made)
    first.unlink()
    lost = world.root / world.made[1].path
    os.utime(lost, ns=(1, 1))  # a copy without times
    result = rebuild(world.root, world.path, world.clock)
    assert (result.segments, result.unfinished, result.unhashed, result.vanished) == (3, 0, 0, 0)
    assert world.rebuilt() == world.made
    assert third.exists()


def test_of_a_damaged_index_the_readable_tables_are_kept(world: World) -> None:
    index = world.index()
    index.add([world.record() for _ in range(300)])
    index.add_gap(Gap(CAMERA, 5, 9, GapCause.CAMERA, "stalled"))
    index.close()
    content = bytearray(world.path.read_bytes())
    db = sqlite3.connect(world.path)
    page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'segment'").fetchone()[0]
    db.close()
    content[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    world.path.write_bytes(content)
    result = rebuild(world.root, world.path, world.clock)
    assert result.segments == 303
    assert result.kept["gap"] == 1
    assert any("recordings" in words for words in result.unknown)
    assert len(world.rebuilt()) == 303


def test_an_index_of_the_first_version_gives_its_hashes_gaps_and_receipts(world: World) -> None:
    db = sqlite3.connect(world.path)
    db.executescript(
        "CREATE TABLE segment (path, camera, start_us, end_us, size_bytes, frames, sha256, torn, doomed);"
        "CREATE TABLE gap (camera, start_us, end_us, cause, evidence);"
        "CREATE TABLE receipt (path, camera, start_us, end_us, size_bytes, sha256, reason, deleted_us);"
        "INSERT INTO gap VALUES ('gate', 5, 9, 'camera', 'stalled');"
        "INSERT INTO receipt VALUES ('gate/1970-01-01/1_000001.mp4.age', 'gate', 1, 4, 5, NULL, 'age', 7);"
    )
    one = world.made[0]
    row = (one.path, CAMERA, one.start_us, one.end_us, one.size_bytes, 77, one.sha256, 0, None)
    db.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.commit()
    db.close()
    ((world.root / one.path).parent / "segments.jsonl").unlink()
    result = rebuild(world.root, world.path, world.clock)
    assert (result.kept, result.unhashed) == ({"gap": 1, "receipt": 1}, 1)
    assert next((s.frames, s.sha256) for s in world.rebuilt()) == (77, one.sha256)


def test_an_unmounted_archive_and_a_missing_one_change_nothing(world: World, tmp_path: Path) -> None:
    index = world.index()
    index.add(world.made)
    index.close()
    empty = tmp_path / "mountpoint"
    empty.mkdir()
    for root in (empty, tmp_path / "gone"):
        with pytest.raises(ArchiveError, match="is its disk mounted"):
            rebuild(root, world.path, world.clock)
    assert world.rebuilt() == world.made
    assert sorted(entry.name for entry in tmp_path.iterdir() if "index" in entry.name) == ["index.sqlite"]


def test_unfinished_files_are_left_for_the_agent_and_few_old_indexes_stay(world: World) -> None:
    SegmentFile(world.root, SegmentName(CAMERA, world.start_us + 900 * US, 9), SEALED_TO)
    for _ in range(KEPT_BEFORE + 2):
        world.clock.move(1)
        result = rebuild(world.root, world.path, world.clock)
        assert (result.segments, result.unfinished) == (3, 1)
    assert len(list(world.path.parent.glob("*.before-*"))) == KEPT_BEFORE
