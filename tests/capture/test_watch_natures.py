"""What zones and lines tell of, on values alone: boxes that walk, rest, run and gather."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture.alarms import Alarms, Decision
from edge_agent.capture.calibration import Ground, Measure, View, movement
from edge_agent.capture.regions import PICTURE, Line, Region
from edge_agent.capture.tracker import Tracker
from edge_agent.capture.tracks import Blob, Instant
from edge_agent.clock import US
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Approach, Box, CameraId, Kind, Pace, Side
from tests.capture.watching import apart_deg

FPS = 5
MIDDLE = ((0.3, 0.2), (0.7, 0.2), (0.7, 1.0), (0.3, 1.0))
POSTS = (Measure((0.2, 0.55), (0.2, 0.65), 1.75), Measure((0.8, 0.6), (0.8, 0.9), 1.75))
"""Somebody of 1.75 m at two places: the horizon is at 0.525, a metre at the lower row 0.171 of the picture's height."""
STREET = View(16 / 9, Ground.fitted(POSTS, 16 / 9, 80), bearing_deg=30)


def told(
    pictures: list[list[Blob]], *regions: Region, lines: tuple[Line, ...] = (), view: View = STREET
) -> list[Alarm]:
    numbers = itertools.count()
    alarms = Alarms(CameraId("gate"), regions, view, lambda: f"id-{next(numbers)}", lines)
    decisions: list[Decision] = []
    for number, blobs in enumerate(pictures):
        at_s = 100 + number / FPS
        decisions += alarms.update(Instant(round(at_s * US), at_s), blobs).decisions
    return [decision.alarm for decision in decisions]


def zone(*natures: AlarmNature, loiter_s: float = 60.0, object_s: float = 20.0, crowd_part: float = 0.3) -> Region:
    return Region("gate", MIDDLE, natures, loiter_s, object_s, crowd_part)


