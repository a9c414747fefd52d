"""Meddling with a camera is noticed, through real H.264, and so is that it is over; weather and light are none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from zoneinfo import ZoneInfo

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.capture.analysis import Analysis, Tampering
from edge_agent.capture.look import Look, Looker
from edge_agent.capture.tamper import ACCEPT_S, HOLD_S, LEARN_LOOKS, TamperWatch
from edge_agent.capture.tracks import Instant
from edge_agent.clock import US
from edge_agent.demo.scene import StreetScene, Weather
from edge_agent.model import Alarm, AlarmNature, AlarmPhase
from tests.capture.watching import watched

Bgr = NDArray[np.uint8]
SIZE, FPS = (640, 360), 3
FROM_S, UNTIL_S, END_S = 13, 24, 32
TAMPERING = (
    AlarmNature.COVERED,
    AlarmNature.BLINDED,
    AlarmNature.DEFOCUSED,
    AlarmNature.TURNED,
    AlarmNature.FROZEN,
)
_NOISE = np.random.default_rng(1).normal(0, 2, (400, 700, 3)).astype(np.float32)
_places = itertools.cycle([(0, 0), (17, 31), (38, 9), (5, 55), (29, 44)])
_Y, _X = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
_GLARE = (400 * np.exp(-(((_X - 320) / 320) ** 2 + ((_Y - 180) / 260) ** 2)))[:, :, None].astype(np.float32)


def through_h264(pictures: Iterable[Bgr], group: int = 8) -> Iterator[NDArray[np.uint8]]:
    """The luma that a decoder makes of them."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(FPS), Fraction(1, FPS)
    encoder.options = {"preset": "superfast", "tune": "zerolatency", "crf": "28", "g": str(group)}
    decoder = av.CodecContext.create("h264", "r")
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = number
        for packet in encoder.encode(frame):
            for decoded in decoder.decode(packet):
                yield np.asarray(decoded.to_ndarray()[: SIZE[1]], np.uint8)


def told(pictures: Iterable[NDArray[np.uint8]], tampering: Tampering | None = None, since_s: float = 0) -> list[Alarm]:
    """Alarms of the camera itself."""
    numbers = itertools.count()
    new_id = lambda: f"id-{next(numbers)}"  # noqa: E731
    analysis = Analysis(
        watched("gate", "rtsp://x/y", whole=()), ZoneInfo("UTC"), "en", new_id, tampering or Tampering(TAMPERING)
    )
    alarms: list[Alarm] = []
    for number, luma in enumerate(pictures):
        at_s = since_s + number / FPS
        bgr = lambda luma=luma: np.repeat(luma[:, :, None], 3, 2)  # noqa: E731
        alarms += analysis.see(luma, bgr, Instant(round(at_s * US), at_s))
    return alarms


def noisy(picture: object) -> Bgr:
    row, column = next(_places)
    return np.asarray(
        np.clip(np.asarray(picture) + _NOISE[row : row + SIZE[1], column : column + SIZE[0]], 0, 255), np.uint8
    )


def hand(picture: Bgr) -> Bgr:
    return noisy(np.full_like(picture, 20))


def plastic_bag(picture: Bgr) -> Bgr:
    return noisy(cv2.resize(cv2.resize(picture, (8, 5), interpolation=cv2.INTER_AREA), SIZE) * 0.3 + 90)


def torch(picture: Bgr) -> Bgr:
    return noisy(picture * 0.4 + _GLARE)


def unscrewed_lens(picture: Bgr) -> Bgr:
    return noisy(cv2.GaussianBlur(picture, (25, 25), 6))


def pushed_aside(picture: Bgr) -> Bgr:
    move = np.array([[1, 0, 130], [0, 1, -24]], np.float32)
    return np.asarray(cv2.warpAffine(picture, move, SIZE, borderMode=cv2.BORDER_REFLECT), np.uint8)


def upside_down(picture: Bgr) -> Bgr:
    return np.ascontiguousarray(picture[::-1, ::-1])


@pytest.mark.parametrize(
    ("deed", "nature", "night"),
    [
        (hand, AlarmNature.COVERED, True),
        (plastic_bag, AlarmNature.COVERED, False),
        (torch, AlarmNature.BLINDED, False),
        (unscrewed_lens, AlarmNature.DEFOCUSED, False),
        (unscrewed_lens, AlarmNature.DEFOCUSED, True),
        (pushed_aside, AlarmNature.TURNED, True),
        (upside_down, AlarmNature.TURNED, False),
    ],
)
def test_meddling_is_told_within_seconds_and_its_end_too(
    deed: Callable[[Bgr], Bgr], nature: AlarmNature, night: bool
) -> None:
    scene = StreetScene(SIZE, FPS, 1, Weather(night=night, cloud=False))
    frames = ((deed if FROM_S <= n / FPS < UNTIL_S else np.asarray)(scene.frame(n)) for n in range(round(END_S * FPS)))
    alarms = told(through_h264(frames))
    assert [(alarm.nature, alarm.phase) for alarm in alarms if alarm.phase is not AlarmPhase.UPDATE] == [
        (nature, AlarmPhase.START),
        (nature, AlarmPhase.END),
    ]
    start, end = alarms[0], alarms[-1]
    assert HOLD_S - 1.5 <= start.at_us / US - FROM_S <= HOLD_S + 2
    assert UNTIL_S < end.at_us / US <= UNTIL_S + 8
    assert start.picture is not None
    assert start.zone is None


