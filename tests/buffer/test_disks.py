"""Several disks of an archive: which is used next, what is on which, and what goes when one is full or not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.disks import FULLER, MARKER, Disk, Disks, Shelf, in_turn
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index, Receipt
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.library import Library
from edge_agent.buffer.promise import DAY_US, OnFull, Rule
from edge_agent.buffer.retention import Deleter
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Hold, Interval, Segment
from tests.simulators.clock import HandClock

GATE = CameraId("gate")
NOW_US = 1_795_000_000 * US
MINUTE_US = 60 * US
EVER = Interval(0, 2**60)


class Place:
    """Two folders that stand for two disks, each with a quota of 250 bytes."""

    def __init__(self, folder: Path, on_full: OnFull = OnFull.OVERWRITE) -> None:
        self.folder = folder
        self.first, self.second = Disk("", folder / "a", 250), Disk("b", folder / "b", 250)
        self.disks = Disks([self.first, self.second])
        for disk in self.disks:
            disk.folder.mkdir()
        self.second.mark()
        self.clock = HandClock(NOW_US)
        self.index = Index(folder / "index.sqlite", self.clock)
        self.holds = Holds(Documents(folder / "documents.json", self.clock))
        self.rule = Rule(10 * DAY_US, {}, on_full=on_full)
        ballast = Ballast(folder / "ballast", size=1)
        self.deleter = Deleter(self.disks, self.index, self.holds, self.rule, self.clock, ballast)

    def record(self, disk: str, *minutes_ago: float, size: int = 100) -> list[Segment]:
        made = []
        for minutes in minutes_ago:
            end_us = NOW_US - round(minutes * MINUTE_US)
            name = SegmentName(GATE, end_us - MINUTE_US, 1)
            made.append(Segment(GATE, str(name), name.start_us, end_us, size, None, None, disk=disk))
            path = self.disks.path(made[-1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * size)
        self.index.add(made)
        return made

    def sweep(self) -> None:
        while self.deleter.sweep(clock_trusted=True).more:
            pass

    def kept(self) -> set[str]:
        return {segment.path for segment in self.index.segments(GATE, EVER)}

    def receipts(self) -> list[Receipt]:
        return self.index.receipts(GATE, EVER)

    def pull(self) -> None:
        """The second disk goes; its mount point stays."""
        self.second.folder.rename(self.folder / "pulled")
        self.second.folder.mkdir()

    def plug(self) -> None:
        self.second.folder.rmdir()
        (self.folder / "pulled").rename(self.second.folder)

    def audit(self) -> None:
        ledger = Ledger(self.disks, self.index, [], self.clock)
        ledger.recover(ledger.reconcile())
        while ledger.audit(1.0):
            pass


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.index.close()


def paths(segments: list[Segment]) -> set[str]:
    return {segment.path for segment in segments}


def test_an_empty_mount_point_and_another_disk_on_it_are_told_from_the_disk(place: Place) -> None:
    assert place.disks.absent() == {}
    place.pull()
    assert MARKER in place.disks.absent()["b"]
    assert [disk.id for disk in place.disks.there()] == [""]
    (place.second.folder / MARKER).write_text("c\n")
    assert "marked as «c»" in place.second.fault()
    with pytest.raises(ArchiveError, match="another disk"):
        place.second.mark()


def test_a_full_disk_loses_its_own_oldest_and_the_other_nothing(place: Place) -> None:
    older = place.record("", 50, 40)
    full = place.record("b", 30, 20, 10)
    place.sweep()
    assert place.kept() == paths(older) | paths(full[1:])
    [receipt] = place.receipts()
    assert (receipt.segment.path, receipt.segment.disk, receipt.reason) == (full[0].path, "b", "space")


def test_what_is_too_old_goes_from_every_disk_that_is_there_and_from_the_other_when_it_is_back(place: Place) -> None:
    week = 7 * 24 * 60
    place.record("", 2 * week)
    pulled = place.record("b", 2 * week + 5)
    place.pull()
    place.sweep()
    assert place.kept() == paths(pulled)
    place.plug()
    place.sweep()
    assert place.kept() == set()
    assert not place.disks.path(pulled[0]).exists()


def test_a_deletion_begun_on_a_disk_that_is_pulled_is_finished_when_it_is_back(place: Place) -> None:
    [doomed] = place.record("b", 5)
    place.index.doom([doomed], "space")
    place.pull()
    place.sweep()
    assert place.receipts() == []
    place.plug()
    place.sweep()
    assert [receipt.segment.path for receipt in place.receipts()] == [doomed.path]


def test_recording_waits_only_when_no_disk_has_room(tmp_path: Path) -> None:
    place = Place(tmp_path, OnFull.STOP)
    place.record("", 50, 40, 30)
    assert not place.deleter.must_wait()
    place.record("b", 25, 20, 10)
    assert place.deleter.must_wait()


def test_a_disk_whose_recordings_are_all_held_is_not_stuck_while_another_gives(place: Place) -> None:
    held = place.record("b", 30, 20, 10)
    place.holds.add(Hold("h0", (), 0, None, "12-р", "", "Мер", "Архіваріус", NOW_US))
    place.sweep()
    assert place.kept() == paths(held)
    assert not place.deleter.standing(clock_trusted=True).stuck
    place.record("", 29, 19, 9)
    place.sweep()
    assert place.deleter.standing(clock_trusted=True).stuck


def test_recordings_of_a_disk_that_is_not_there_are_neither_missing_nor_given_as_gone(place: Place) -> None:
    stay = place.record("", 30)
    pulled = place.record("b", 20)
    place.pull()
    place.audit()
    assert place.kept() == paths([*stay, *pulled])
    [_, source] = Library(place.disks, place.index, [], place.clock).sources(GATE, EVER)
    with pytest.raises(ArchiveError, match="it is on disk b: its mark"):
        source.open()


def test_a_file_that_was_moved_to_another_disk_is_found_there(place: Place) -> None:
    [segment] = place.record("", 30)
    place.record("", 20)
    target = place.second.folder / segment.path
    target.parent.mkdir(parents=True)
    place.disks.path(segment).rename(target)
    place.audit()
    assert place.receipts() == []
    assert [s.disk for s in place.index.segments(GATE, EVER)] == ["b", ""]
    assert place.index.held_on() == {"": (1, 100), "b": (1, 100)}


def test_a_file_that_is_on_no_disk_has_vanished(place: Place) -> None:
    [segment] = place.record("b", 30)
    place.record("b", 20)
    place.disks.path(segment).unlink()
    place.audit()
    assert [receipt.reason for receipt in place.receipts()] == ["missing"]


def test_a_disk_that_the_configuration_lost_keeps_its_rows(place: Place) -> None:
    place.record("b", 30 * 24 * 60)
    alone = Deleter(
        Disks([place.first]), place.index, place.holds, place.rule, place.clock, Ballast(place.folder / "x")
    )
    alone.sweep(clock_trusted=True)
    assert len(place.kept()) == 1
    with pytest.raises(ArchiveError, match=r"not in the configuration: name it as \[\[disk\]\]"):
        Disks([place.first]).get("b")


def test_an_index_of_one_disk_is_carried_over(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.record("", 30, 20)
    db = place.index._db
    for table in ("disk_takes", "disk_changes", "disk_gives"):
        db.execute(f"DROP TRIGGER {table}")
    db.execute("DROP TABLE disk")
    for table in ("segment", "receipt"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN disk")
    db.execute("PRAGMA user_version = 2")
    place.index.close()
    index = Index(tmp_path / "index.sqlite", place.clock)
    assert [s.disk for s in index.segments(GATE, EVER)] == ["", ""]
    assert index.held_on() == {"": (2, 200)}
    index.close()


def test_while_there_is_room_the_emptiest_disk_is_next_and_then_the_one_with_the_oldest_recordings() -> None:
    assert in_turn([Shelf("", 40, 100, 5), Shelf("b", 60, 100, 9)], "") == ("b", "")
    assert in_turn([Shelf("", 0, 100, 5), Shelf("b", 10, 100, 1)], "") == ("b", "")
    assert in_turn([Shelf("", 0, 100, 1), Shelf("b", 1, 100, NOW_US)], "b") == ("", "b")


def test_disks_do_not_take_turns_at_every_file() -> None:
    assert in_turn([Shelf("", 50, 100, 0), Shelf("b", 53, 100, 0)], "") == ("", "b")
    assert in_turn([Shelf("", 0, 100, NOW_US), Shelf("b", 0, 100, NOW_US - MINUTE_US)], "") == ("", "b")


shelves = st.lists(
    st.builds(
        Shelf, st.sampled_from("abcd"), st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(0, 10**9)
    ),
    min_size=1,
    unique_by=lambda shelf: shelf.disk,
)


@given(shelves, st.sampled_from(["", *"abcd"]))
def test_no_full_disk_comes_before_one_with_room_and_the_choice_stays(found: list[Shelf], now_on: str) -> None:
    order = in_turn(found, now_on)
    by_id = {shelf.disk: shelf for shelf in found}
    assert sorted(order) == sorted(by_id)
    full = [by_id[disk].full for disk in order]
    assert full == sorted(full)
    assert in_turn(found, order[0]) == order or by_id[order[0]].part + FULLER >= max(s.part for s in found)
    assert in_turn(found, order[0])[0] == order[0]