def way(*places: tuple[float, float], step: float = 0.02, size: tuple[float, float] = (0.04, 0.2)) -> list[Box]:
    """Boxes whose feet go from place to place."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        count = max(1, round(max(abs(x1 - x0), abs(y1 - y0)) / step))
        boxes += [(x0 + (x1 - x0) * n / count, y0 + (y1 - y0) * n / count) for n in range(count)]
    return [Box(x - size[0] / 2, y - size[1], *size) for x, y in [*boxes, places[-1]]]


def seen(boxes: list[Box], outline: float = 0.5) -> list[list[Blob]]:
    return [[Blob(box, outline)] for box in boxes]


def quiet(seconds: float) -> list[list[Blob]]:
    return [[] for _ in range(round(seconds * FPS))]


def starts(alarms: list[Alarm]) -> list[Alarm]:
    return [alarm for alarm in alarms if alarm.phase is AlarmPhase.START]


def natures(alarms: list[Alarm], phase: AlarmPhase = AlarmPhase.START) -> list[AlarmNature]:
    return [alarm.nature for alarm in alarms if alarm.phase is phase]


THROUGH = way((0.1, 0.8), (0.9, 0.8))


def test_who_goes_through_a_zone_enters_it_and_leaves_it_and_both_alarms_end() -> None:
    found = told(seen(THROUGH) + quiet(6), zone(AlarmNature.ENTERED, AlarmNature.LEFT))
    assert natures(found) == [AlarmNature.ENTERED, AlarmNature.LEFT]
    assert natures(found, AlarmPhase.END) == [AlarmNature.ENTERED, AlarmNature.LEFT]
    assert {alarm.zone for alarm in found} == {"gate"}


def test_who_comes_out_of_a_door_within_the_zone_has_not_entered_it() -> None:
    found = told(seen(way((0.5, 0.8), (0.9, 0.8))) + quiet(6), zone(AlarmNature.ENTERED, AlarmNature.LEFT))
    assert natures(found) == [AlarmNature.LEFT]


def test_who_turns_round_at_the_zones_edge_has_not_entered_it() -> None:
    found = told(seen(way((0.1, 0.8), (0.27, 0.8), (0.1, 0.8))) + quiet(6), zone(AlarmNature.ENTERED))
    assert found == []


def test_a_zone_at_the_pictures_edge_is_entered_and_left_over_it() -> None:
    left = Region("left", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)), (AlarmNature.ENTERED, AlarmNature.LEFT))
    boxes = [Box(max(0.0, x), 0.6, min(0.04, x + 0.04), 0.2) for x in (0.02 * n - 0.03 for n in range(20))]
    found = told(seen(boxes) + seen(boxes[::-1]) + quiet(6), left)
    assert natures(found) == [AlarmNature.ENTERED, AlarmNature.LEFT]


@pytest.mark.parametrize(("back", "side"), [(False, Side.RIGHT), (True, Side.LEFT)])
def test_a_crossed_line_is_told_with_the_side_that_was_gone_to(back: bool, side: Side) -> None:
    line = Line("kerb", ((0.5, 0.95), (0.5, 0.4)))  # looking up the picture: right is right
    boxes = THROUGH[::-1] if back else THROUGH
    [start, *_, end] = told(seen(boxes) + quiet(6), lines=(line,))
    assert (start.nature, start.phase, start.zone, start.side) == (AlarmNature.LINE, AlarmPhase.START, "kerb", side)
    assert end.phase is AlarmPhase.END
    assert 100 + 20 / FPS <= start.at_us / US <= 100 + 24 / FPS


def test_a_line_with_a_side_is_silent_to_the_other() -> None:
    line = Line("kerb", ((0.5, 0.95), (0.5, 0.4)), Side.LEFT)
    assert told(seen(THROUGH) + quiet(6), lines=(line,)) == []


def test_crossings_beside_a_lines_ends_and_along_it_do_not_count() -> None:
    beside, along = Line("a", ((0.5, 0.3), (0.5, 0.1))), Line("b", ((0.05, 0.802), (0.95, 0.802)))
    assert told(seen(THROUGH) + quiet(6), lines=(beside, along)) == []


def test_several_who_cross_are_counted_in_one_alarm() -> None:
    line = Line("kerb", ((0.5, 0.95), (0.5, 0.4)))
    one, other = seen(THROUGH), [*quiet(1.6), *seen(way((0.1, 0.93), (0.9, 0.93)))]
    nobody: list[Blob] = []
    pictures = [a + b for a, b in itertools.zip_longest(one, other, fillvalue=nobody)]
    found = told(pictures + quiet(6), lines=(line,))
    assert len(starts(found)) == 1
    assert found[-1].count == 2


@given(st.floats(0.1, 0.9), st.floats(0.5, 0.95), st.floats(0.1, 0.9), st.floats(0.5, 0.95))
@settings(max_examples=60, deadline=None)
def test_whoever_goes_and_comes_back_crosses_to_one_side_and_then_the_other(
    x0: float, y0: float, x1: float, y1: float
) -> None:
    line = Line("kerb", ((0.5, 1.0), (0.5, 0.0)))
    there = way((x0, y0), (x1, y1), step=0.015)
    sides = [alarm.side for alarm in told(seen(there + there[::-1]) + quiet(6), lines=(line,)) if alarm.side]
    if abs(x0 - 0.5) > 0.04 and abs(x1 - 0.5) > 0.04 and (x0 < 0.5) != (x1 < 0.5):
        assert sides[0] is (Side.RIGHT if x0 < 0.5 else Side.LEFT)
        assert sides[-1] is (Side.LEFT if x0 < 0.5 else Side.RIGHT)
    elif abs(x0 - 0.5) > 0.04 and abs(x1 - 0.5) > 0.04:
        assert sides == []


def test_who_stays_to_and_fro_loiters_and_who_passes_does_not() -> None:
    watched = zone(AlarmNature.LOITERING, loiter_s=10)
    assert told(seen(THROUGH) + quiet(10), watched) == []
    about = way((0.1, 0.8), (0.4, 0.8), *[(0.6, 0.8), (0.4, 0.8)] * 6, (0.9, 0.8))
    found = told(seen(about) + quiet(12), watched)
    assert natures(found) == [AlarmNature.LOITERING]
    entered_s = 100 + 10 / FPS
    assert starts(found)[0].at_us / US == pytest.approx(entered_s + 10, abs=1)
    assert natures(found, AlarmPhase.END) == [AlarmNature.LOITERING]


def test_who_is_hidden_for_some_seconds_goes_on_loitering() -> None:
    come, stay = way((0.1, 0.8), (0.5, 0.8)), [Box(0.48, 0.6, 0.04, 0.2)] * (5 * FPS)
    pictures = seen(come + stay) + quiet(4) + seen(stay)
    assert natures(told(pictures, zone(AlarmNature.LOITERING, loiter_s=10))) == [AlarmNature.LOITERING]


def test_what_never_moved_does_not_loiter() -> None:
    found = told(seen([Box(0.48, 0.6, 0.04, 0.2)] * (30 * FPS)), zone(AlarmNature.LOITERING, loiter_s=10))
    assert found == []


@pytest.mark.parametrize(("speed_mps", "runs"), [(1.4, False), (2.0, False), (3.5, True), (5.0, True)])
def test_running_is_told_by_metres_a_second(speed_mps: float, runs: bool) -> None:
    scale = STREET.ground.per_metre(0.9) if STREET.ground else None
    assert scale
    step = speed_mps * scale / FPS / STREET.aspect
    person = (0.35 * 1.75 * scale / STREET.aspect, 1.75 * scale)
    found = told(
        seen(way((0.1, 0.9), (0.9, 0.9), step=step, size=person)), Region(None, PICTURE, (AlarmNature.RUNNING,))
    )
    assert natures(found) == [AlarmNature.RUNNING] * runs


def test_a_bag_that_stays_is_left_behind_and_its_bearer_is_not() -> None:
    bag = Blob(Box(0.5, 0.75, 0.03, 0.05), 0.6)
    come, go = way((0.1, 0.8), (0.5, 0.8)), way((0.5, 0.8), (0.95, 0.8))
    pictures = seen(come) + [[Blob(box), bag] for box in go] + [[bag]] * (15 * FPS) + quiet(10)
    found = told(pictures, zone(AlarmNature.OBJECT_LEFT, AlarmNature.OBJECT_TAKEN, object_s=10))
    assert natures(found) == natures(found, AlarmPhase.END) == [AlarmNature.OBJECT_LEFT]
    assert starts(found)[0].box == bag.box


def test_where_something_is_missing_it_was_taken() -> None:
    hole = [[Blob(Box(0.5, 0.75, 0.03, 0.05), -0.6)]] * (15 * FPS)
    found = told(hole + quiet(10), zone(AlarmNature.OBJECT_LEFT, AlarmNature.OBJECT_TAKEN, object_s=10))
    assert natures(found) == natures(found, AlarmPhase.END) == [AlarmNature.OBJECT_TAKEN]


def test_a_crowd_is_told_by_the_part_of_the_zone_that_it_covers() -> None:
    lanes = [0.5, 0.62, 0.74, 0.86, 0.98]

    def gathering(count: int) -> list[list[Blob]]:
        come = [way((0.1 - 0.02 * n, lanes[n]), (0.5 - 0.02 * n, lanes[n]), size=(0.15, 0.25)) for n in range(count)]
        stand = [[boxes[-1]] * (12 * FPS) for boxes in come]
        return [[Blob(box) for box in boxes] for boxes in zip(*map(list.__add__, come, stand), strict=False)]

    watched = zone(AlarmNature.CROWD, crowd_part=0.4)
    assert told(gathering(1) + quiet(6), watched) == []
    found = told(gathering(5) + quiet(6), watched)
    assert natures(found) == natures(found, AlarmPhase.END) == [AlarmNature.CROWD]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.builds(
                lambda x, y, w, h, o: Blob(Box(x, y, min(w, 1 - x), min(h, 1 - y)), o),
                st.floats(0, 0.9),
                st.floats(0, 0.9),
                st.floats(0.02, 0.4),
                st.floats(0.02, 0.4),
                st.floats(-1, 1),
            ),
            max_size=3,
        ),
        max_size=80,
    )
)
def test_every_alarm_of_every_nature_starts_once_and_ends_once(pictures: list[list[Blob]]) -> None:
    every = zone(
        AlarmNature.MOTION,
        AlarmNature.ENTERED,
        AlarmNature.LEFT,
        AlarmNature.LOITERING,
        AlarmNature.RUNNING,
        AlarmNature.CROWD,
        AlarmNature.OBJECT_LEFT,
        AlarmNature.OBJECT_TAKEN,
        loiter_s=5,
        object_s=5,
    )
    repeated = [blobs for blobs in pictures for _ in range(4)]
    found = told(repeated + quiet(20), every, lines=(Line("kerb", ((0.5, 1.0), (0.5, 0.0))),))
    for alarm_id in {alarm.alarm_id for alarm in found}:
        phases = [alarm.phase for alarm in found if alarm.alarm_id == alarm_id]
        assert (phases[0], phases[-1]) == (AlarmPhase.START, AlarmPhase.END)
        assert set(phases[1:-1]) <= {AlarmPhase.UPDATE}


# ---- metres and compass


def test_two_measured_lengths_give_the_horizon_and_metres_everywhere() -> None:
    ground = Ground.fitted(POSTS, 16 / 9, 80)
    assert ground.horizon == pytest.approx(0.525)
    assert ground.per_metre(0.9) == pytest.approx(0.3 / 1.75)
    assert ground.per_metre(0.53) is None
    kerb = Measure((0.4, 0.9), (0.4 + 0.3 / 1.75 * 2 / (16 / 9), 0.9), 2.0)
    assert Ground.fitted((POSTS[0], kerb), 16 / 9, 80).per_metre(0.7) == pytest.approx(ground.per_metre(0.7))


@pytest.mark.parametrize("second", [Measure((0.8, 0.5), (0.8, 0.66), 1.75), Measure((0.8, 0.85), (0.8, 0.9), 1.75)])
def test_measures_that_tell_no_ground_are_refused(second: Measure) -> None:
    with pytest.raises(ValueError, match=r"rows|down"):
        Ground.fitted((POSTS[0], second), 16 / 9, 80)


@given(st.floats(-4, 4), st.floats(5, 20), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=80, deadline=None)
def test_speed_and_bearing_on_the_ground_are_those_walked(x: float, z: float, vx: float, vz: float) -> None:
    ground = STREET.ground
    assert ground
    if (vx**2 + vz**2) ** 0.5 < 0.8:
        return

    def foot(at_s: float) -> tuple[float, float]:
        scale = ground.focal / (z + vz * at_s)
        return 0.5 + (x + vx * at_s) * scale / ground.aspect, ground.horizon + scale / ground.grows

    tracker, tracks = Tracker(STREET.aspect), []
    for number in range(5):
        fx, fy = foot(number * 0.1)
        scale = ground.per_metre(fy)
        if scale is None or not (0.06 < fx < 0.94 and 0.3 < fy < 0.97):
            return
        size = (0.5 * scale / STREET.aspect, 1.75 * scale)
        if fy - size[1] < 0.02:
            return
        tracks = tracker.update(number * 0.1, [Blob(Box(fx - size[0] / 2, fy - size[1], *size))])
    if len(tracks) != 1 or tracks[0].seen != 5:
        return
    found = movement(tracks[0], STREET)
    assert found.kind is Kind.PERSON_LIKE
    assert found.speed_mps == pytest.approx((vx**2 + vz**2) ** 0.5, rel=0.15, abs=0.1)
    assert found.bearing_deg is not None
    assert apart_deg(found.bearing_deg, 30 + math.degrees(math.atan2(vx, vz))) < 10


def test_somebody_coming_is_told_with_bearing_kind_pace_and_count() -> None:
    boxes = []
    for n in range(12):
        y, h = 0.6 + 0.018 * n, (0.6 + 0.018 * n - 0.525) * 0.8
        boxes.append(Box(0.5 - h * 0.15, y - h, h * 0.3, h))
    last = told(seen(boxes) + quiet(1), Region(None, MIDDLE))[-1]
    assert (last.kind, last.approach) == (Kind.PERSON_LIKE, Approach.APPROACHING)
    assert last.bearing_deg == pytest.approx(210, abs=15)
    assert last.pace in (Pace.WALK, Pace.RUN, Pace.SLOW, Pace.VEHICLE)
    assert last.direction_deg == pytest.approx(180, abs=5)
    assert len(last.path) >= 2