def _brighter(picture: Bgr) -> Bgr:
    return np.asarray(np.clip(picture * 1.5, 0, 255), np.uint8)


def _infrared(picture: Bgr) -> Bgr:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:, :, None]
    return noisy(np.repeat(grey, 3, 2) * 0.5 + 30)


def _shaken(picture: Bgr) -> Bgr:
    return np.asarray(cv2.warpAffine(picture, np.array([[1, 0, 5], [0, 1, 3]], np.float32), SIZE), np.uint8)


def _in_fog(picture: Bgr) -> Bgr:
    return noisy(picture * 0.5 + 100)


@pytest.mark.parametrize("change", [_brighter, _infrared, _shaken, _in_fog], ids=lambda one: one.__name__[1:])
def test_light_and_weather_are_no_meddling(change: Callable[[Bgr], Bgr]) -> None:
    scene = StreetScene(SIZE, FPS, 1, Weather(wind=0.6, rain=0.6))
    frames = ((change if n / FPS >= FROM_S else np.asarray)(scene.frame(n)) for n in range(round(24 * FPS)))
    assert told(through_h264(frames)) == []


def test_a_camera_that_was_turned_while_it_was_cut_off_is_noticed() -> None:
    scene = StreetScene(SIZE, FPS, 1, Weather(cloud=False))
    tampering = Tampering(TAMPERING)
    assert told(through_h264(scene.frame(n) for n in range(FROM_S * FPS)), tampering) == []
    after = told(through_h264(upside_down(scene.frame(n)) for n in range(10 * FPS)), tampering, since_s=100)
    assert [alarm.nature for alarm in after if alarm.phase is AlarmPhase.START] == [AlarmNature.TURNED]


def test_only_what_is_asked_for_is_noticed() -> None:
    scene = StreetScene(SIZE, FPS, 1, Weather(cloud=False))
    frames = ((hand if n / FPS >= FROM_S else np.asarray)(scene.frame(n)) for n in range(22 * FPS))
    assert told(through_h264(frames), Tampering((AlarmNature.TURNED,))) == []


# ---- the judge, on values

WELL = Look(blocks=100, kept=1, sharp=1, contrast=1, alike=1, textured=1, white=0)
BAD = Look(blocks=100, kept=0.1, sharp=0, contrast=0.1, alike=0, textured=1, white=0)


def judged(looks: Iterable[Look]) -> list[frozenset[AlarmNature]]:
    watch, found = TamperWatch(), []
    for number, look in enumerate(looks):
        watch.update(float(number), look)
        found.append(watch.troubles)
    return found


def test_somebody_close_before_the_lens_for_a_moment_is_no_trouble() -> None:
    looks = [WELL] * 20 + ([BAD] * 3 + [WELL] * 3) * 5
    assert set(judged(looks)) == {frozenset()}


def test_a_new_view_that_stays_is_accepted_at_last() -> None:
    watch, accepted_s = TamperWatch(), 0.0
    for number in range(round(ACCEPT_S + 60)):
        before = watch.troubles
        # once the new view is learnt, it is the usual one
        if watch.update(float(number), WELL if number < 20 or accepted_s else BAD) == 1 and number > 20:
            accepted_s = accepted_s or number
            assert before == {AlarmNature.TURNED}
    assert accepted_s == pytest.approx(20 + HOLD_S + ACCEPT_S, abs=5)
    assert watch.troubles == frozenset()


def test_a_view_with_too_little_in_it_is_not_judged() -> None:
    dark = Look(blocks=3, kept=0, sharp=0, contrast=0, alike=0, textured=0, white=0)
    assert set(judged([dark] * 60)) == {frozenset()}


parts = st.floats(0, 1.5)


@given(
    st.lists(st.builds(Look, st.integers(0, 144), parts, parts, parts, parts, parts, parts)),
    st.lists(st.floats(0, 30), min_size=1),
)
def test_no_sequence_of_looks_makes_more_than_one_trouble_of_the_view(looks: list[Look], steps: list[float]) -> None:
    watch, at_s = TamperWatch(), 0.0
    for number, look in enumerate(looks):
        at_s += steps[number % len(steps)]
        assert 0 <= watch.update(at_s, look) <= 1
        assert len(watch.troubles) <= 1
        if number < LEARN_LOOKS:
            assert watch.nature is None


@pytest.mark.parametrize("size", [(160, 120), (352, 288), (704, 576), (1280, 720)])
def test_looks_work_at_every_size(size: tuple[int, int]) -> None:
    looker = Looker()
    picture = cv2.cvtColor(StreetScene(size, FPS, 1).frame(0), cv2.COLOR_BGR2GRAY)
    look = looker.look(np.asarray(picture, np.uint8))
    assert (look.kept, look.textured) == (1, 1)
    assert look.sharp == pytest.approx(1)
    assert look.blocks >= 30
