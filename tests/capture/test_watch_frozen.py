"""A frozen picture is told; a live one never is called so, however still its encoder makes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.capture.analysis import Analysis, Tampering
from edge_agent.capture.frozen import FROZEN_S, LEARN_EVERY_S, LEARN_PAIRS, MATURE_S, FreezeWatch, Pair
from edge_agent.capture.tracks import Instant
from edge_agent.clock import US
from edge_agent.demo.scene import StreetScene, Weather
from edge_agent.model import Alarm, AlarmNature, AlarmPhase
from tests.capture.test_watch_tamper import TAMPERING
from tests.capture.watching import EmptyStreet, watched

Bgr = NDArray[np.uint8]
SIZE = (320, 180)
KNOWN_S = MATURE_S + LEARN_PAIRS * LEARN_EVERY_S + 12
"""By then a camera's own stillness is learnt."""
DAY, NIGHT = Weather(cloud=False), Weather(night=True, noise=3, cloud=False)


class Shown(NamedTuple):
    """What a decoder made of a picture."""

    at_s: float
    luma: NDArray[np.uint8]
    keyframe: bool


def filmed(pictures: Iterable[Bgr], fps: float, group: int, crf: int = 28, bit_rate: int = 0) -> Iterator[Shown]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(fps), 1 / Fraction(fps)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(group)}
    if bit_rate:
        encoder.bit_rate = bit_rate
    else:
        encoder.options |= {"crf": str(crf)}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = number
        for packet in encoder.encode(frame):
            for decoded in decoder.decode(packet):
                luma = np.asarray(decoded.to_ndarray()[: SIZE[1], : SIZE[0]], np.uint8)
                yield Shown(number / fps, luma, bool(decoded.key_frame))


def told(shown: Iterable[Shown], tampering: Tampering | None = None) -> list[Alarm]:
    """STARTs and ENDs of the camera itself."""
    numbers = itertools.count()
    analysis = Analysis(
        watched("gate", "rtsp://x/y", whole=()),
        ZoneInfo("UTC"),
        "en",
        lambda: f"id-{next(numbers)}",
        tampering or Tampering(TAMPERING),
    )
    alarms: list[Alarm] = []
    for at_s, luma, keyframe in shown:
        if keyframe:
            analysis.keyframe(luma, at_s)
        bgr = lambda luma=luma: np.repeat(luma[:, :, None], 3, 2)  # noqa: E731
        alarms += analysis.see(luma, bgr, Instant(round(at_s * US), at_s))
    return [alarm for alarm in alarms if alarm.phase is not AlarmPhase.UPDATE]


def live(scene: StreetScene, seconds: float) -> Iterator[Bgr]:
    return (scene.frame(n) for n in range(round(seconds * scene.fps)))


@pytest.mark.parametrize(
    ("weather", "coded"), [(DAY, {"crf": 28}), (NIGHT, {"bit_rate": 48_000})], ids=["quality", "bitrate"]
)
def test_a_frozen_picture_is_told_although_it_is_coded_anew_and_its_end_too(
    weather: Weather, coded: dict[str, int]
) -> None:
    scene = EmptyStreet(SIZE, 2, 1, weather)
    until_s = KNOWN_S + FROZEN_S + 40
    stands = scene.frame(round(KNOWN_S * 2))
    pictures = (
        stands if KNOWN_S <= n / 2 < until_s else scene.frame(n) for n in range(round((until_s + 20) * scene.fps))
    )
    start, end = told(filmed(pictures, 2, 4, **coded))
    assert {start.nature, end.nature} == {AlarmNature.FROZEN}
    assert (start.phase, end.phase) == (AlarmPhase.START, AlarmPhase.END)
    assert KNOWN_S + 0.7 * FROZEN_S <= start.at_us / US < until_s
    assert until_s <= end.at_us / US <= until_s + 16


def test_a_calm_night_that_the_encoder_skips_altogether_is_not_called_frozen() -> None:
    """Noise taken away, as cameras do at night, and so few bits that most pictures repeat the one before."""
    scene = EmptyStreet(SIZE, 2, 1, Weather(night=True, noise=0.4, cloud=False))
    shown = list(filmed(live(scene, 320), 2, 8, crf=42))
    same = [np.array_equal(a.luma, b.luma) for a, b in itertools.pairwise(shown) if not b.keyframe]
    assert np.mean(same) > 0.9, "the encoder spends bits on it: the scene proves nothing"
    assert told(shown) == []


