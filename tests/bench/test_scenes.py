"""The labels of the scenes say what their pictures show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bench.scenes.catalogue import RECIPES, Scene, scene
from bench.scenes.labels import Kind, Label
from bench.scenes.stage import FPS, Stage
from edge_agent.demo.scene import Weather

STILL = ("walker", "slow", "fast", "towards the camera", "jaywalker", "vehicles", "enters the zone", "loiters", "crowd")
"""Scenes in which nothing moves but the players."""


def quiet(one: Scene) -> Stage:
    """The same stage with a sensor that makes no noise, so that whatever changes is somebody."""
    one.stage._noise = None
    return one.stage


def moving(stage: Stage, number: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """bool[h, w]: what is not the empty street, in its brightness of now."""
    here = stage.frame(number)
    players, stage._players = stage._players, []
    empty = stage.frame(number)
    stage._players = players
    return np.asarray(cv2.absdiff(here, empty).max(axis=2) > 25, np.bool_)


@pytest.mark.parametrize("name", STILL)
def test_who_moves_in_the_picture_is_in_the_boxes_of_the_tracks_and_nowhere_else(name: str) -> None:
    one = scene(name, 5)
    stage = quiet(one)
    tracks = stage.tracks(one.seconds)
    looked_at = 0
    for number in range(0, round(one.seconds * FPS), 11):
        changed = moving(stage, number)
        height, width = changed.shape
        boxes = np.zeros_like(changed)
        for track in tracks:
            for sight in track.sights:
                if sight.at_s == number / FPS:
                    box = sight.box
                    # the shadow at the feet is no part of the body
                    top, bottom = round(box.y * height) - 2, round((box.y + box.height) * height) + 8
                    left, right = round(box.x * width) - 12, round((box.x + box.width) * width) + 12
                    boxes[max(top, 0) : bottom, max(left, 0) : right] = True
        assert not np.any(changed & ~boxes)
        looked_at += bool(changed.any())
    assert looked_at


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith(("walker", "crosses", "fast", "jay"))])
def test_a_label_of_movement_lasts_while_somebody_is_in_the_picture_and_tells_where_they_go(name: str) -> None:
    one = scene(name, 3)
    (label,) = [label for label in one.labels if label.kind is Kind.MOTION]
    assert 5 < label.start_s < label.end_s <= one.seconds
    (towards,) = label.directions_deg
    first, last = label.track[0].foot, label.track[-1].foot
    assert (last[0] > first[0]) == (0 < towards < 180)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another_one() -> None:
    for name in ("snow", "insects", "walker and headlights", "object left"):
        same, again, other = scene(name, 1), scene(name, 1), scene(name, 2)
        assert same.labels == again.labels
        number = 100
        assert np.array_equal(same.stage.frame(number), again.stage.frame(number))
        assert not np.array_equal(same.stage.frame(number), other.stage.frame(number))


def test_every_scene_is_long_enough_and_what_it_tells_comes_after_the_time_to_learn() -> None:
    empty = 0
    for name in RECIPES:
        one = scene(name, 4)
        assert 15 <= one.seconds <= (300 if name == "frozen" else 61)
        assert all(FPS * 0.5 <= label.start_s <= label.end_s <= one.seconds for label in one.labels)
        empty += one.empty
    assert len(RECIPES) >= 40
    assert empty >= 15


def labels_of(name: str, kind: Kind) -> list[Label]:
    return [label for label in scene(name, 6).labels if label.kind is kind]


def test_a_line_is_crossed_at_the_moment_the_feet_are_on_it() -> None:
    for name in ("crosses the line to the right", "crosses the line to the left"):
        (label,) = labels_of(name, Kind.LINE)
        (sight,) = [sight for sight in label.track if sight.at_s == label.start_s]
        assert abs(sight.foot[0] - 0.5) < 0.03


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("two cross on the line", 2),
        ("two abreast over the line", 1),
        ("one behind another over the line", 1),
        ("overtaken on the line", 1),
        ("two meet two on the line", 2),
    ],
)
def test_several_are_on_the_line_within_two_seconds_and_each_is_labelled_with_its_side(name: str, ways: int) -> None:
    labels = labels_of(name, Kind.LINE)
    times = [label.start_s for label in labels]
    assert len(labels) == (4 if name.startswith("two meet") else 2)
    assert max(times) - min(times) <= 2
    assert len({label.side for label in labels}) == ways
    assert all((label.side == "right") == (label.directions_deg[0] < 180) for label in labels)


def test_whoever_enters_the_zone_was_outside_of_it_and_then_inside() -> None:
    (zone,) = scene("enters the zone", 6).rules.zones
    (label,) = labels_of("enters the zone", Kind.ENTERED)
    assert not any(zone.holds(sight.foot) for sight in label.track if sight.at_s < label.start_s)
    assert all(zone.holds(sight.foot) for sight in label.track if sight.at_s >= label.start_s)


def test_who_passes_by_the_zone_gives_no_label() -> None:
    assert scene("passes by the zone", 6).labels == ()


@pytest.mark.parametrize("kind", [Kind.COVERED, Kind.BLINDED, Kind.DEFOCUSED, Kind.TURNED, Kind.FROZEN])
def test_the_picture_of_a_spoilt_camera_changes_when_its_label_says(kind: Kind) -> None:
    one = scene(str(kind), 2)
    (label,) = one.labels
    stage = quiet(one)
    before, after = round(label.start_s * FPS) - 1, round(label.start_s * FPS) + 3 * FPS
    calm = Stage(stage.seed, Weather(noise=0, cloud=False, night=stage.weather.night))
    first, last = stage.frame(before).astype(int), stage.frame(after).astype(int)
    assert np.abs(first - calm.frame(before)).mean() < 1
    if kind is Kind.FROZEN:
        assert np.array_equal(last, stage.frame(after + 20))
    else:
        assert np.abs(last - calm.frame(after)).mean() > 5


def test_a_bag_appears_when_somebody_leaves_it_and_goes_when_somebody_takes_it() -> None:
    for name, kind, there in (
        ("object left", Kind.OBJECT_LEFT, (False, True)),
        ("object taken", Kind.OBJECT_TAKEN, (True, False)),
    ):
        one = scene(name, 2)
        (label,) = [label for label in one.labels if label.kind is kind]
        stage = quiet(one)
        empty = Stage(stage.seed, Weather(noise=0, cloud=False))
        for at_s, shown in zip((2.0, one.seconds - 3), there, strict=True):
            number = round(at_s * FPS)
            assert bool(cv2.absdiff(stage.frame(number), empty.frame(number)).max() > 25) is shown
        assert label.start_s < one.seconds - 3
