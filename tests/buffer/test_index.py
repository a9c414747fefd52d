"""The index: what is where, what is missing, what is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.buffer.index import DeleteReason, Index
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
