"""Retention: by age, then by space, oldest first, and whatever crashes is finished later."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.retention import Ballast, Deleter, Rule, Space, choose
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval, Segment
from tests.simulators.clock import HandClock

DAY_US = 86400 * US


def segment(number: int, size: int = 100, camera: str = "gate") -> Segment:
    start = number * 60 * US
    path = str(SegmentName(CameraId(camera), start, 1))
    return Segment(CameraId(camera), path, start, start + 60 * US, size, None, None)


@given(
    st.lists(st.integers(1, 1000), max_size=40),
    st.integers(0, 3000),
    st.integers(0, 3000) | st.none(),
    st.integers(0, 5000),
    st.integers(0, 5000),
)
def test_the_oldest_go_first_and_no_more_than_must(
    sizes: list[int], keep_s: int, max_size: int | None, min_free: int, free: int
) -> None:
    segments = [segment(number, size) for number, size in enumerate(sizes)]
    held, now = sum(sizes), len(sizes) * 60 * US
    rule = Rule(keep_s * US, max_size, min_free)
    chosen = choose(segments, rule, Space(held, free), now)
    assert [s for s, _ in chosen] == segments[: len(chosen)]
    freed = sum(s.size_bytes for s, _ in chosen)
    left = segments[len(chosen) :]
    if left:
        assert left[0].end_us > now - rule.keep_us
        assert rule.excess(Space(held - freed, free + freed)) == 0
    for s, reason in chosen:
        assert (reason is DeleteReason.AGE) == (s.end_us <= now - rule.keep_us)
    by_space = [s for s, reason in chosen if reason is DeleteReason.SPACE]
    if by_space:
        without_last = freed - by_space[-1].size_bytes
        assert rule.excess(Space(held - without_last, free + without_last)) > 0


def archive(root: Path, index: Index, segments: list[Segment]) -> None:
    for entry in segments:
        (root / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (root / entry.path).write_bytes(b"x" * entry.size_bytes)
    index.add(segments)


def test_files_older_than_the_promise_go_and_leave_receipts(tmp_path: Path) -> None:
    clock = HandClock(11 * DAY_US)
    index = Index(tmp_path / "index.sqlite", clock)
    old = [segment(n) for n in range(3)]
    young = [segment(2 * 24 * 60 + n) for n in range(2)]
    archive(tmp_path, index, old + young)
    swept = Deleter(tmp_path, index, Rule(10 * DAY_US, None, 0), clock, Ballast(tmp_path / "ballast")).sweep()
    assert (swept.by_age, swept.by_space, swept.freed_bytes, swept.more) == (3, 0, 300, False)
    assert not any((tmp_path / s.path).exists() for s in old)
    assert all((tmp_path / s.path).exists() for s in young)
    assert len(index.receipts(CameraId("gate"), Interval(0, DAY_US))) == 3


def test_a_crash_between_unlink_and_receipt_is_finished_by_the_next_sweep(tmp_path: Path) -> None:
    clock = HandClock(0)
    index = Index(tmp_path / "index.sqlite", clock)
    archive(tmp_path, index, [segment(0), segment(1)])
    index.doom([segment(0)], DeleteReason.SPACE)
    (tmp_path / segment(0).path).unlink()
    Deleter(tmp_path, index, Rule(10 * DAY_US, None, 0), clock, Ballast(tmp_path / "ballast")).sweep()
    assert [r.reason for r in index.receipts(CameraId("gate"), Interval(0, DAY_US))] == ["space"]
    assert (tmp_path / segment(1).path).exists()


def test_the_size_limit_holds_across_cameras_oldest_first(tmp_path: Path) -> None:
    clock = HandClock(DAY_US)
    index = Index(tmp_path / "index.sqlite", clock)
    archive(tmp_path, index, [segment(n, camera=c) for n in range(4) for c in ("gate", "yard")])
    Deleter(tmp_path, index, Rule(10 * DAY_US, 450, 0), clock, Ballast(tmp_path / "ballast")).sweep()
    assert index.holdings().size_bytes == 400
    assert index.holdings(CameraId("gate")).files == index.holdings(CameraId("yard")).files == 2


def test_a_vanished_archive_disk_is_told_and_deletes_nothing(tmp_path: Path) -> None:
    clock = HandClock(DAY_US)
    index = Index(tmp_path / "index.sqlite", clock)
    index.add([segment(0)])
    with pytest.raises(ArchiveError, match="disk"):
        Deleter(tmp_path / "gone", index, Rule(10 * DAY_US, 0, 0), clock, Ballast(tmp_path / "ballast")).sweep()
    assert index.holdings().files == 1
