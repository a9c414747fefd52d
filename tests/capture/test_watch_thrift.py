"""How far the sizes of encoded pictures are believed: values, and real encoders of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.thrift import AWAKE_S, BLIND_S, GLANCE_S, LEAST_HISTORY, PROVEN, Thrift
from edge_agent.demo.scene import FIRST_CROSSING_S, StreetScene, Weather
from tests.capture.watching import EmptyStreet

FPS, GROUP = 10, 20
KEY, CALM, LARGE = 20_000, 300, 1500


def fed(thrift: Thrift, groups: int, size: int = CALM, since: int = 0, group: int = GROUP) -> int:
    """How many pictures of so many groups were wanted, keyframes included."""
    wanted = 0
    for number in range(since * group, (since + groups) * group):
        key = number % group == 0
        wanted += thrift.wants(number / FPS, KEY if key else size + number % 7, key)
    return wanted


def test_of_an_idle_lean_stream_a_glance_at_each_group_suffices() -> None:
    thrift = Thrift()
    assert fed(thrift, 3) == 3 * GROUP  # too little is known yet
    assert fed(thrift, 10, since=3) == 10 * (1 + int(GLANCE_S * FPS))


def test_a_stream_of_constant_bitrate_is_decoded_whole() -> None:
    thrift = Thrift()
    assert fed(thrift, 20, size=KEY // 5) == 20 * GROUP


def test_large_pictures_wake_at_once_and_for_some_seconds() -> None:
    thrift = Thrift()
    fed(thrift, 6)
    at_s = 6 * GROUP / FPS
    assert thrift.wants(at_s, KEY, True)
    assert not thrift.wants(at_s + 1.0, LARGE, False) or thrift.wants(at_s + 1.1, LARGE, False)
    assert thrift.wants(at_s + 1.2, CALM, False)
    assert thrift.wants(at_s + AWAKE_S, CALM, False)


def test_what_a_glance_shows_wakes_too() -> None:
    thrift = Thrift()
    fed(thrift, 6)
    at_s = 6 * GROUP / FPS
    thrift.wants(at_s, KEY, True)
    assert not thrift.wants(at_s + 1, CALM, False)
    thrift.seen(at_s, anything=True, moving=False)
    assert thrift.wants(at_s + 1.1, CALM, False)


def test_one_movement_that_the_sizes_did_not_tell_of_ends_the_trust_until_they_have_proven_themselves() -> None:
    thrift = Thrift()
    fed(thrift, 6)
    assert thrift.trusted
    thrift.seen(12.0, anything=True, moving=True)
    assert not thrift.trusted
    at_s = 20.0
    for _ in range(PROVEN):
        assert not thrift.trusted
        for n in range(3):
            thrift.wants(at_s + n / FPS, LARGE, False)
        thrift.seen(at_s + 0.4, anything=True, moving=True)
        at_s += 10
    assert thrift.trusted


@given(st.integers(2, 400), st.lists(st.integers(50, 3000), min_size=LEAST_HISTORY, max_size=400))
def test_never_blind_for_longer_than_promised(group: int, sizes: list[int]) -> None:
    thrift, unseen_s = Thrift(), 0.0
    for number, size in enumerate(sizes * 3):
        key = number % group == 0
        wanted = thrift.wants(number / FPS, KEY if key else size, key)
        unseen_s = 0.0 if wanted else unseen_s + 1 / FPS
        assert unseen_s <= BLIND_S + 1 / FPS


def encoded(scene: StreetScene, seconds: int, **options: str) -> Iterator[tuple[int, bool]]:
    """(size, keyframe) of each picture."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(FPS), Fraction(1, FPS)
    encoder.options = {"preset": "superfast", "tune": "zerolatency", "g": str(GROUP), **options}
    for number in range(seconds * FPS):
        frame = av.VideoFrame.from_ndarray(scene.frame(number), format="bgr24")
        frame.pts = number
        yield from ((packet.size, packet.is_keyframe) for packet in encoder.encode(frame))


def test_a_real_encoder_that_saves_is_decoded_to_a_third_until_somebody_comes() -> None:
    weather = Weather(cloud=False)
    empty = list(encoded(EmptyStreet((640, 360), FPS, 1, weather), 20, crf="30"))
    busy = list(encoded(StreetScene((640, 360), FPS, 1, weather), 12, crf="30"))
    thrift, wanted = Thrift(), []
    for number, (size, key) in enumerate(empty + busy):
        wanted.append(thrift.wants(number / FPS, size, key))
    idle, crossing = wanted[10 * FPS : 20 * FPS], wanted[round(20 + FIRST_CROSSING_S + 1) * FPS : 28 * FPS]
    assert sum(idle) <= len(idle) / 3
    assert all(crossing[FPS:])
