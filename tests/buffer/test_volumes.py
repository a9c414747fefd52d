"""The table of hours: nothing counts twice, what was missed is caught up with, what is kept stays in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.buffer.index import Index
from edge_agent.buffer.rates import DAY_US, HOUR_US, HourVolume
from edge_agent.buffer.segments import SegmentName
from edge_agent.buffer.volumes import Volumes
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Hold, Segment
from tests.simulators.clock import HandClock

GATE, YARD = CameraId("gate"), CameraId("yard")
T0 = 494_000 * HOUR_US
NOW_US = T0 + 400 * DAY_US


def segment(start_us: int, seconds: float = 60, size: int = 6_000_000, camera: CameraId = GATE) -> Segment:
    path = str(SegmentName(camera, start_us, 1))
    return Segment(camera, path, start_us, start_us + round(seconds * US), size, None, None)


def minutes(count: int, camera: CameraId = GATE, start_us: int = T0) -> list[Segment]:
    return [segment(start_us + number * 60 * US, camera=camera) for number in range(count)]


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW_US)


def catch_up(volumes: Volumes, index: Index, *cameras: CameraId) -> int:
    return sum(1 for camera in cameras for _ in volumes.catch_up(index, camera, NOW_US))


def test_recordings_add_up_by_the_hour(tmp_path: Path, clock: HandClock) -> None:
    volumes = Volumes.open(tmp_path / "volumes.sqlite", clock)
    volumes.add([*minutes(90), *minutes(30, YARD)])
    assert volumes.hours(GATE) == [
        HourVolume(T0, 360_000_000, HOUR_US),
        HourVolume(T0 + HOUR_US, 180_000_000, HOUR_US // 2),
    ]
    assert volumes.hours(YARD) == [HourVolume(T0, 180_000_000, HOUR_US // 2)]
    assert volumes.counted_until(GATE) == T0 + 90 * 60 * US
    assert volumes.counted_until(CameraId("none")) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_whatever_was_counted_before_the_index_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, clock: HandClock, steps: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("v")
    index, volumes = Index(folder / "index.sqlite", clock), Volumes.open(folder / "volumes.sqlite", clock)
    every = minutes(sum(steps))
    done = 0
    for step in steps:
        index.add(every[done : done + step])
        done += step
        if step % 3:
            volumes.add(every[:done])
        if step % 2:
            catch_up(volumes, index, GATE)
    catch_up(volumes, index, GATE)
    assert sum(volume.size_bytes for volume in volumes.hours(GATE)) == sum(s.size_bytes for s in every)
    assert sum(volume.recorded_us for volume in volumes.hours(GATE)) == len(every) * 60 * US


def test_a_table_that_was_lost_is_made_again_from_the_index_a_day_at_a_time(tmp_path: Path, clock: HandClock) -> None:
    index = Index(tmp_path / "index.sqlite", clock)
    index.add([s for day in range(3) for s in minutes(70, start_us=T0 + day * DAY_US)])
    # Then nothing for a year, and a day again.
    index.add(minutes(10, start_us=T0 + 365 * DAY_US))
    first = Volumes.open(tmp_path / "volumes.sqlite", clock)
    assert catch_up(first, index, GATE, YARD) >= 3
    known = first.hours(GATE)
    assert len(known) == 7
    first.close()
    (tmp_path / "volumes.sqlite").unlink()
    again = Volumes.open(tmp_path / "volumes.sqlite", clock)
    catch_up(again, index, GATE)
    assert again.hours(GATE) == known


def test_a_damaged_table_is_set_aside_and_counted_anew(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "volumes.sqlite"
    path.write_bytes(b"not a database" * 1000)
    index = Index(tmp_path / "index.sqlite", clock)
    index.add(minutes(60))
    volumes = Volumes.open(path, clock)
    catch_up(volumes, index, GATE)
    assert [volume.size_bytes for volume in volumes.hours(GATE)] == [360_000_000]
    assert len(list(tmp_path.glob("volumes.sqlite.damaged-*"))) == 1


def test_old_hours_go_unless_a_hold_keeps_them(tmp_path: Path, clock: HandClock) -> None:
    volumes = Volumes.open(tmp_path / "volumes.sqlite", clock)
    volumes.add([*minutes(300), *minutes(300, YARD)])
    hold = Hold("h1", (GATE,), T0 + HOUR_US, T0 + 2 * HOUR_US, "1", "", "", "", 0)
    volumes.prune(T0 + 4 * HOUR_US, [hold])
    assert [volume.hour_us for volume in volumes.hours(GATE)] == [T0 + HOUR_US, T0 + 4 * HOUR_US]
    assert [volume.hour_us for volume in volumes.hours(YARD)] == [T0 + 4 * HOUR_US]


def test_a_clock_that_ran_a_year_ahead_stops_the_counting_for_no_longer_than_that(
    tmp_path: Path, clock: HandClock
) -> None:
    index = Index(tmp_path / "index.sqlite", clock)
    volumes = Volumes.open(tmp_path / "volumes.sqlite", clock)
    year_us = 365 * DAY_US
    index.add([*minutes(60), *minutes(60, start_us=NOW_US + year_us)])
    for _ in volumes.catch_up(index, GATE, NOW_US + year_us):
        pass
    assert volumes.counted_until(GATE) == NOW_US + year_us + HOUR_US
    index.add(minutes(60, start_us=NOW_US))
    for _ in range(3):
        catch_up(volumes, index, GATE)
    assert volumes.hours(GATE) == [HourVolume(T0, 360_000_000, HOUR_US), HourVolume(NOW_US, 360_000_000, HOUR_US)]


def test_a_copy_reads_beside_the_agent_and_changes_nothing(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "volumes.sqlite"
    assert Volumes.copy_of(path, clock).hours(GATE) == []
    assert not path.exists()
    own = Volumes.open(path, clock)
    own.add(minutes(60))
    copy = Volumes.copy_of(path, clock)
    copy.add(minutes(60, start_us=T0 + HOUR_US))
    assert (len(copy.hours(GATE)), len(own.hours(GATE))) == (2, 1)
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(ArchiveError, match=r"bad\.sqlite"):
        Volumes.copy_of(tmp_path / "bad.sqlite", clock)
