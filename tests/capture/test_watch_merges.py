"""Several who are one blob for a while: they keep their ways, and each is counted at a line.  On painted pictures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.capture.alarms import Alarms
from edge_agent.capture.analysis import Analysis
from edge_agent.capture.calibration import View
from edge_agent.capture.likeness import Likeness
from edge_agent.capture.motion import MotionDetector
from edge_agent.capture.regions import Line, Region
from edge_agent.capture.tracker import Tracker
from edge_agent.capture.tracks import Blob, Instant, Track
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import US
from edge_agent.model import Alarm, AlarmNature, Box, CameraId, Side

Luma = NDArray[np.uint8]
Way = Callable[[float], tuple[float, float] | None]
"""Where somebody's foot is at a time, in pixels; None: nowhere."""
FPS = 5
WIDTH, HEIGHT = 320, 180
KERB = Line("kerb", ((0.5, 1.0), (0.5, 0.3)))  # looking up the picture: right is right
MEET_S = 8.0


def somebody(seed: int) -> Luma:
    """uint8[50, 16]: a head of 8 pixels, a striped body; 0 is transparent."""
    rng = np.random.default_rng(seed)
    body = np.repeat(rng.choice([20, 60, 190, 230], 10), 4)[:, None] + rng.integers(0, 15, (40, 16))
    figure = np.zeros((50, 16), np.uint8)
    figure[:10, 5:11] = 200 if seed % 2 else 30
    figure[10:] = body
    return figure


def walks(speed: float, at_s: float = MEET_S, y: float = 150) -> Way:
    """Along a row, over the middle of the picture at `at_s`; pixels a second."""
    return lambda t: (WIDTH / 2 + speed * (t - at_s), y)


