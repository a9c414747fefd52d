"""The ledger: every second is recorded, or a gap with its cause, whatever the disk does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.index import Index
from edge_agent.buffer.ledger import EMPTY_BYTES, TOLERANCE_US, Ledger, split_gap
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.messages import SegmentOpened
from edge_agent.model import CameraId, Gap, GapCause, Interval, Segment
from edge_agent.trust.age import Identity
from tests.simulators.clock import HandClock

CAMERA = CameraId("gate")
ME = Identity.generate()
ALWAYS = Interval(0, 4_000_000_000 * US)


@given(st.integers(0, 100), st.integers(1, 100), st.integers(0, 250))
def test_a_hole_is_filled_by_its_gaps_exactly(start_s: int, length_s: int, agent_s: int) -> None:
    hole = Interval(start_s * US, (start_s + length_s) * US)
    gaps = split_gap(CAMERA, hole, SegmentOpened(CAMERA, "p", hole.end_us, GapCause.CAMERA, "stalled"), agent_s * US)
    assert gaps[0].start_us == hole.start_us
    assert gaps[-1].end_us == hole.end_us
    assert all(one.end_us == other.start_us for one, other in itertools.pairwise(gaps))
    assert (gaps[0].cause is GapCause.NODE_OFF) == (agent_s * US > hole.start_us)


def closed(start_s: int, end_s: int) -> Segment:
    return Segment(
        CAMERA, f"gate/1970-01-01/{start_s * US}_000001.mp4.age", start_s * US, end_s * US, 100, 10, "ab" * 32
    )


def test_what_lies_between_two_files_becomes_a_gap_with_the_recorders_cause(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite", HandClock(0))
    ledger = Ledger(tmp_path, index, [ME], HandClock(0))
    ledger.closed(closed(10, 20))
    assert ledger.opened(SegmentOpened(CAMERA, "p", 20 * US + TOLERANCE_US)) == []
    (gap,) = ledger.opened(SegmentOpened(CAMERA, "p", 25 * US, GapCause.CAMERA, "stalled"))
    assert (gap.start_us, gap.end_us, gap.cause) == (20 * US, 25 * US, GapCause.CAMERA)
    assert index.gaps(CAMERA, ALWAYS) == [gap]


class IndexOnFullDisk(Index):
    """Refuses what is written while `full`."""

    full = True

    def add(self, segments: Iterable[Segment], *, known_stay: bool = False, clock_trusted: bool = True) -> None:
        self._check()
        super().add(segments, known_stay=known_stay, clock_trusted=clock_trusted)

    def add_gaps(self, gaps: Iterable[Gap]) -> None:
        self._check()
        super().add_gaps(gaps)

    def _check(self) -> None:
        if self.full:
            raise ArchiveError("the disk is full")


def test_what_the_index_could_not_take_is_entered_later(tmp_path: Path) -> None:
    index = IndexOnFullDisk(tmp_path / "index.sqlite", HandClock(0))
    ledger = Ledger(tmp_path, index, [ME], HandClock(0))
    with pytest.raises(ArchiveError):
        ledger.closed(closed(10, 20))
    with pytest.raises(ArchiveError):
        ledger.opened(SegmentOpened(CAMERA, "p", 30 * US, GapCause.DISK, "full"))
    index.full = False
    ledger.settle()
    assert index.segments(CAMERA, ALWAYS) == [closed(10, 20)]
    (gap,) = index.gaps(CAMERA, ALWAYS)
    assert (gap.start_us, gap.end_us) == (20 * US, 30 * US)


def test_the_index_is_made_again_from_the_files_outsides(tmp_path: Path) -> None:
    clock = HandClock()
    start = clock.utc_us()
    for number in range(3):
        file = SegmentFile(tmp_path, SegmentName(CAMERA, start + number * 60 * US, 1), [ME.recipient])
        file.write(b"x" * 1000)
        file.close(start + (number + 1) * 60 * US)
    index = Index(tmp_path / "index.sqlite", clock)
    assert Ledger(tmp_path, index, [], clock).reconcile() == []
    found = index.segments(CAMERA, ALWAYS)
    assert [(s.start_us, s.end_us) for s in found] == [
        (start + n * 60 * US, start + (n + 1) * 60 * US) for n in range(3)
    ]


def test_a_file_that_vanished_leaves_a_receipt(tmp_path: Path) -> None:
    clock = HandClock()
    index = Index(tmp_path / "index.sqlite", clock)
    index.add([closed(10, 20)])
    Ledger(tmp_path, index, [], clock).reconcile()
    assert index.segments(CAMERA, ALWAYS) == []
    assert [receipt.reason for receipt in index.receipts(CAMERA, ALWAYS)] == ["missing"]


def test_a_damaged_unfinished_file_is_left_alone_and_an_empty_one_is_removed(tmp_path: Path) -> None:
    clock = HandClock()
    folder = tmp_path / "gate" / "2026-09-21"
    folder.mkdir(parents=True)
    name = SegmentName(CAMERA, clock.utc_us(), 1)
    folder = (tmp_path / str(name)).parent
    folder.mkdir(parents=True, exist_ok=True)
    empty, garbage = tmp_path / str(name), tmp_path / str(SegmentName(CAMERA, clock.utc_us() + US, 2))
    empty.touch(mode=0o600)
    garbage.touch(mode=0o600)
    garbage.write_bytes(os.urandom(2 * EMPTY_BYTES))
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [ME], clock)
    assert ledger.recover(ledger.reconcile()) == []
    assert not empty.exists()
    assert garbage.stat().st_size == 2 * EMPTY_BYTES
