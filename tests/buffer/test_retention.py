"""Retention on a real folder and index: what goes, what stays, what is left of what went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import DeleteReason, Index, Receipt
from edge_agent.buffer.promise import DAY_US, OnFull, Rule
from edge_agent.buffer.retention import BATCH, Deleter
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, ClockTrust, Hold, Interval, Segment
from tests.simulators.clock import HandClock

GATE, YARD = CameraId("gate"), CameraId("yard")
NOW_US = 1_795_000_000 * US
MINUTE_US = 60 * US
EVER = Interval(0, 2**60)


def segment(end_us: int, camera: CameraId = GATE, size: int = 100, clock: ClockTrust | None = None) -> Segment:
    start_us = end_us - MINUTE_US
    return Segment(camera, str(SegmentName(camera, start_us, 1)), start_us, end_us, size, None, None, clock=clock)


def ago(days: float, minutes: float = 0) -> int:
    return NOW_US - round(days * DAY_US + minutes * MINUTE_US)


class Place:
    """An archive with its index, holds and a clock that tests move."""

    def __init__(self, folder: Path, **rule: Any) -> None:
        self.folder = folder
        self.root = folder / "archive"
        self.root.mkdir(exist_ok=True)
        self.clock = HandClock(NOW_US)
        self.index = Index(folder / "index.sqlite", self.clock)
        self.holds = Holds(Documents(folder / "documents.json", self.clock))
        self.rule = Rule(**{"keep_us": 10 * DAY_US, "keep_us_of": {}, **rule})
        self.deleter = Deleter(
            self.root, self.index, self.holds, self.rule, self.clock, Ballast(folder / "ballast", size=1)
        )

    def record(self, *segments: Segment, clock_trusted: bool = True) -> None:
        for one in segments:
            (self.root / one.path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / one.path).write_bytes(b"x" * one.size_bytes)
        self.index.add(segments, clock_trusted=clock_trusted)

    def sweep(self, *, trusted: bool = True) -> None:
        while self.deleter.sweep(clock_trusted=trusted).more:
            pass

    def kept(self) -> set[str]:
        """By the disk, which the index must agree with."""
        on_disk = {str(path.relative_to(self.root)) for path in self.root.glob("*/*/*")}
        assert on_disk == set(self.index.paths())
        return on_disk

    def receipts(self, camera: CameraId = GATE) -> list[Receipt]:
        return self.index.receipts(camera, EVER)

    def hold(self, start_us: int, end_us: int | None, *cameras: CameraId, id_: str = "h0123456789") -> Hold:
        hold = Hold(id_, cameras, start_us, end_us, "12-р", "", "Мер", "Архіваріус", self.clock.utc_us())
        self.holds.add(hold)
        return hold

    def let_go(self, hold: Hold) -> None:
        self.holds.end(hold, self.clock.utc_us(), "Архіваріус", "13-р", "Мер")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.index.close()


def paths(*segments: Segment) -> set[str]:
    return {one.path for one in segments}


def test_recordings_older_than_the_promise_go_by_themselves_and_leave_receipts(place: Place) -> None:
    old, young = segment(ago(10, 1)), segment(ago(9.9))
    place.record(old, young)
    place.sweep()
    assert place.kept() == paths(young)
    [receipt] = place.receipts()
    assert (receipt.segment.path, receipt.reason, receipt.deleted_us) == (old.path, "age", NOW_US)


def test_a_camera_keeps_its_own_promise(tmp_path: Path) -> None:
    place = Place(tmp_path, keep_us_of={YARD: 30 * DAY_US})
    gate, yard = segment(ago(20)), segment(ago(20), YARD)
    place.record(gate, yard)
    place.sweep()
    assert place.kept() == paths(yard)


def test_a_held_recording_survives_age_and_want_of_space(tmp_path: Path) -> None:
    place = Place(tmp_path, max_size=250)
    before, held, after, newest = (segment(ago(12, -n)) for n in (0, 10, 20, 12 * 24 * 60))
    place.record(before, held, after, newest)
    place.hold(held.start_us + US, held.end_us - US, GATE)
    place.sweep()
    assert place.kept() == paths(held, newest)
    more = [segment(NOW_US - n * US) for n in (1, 2)]
    place.record(*more)
    place.sweep()
    assert held.path in place.kept()
    assert len(place.kept()) == 2


def test_a_hold_of_all_cameras_without_an_end_keeps_what_comes_later(place: Place) -> None:
    place.record(segment(ago(20)))
    place.hold(ago(5), None)
    later = [segment(ago(4)), segment(ago(3), YARD)]
    place.record(*later)
    place.clock.move(30 * 86400)
    place.sweep()
    assert place.kept() == paths(*later)


def test_when_a_hold_is_ended_old_footage_goes_and_the_receipt_names_the_hold(place: Place) -> None:
    held = segment(ago(12))
    place.record(held)
    hold = place.hold(ago(13), ago(11))
    place.sweep()
    assert place.kept() == paths(held)
    place.let_go(hold)
    swept = place.deleter.sweep(clock_trusted=True)
    assert (swept.by_age, swept.holds) == (1, (hold.hold_id,))
    assert place.receipts()[0].reason == f"age {hold.hold_id}"


def test_footage_that_a_hold_kept_only_within_the_promise_has_a_plain_receipt(place: Place) -> None:
    place.record(segment(ago(5)))
    place.let_go(place.hold(ago(6), ago(4)))
    place.clock.move(6 * 86400)
    place.sweep()
    assert [receipt.reason for receipt in place.receipts()] == ["age"]


def test_where_all_is_held_nothing_goes_and_that_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, max_size=100)
    place.record(segment(ago(1)), segment(ago(2)))
    place.hold(ago(3), None)
    place.sweep()
    assert len(place.kept()) == 2
    assert place.deleter.standing(clock_trusted=True).stuck


def test_nothing_goes_by_age_while_the_clock_is_not_trusted(place: Place) -> None:
    place.record(segment(ago(20)), segment(ago(1)))
    place.sweep(trusted=False)
    assert len(place.kept()) == 2


def test_space_is_made_in_the_order_of_recording_while_the_clock_is_not_trusted(tmp_path: Path) -> None:
    place = Place(tmp_path, max_size=200)
    dated = segment(ago(1))
    place.record(dated)
    came = [segment(end_us) for end_us in (NOW_US + 365 * DAY_US, 3600 * US, 7200 * US)]
    for one in came:  # the clock ran ahead, then stood at 1970
        place.record(one, clock_trusted=False)
    place.sweep(trusted=False)
    assert place.kept() == paths(*came[1:])
    assert {receipt.reason for receipt in place.receipts()} == {"space"}


def test_what_was_recorded_by_a_clock_never_set_is_kept_a_whole_promise_from_when_it_is_right(place: Place) -> None:
    found = segment(3600 * US)
    told = segment(ago(30), clock=ClockTrust.FREE)
    place.record(found, told)
    place.sweep()
    assert len(place.kept()) == 2
    place.clock.move(9.9 * 86400)
    place.sweep()
    assert len(place.kept()) == 2
    place.clock.move(0.2 * 86400)
    place.sweep()
    assert place.kept() == set()


def test_what_was_recorded_a_year_ahead_is_not_immortal(place: Place) -> None:
    ahead, right = segment(NOW_US + 365 * DAY_US), segment(NOW_US)
    place.record(ahead, right)
    place.sweep()
    place.clock.move(10 * 86400 + 61)
    place.sweep()
    assert place.kept() == set()
    assert all(receipt.reason == "age" for receipt in place.receipts())


def test_the_quota_takes_from_all_cameras_oldest_first_and_says_the_promise_is_broken(tmp_path: Path) -> None:
    place = Place(tmp_path, max_size=450)
    recorded = [segment(ago(9 - n), camera) for n in range(4) for camera in (GATE, YARD)]
    place.record(*recorded)
    assert place.deleter.standing(clock_trusted=True).short == ()
    place.sweep()
    assert place.kept() == paths(*recorded[4:])
    standing = place.deleter.standing(clock_trusted=True)
    assert (standing.short, standing.oldest_us) == ((GATE, YARD), ago(7))
    place.clock.move(4 * 86400)
    assert place.deleter.standing(clock_trusted=True).short == ()


def test_with_on_full_stop_nothing_goes_for_want_of_space(tmp_path: Path) -> None:
    place = Place(tmp_path, max_size=200, on_full=OnFull.STOP)
    place.record(*(segment(ago(9, -n)) for n in range(4)))
    place.sweep()
    assert len(place.kept()) == 4
    assert place.deleter.must_wait()
    place.clock.move(1.1 * 86400)
    place.sweep()
    assert place.kept() == set()
    assert not place.deleter.must_wait()


def test_a_disk_that_others_filled_costs_little_of_the_ring(tmp_path: Path) -> None:
    place = Place(tmp_path, min_free=2**60, others_a_day=0.24)
    place.record(*(segment(ago(5, -n)) for n in range(1000)))
    place.sweep()
    assert 985 <= len(place.kept()) < 1000
    assert place.deleter.standing(clock_trusted=True).taken
    place.clock.move(3601)
    place.sweep()
    assert 970 <= len(place.kept()) < 985


def test_a_crash_between_unlink_and_receipt_is_finished_by_the_next_sweep(place: Place) -> None:
    gone, left = segment(ago(2)), segment(ago(1))
    place.record(gone, left)
    place.index.doom([gone], DeleteReason.SPACE)
    (place.root / gone.path).unlink()
    place.sweep()
    assert [receipt.reason for receipt in place.receipts()] == ["space"]
    assert place.kept() == paths(left)


def test_a_deletion_that_was_begun_is_called_back_by_a_hold(place: Place) -> None:
    doomed = segment(ago(11))
    place.record(doomed)
    place.index.doom([doomed], DeleteReason.AGE)
    place.hold(ago(12), ago(10))
    place.sweep()
    assert place.index.segments(GATE, EVER) == [doomed]
    assert place.kept() == paths(doomed)


def test_holds_that_cannot_be_read_stop_all_deletion(tmp_path: Path) -> None:
    Documents(tmp_path / "documents.json", HandClock()).put("hold", {"id": "h1", "cameras": "what?"})
    place = Place(tmp_path, max_size=0)
    place.record(segment(ago(20)))
    place.sweep()
    assert len(place.kept()) == 1
    assert not place.deleter.standing(clock_trusted=True).holds_known


def test_a_vanished_archive_disk_is_told_and_deletes_nothing(place: Place) -> None:
    place.index.add([segment(ago(20))])
    place.root.rmdir()
    with pytest.raises(ArchiveError, match="disk"):
        place.sweep()
    assert place.index.holdings().files == 1


def test_a_long_held_stretch_is_stepped_over_by_the_index(place: Place) -> None:
    held = [segment(ago(30, -n)) for n in range(20 * BATCH)]
    place.index.add([*held, segment(ago(15)), segment(ago(14))])
    place.hold(held[0].start_us, held[-1].end_us)
    steps: list[str] = []
    place.index._db.set_trace_callback(steps.append)
    chosen = place.deleter._choose(place.deleter._spaces(), clock_trusted=True)
    assert [one.end_us for one, _ in chosen] == [ago(15), ago(14)]
    assert sum("age_us" in step for step in steps) <= 4


def test_candidates_are_found_by_an_index_and_not_by_searching(place: Place) -> None:
    place.record(segment(ago(1)))
    steps: list[str] = []
    place.index._db.set_trace_callback(steps.append)
    place.sweep()
    place.deleter.standing(clock_trusted=True)
    place.index._db.set_trace_callback(None)
    asked = {step for step in steps if step.startswith(("SELECT", "UPDATE"))}
    assert len(asked) >= 5
    for step in asked:
        plan = [row[3] for row in place.index._db.execute(f"EXPLAIN QUERY PLAN {step}")]
        bad = ("SCAN segment", "SCAN receipt", "TEMP B-TREE")
        assert not [line for line in plan if line.startswith(bad) or "TEMP B-TREE" in line], (step, plan)
