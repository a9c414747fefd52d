"""The rules by which moving blobs become alarms, on values alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture.alarms import QUIET_S, TOLD_S, Alarms, Decision
from edge_agent.capture.calibration import View
from edge_agent.capture.regions import PICTURE, Line, Region, contains, overlap
from edge_agent.capture.tracker import Tracker
from edge_agent.capture.tracks import Blob, Instant
from edge_agent.clock import US
from edge_agent.model import AlarmNature, AlarmPhase, Box, CameraId

FPS = 5
LEFT = Region("left", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
RIGHT = Region("right", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)))


def walker(start: tuple[float, float], step: tuple[float, float], size: tuple[float, float] = (0.05, 0.2)) -> list[Box]:
    """Somebody's boxes, picture by picture, until the picture's edge (300 at most)."""
    boxes: list[Box] = []
    x, y = start
    while len(boxes) < 300 and x >= 0 and x + size[0] <= 1 and y >= 0 and y + size[1] <= 1:
        boxes.append(Box(x, y, *size))
        x, y = x + step[0], y + step[1]
    return boxes


def played(alarms: Alarms, pictures: Iterable[list[Box]], begin_s: float = 100.0, fps: float = FPS) -> list[Decision]:
    decisions: list[Decision] = []
    for number, boxes in enumerate(pictures):
        at_s = begin_s + number / fps
        decisions.extend(alarms.update(Instant(round(at_s * US), at_s), [Blob(box) for box in boxes]).decisions)
    return decisions


def desk(*regions: Region) -> Alarms:
    numbers = itertools.count()
    return Alarms(CameraId("gate"), regions or (Region(None, PICTURE),), View(16 / 9), lambda: f"id-{next(numbers)}")


def quiet(seconds: float = 10.0) -> list[list[Box]]:
    return [[]] * round(seconds * FPS)


def phases(decisions: list[Decision]) -> list[str]:
    return [decision.alarm.phase.value for decision in decisions]


def seconds_from_start(decision: Decision) -> float:
    return (decision.alarm.at_us - decision.alarm.started_us) / US


def test_somebody_crossing_is_one_alarm_with_a_start_updates_and_an_end() -> None:
    way = walker((0.02, 0.4), (0.012, 0.0))
    decisions = played(desk(), [[box] for box in way] + quiet())
    assert phases(decisions)[0] == "start"
    assert phases(decisions)[-1] == "end"
    assert set(phases(decisions)[1:-1]) == {"update"}
    assert len({decision.alarm.alarm_id for decision in decisions}) == 1
    assert len({decision.alarm.started_us for decision in decisions}) == 1


def told_at(alarms: Alarms, pictures: Iterable[list[Box]]) -> list[float]:
    """Seconds at which fewer pictures suffice."""
    found = []
    for number, boxes in enumerate(pictures):
        at_s = number / FPS
        alarms.update(Instant(round(at_s * US), at_s), [Blob(box) for box in boxes])
        if alarms.told(at_s):
            found.append(at_s)
    return found


def test_while_all_that_is_watched_for_is_told_fewer_pictures_suffice_until_it_ends() -> None:
    alarms = desk()
    way = walker((0.02, 0.4), (0.01, 0.0))
    told = told_at(alarms, [[box] for box in way] + quiet())
    assert TOLD_S <= told[0] <= TOLD_S + 1
    assert told == [number / FPS for number in range(round(told[0] * FPS), round(told[-1] * FPS) + 1)]
    assert told[-1] <= len(way) / FPS + QUIET_S
    assert not alarms.open_ids


def test_where_something_new_could_begin_all_pictures_are_looked_at() -> None:
    way = [[box] for box in walker((0.02, 0.4), (0.005, 0.0))]
    assert told_at(desk(LEFT, RIGHT), way[: len(way) // 2]) == [], "nobody is on the right side yet"
    assert told_at(desk(Region(None, PICTURE, (AlarmNature.MOTION, AlarmNature.RUNNING))), way) == []
    line = Line("fence", ((0.5, 1.0), (0.5, 0.0)))
    watched = Alarms(CameraId("gate"), (Region(None, PICTURE),), View(16 / 9), lambda: "id", (line,))
    assert told_at(watched, way) == []


def test_an_alarm_is_decided_within_700_ms_of_the_first_blob() -> None:
    [start, *_] = played(desk(), [[box] for box in walker((0.02, 0.4), (0.012, 0.0))])
    assert start.alarm.started_us <= 100.7 * US
    assert start.alarm.moment


def test_an_alarm_ends_about_four_seconds_after_the_last_movement() -> None:
    way = walker((0.02, 0.4), (0.012, 0.0))
    end = played(desk(), [[box] for box in way] + quiet())[-1]
    left_at_us = (100 + (len(way) - 1) / FPS) * US
    assert QUIET_S <= (end.alarm.at_us - left_at_us) / US <= QUIET_S + 0.5


def test_updates_come_five_seconds_apart_and_with_a_picture_when_the_direction_is_learnt() -> None:
    decisions = played(desk(), [[box] for box in walker((0.02, 0.4), (0.006, 0.0))])
    updates = [decision for decision in decisions if decision.alarm.phase is AlarmPhase.UPDATE]
    assert updates[0].alarm.moment
    assert updates[0].alarm.direction_deg == pytest.approx(90, abs=1)
    assert not any(update.alarm.moment for update in updates[1:])
    times = [seconds_from_start(update) for update in updates]
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(times))


def test_a_long_alarm_is_updated_ever_less_often_but_every_minute() -> None:
    to_and_fro = walker((0.3, 0.4), (0.01, 0.0))[:30]
    lap = [[box] for box in to_and_fro + to_and_fro[::-1]]
    decisions = played(desk(), lap * 100)
    assert phases(decisions).count("start") == 1
    times = [seconds_from_start(decision) for decision in decisions]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= 61
    assert min(gaps[-5:]) >= 55


@pytest.mark.parametrize(
    ("step", "direction"),
    [
        ((0.0, -0.01), 0),
        ((0.01, 0.0), 90),
        ((0.0, 0.01), 180),
        ((-0.01, 0.0), 270),
        ((0.009, -0.016), 45),
        ((-0.009, 0.016), 225),
    ],
)
def test_directions_are_clockwise_from_up_in_a_wide_picture(step: tuple[float, float], direction: float) -> None:
    decisions = played(desk(), [[box] for box in walker((0.45, 0.4), step)])
    found = decisions[-1].alarm.direction_deg
    assert found is not None
    assert abs((found - direction + 180) % 360 - 180) < 2


def test_somebody_who_stops_ends_the_alarm_and_raises_another_when_walking_on() -> None:
    way = walker((0.02, 0.4), (0.012, 0.0))
    stopped = [[way[30]]] * (8 * FPS)
    decisions = played(desk(), [[box] for box in way[:31]] + stopped + [[box] for box in way[31:]] + quiet())
    assert [phase for phase in phases(decisions) if phase != "update"] == ["start", "end", "start", "end"]


@pytest.mark.parametrize("reach", [0.004, 0.02, 0.05])
def test_what_trembles_in_its_place_is_no_alarm(reach: float) -> None:
    pictures = [[Box(0.5 + reach * (-1) ** number, 0.3, 0.2, 0.3)] for number in range(100)]
    assert played(desk(), pictures) == []


def test_what_flickers_here_and_there_is_no_alarm() -> None:
    pictures = [[Box((number * 0.37) % 0.9, (number * 0.53) % 0.8, 0.05, 0.1)] for number in range(200)]
    assert played(desk(), pictures) == []


def test_several_in_a_zone_at_once_are_one_alarm() -> None:
    one = walker((0.02, 0.4), (0.012, 0.0))
    other = walker((0.9, 0.7), (-0.012, 0.0))
    decisions = played(desk(), [list(pair) for pair in zip(one, other, strict=False)] + quiet())
    assert phases(decisions).count("start") == phases(decisions).count("end") == 1
    assert any(decision.others for decision in decisions)


def test_each_zone_has_an_alarm_of_its_own() -> None:
    decisions = played(desk(LEFT, RIGHT), [[box] for box in walker((0.02, 0.4), (0.012, 0.0))] + quiet())
    starts = [decision.alarm for decision in decisions if decision.alarm.phase is AlarmPhase.START]
    assert [alarm.zone for alarm in starts] == ["left", "right"]
    assert starts[0].alarm_id != starts[1].alarm_id
    assert phases(decisions).count("end") == 2


def test_movement_outside_of_every_zone_counts_nowhere() -> None:
    assert played(desk(LEFT), [[box] for box in walker((0.6, 0.4), (0.01, 0.0))] + quiet()) == []


def test_keyframes_a_second_apart_suffice() -> None:
    way = walker((0.02, 0.4), (0.08, 0.0))
    decisions = played(desk(), [[box] for box in way] + [[]] * 8, fps=1)
    assert phases(decisions)[0] == "start"
    assert decisions[0].alarm.started_us <= 102 * US
    assert phases(decisions)[-1] == "end"
    assert decisions[-1].alarm.direction_deg == pytest.approx(90, abs=1)


def test_closing_ends_what_is_open_once_and_forgets_all_tracks() -> None:
    alarms = desk()
    way = [[box] for box in walker((0.02, 0.4), (0.012, 0.0))]
    began = played(alarms, way[:20])
    ended = alarms.close(Instant(105 * US, 105.0))
    assert [decision.alarm.phase for decision in ended] == [AlarmPhase.END]
    assert ended[0].alarm.alarm_id == began[0].alarm.alarm_id
    assert alarms.close(Instant(106 * US, 106.0)) == ()
    assert played(alarms, [way[20]] * 3, begin_s=110) == []


def test_a_wall_clock_that_jumps_back_breaks_no_alarm() -> None:
    alarms = desk()
    told: list[Decision] = []
    for number, box in enumerate(walker((0.02, 0.4), (0.012, 0.0))):
        utc_us = (1000 if number < 20 else 10) * US
        told.extend(alarms.update(Instant(utc_us, number / FPS), [Blob(box)]).decisions)
    told.extend(alarms.close(Instant(10 * US, 100.0)))
    assert phases(told)[0] == "start"
    assert phases(told)[-1] == "end"
    assert all(decision.alarm.at_us >= decision.alarm.started_us for decision in told)


def test_a_thing_hidden_for_a_moment_stays_the_same_thing() -> None:
    tracker = Tracker(16 / 9)
    way = walker((0.02, 0.4), (0.012, 0.0))[:30]
    for number, box in enumerate(way):
        tracks = tracker.update(number / FPS, [] if 12 <= number < 15 else [Blob(box)])
    assert [track.number for track in tracks] == [1]


def test_two_who_pass_each_other_keep_their_ways() -> None:
    tracker = Tracker(16 / 9)
    one = walker((0.05, 0.40), (0.02, 0.0))
    other = walker((0.90, 0.46), (-0.02, 0.0))
    for number, boxes in enumerate(zip(one, other, strict=False)):
        tracks = tracker.update(number / FPS, [Blob(box) for box in boxes])
    assert [round(track.heading()[0]) for track in tracks] == [90, 270]


def test_a_point_in_a_concave_polygon() -> None:
    corner = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (0.2, 0.2), (0.2, 1.0), (0.0, 1.0))
    assert contains(corner, (0.1, 0.9))
    assert not contains(corner, (0.6, 0.6))


units = st.floats(0, 1, width=32)
boxes_ = st.builds(
    lambda x, y, w, h: Box(x, y, min(w, 1 - x), min(h, 1 - y)),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.floats(0.02, 0.6),
    st.floats(0.02, 0.6),
)


@given(boxes_, units, units, units, units)
def test_the_overlap_with_a_rectangle_is_the_product_of_its_sides(
    box: Box, ax: float, ay: float, bx: float, by: float
) -> None:
    x0, x1, y0, y1 = min(ax, bx), max(ax, bx), min(ay, by), max(ay, by)
    width = max(0.0, min(x1, box.x + box.width) - max(x0, box.x))
    height = max(0.0, min(y1, box.y + box.height) - max(y0, box.y))
    polygon = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    assert overlap(polygon, box) == pytest.approx(width * height / (box.width * box.height), abs=1e-6)


@given(boxes_, st.lists(st.tuples(units, units), min_size=3, max_size=8))
def test_an_overlap_is_a_part_whatever_the_polygon(box: Box, polygon: list[tuple[float, float]]) -> None:
    assert 0 <= overlap(polygon, box) <= 1


walks = st.builds(
    lambda start, step, begin, length: (begin, walker(start, step)[:length]),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.75)),
    st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03)),
    st.integers(0, 150),
    st.integers(1, 120),
)
pictures_ = st.one_of(
    st.lists(st.lists(boxes_, max_size=4), max_size=60),
    st.lists(walks, max_size=5).map(
        lambda given_: [
            [way[number - begin] for begin, way in given_ if 0 <= number - begin < len(way)] for number in range(200)
        ]
    ),
)


@settings(max_examples=120, deadline=None)
@given(
    pictures_,
    st.sampled_from([(), (LEFT,), (LEFT, RIGHT)]),
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=5),
    st.sets(st.integers(0, 199), max_size=3),
)
def test_starts_and_ends_are_strictly_paired_whatever_is_seen(
    pictures: list[list[Box]], regions: tuple[Region, ...], steps: list[float], closed_at: set[int]
) -> None:
    alarms = desk(*regions)
    told: list[Decision] = []
    at_s = 0.0
    for number, boxes in enumerate(pictures):
        at_s += steps[number % len(steps)] if len(steps) > 2 else 0.2
        now = Instant(round(at_s * US), at_s)
        if number in closed_at:
            told.extend(alarms.close(now))
        outcome = alarms.update(now, [Blob(box) for box in boxes])
        told.extend(outcome.decisions)
        assert set(outcome.best) <= alarms.open_ids
    told.extend(alarms.close(Instant(round(at_s * US), at_s)))
    lives: dict[str, list[AlarmPhase]] = {}
    open_in: dict[str | None, str] = {}
    for decision in told:
        alarm = decision.alarm
        lives.setdefault(alarm.alarm_id, []).append(alarm.phase)
        if alarm.phase is AlarmPhase.START:
            assert alarm.zone not in open_in
            open_in[alarm.zone] = alarm.alarm_id
        assert open_in[alarm.zone] == alarm.alarm_id
        if alarm.phase is AlarmPhase.END:
            del open_in[alarm.zone]
    for life in lives.values():
        assert (life[0], life[-1]) == (AlarmPhase.START, AlarmPhase.END)
        assert set(life[1:-1]) <= {AlarmPhase.UPDATE}


@given(st.integers(0, 300), st.sampled_from([(), (LEFT, RIGHT)]))
def test_without_blobs_there_is_nothing_to_say(count: int, regions: tuple[Region, ...]) -> None:
    alarms = desk(*regions)
    assert played(alarms, [[]] * count) == []
    assert alarms.close(Instant(1000 * US, 1000.0)) == ()


def shown(decisions: list[Decision]) -> list[tuple[str, str]]:
    """(phase, moment) of those with a picture."""
    return [(one.alarm.phase.value, one.alarm.moment.value) for one in decisions if one.alarm.moment]


def coming_and_going() -> list[Box]:
    """Small at first, large in the middle, small again."""
    sizes = [0.1 + 0.2 * min(n, 60 - n) / 30 for n in range(61)]
    return [Box(0.05 + 0.012 * n, 0.8 - size, size / 4, size) for n, size in enumerate(sizes)]


def test_before_its_end_an_alarm_shows_its_best_moment_and_then_its_last() -> None:
    way = coming_and_going()
    decisions = played(desk(), [[box] for box in way] + quiet())
    assert shown(decisions) == [("start", "start"), ("update", "update"), ("update", "best"), ("end", "end")]
    best, end = decisions[-2:]
    assert best.alarm.box is not None
    assert best.alarm.box.height > 0.28, "when it was largest"
    assert end.alarm.box == way[-1], "where it was last seen"
    assert best.path[-1] == end.path[0], "each with the way that led there"


def test_what_only_goes_away_was_best_at_its_start_and_has_no_better_picture() -> None:
    decisions = played(desk(), [[box] for box in coming_and_going()[30:]] + quiet())
    assert shown(decisions) == [("start", "start"), ("update", "update"), ("end", "end")]


def test_what_only_comes_nearer_is_best_at_its_end_and_that_is_sent_once() -> None:
    decisions = played(desk(), [[box] for box in coming_and_going()[:31]] + quiet())
    assert shown(decisions)[-2:] == [("update", "update"), ("end", "end")]


def test_an_end_shows_where_the_thing_went_after_it_had_left_the_zone() -> None:
    decisions = played(desk(LEFT), [[box] for box in walker((0.3, 0.4), (0.016, 0.0))] + quiet())
    [end] = [one.alarm for one in decisions if one.alarm.phase is AlarmPhase.END]
    assert end.box is not None
    assert end.box.x > 0.7
    assert end.at_us < (100 + 13 / FPS + QUIET_S + 1.5) * US, "it is not prolonged by that"


def test_what_is_open_when_the_stream_is_lost_shows_its_best_and_its_last_moment_too() -> None:
    alarms = desk()
    way = coming_and_going()[:50]
    played(alarms, [[box] for box in way])
    decisions = list(alarms.close(Instant(round(111 * US), 111.0)))
    assert shown(decisions) == [("update", "best"), ("end", "end")]
    assert decisions[-1].alarm.box == way[-1]


def test_the_end_of_a_cameras_trouble_shows_that_it_is_over() -> None:
    alarms, outcomes = desk(), []
    for number in range(60):
        at_s = 100 + number / FPS
        trouble = [AlarmNature.COVERED] if number < 20 else []
        outcomes.append(alarms.update(Instant(round(at_s * US), at_s), [], trouble))
    assert shown([one for outcome in outcomes for one in outcome.decisions]) == [("start", "start"), ("end", "end")]
    assert not any(outcome.vanished or outcome.best for outcome in outcomes), "of that very frame"
