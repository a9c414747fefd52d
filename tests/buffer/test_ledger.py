"""The ledger: every second is recorded, or a gap with its cause, whatever the disk does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.coverage import TOLERANCE_US, PieceState
from edge_agent.buffer.index import Index
from edge_agent.buffer.index_facts import Installed, Life, Loss
from edge_agent.buffer.index_marks import FIRST
from edge_agent.buffer.ledger import EMPTY_BYTES, Ledger, before_start
from edge_agent.buffer.library import Library
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.messages import SegmentOpened
from edge_agent.model import CameraId, ClockTrust, Gap, GapCause, Interval, Segment
from edge_agent.trust.age import Identity
from tests.simulators.clock import HandClock

CAMERA = CameraId("gate")
ME = Identity.generate()
ALWAYS = Interval(0, 4_000_000_000 * US)


@given(
    st.integers(0, 100),
    st.integers(1, 100),
    st.none() | st.integers(0, 250),
    st.none() | st.just(Loss(GapCause.CAMERA, "stalled")),
)
def test_a_hole_before_the_start_is_filled_by_its_gaps_exactly(
    start_s: int, length_s: int, alive_s: int | None, loss: Loss | None
) -> None:
    hole = Interval(start_s * US, (start_s + length_s) * US)
    before = None if alive_s is None else Life(0, alive_s * US, False, "boot")
    gaps = before_start(CAMERA, hole, before, loss, "boot")
    assert gaps[0].start_us == hole.start_us
    assert gaps[-1].end_us == hole.end_us
    assert all(one.end_us == other.start_us for one, other in itertools.pairwise(gaps))
    lost = sum(gap.interval.seconds for gap in gaps if gap.cause is GapCause.CAMERA)
    lived = 0 if alive_s is None or loss is None else min(max(alive_s - start_s, 0), length_s)
    assert lost == lived


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

    def trim_gaps(self, camera: CameraId, from_us: int) -> None:
        self._check()
        super().trim_gaps(camera, from_us)

    def note_loss(self, camera: CameraId, loss: Loss | None) -> None:
        self._check()
        super().note_loss(camera, loss)

    def _check(self) -> None:
        if self.full:
            raise ArchiveError("the disk is full")


def test_what_the_index_could_not_take_is_entered_later(tmp_path: Path) -> None:
    index = IndexOnFullDisk(tmp_path / "index.sqlite", HandClock(0))
    ledger = Ledger(tmp_path, index, [ME], HandClock(0))
    with pytest.raises(ArchiveError):
        ledger.closed(closed(10, 20))
    ledger.lost(CAMERA, Loss(GapCause.DISK, "full"))  # who tells the alarm must not fail here
    with pytest.raises(ArchiveError):
        ledger.opened(SegmentOpened(CAMERA, "p", 30 * US))
    index.full = False
    ledger.settle()
    assert index.segments(CAMERA, ALWAYS) == [closed(10, 20)]
    (gap,) = index.gaps(CAMERA, ALWAYS)
    assert (gap.start_us, gap.end_us, gap.cause) == (20 * US, 30 * US, GapCause.DISK)


def test_a_start_on_a_full_disk_keeps_the_account_of_the_time_before_it(tmp_path: Path) -> None:
    clock = HandClock(100 * US)
    index = IndexOnFullDisk(tmp_path / "index.sqlite", clock)
    index.full = False
    index.add([closed(10, 20)])
    index.full = True
    ledger = Ledger(tmp_path, index, [], clock)
    with pytest.raises(ArchiveError):
        ledger.begin([CAMERA])
    index.full = False
    ledger.settle()
    (gap,) = index.gaps(CAMERA, ALWAYS)
    assert (gap.start_us, gap.end_us, gap.cause) == (20 * US, 100 * US, GapCause.NODE_OFF)


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
    ledger = Ledger(tmp_path, index, [], clock)
    audited(ledger)
    assert index.holdings(CAMERA).files == 1, "an archive that is not there at all may be on a disk that is not mounted"
    (tmp_path / "yard" / "1970-01-01").mkdir(parents=True)
    audited(Ledger(tmp_path, index, [], clock))
    assert index.segments(CAMERA, ALWAYS) == []
    assert [receipt.reason for receipt in index.receipts(CAMERA, ALWAYS)] == ["missing"]


def audited(ledger: Ledger) -> None:
    while ledger.audit(0):
        pass


def recording(root: Path, start_us: int, end_us: int, sequence: int = 1) -> Segment:
    file = SegmentFile(root, SegmentName(CAMERA, start_us, sequence), [ME.recipient])
    file.write(b"x" * 1000)
    return file.close(end_us, 25, 0, ClockTrust.SYNCED)


def test_the_whole_archive_is_entered_in_slices_with_all_that_the_day_logs_say(tmp_path: Path) -> None:
    clock = HandClock()
    day_us, now = 86400 * US, clock.utc_us()
    made = [recording(tmp_path, now - n * day_us, now - n * day_us + 60 * US) for n in reversed(range(5))]
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [], clock)
    assert ledger.reconcile() == []
    assert index.holdings().files == 2, "at start only the newest folders are looked at"
    audited(ledger)
    assert index.segments(CAMERA, ALWAYS) == sorted(made, key=lambda segment: segment.start_us)


def test_a_hash_that_nobody_wrote_down_is_computed_at_leisure(tmp_path: Path) -> None:
    clock = HandClock()
    made = recording(tmp_path, clock.utc_us(), clock.utc_us() + US)
    log = (tmp_path / made.path).parent / "segments.jsonl"
    log.unlink()
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [], clock)
    ledger.reconcile()
    (found,) = index.segments(CAMERA, ALWAYS)
    assert (found.end_us, found.sha256, found.frames) == (made.end_us, None, None)
    audited(ledger)
    assert [segment.sha256 for segment in index.segments(CAMERA, ALWAYS)] == [made.sha256]
    assert (made.sha256 or "?").encode() in log.read_bytes()


def test_a_file_that_a_failing_disk_kept_open_is_closed_at_leisure(tmp_path: Path) -> None:
    clock = HandClock()
    name = SegmentName(CAMERA, clock.utc_us(), 1)
    file = SegmentFile(tmp_path, name, [ME.recipient])
    file.write(b"x" * 100_000)
    file.push()
    index = Index(tmp_path / "index.sqlite", clock)
    Ledger(tmp_path, index, [ME], clock).closed(
        Segment(CAMERA, str(name), name.start_us, name.start_us + US, file.size_bytes, 5, None, torn=True)
    )
    audited(Ledger(tmp_path, index, [ME], clock))
    status = file.path.stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns // 1000) == (0o400, name.start_us + US)
    assert index.by_path([str(name)])[0].sha256


def test_an_unfinished_file_of_long_ago_is_found_and_the_one_being_written_is_left_alone(tmp_path: Path) -> None:
    clock = HandClock()
    now = clock.utc_us()
    for n in range(3):
        recording(tmp_path, now - n * 86400 * US, now - n * 86400 * US + US)
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [], clock)
    ledger.reconcile()
    clock.move(600)
    names = [SegmentName(CAMERA, now - 86400 * US * n + 5 * US, 2) for n in (0, 2)]
    for name, written_us in zip(names, (clock.utc_us(), now - 100 * US), strict=True):
        SegmentFile(tmp_path, name, [Identity.generate().recipient])
        os.utime(tmp_path / str(name), ns=(written_us * 1000, written_us * 1000))
    audited(ledger)
    assert (tmp_path / str(names[0])).exists()
    assert not (tmp_path / str(names[1])).exists()


def test_a_recording_whose_end_nobody_told_is_entered_when_the_next_one_begins(tmp_path: Path) -> None:
    clock = HandClock()
    now = clock.utc_us()
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [], clock)
    made = recording(tmp_path, now, now + 60 * US)
    ledger.opened(SegmentOpened(CAMERA, made.path, now))
    assert ledger.opened(SegmentOpened(CAMERA, str(SegmentName(CAMERA, made.end_us, 2)), made.end_us)) == []
    assert index.segments(CAMERA, ALWAYS) == [made]


class Node:
    """An agent's ledger, run by run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = HandClock()
        self.began_us = self.clock.utc_us()
        self.index = Index(root / "index.sqlite", self.clock)
        self.library = Library(root, self.index, [], self.clock)
        self.ledger = self._ledger("first boot")
        self._sequence = 0

    def restart(self, boot: str = "first boot", *cameras: CameraId) -> None:
        self.ledger = self._ledger(boot, *cameras)

    def records(self, seconds: int, lost: GapCause | None = None, evidence: str = "") -> None:
        self._sequence += 1
        start = self.clock.utc_us()
        path = str(SegmentName(CAMERA, start, self._sequence))
        self.ledger.opened(SegmentOpened(CAMERA, path, start, lost, evidence))
        self.clock.move(seconds)
        self.ledger.closed(Segment(CAMERA, path, start, self.clock.utc_us(), 1, 1, "ab" * 32))

    def story(self) -> list[tuple[float, str]]:
        """Seconds and what they were, since the beginning."""
        pieces = self.library.coverage(CAMERA, Interval(self.began_us, self.clock.utc_us()))
        return [(p.interval.seconds, p.cause or p.state) for p in pieces]

    def _ledger(self, boot: str, *cameras: CameraId) -> Ledger:
        ledger = Ledger(self.root, self.index, [], self.clock, boot)
        ledger.begin(cameras or [CAMERA])
        return ledger