def painted(ways: Sequence[Way], seconds: float = 14.0) -> list[Luma]:
    """Who is lower in the picture is nearer to the camera, and hides the others."""
    rng = np.random.default_rng(7)
    street = np.kron(rng.integers(90, 130, (HEIGHT // 6, WIDTH // 5)), np.ones((6, 5))).astype(np.int16)
    figures = [somebody(number) for number in range(len(ways))]
    pictures = []
    for number in range(round(seconds * FPS)):
        picture = street + rng.integers(-2, 3, street.shape)
        there = [(way(number / FPS), figure) for way, figure in zip(ways, figures, strict=True)]
        for (x, y), figure in sorted(((at, one) for at, one in there if at), key=lambda one: one[0][1]):
            padded = np.zeros((HEIGHT + 100, WIDTH + 800), np.uint8)
            left, top = round(x) - 8 + 400, round(y) - 50 + 50
            if 0 <= left < WIDTH + 780:
                padded[top : top + 50, left : left + 16] = figure
            seen = padded[50 : 50 + HEIGHT, 400 : 400 + WIDTH]
            picture = np.where(seen > 0, seen, picture)
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


def alarms_of(pictures: Sequence[Luma], *zones: Region, lines: tuple[Line, ...] = (KERB,)) -> list[Alarm]:
    numbers = itertools.count()
    camera = WatchedCamera(CameraId("gate"), "rtsp://x/y", zones=zones, lines=lines, whole=())
    analysis = Analysis(camera, ZoneInfo("UTC"), "en", lambda: f"id-{next(numbers)}")
    alarms: list[Alarm] = []
    for number, luma in enumerate(pictures):
        at_s = number / FPS
        bgr = np.repeat(luma[:, :, None], 3, 2)
        alarms += analysis.see(luma, bgr.copy, Instant(round(at_s * US), at_s))
    return alarms


def followed(pictures: Sequence[Luma]) -> tuple[list[Track], Likeness]:
    """All that was ever followed and moved, and the eyes that were used."""
    detector, eyes = MotionDetector((WIDTH, HEIGHT), 0.002, heads=True), Likeness()
    alarms = Alarms(CameraId("gate"), (), View(WIDTH / HEIGHT), lambda: "id", (KERB,), eyes=eyes)
    known: dict[int, Track] = {}
    for number, luma in enumerate(pictures):
        blobs = detector.detect(luma, 1 / FPS, alarms.following)
        eyes.see(detector.picture, detector.mask)
        alarms.update(Instant(number, number / FPS), blobs)
        detector.excuse(alarms.proven)
        known |= {track.number: track for track in alarms.tracks if track.moved_s is not None}
    return list(known.values()), eyes


@pytest.mark.parametrize(
    ("ways", "sides"),
    [
        ([walks(40), walks(-40, y=156)], {Side.LEFT: 1, Side.RIGHT: 1}),
        ([walks(-45, y=147), walks(38, MEET_S + 0.3)], {Side.LEFT: 1, Side.RIGHT: 1}),
        ([walks(25), walks(50, y=158)], {Side.RIGHT: 2}),
        ([walks(40), walks(40, MEET_S + 0.6, y=153)], {Side.RIGHT: 2}),
        ([walks(-40), walks(-40, MEET_S + 0.45, y=152)], {Side.LEFT: 2}),
        ([walks(40), walks(40, MEET_S + 0.8), walks(-42, y=158)], {Side.LEFT: 1, Side.RIGHT: 2}),
    ],
    ids=["two cross", "two cross, the nearer later", "overtaking", "behind another", "side by side", "two meet one"],
)
def test_each_of_several_who_cross_the_line_at_one_time_is_counted(ways: list[Way], sides: dict[Side, int]) -> None:
    alarms = [alarm for alarm in alarms_of(painted(ways)) if alarm.nature is AlarmNature.LINE]
    assert max(alarm.count for alarm in alarms) == sum(sides.values())
    assert {alarm.side for alarm in alarms} == set(sides)
    # all of them are told soon, and not with the end only
    first = next(alarm for alarm in alarms if alarm.count == sum(sides.values()))
    assert first.at_us / US <= MEET_S + 2.5


def test_two_who_pass_in_one_blob_are_the_same_two_afterwards_and_go_on_as_they_did() -> None:
    tracks, eyes = followed(painted([walks(40), walks(-40, y=156)], seconds=11))
    assert len(tracks) == 2
    assert sorted(round(track.heading()[0] / 10) for track in tracks) == [9, 27]
    assert eyes.compared > 0


def test_nobody_is_looked_for_by_looks_while_nobody_shares_a_blob() -> None:
    tracks, eyes = followed(painted([walks(40), walks(40, MEET_S + 3)]))
    assert len(tracks) == 2
    assert eyes.compared == 0


def test_who_stands_still_behind_a_passer_by_is_passed_and_nothing_else() -> None:
    stands: Way = lambda t: (min(150.0, 40 * t - 120), 150.0)  # noqa: E731
    tracks, _ = followed(painted([stands, walks(-40, MEET_S + 2, y=158)]))
    one, other = sorted(tracks, key=lambda track: track.box.x)
    assert len(tracks) == 2
    assert abs(other.box.x + other.box.width / 2 - 150 / WIDTH) < 0.03 or abs(one.box.x - 142 / WIDTH) < 0.03


def test_two_who_never_part_are_counted_by_their_heads_and_one_is_one() -> None:
    """A hand's breadth apart their bodies are one blob, and their heads are two."""
    for ways, count in (([walks(40), walks(40, MEET_S + 0.4)], 2), ([walks(40)], 1)):
        alarms = [alarm for alarm in alarms_of(painted(ways)) if alarm.nature is AlarmNature.LINE]
        assert max(alarm.count for alarm in alarms) == count


def test_the_eyes_find_what_has_moved_on_and_forget_what_is_gone() -> None:
    (before, after) = painted([lambda t: (100 + 25 * t, 150)], seconds=0.4)
    eyes = Likeness()
    eyes.see(before, np.full_like(before, 255))
    there = Box(92 / WIDTH, 100 / HEIGHT, 16 / WIDTH, 50 / HEIGHT)
    eyes.remember(1, there)
    eyes.see(after, np.full_like(after, 255))
    found = eyes.find(1, there)
    assert found is not None
    assert abs(found.x - 97 / WIDTH) < 1.5 / WIDTH
    assert eyes.find(2, there) is None
    assert eyes.find(1, found) is None, "it hides itself now: whoever is asked for later is behind"
    eyes.forget_all_but({2})
    eyes.see(after, np.full_like(after, 255))
    assert eyes.find(1, there) is None


def test_eyes_at_the_pictures_edge_see_what_is_inside() -> None:
    (picture,) = painted([lambda _t: (4, 150)], seconds=0.2)
    eyes = Likeness()
    eyes.see(picture, np.full_like(picture, 255))
    eyes.remember(1, Box(0.0, 100 / HEIGHT, 12 / WIDTH, 50 / HEIGHT))
    found = eyes.find(1, Box(-0.02, 100 / HEIGHT, 12 / WIDTH, 50 / HEIGHT))
    assert found is not None
    assert abs(found.x) < 2 / WIDTH
    assert eyes.find(1, Box(5.0, 5.0, 0.1, 0.1)) is None


def moved(tracker: Tracker, pictures: Sequence[Sequence[Blob]], begin: int = 0) -> list[Track]:
    for number, blobs in enumerate(pictures, start=begin):
        tracks = tracker.update(number / FPS, blobs)
        for track in tracks:
            if track.last.at_s == number / FPS and track.moves(3):
                track.moved_s = number / FPS
    return tracks


def person(x: float, foot: float = 0.8) -> Box:
    return Box(x, foot - 0.25, 0.05, 0.25)


def test_a_blob_joined_of_two_known_things_is_taken_apart() -> None:
    tracker = Tracker(16 / 9)
    apart = [[Blob(person(0.1 + 0.012 * n)), Blob(person(0.7 - 0.012 * n, 0.9))] for n in range(20)]
    moved(tracker, apart)
    both = [
        [Blob(Box(0.34, 0.55, 0.13, 0.35), 0.0, (person(0.34), person(0.7 - 0.012 * 20, 0.9)))],
    ]
    tracks = moved(tracker, both, 20)
    assert [track.number for track in tracks] == [1, 2]
    assert [round(track.box.x, 6) for track in tracks] == [0.34, round(0.7 - 0.012 * 20, 6)]
    assert all(track.box.width < 0.06 and track.box.height < 0.26 for track in tracks)
    assert not any(track.last.shared for track in tracks)


def test_head_and_legs_that_a_bright_jacket_parts_stay_one_thing() -> None:
    tracker = Tracker(16 / 9)
    moved(tracker, [[Blob(person(0.1 + 0.012 * n))] for n in range(15)])
    pictures = []
    for n in range(15, 25):
        x = 0.1 + 0.012 * n
        pictures.append([Blob(Box(x + 0.01, 0.55, 0.03, 0.05)), Blob(Box(x, 0.68, 0.05, 0.12))])
    tracks = moved(tracker, pictures, 15)
    assert len(tracks) == 1
    assert tracks[0].box.height == pytest.approx(0.25)


def test_who_was_lost_long_ago_shares_nobodys_blob() -> None:
    tracker = Tracker(16 / 9)
    moved(tracker, [[Blob(person(0.1 + 0.012 * n)), Blob(person(0.6))] for n in range(15)])
    tracks = moved(tracker, [[Blob(person(0.6))]] * 5 + [[Blob(person(0.3))]], 15)
    assert not any(track.last.shared for track in tracks)


def test_who_walks_while_the_model_learns_is_seen_whole_afterwards() -> None:
    pictures = painted([lambda t: (60 + 40 * t, 150)], seconds=5)
    detector = MotionDetector((WIDTH, HEIGHT), 0.002, heads=True)
    found = [detector.detect(luma, 1 / FPS) for luma in pictures]
    assert detector.ready
    # at its first place, too: somebody else comes after it, where it was seen while the model learnt
    later = painted([lambda t: (60 + 40 * t, 150)], seconds=1.2)
    for luma in later[1:]:
        found.append(detector.detect(luma, 1 / FPS))
        heights = [blob.box.height for blob in found[-1] if blob.box.x < 0.4]
        assert max(heights) > 0.8 * 50 / HEIGHT


def test_a_direction_is_told_though_it_is_learnt_behind_a_narrow_zone() -> None:
    narrow = Region("door", ((0.30, 0.5), (0.36, 0.5), (0.36, 1.0), (0.30, 1.0)))
    alarms = alarms_of(painted([lambda t: (96 + 30 * (t - 4), 150) if t >= 4 else None], seconds=10), narrow, lines=())
    directions = [alarm.direction_deg for alarm in alarms if alarm.direction_deg is not None]
    assert directions
    assert abs(directions[0] - 90) < 15


def test_an_insect_that_turns_raises_nothing_and_a_cyclist_does() -> None:
    def desk() -> Alarms:
        return Alarms(CameraId("gate"), (Region(None, ((0, 0), (1, 0), (1, 1), (0, 1))),), View(16 / 9), lambda: "id")

    insect = [(0.3, 0.5), (0.36, 0.42), (0.38, 0.31), (0.34, 0.21), (0.26, 0.17), (0.18, 0.2)]
    cyclist = [(0.1 + 0.08 * n, 0.5) for n in range(6)]
    for way, count in ((insect, 0), (cyclist, 1)):
        alarms, started = desk(), 0
        for number, (x, y) in enumerate(way):
            outcome = alarms.update(Instant(number, number / FPS), [Blob(Box(x, y, 0.07, 0.15))])
            started += len(outcome.decisions)
        assert min(started, 1) == count


class Asked(Likeness):
    """Who was looked for since."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def find(self, number: int, expected: Box) -> Box | None:
        self.numbers.append(number)
        return super().find(number, expected)


def test_in_a_large_crowd_they_are_looked_for_by_turns() -> None:
    eyes = Asked()
    tracker = Tracker(16 / 9, eyes)
    moved(tracker, [[Blob(person(0.05 + 0.09 * k + 0.004 * n)) for k in range(10)] for n in range(20)])
    asked = []
    for n in range(20, 24):
        eyes.numbers = []
        tracks = moved(tracker, [[Blob(Box(0.1, 0.55, 0.9, 0.25))]], n)
        asked.append(set(eyes.numbers))
    assert len(tracks) == 10
    assert all(len(some) <= 8 for some in asked)
    assert set().union(*asked) == {track.number for track in tracks}
