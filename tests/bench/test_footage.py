"""The labels of the real footage are well-formed, and its pictures show that somebody moves where they say so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import av
import cv2
import numpy as np
import pytest

from bench.scenes.labels import Kind
from bench.scenes.stage import FPS
from bench.watching_footage import BESIDE_S, Footage, FootageScore, footage, outside
from bench.watching_score import Told

Movement = dict[str, list[float]]


@pytest.fixture(scope="module")
def film() -> Footage:
    return footage("vtest")


@pytest.fixture(scope="module")
def movement(film: Footage) -> Movement:
    """By zone, and picture by picture, what part of it differs from the picture before."""
    size = (film.size[0] // 2, film.size[1] // 2)
    masks = {zone.name: np.zeros(size[::-1], np.uint8) for zone in film.zones}
    for zone in film.zones:
        cv2.fillPoly(masks[zone.name], [np.round(np.array(zone.polygon) * size).astype(np.int32)], 255)
    found: Movement = {zone.name: [0.0] for zone in film.zones}
    for before, now in itertools.pairwise(pictures(film, size)):
        differs = np.asarray(cv2.absdiff(before, now) > 25, np.uint8)
        for name, mask in masks.items():
            found[name].append(cv2.countNonZero(cv2.bitwise_and(differs, mask)) / cv2.countNonZero(mask))
    return found


def pictures(film: Footage, size: tuple[int, int]) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    with av.open(str(film.source)) as container:
        for frame in container.decode(video=0):
            plane = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            yield np.asarray(
                cv2.GaussianBlur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (5, 5), 0), np.uint8
            )


def test_labels_are_within_the_clip_and_the_picture(film: Footage) -> None:
    names = [zone.name for zone in film.zones] + [line.name for line in film.lines]
    assert len(names) == len(set(names)) == 4
    for zone in film.zones:
        assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in zone.polygon)
    for passage in film.passages:
        assert 0 <= passage.from_s < passage.until_s <= film.seconds
        assert 0 <= passage.direction_deg < 360
    assert [one.at_s for one in film.crossings] == sorted(one.at_s for one in film.crossings)
    assert all(0 <= one.at_s <= one.until_s <= film.seconds for one in film.crossings)
    assert {one.side for one in film.crossings} == {"left", "right"}


def test_the_clip_is_the_one_that_was_labelled(film: Footage, movement: Movement) -> None:
    with av.open(str(film.source)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.width, video.codec_context.height) == film.size
        assert video.average_rate == FPS
    assert all(len(parts) == round(film.seconds * FPS) for parts in movement.values())


def test_somebody_moves_in_a_zone_while_it_is_labelled_and_nobody_while_it_is_not(
    film: Footage, movement: Movement
) -> None:  # fmt: skip
    for passage in film.passages:
        during = movement[passage.zone][round(passage.from_s * FPS) : round(passage.until_s * FPS)]
        assert max(during) > 0.05, passage
    for zone in film.zones:
        spans = [(one.from_s - BESIDE_S, one.until_s + BESIDE_S) for one in film.passages if one.zone == zone.name]
        quiet = [
            part
            for number, part in enumerate(movement[zone.name])
            if not any(since_s <= number / FPS <= until_s for since_s, until_s in spans)
        ]
        assert len(quiet) > 20 * FPS
        assert max(quiet) < 0.01, zone.name


def test_an_alarm_tells_of_all_who_come_while_it_goes_on_and_is_false_when_nobody_was_near(film: Footage) -> None:
    score = FootageScore()
    score.movement(film, "left", [Told(20, 28, Kind.MOTION, "left", 285), Told(40, 43, Kind.MOTION, "left", 90)])
    assert (score.passages, score.told, score.alarms, score.false_alarms) == (5, 2, 2, 1)
    assert (score.directions, score.directions_right) == (1, 1)
    assert score.idle_s == 3


def test_each_crossing_needs_its_own_and_the_right_side(film: Footage) -> None:
    first, second, *_ = [one for one in film.crossings if one.at_s >= film.scored_from_s]
    for said, told, false in (
        ([(first.at_s + 1, first.side), (second.at_s, second.side)], 2, 0),
        ([(first.at_s + 1, second.side)], 0, 1),
        ([(second.at_s, None), (second.at_s, second.side)], 2, 0),
        ([(first.at_s - 2, first.side)], 0, 1),
    ):
        score = FootageScore()
        score.lines(film, said)
        assert (score.crossings_told, score.crossings_false) == (told, false)


def test_time_outside_of_spans_that_overlap_is_counted_once() -> None:
    assert outside(0, 10, [(2, 5), (4, 6), (9, 12)]) == 5
    assert outside(3, 4, [(2, 5)]) == 0
    assert outside(7, 8, [(2, 5)]) == 1
