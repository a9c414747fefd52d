"""What has to go, decided over values: fairly, no more than must, little for others."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.promise import DAY_US, UNDATED, Aged, OnFull, Rule, Space, first_to_lose, until_it_fits
from edge_agent.clock import US
from edge_agent.model import CameraId, Segment

GATE, YARD = CameraId("gate"), CameraId("yard")
NOW_US = 1_795_000_000 * US
GB = 10**9


def recording(camera: CameraId, mark_us: int, size: int = 100) -> Aged:
    end = mark_us if mark_us < UNDATED else NOW_US
    return Aged(Segment(camera, f"{camera}/{mark_us}", end - 60 * US, end, size, None, None), mark_us)


def daily(camera: CameraId, count: int, size: int = 100) -> list[Aged]:
    """A recording a day, oldest first, the newest of now."""
    return [recording(camera, NOW_US - day * DAY_US, size) for day in reversed(range(count))]


def rule(**kwargs: object) -> Rule:
    return Rule(**{"keep_us": 10 * DAY_US, "keep_us_of": {}, **kwargs})  # type: ignore[arg-type]


@given(
    st.lists(st.integers(1, 1000), max_size=40),
    st.integers(0, 30_000) | st.none(),
    st.integers(0, 5000),
    st.integers(0, 5000),
)
def test_no_more_goes_than_must(sizes: list[int], max_size: int | None, min_free: int, free: int) -> None:
    recordings = [recording(GATE, NOW_US + n, size) for n, size in enumerate(sizes)]
    asked, held = rule(max_size=max_size, min_free=min_free, others_a_day=24.0), sum(sizes)
    excess = asked.excess(Space(held, free))
    chosen = list(until_it_fits(recordings, excess))
    freed = sum(aged.segment.size_bytes for aged in chosen)
    assert chosen == recordings[: len(chosen)]
    assert freed >= excess or len(chosen) == len(recordings)
    if chosen:
        assert freed - chosen[-1].segment.size_bytes < excess


def kept_days(left: Sequence[Aged], camera: CameraId) -> float:
    return (NOW_US - min(aged.mark_us for aged in left if aged.segment.camera == camera)) / DAY_US


@given(st.integers(1, 35))
def test_each_camera_keeps_the_same_part_of_its_own_promise(lost: int) -> None:
    asked = rule(keep_us_of={YARD: 30 * DAY_US})
    gate, yard = daily(GATE, 10), daily(YARD, 30)
    order = first_to_lose({GATE: gate, YARD: yard}, asked, NOW_US)
    gone = [next(order) for _ in range(lost)]
    left = [aged for aged in (*gate, *yard) if aged not in gone]
    assert (
        abs(kept_days(left, GATE) / 10 - kept_days(left, YARD) / 30) < 0.101
    )  # a recording of the gate is a tenth of its promise


def test_with_one_promise_the_oldest_recording_of_all_goes_first_whatever_its_size() -> None:
    order = first_to_lose({GATE: daily(GATE, 5, size=1), YARD: daily(YARD, 5, size=10**9)}, rule(), NOW_US)
    marks = [aged.mark_us for aged in order]
    assert marks == sorted(marks)
    assert len(marks) == 10


def test_undated_recordings_go_last_in_the_order_they_came() -> None:
    asked = rule(keep_us_of={YARD: 30 * DAY_US})
    recordings = {GATE: [recording(GATE, NOW_US), *(recording(GATE, UNDATED + n) for n in (1, 3))]}
    recordings[YARD] = [recording(YARD, UNDATED + 2)]
    order = [aged.mark_us for aged in first_to_lose(recordings, asked, NOW_US)]
    assert order == [NOW_US, UNDATED + 1, UNDATED + 2, UNDATED + 3]


def test_the_archives_own_growth_is_paid_at_once() -> None:
    own = Space(held=1000 * GB, free=0, recorded=7 * GB, freed=3 * GB)
    asked = rule(min_free=4 * GB)
    assert asked.excess(own) == 4 * GB
    assert not asked.taken_by_others(own)


def test_others_get_a_part_of_the_archive_a_day_and_no_more() -> None:
    asked = rule(min_free=50 * GB, others_a_day=0.24)
    held, free = 1000 * GB, 0
    freed_a_day = 0
    for _ in range(24):
        freed = 0
        while excess := asked.excess(Space(held, free, recorded=0, freed=freed)):
            held, freed = held - excess, freed + excess
            # the stranger takes at once whatever becomes free
        freed_a_day += freed
        assert asked.taken_by_others(Space(held, free, 0, freed))
    assert 0.15 * 1000 * GB < freed_a_day <= 0.24 * 1000 * GB


def test_others_never_push_the_archive_below_its_floor_but_for_one_recording_an_hour() -> None:
    asked = rule(min_free=50 * GB, min_size=100 * GB)
    assert asked.excess(Space(held=100 * GB, free=0, freed=1)) == 0
    assert asked.excess(Space(held=100 * GB, free=0)) == 1
    assert asked.excess(Space(held=100 * GB, free=0, recorded=2 * GB, freed=GB)) == GB


def test_the_quota_is_our_own_wish_and_is_met_at_once() -> None:
    assert rule(max_size=300 * GB, min_size=100 * GB).excess(Space(held=500 * GB, free=GB, freed=GB)) == 200 * GB


def test_a_stopped_recording_goes_on_only_when_there_is_some_room_again() -> None:
    asked = rule(min_free=10 * GB, on_full=OnFull.STOP)
    assert not asked.must_wait(Space(0, 10 * GB), waiting=False)
    assert asked.must_wait(Space(0, 10 * GB - 1), waiting=False)
    assert asked.must_wait(Space(0, 10 * GB + GB // 4), waiting=True)
    assert not asked.must_wait(Space(0, 10 * GB + GB // 2), waiting=True)
    quota = rule(max_size=100 * GB, on_full=OnFull.STOP)
    assert quota.must_wait(Space(100 * GB, GB), waiting=False)
    assert quota.must_wait(Space(99 * GB + 1, GB), waiting=True)
    assert not quota.must_wait(Space(99 * GB - 1, GB), waiting=True)
    assert not rule(min_free=10 * GB).must_wait(Space(0, 0), waiting=False)
