"""Merkle roots of the hours, proofs, and what remains of receipts."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.coverage import TOLERANCE_US, PieceState
from edge_agent.buffer.hours import (
    GRACE_US,
    KEEP_RECEIPTS_US,
    journal_hours,
    leaf_of,
    prove,
    roll_up,
    rolled,
    seal_next,
)
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.index_facts import Installed
from edge_agent.buffer.index_past import HOUR_US, Receipt
from edge_agent.buffer.library import Library
from edge_agent.buffer.segments import DAY_US, SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust import merkle
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind
from tests.simulators.clock import HandClock

GATE, YARD = CameraId("gate"), CameraId("yard")
HOUR = 497_000 * HOUR_US


def segment(minute: float, camera: CameraId = GATE, hashed: bool = True) -> Segment:
    start = HOUR + round(minute * 60) * US
    path = str(SegmentName(camera, start, 1))
    digest = hashlib.sha256(path.encode()).hexdigest() if hashed else None
    return Segment(camera, path, start, start + 60 * US, 1000, 1500, digest)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index.sqlite", HandClock(HOUR + HOUR_US))


def test_a_leaf_is_what_the_page_says() -> None:
    one = Segment(GATE, "gate/2026-11-22/1795366379920531_000001.mp4.age", 0, 7, 9, None, "ab" * 32)
    assert leaf_of(one) == b"edge-agent.segment/1\n%s\n7\n9\n%s\n" % (one.path.encode(), b"ab" * 32)


def test_an_hour_gets_one_root_over_all_cameras_once_it_is_over(index: Index) -> None:
    those = [segment(n, camera) for camera in (YARD, GATE) for n in range(59)]
    index.add([*those, segment(59.5)])
    assert seal_next(index, HOUR + HOUR_US + GRACE_US - 1) is None
    hour = seal_next(index, HOUR + HOUR_US + GRACE_US)
    assert hour is not None
    assert (hour.hour_us, hour.batch, hour.count) == (HOUR, 0, 118)
    leaves = [merkle.leaf_hash(leaf_of(one)) for one in sorted(those, key=lambda s: (s.camera, s.start_us))]
    assert hour.root == merkle.root(leaves)
    assert seal_next(index, HOUR + HOUR_US + GRACE_US) is None


def test_what_comes_late_or_was_hashed_late_makes_another_batch(index: Index) -> None:
    index.add([segment(0), segment(1, hashed=False)])
    now = HOUR + 2 * HOUR_US
    assert (first := seal_next(index, now)) is not None
    assert first.count == 1
    assert index.note_hash(segment(1))
    index.add([segment(2)])
    assert (second := seal_next(index, now)) is not None
    assert (second.batch, second.count) == (1, 2)
    for path, batch in ((segment(0).path, 0), (segment(1).path, 1), (segment(2).path, 1)):
        assert prove(index, path).hour.batch == batch


def test_a_recording_is_proved_after_it_was_deleted_and_a_changed_one_is_not(index: Index) -> None:
    index.add([segment(n) for n in range(7)])
    index.doom([segment(0)], DeleteReason.AGE)
    index.gone(index.doomed(), HOUR)
    assert seal_next(index, HOUR + 2 * HOUR_US) is not None, "what went within the hour is in its root, too"
    index.doom([segment(3)], DeleteReason.SPACE)
    index.gone(index.doomed(), HOUR)
    for n in (0, 3, 6):
        proof = prove(index, segment(n).path)
        assert proof.verified
        assert (proof.index, proof.segment.sha256) == (n, segment(n).sha256)
    index.add([replace(segment(5), sha256="00" * 32)])
    with pytest.raises(ArchiveError, match="does not give the hour's root"):
        prove(index, segment(6).path)
    with pytest.raises(NotFoundError, match="stands under no root"):
        prove(index, segment(40).path)


def test_roots_stand_in_the_journal_once_even_after_it_could_not_be_written(index: Index, tmp_path: Path) -> None:
    clock = HandClock()
    index.add([segment(0), segment(70)])
    with pytest.raises(ArchiveError):
        journal_hours(index, Journal(tmp_path / "missing" / "journal.jsonl", clock), HOUR + 5 * HOUR_US)
    journal = Journal(tmp_path / "journal.jsonl", clock)
    for _ in range(2):
        journal_hours(index, journal, HOUR + 5 * HOUR_US)
    entries = [entry for entry in journal.read() if isinstance(entry, JournalEntry)]
    assert [entry.kind for entry in entries] == [JournalKind.SEGMENTS] * 2
    assert entries[0].args["root"] == prove(index, segment(0).path).hour.root.hex()
    assert (entries[0].args["batch"], entries[0].args["count"]) == (0, 1)


def test_receipts_of_a_day_long_past_are_rolled_up_and_what_was_there_stays_answerable(
    index: Index, tmp_path: Path
) -> None:
    day = HOUR // DAY_US
    those = [segment(n) for n in range(20)] + [segment(n, YARD) for n in range(5)]
    index.add(those)
    index.doom(those[:10], DeleteReason.SPACE)
    index.doom(those[10:], DeleteReason.AGE)
    index.gone(index.doomed(), HOUR + DAY_US)
    index.add([segment(30, YARD)])
    late = HOUR + DAY_US + KEEP_RECEIPTS_US + 1
    assert list(roll_up(index, late)) == [], "a recording of the day is still there, and must stay provable"
    index.doom([segment(30, YARD)], DeleteReason.AGE)
    index.gone(index.doomed(), HOUR + DAY_US)
    assert list(roll_up(index, late - 2)) == []
    index.note_installed(GATE, Installed(HOUR, None))
    clock = HandClock(late)
    library = Library(tmp_path, index, [], clock)
    whole = Interval(HOUR, HOUR + HOUR_US)
    before = library.coverage(GATE, whole)
    assert list(roll_up(index, late)) == [(GATE, day), (YARD, day)]
    assert index.receipts(GATE, whole) == []
    age, space = index.rolled(GATE, whole)
    assert (age.files, age.size_bytes, age.hashed, space.files) == (10, 10_000, 10, 10)
    assert age.spans == (Interval(HOUR + 600 * US, HOUR + 1200 * US),)
    assert library.coverage(GATE, whole) == before
    assert [p.reason for p in before if p.state is PieceState.DELETED] == ["space", "age"]
    assert list(roll_up(index, late)) == []


@given(st.lists(st.tuples(st.integers(0, 1300), st.sampled_from(["age", "space"]), st.booleans()), max_size=30))
def test_nothing_is_forgotten_when_receipts_are_rolled_up(made: list[tuple[int, str, bool]]) -> None:
    receipts = [Receipt(segment(n / 4, hashed=hashed), reason, n) for n, reason, hashed in sorted(made)]
    remains = rolled(GATE, HOUR // DAY_US, receipts)
    assert sum(one.files for one in remains) == len(receipts)
    assert sum(one.hashed for one in remains) == sum(receipt.segment.sha256 is not None for receipt in receipts)
    for one in remains:
        mine = [receipt for receipt in receipts if receipt.reason == one.reason]
        assert (one.first_deleted_us, one.last_deleted_us) == (mine[0].deleted_us, mine[-1].deleted_us)
        for receipt in mine:
            assert any(receipt.segment.interval.clipped(span) == receipt.segment.interval for span in one.spans)
        gaps = [b.start_us - a.end_us for a, b in zip(one.spans, one.spans[1:], strict=False)]
        assert all(gap > TOLERANCE_US for gap in gaps)