def test_a_camera_is_installed_with_its_first_picture_or_when_it_was_configured(tmp_path: Path) -> None:
    quick = Node(tmp_path)
    quick.clock.move(3)
    quick.records(60)
    assert quick.story() == [(3, PieceState.OUTSIDE), (60, PieceState.RECORDED)]
    (tmp_path / "slow").mkdir()
    slow = Node(tmp_path / "slow")
    slow.clock.move(200)
    slow.records(60, GapCause.NETWORK, "unreachable")
    assert slow.story() == [(200, GapCause.NETWORK), (60, PieceState.RECORDED)]


def test_what_was_lost_before_the_node_went_off_is_told_from_the_time_it_was_off(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.records(60)
    node.ledger.lost(CAMERA, Loss(GapCause.NETWORK, "unreachable"))
    node.clock.move(100)
    node.ledger.alive()
    assert node.story()[-1] == (100, GapCause.NETWORK)
    node.clock.move(1000)
    node.restart("another boot")
    node.clock.move(5)
    node.records(10)
    assert node.story() == [
        (60, PieceState.RECORDED),
        (100, GapCause.NETWORK),
        (1000, GapCause.NODE_OFF),
        (5, GapCause.PROCESS),
        (10, PieceState.RECORDED),
    ]
    (off,) = [gap for gap in node.index.gaps(CAMERA, ALWAYS) if gap.cause is GapCause.NODE_OFF]
    assert "booted" in off.evidence


def test_a_recorder_that_died_is_the_cause_until_the_next_file(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.records(60)
    node.ledger.lost(CAMERA, Loss(GapCause.PROCESS, "the recorder ended (-9)"))
    node.ledger.lost(CAMERA, Loss(GapCause.CAMERA, "later"))
    node.clock.move(2)
    node.records(60)
    (gap,) = node.index.gaps(CAMERA, ALWAYS)
    assert (gap.interval.seconds, gap.cause, gap.evidence) == (2, GapCause.PROCESS, "the recorder ended (-9)")
    assert node.index.losses() == {}


def test_a_camera_that_was_taken_out_and_comes_back_has_a_gap_by_mode(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.records(60)
    node.restart("first boot", CameraId("another"))
    node.clock.move(500)
    assert node.story()[-1] == (500, PieceState.OUTSIDE)
    node.restart()
    node.records(10)
    assert node.story() == [(60, PieceState.RECORDED), (500, GapCause.MODE), (10, PieceState.RECORDED)]
    assert node.index.installed(CAMERA) == Installed(node.began_us, None)


def test_a_recording_of_the_future_hides_no_gap_of_now(tmp_path: Path) -> None:
    """The clock was a year ahead for a while."""
    node = Node(tmp_path)
    node.clock.step(365 * 86400)
    node.records(60)
    node.clock.step(-365 * 86400)
    node.records(60)
    node.clock.move(100)
    node.records(60, GapCause.CAMERA, "stalled")
    assert node.story() == [
        (60, GapCause.CLOCK),
        (60, PieceState.RECORDED),
        (100, GapCause.CAMERA),
        (60, PieceState.RECORDED),
    ]


def test_time_that_the_clock_jumped_over_is_missing_by_the_clock(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.records(60)
    node.clock.step(3600)
    node.records(60)
    assert node.story() == [(60, PieceState.RECORDED), (3600, GapCause.CLOCK), (60, PieceState.RECORDED)]


def test_an_unfinished_file_that_nothing_can_be_read_of_is_kept_without_time_and_an_empty_one_removed(
    tmp_path: Path,
) -> None:
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
    (kept,) = ledger.recover(ledger.reconcile())
    assert not empty.exists()
    assert garbage.stat().st_size == kept.size_bytes == 2 * EMPTY_BYTES
    assert (kept.torn, kept.interval.empty) == (True, True)
    assert [aged.segment for aged in index.by_age(CAMERA, FIRST, 2)] == [kept], "it goes with its age"
    assert ledger.reconcile() == []


def test_a_rest_between_two_losses_is_a_gap_of_its_own(tmp_path: Path) -> None:
    clock = HandClock(0)
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [ME], clock)
    ledger.begin([CAMERA])
    ledger.opened(SegmentOpened(CAMERA, closed(10, 20).path, 10 * US))
    ledger.closed(closed(10, 20))
    ledger.lost(CAMERA, Loss(GapCause.CAMERA, "stalled"))
    clock.move(30)
    assert [gap.cause for gap in ledger.rest(CAMERA, "mode private")] == [GapCause.CAMERA]
    assert ledger.rest(CAMERA, "mode private") == []
    assert index.losses() == {CAMERA: Loss(GapCause.MODE, "mode private")}
    clock.move(30)
    assert [(gap.cause, gap.evidence) for gap in ledger.rest(CAMERA, None)] == [(GapCause.MODE, "mode private")]
    assert index.losses() == {CAMERA: Loss(GapCause.CAMERA, "stalled")}
    ledger.opened(SegmentOpened(CAMERA, "p", 65 * US, GapCause.CAMERA, "stalled"))
    assert [(gap.start_us // US, gap.end_us // US, str(gap.cause)) for gap in index.gaps(CAMERA, ALWAYS)] == [
        (20, 30, "camera"),
        (30, 60, "mode"),
        (60, 65, "camera"),
    ]
    assert index.losses() == {}


def test_a_rest_that_begins_while_a_file_is_open_begins_where_the_file_ends(tmp_path: Path) -> None:
    clock = HandClock(0)
    ledger = Ledger(tmp_path, Index(tmp_path / "index.sqlite", clock), [ME], clock)
    ledger.begin([CAMERA])
    ledger.opened(SegmentOpened(CAMERA, closed(0, 12).path, 0))
    clock.move(10)
    assert ledger.rest(CAMERA, "mode private") == []
    ledger.closed(closed(0, 12))
    clock.move(10)
    (gap,) = ledger.rest(CAMERA, None)
    assert (gap.start_us, gap.end_us, gap.cause) == (12 * US, 20 * US, GapCause.MODE)


def test_an_agent_that_ended_during_a_rest_left_its_cause(tmp_path: Path) -> None:
    clock = HandClock(0)
    index = Index(tmp_path / "index.sqlite", clock)
    ledger = Ledger(tmp_path, index, [ME], clock, boot="one")
    ledger.begin([CAMERA])
    ledger.opened(SegmentOpened(CAMERA, closed(0, 10).path, 0))
    ledger.closed(closed(0, 10))
    clock.move(10)
    ledger.rest(CAMERA, "mode private")
    ledger.lost(CAMERA, Loss(GapCause.CAMERA, "stalled"))
    clock.move(20)
    ledger.alive()
    clock.move(5)
    Ledger(tmp_path, index, [ME], clock, boot="one").begin([CAMERA])
    causes = [(gap.start_us // US, gap.end_us // US, str(gap.cause)) for gap in index.gaps(CAMERA, ALWAYS)]
    assert causes == [(10, 30, "mode"), (30, 35, "node_off")]