def test_a_night_without_noise_after_a_noisy_day_is_not_called_frozen() -> None:
    day, night = EmptyStreet(SIZE, 2, 1, DAY), EmptyStreet(SIZE, 2, 1, Weather(night=True, noise=0, cloud=False))
    pictures = itertools.chain(live(day, KNOWN_S + 20), live(night, 150))
    assert told(filmed(pictures, 2, 4, crf=34)) == []


@pytest.mark.parametrize(("fps", "group"), [(1, 2), (1, 10), (0.5, 1)])
def test_a_slow_camera_is_not_called_frozen(fps: float, group: int) -> None:
    scene = EmptyStreet(SIZE, fps, 1, Weather(noise=1, cloud=False))
    assert told(filmed(live(scene, 320), fps, group, crf=32)) == []


def test_a_stream_that_paused_is_not_called_frozen() -> None:
    """It goes on after minutes with the very picture that it stopped at."""
    scene = EmptyStreet(SIZE, 2, 1, DAY)
    shown = list(filmed(live(scene, KNOWN_S + 40), 2, 4))
    last = [one for one in shown if one.keyframe][-1]
    since_s = shown[-1].at_s
    repeated = [last._replace(at_s=since_s + 90 * (n + 1)) for n in range(8)]
    after = [one._replace(at_s=one.at_s + since_s + 800) for one in shown[: round(KNOWN_S)]]
    assert told([*shown, *repeated, *after]) == []


# ---- the judge, on values

LIVE, SAME = Pair(1.0, 1.6, 100), Pair(0, 0.01, 100)


def run(watch: FreezeWatch, pairs: Iterable[Pair], since_s: float = 0) -> float:
    """Two seconds apart; the time after."""
    for pair in pairs:
        watch.update(since_s, pair)
        since_s += 2
    return since_s


def knowing() -> tuple[FreezeWatch, float]:
    watch = FreezeWatch()
    return watch, run(watch, [LIVE] * 100)


def test_most_keyframes_of_a_minute_must_be_the_same() -> None:
    watch, at_s = knowing()
    at_s = run(watch, [SAME] * 25, at_s)
    assert not watch.frozen
    at_s = run(watch, [LIVE, *[SAME] * 15], at_s)
    assert watch.frozen
    run(watch, [LIVE] * 4, at_s)
    assert not watch.frozen


def test_a_moving_thing_ends_it_and_what_it_proved_is_remembered() -> None:
    watch, at_s = knowing()
    at_s = run(watch, [SAME] * 40, at_s)
    assert watch.frozen
    watch.disturbed()
    assert not watch.frozen
    run(watch, [SAME] * 400, at_s)
    assert not watch.frozen


def test_a_freeze_that_outlasts_a_lost_connection_is_told_again_while_other_pictures_are_learnt_anew() -> None:
    for after, frozen in ((SAME, True), (LIVE, False)):
        watch, at_s = knowing()
        watch.reconnected()
        watch.update(at_s, after, first=True)
        run(watch, [SAME] * 45, at_s + 2)
        assert watch.frozen is frozen


@pytest.mark.parametrize("calm", [0.0, 0.1, 0.25])
def test_a_camera_whose_live_pictures_are_that_still_is_not_judged(calm: float) -> None:
    watch = FreezeWatch()
    run(watch, [Pair(calm, 1.0, 100)] * 200 + [SAME] * 200)
    assert not watch.frozen


def test_what_was_learnt_in_other_light_says_nothing() -> None:
    watch, at_s = knowing()
    run(watch, [SAME._replace(level=80)] * 200, at_s)
    assert not watch.frozen


calms = st.floats(0.45, 4)


@given(st.lists(st.tuples(st.floats(0, 40), calms, st.floats(0, 20), st.floats(0, 255), st.booleans()), max_size=80))
def test_a_picture_whose_lively_parts_change_as_the_calm_ones_do_is_never_frozen(
    steps: list[tuple[float, float, float, float, bool]],
) -> None:
    watch, at_s = knowing()
    for pause_s, calm, more, level, first in steps:
        at_s += pause_s
        watch.update(at_s, Pair(calm, calm + more, level), first=first)
        assert not watch.frozen
