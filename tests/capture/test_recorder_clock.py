"""What the recorder writes while the clocks around it are set: real files, real index, clocks moved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.buffer.disks import Disks
from edge_agent.buffer.index import Index
from edge_agent.buffer.mp4_read import read_fragments
from edge_agent.buffer.segments import scan
from edge_agent.capture import nal
from edge_agent.capture.camera_clock import CameraClock
from edge_agent.capture.camera_times import CameraTimes
from edge_agent.capture.disk_choice import DiskChoice
from edge_agent.capture.gate import Gate
from edge_agent.capture.node_time import NodeTime
from edge_agent.capture.segment_writer import ArchivePlace, SegmentWriter
from edge_agent.capture.segmenter import Segmenter
from edge_agent.capture.source import VIDEO, Packet, StreamInfo, VideoTrack
from edge_agent.clock import US
from edge_agent.messages import SegmentClosed, SegmentOpened
from edge_agent.model import CameraId, ClockTrust, GapCause, Interval, Segment
from edge_agent.trust.age import AgeReader, Identity
from tests.capture.test_camera_clock import TICK
from tests.capture.test_rtsp_packets import IDR, SLICE
from tests.capture.test_rtsp_sdp import PPS, SPS
from tests.simulators.clock import HandClock

GATE = CameraId("gate")
DAY_S = 86_400
YEAR_S = 365 * DAY_S

CARRIED, FREE, SYNCED = ClockTrust.CARRIED, ClockTrust.FREE, ClockTrust.SYNCED


@dataclass
class Node:
    """A recorder of one camera, 5 pictures a second, a keyframe each second, a file every 10 s."""

    folder: Path
    clock: HandClock
    told: list[SegmentOpened | SegmentClosed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = Identity.generate()
        disks = DiskChoice(Disks.of(self.folder), Gate(), self.clock, lambda _: None)
        self.place = ArchivePlace(disks, [self.identity.recipient], 10.0, 5.0)
        self.writer = SegmentWriter(GATE, self.place, self.clock, self.told.append, lambda _: None)
        self.times = CameraTimes(NodeTime(self.clock.synchronised), CameraClock())
        self.floor_us = 0
        self.pictures = 0
        self.connect()

    def connect(self) -> None:
        """A connection to the camera begins."""
        info = StreamInfo(VideoTrack("h264", TICK, 640, 360, b""))
        self.segmenter = Segmenter(info, self.writer, 10.0, self.times, self.floor_us, 0)

    def disconnect(self) -> None:
        self.segmenter.end()
        self.floor_us = self.segmenter.floor_us

    def record(self, seconds: int, *, damaged: bool = False) -> None:
        for _ in range(seconds * 5):
            key = self.pictures % 5 == 0
            units = (SPS, PPS, IDR + b"\x11" * 40) if key else (SLICE + b"\x22" * 20,)
            ticks = self.pictures * 18_000
            now_us, monotonic = self.clock.utc_us(), self.clock.monotonic()
            data = nal.length_prefixed(list(units))
            self.segmenter.put(Packet(VIDEO, data, ticks, ticks, 0, key, now_us, monotonic, damaged and not key))
            self.pictures += 1
            self.clock.move(0.2)

    @property
    def closed(self) -> list[Segment]:
        return [message.segment for message in self.told if isinstance(message, SegmentClosed)]

    def lost(self) -> list[str]:
        return [m.evidence for m in self.told if isinstance(m, SegmentOpened) and m.lost is GapCause.CLOCK]

    def pictures_in(self, segment: Segment) -> int:
        with (self.folder / segment.path).open("rb") as file:
            movie = read_fragments(AgeReader(file, [self.identity]))
        return sum(len(track.samples) for track in movie.tracks)


def node(tmp_path: Path, clock: HandClock) -> Node:
    folder = tmp_path / "archive"
    folder.mkdir()
    return Node(folder, clock)


def check(found: Node) -> None:
    """What holds whatever was done: every picture is in a file, names differ, the disk says what was told."""
    found.disconnect()
    assert sum(found.pictures_in(segment) for segment in found.closed) == found.pictures
    on_disk = {segment.path: (segment.start_us, segment.end_us) for segment in scan(found.folder)}
    assert on_disk == {segment.path: (segment.start_us, segment.end_us) for segment in found.closed}
    assert len(on_disk) == len(found.closed)


def test_a_boot_a_year_ahead_is_recorded_then_the_present_is_at_once_and_both_are_found(tmp_path: Path) -> None:
    clock = HandClock(follows_server=False)
    right_us = clock.utc_us()
    clock.step(YEAR_S)
    gate = node(tmp_path, clock)
    gate.record(25)
    clock.step(-YEAR_S, follows_server=True)
    gate.record(35)
    check(gate)
    assert [segment.clock for segment in gate.closed] == [FREE, FREE, CARRIED, SYNCED, SYNCED, SYNCED, SYNCED]
    assert gate.lost() == ["the node's clock was set by -31536000.0 s"]
    index = Index(tmp_path / "index.sqlite", clock)
    index.add(gate.closed)
    present = index.segments(GATE, Interval(right_us + 30 * US, right_us + 50 * US))
    assert [segment.path for segment in present] == [segment.path for segment in gate.closed[3:6]]
    assert all(before.end_us == after.start_us for before, after in pairwise(present))
    future = index.segments(GATE, Interval(right_us + YEAR_S * US, right_us + (YEAR_S + 60) * US))
    assert [segment.path for segment in future] == [segment.path for segment in gate.closed[:3]]
    index.close()


def test_a_camera_that_was_lost_while_the_clock_was_put_right_returns_to_the_present(tmp_path: Path) -> None:
    clock = HandClock(follows_server=False)
    right_us = clock.utc_us()
    clock.step(YEAR_S)
    gate = node(tmp_path, clock)
    gate.record(5)
    gate.disconnect()
    clock.step(-YEAR_S, follows_server=True)
    clock.move(10)
    gate.connect()
    gate.record(15)
    check(gate)
    assert gate.closed[-1].end_us - right_us == pytest.approx(30 * US, abs=2 * US)


@pytest.mark.parametrize("to", [900_000_000 * US, 30 * US, 1_790_000_000 * US + YEAR_S * US])
def test_a_clock_that_nobody_vouches_for_moves_no_recording_of_one_that_was_right(tmp_path: Path, to: int) -> None:
    clock = HandClock()
    right_us = clock.utc_us()
    gate = node(tmp_path, clock)
    gate.record(15)
    clock.step((to - clock.utc_us()) / US, follows_server=False)
    gate.record(30)
    check(gate)
    assert [segment.clock for segment in gate.closed] == [SYNCED, CARRIED, CARRIED, CARRIED, CARRIED]
    assert gate.lost() == []
    assert (gate.closed[0].start_us, gate.closed[-1].end_us) == (right_us, right_us + 45 * US)
    assert all(before.end_us == after.start_us for before, after in pairwise(gate.closed))


def test_an_hour_set_back_by_a_server_is_recorded_twice_under_different_names(tmp_path: Path) -> None:
    clock = HandClock()
    gate = node(tmp_path, clock)
    gate.record(30)
    clock.step(-20)
    gate.record(10)
    clock.step(-3600)
    gate.record(30)
    check(gate)
    starts = [segment.start_us for segment in gate.closed]
    back = next(place for place, (before, after) in enumerate(pairwise(starts), 1) if after < before)
    for stretch in (gate.closed[:back], gate.closed[back:]):
        assert all(before.end_us <= after.start_us for before, after in pairwise(stretch))
    assert gate.lost() == ["the node's clock was set by -20.0 s", "the node's clock was set by -3600.0 s"]


def test_the_same_second_recorded_again_after_the_clock_was_set_back_has_another_name(tmp_path: Path) -> None:
    clock = HandClock(follows_server=False)
    gate = node(tmp_path, clock)
    for _ in range(3):
        gate.record(10)
        gate.disconnect()
        gate.connect()
        clock.step(-3600 - 10)
        gate.record(2)
        clock.step(3600 - 2)
    check(gate)
    assert len({segment.path.rpartition("_")[2] for segment in gate.closed}) == len(gate.closed)


@pytest.mark.parametrize(
    "night", [datetime(2026, 3, 29, 0, 59, 45, tzinfo=UTC), datetime(2026, 10, 25, 0, 59, 45, tzinfo=UTC)]
)
def test_the_nights_of_summer_time_are_ordinary_ones(
    tmp_path: Path, night: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Kyiv")
    clock = HandClock(int(night.timestamp()) * US)
    gate = node(tmp_path, clock)
    gate.record(40)
    check(gate)
    start_us = int(night.timestamp()) * US
    assert [segment.start_us - start_us for segment in gate.closed] == [0, 10 * US, 20 * US, 30 * US]
    assert {segment.path.split("/")[1] for segment in gate.closed} == {night.date().isoformat()}
    assert {segment.clock for segment in gate.closed} == {SYNCED}


def test_a_leap_second_cuts_nothing(tmp_path: Path) -> None:
    clock = HandClock()
    gate = node(tmp_path, clock)
    gate.record(20)
    clock.step(-1)
    gate.record(40)
    check(gate)
    assert gate.lost() == []
    assert all(before.end_us == after.start_us for before, after in pairwise(gate.closed))
    assert {segment.clock for segment in gate.closed} == {SYNCED}


def test_damaged_pictures_are_counted_in_the_file_that_holds_them(tmp_path: Path) -> None:
    gate = node(tmp_path, HandClock())
    gate.record(10)
    gate.record(10, damaged=True)
    gate.record(10)
    check(gate)
    assert [segment.damaged for segment in gate.closed] == [0, 40, 0]
