"""The street scene: what it promises to demonstrations and to the watcher's tests."""

from __future__ import annotations

import itertools
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.demo.scene import ACT_S, ActorKind, StreetScene, Weather, crossings, daylight
from edge_agent.demo.scenery import Picture
from edge_agent.model import Box

SMALL = (640, 360)
CALM = Weather(noise=0, cloud=False)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def calm() -> StreetScene:
    return StreetScene(SMALL, weather=CALM)


def test_a_frame_is_the_same_whenever_and_wherever_it_is_asked_for() -> None:
    weather = Weather(rain=0.5, wind=0.5, shake=3)
    one, other = StreetScene(SMALL, weather=weather), StreetScene(SMALL, weather=weather)
    forwards = [one.frame(number) for number in (0, 70, 700)]
    backwards = [other.frame(number) for number in (700, 70, 0)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert forwards[0].shape == (360, 640, 3)
    assert forwards[0].dtype == np.uint8
    assert not np.array_equal(forwards[0], StreetScene(SMALL, seed=2, weather=weather).frame(0))


@given(seeds)
def test_a_demo_sees_somebody_within_six_seconds(seed: int) -> None:
    assert 1 < crossings(seed, 0)[0].begins_s <= 6


@given(seeds, st.integers(0, 10_000))
def test_the_street_is_empty_for_ten_seconds_between_crossings(seed: int, act: int) -> None:
    now, following = crossings(seed, act), crossings(seed, act + 1)
    assert following[0].begins_s - max(crossing.ends_s for crossing in now) >= 10
    assert all(act * ACT_S <= crossing.begins_s < crossing.ends_s <= (act + 1) * ACT_S for crossing in now)


@settings(max_examples=20, deadline=None)
@given(act=st.integers(0, 200), part=st.floats(0.2, 0.8))
def test_truth_tells_where_the_picture_differs_from_the_empty_street(calm: StreetScene, act: int, part: float) -> None:
    first = crossings(calm.seed, act)[0]
    number = round((first.begins_s + (first.ends_s - first.begins_s) * part) * calm.fps)
    empty = calm.frame(round(((act + 1) * ACT_S - 2) * calm.fps))
    brightness = daylight(number / calm.fps, False) / daylight((act + 1) * ACT_S - 2, False)
    changed = np.abs(calm.frame(number).astype(float) - empty * brightness).max(axis=2) > 30
    inside = np.zeros_like(changed)
    for actor in calm.truth(number):
        inside |= _mask(actor.box)
    assert changed.sum() > 150
    # Only shadows lie outside the boxes.
    assert (changed & ~inside).sum() < 0.2 * changed.sum()
    assert changed[inside].mean() > 0.1


def test_boxes_move_the_way_that_truth_says(calm: StreetScene) -> None:
    compared = 0
    for number in range(0, round(20 * ACT_S * calm.fps), 10):
        now, soon = calm.truth(number), calm.truth(number + 5)
        for direction in {actor.direction_deg for actor in now}:
            before, after = (
                [_middle(actor.box) for actor in one if actor.direction_deg == direction] for one in (now, soon)
            )
            if len(before) == len(after):
                compared += 1
                assert (sum(after) > sum(before)) is (direction < 180), number
    assert compared > 100


def test_people_and_cars_go_both_ways() -> None:
    seen = {(one.kind, one.direction_deg < 180) for act in range(60) for one in crossings(1, act)}
    assert seen == set(itertools.product(ActorKind, (True, False)))


def test_people_walk_at_human_pace_and_have_human_size(calm: StreetScene) -> None:
    number = round((crossings(calm.seed, 0)[0].begins_s + 5) * calm.fps)
    now, later = calm.truth(number)[0], calm.truth(number + round(calm.fps))[0]
    height_px, step_px = now.box.height * 720, (later.box.x - now.box.x) * 1280
    assert 0.9 < step_px / height_px * 1.75 < 2.2


def test_an_empty_street_has_no_truth_and_only_noise_changes() -> None:
    scene = StreetScene(SMALL)
    assert scene.truth(0) == []
    difference = scene.frame(0).astype(int) - scene.frame(1)
    assert 1 < difference.std() < 6


def test_a_cloud_darkens_the_empty_street_within_two_seconds() -> None:
    scene = StreetScene(SMALL)
    before, after = (scene.frame(round(at_s * scene.fps)).mean() for at_s in (31, 33))
    assert not scene.truth(round(31 * scene.fps))
    assert 0.70 < after / before < 0.85
    steps = [abs(daylight(tick / 15) - daylight((tick + 1) / 15)) for tick in range(15 * 1000)]
    assert max(steps) < 0.02, "no light jumps from one frame to the next"


def test_night_is_dark_rain_is_bright_wind_moves_the_tree_and_shake_moves_all(calm: StreetScene) -> None:
    day = calm.frame(10)
    night = StreetScene(SMALL, weather=Weather(noise=0, cloud=False, night=True)).frame(10)
    assert night.mean() < day.mean() * 0.5
    rain = StreetScene(SMALL, weather=Weather(noise=0, cloud=False, rain=1)).frame(10)
    assert (rain.astype(int) - day).min() >= 0
    assert (rain != day).mean() > 0.002
    windy = StreetScene(SMALL, weather=Weather(noise=0, cloud=False, wind=1))
    swayed = _differing(windy.frame(8), windy.frame(20))
    assert swayed[:, 490:].sum() > 200
    assert not swayed[:, :480].any()
    shaken = StreetScene(SMALL, weather=Weather(noise=0, cloud=False, shake=6))
    moved = _differing(shaken.frame(2), shaken.frame(7))
    assert moved[:, :300].sum() > 500
    assert moved[:, 340:].sum() > 500


def test_the_clock_is_drawn_only_when_asked_for(calm: StreetScene) -> None:
    clocked = StreetScene(SMALL, weather=CALM, clock_us=1_800_000_000_000_000)

    def digits(number: int) -> npt.NDArray[np.bool_]:
        difference = np.abs(clocked.frame(number).astype(int) - calm.frame(number))
        assert not difference[60:].any()
        return np.asarray((difference[:60] > 0).any(axis=2), np.bool_)

    assert 300 < digits(0).sum() < 6000
    # The time stands still within a second and goes on in the next.
    assert (digits(0) != digits(14)).sum() < 10
    assert (digits(14) != digits(15)).sum() > 20


def test_a_full_size_frame_is_cheap() -> None:
    scene = StreetScene(clock_us=0)
    scene.frame(100)
    began = time.thread_time()
    for number in range(100, 160):
        scene.frame(number)
    assert (time.thread_time() - began) / 60 < 0.008


def _mask(box: Box) -> npt.NDArray[np.bool_]:
    mask = np.zeros((SMALL[1], SMALL[0]), bool)
    x0, y0 = int(box.x * SMALL[0]) - 1, int(box.y * SMALL[1]) - 1
    x1, y1 = (box.x + box.width) * SMALL[0] + 1, (box.y + box.height) * SMALL[1] + 1
    mask[max(0, y0) : round(y1), max(0, x0) : round(x1)] = True
    return mask


def _differing(one: Picture, other: Picture) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(one.astype(int) - other) > 20).any(axis=2), np.bool_)


def _middle(box: Box) -> float:
    return box.x + box.width / 2
