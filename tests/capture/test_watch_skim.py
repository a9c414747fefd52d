"""Skimming an idle stream: what is judged, what is rewritten, and what real encoders' streams come out as."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import nal
from edge_agent.capture.analysis import Analysis
from edge_agent.capture.choice import HELD_S, Skimming
from edge_agent.capture.decoder import Decoder, Picture
from edge_agent.capture.motion import coarse, difference
from edge_agent.capture.renumber import FrameNumbers, is_referred_to, numbered
from edge_agent.capture.skim import CONFIRMED_S, FAILURES, FORGETS_S, GROUP_S, LEAST, MOST, SKIM_S, Skim
from edge_agent.capture.source import Packet
from edge_agent.capture.tracks import Instant
from edge_agent.demo.scene import FIRST_CROSSING_S, StreetScene, Weather
from tests.capture.watching import EmptyStreet, coded, watched

FPS, GROUP, EMPTY_S, BUSY_S = 10, 20, 24, 12
WEATHER = Weather(cloud=False)


@lru_cache
def street(profile: str = "baseline", group: int = GROUP, bframes: int = 0) -> list[Packet]:
    """An empty street at constant bitrate, then the same with somebody crossing it."""
    scenes = [(EmptyStreet((640, 360), FPS, 1, WEATHER), EMPTY_S), (StreetScene((640, 360), FPS, 1, WEATHER), BUSY_S)]
    pictures = (scene.frame(number) for scene, seconds in scenes for number in range(seconds * FPS))
    return coded(pictures, FPS, group, profile=profile, bf=str(bframes))


class Counting(Decoder):
    """Knows how much was asked of it."""

    decoded = 0
    skimmed = 0

    def decode(self, packet: Packet, *, wanted: bool = True) -> list[Picture]:
        self.decoded += 1
        return super().decode(packet, wanted=wanted)

    def skim(self, packet: Packet, numbers: FrameNumbers, number: int) -> Picture | None:
        self.skimmed += 1
        return super().skim(packet, numbers, number)


def watch(packets: Iterable[Packet]) -> tuple[Counting, list[tuple[float, Picture]]]:
    """(the decoder, pictures given out and when), with an analysis behind it as the watcher has it."""
    decoder = Counting("h264")
    choice, given_out = Skimming(decoder, b""), []
    analysis = Analysis(watched("gate", "rtsp://127.0.0.1/x"), ZoneInfo("UTC"), "en", lambda: "alarm")
    for packet in packets:
        for picture in choice.pictures(packet, newest=True):
            given_out.append((packet.arrival_monotonic, picture))
            analysis.see(picture.luma(), picture.bgr, Instant(picture.arrival_us, picture.arrival_monotonic))
            choice.seen(picture.arrival_monotonic, analysis)
    return decoder, given_out


def test_an_idle_stream_is_decoded_to_a_fraction_and_one_with_somebody_in_it_whole() -> None:
    packets = street()
    idle = [packet for packet in packets if 12 <= packet.arrival_monotonic < EMPTY_S]
    before = watch(packet for packet in packets if packet.arrival_monotonic < 12)[0]
    until = watch(packet for packet in packets if packet.arrival_monotonic < EMPTY_S)[0]
    cost = until.decoded + until.skimmed - before.decoded - before.skimmed
    assert cost <= 0.2 * len(idle)
    _, given_out = watch(packets)
    seen_s = {picture.arrival_monotonic for _, picture in given_out}
    crossing_s = EMPTY_S + FIRST_CROSSING_S + 1.5
    assert {packet.arrival_monotonic for packet in packets if crossing_s <= packet.arrival_monotonic < 34} <= seen_s


def test_what_is_given_out_is_what_a_plain_decoder_shows_and_in_order() -> None:
    packets, plain = street(), Decoder("h264")
    shown = {packet.arrival_monotonic: plain.decode(packet)[0].luma().copy() for packet in packets}
    decoder, given_out = watch(packets)
    assert decoder.skimmed > 5
    assert all(np.array_equal(picture.luma(), shown[picture.arrival_monotonic]) for _, picture in given_out)
    times = [picture.arrival_monotonic for _, picture in given_out]
    assert times == sorted(set(times))
    assert all(now_s - picture.arrival_monotonic <= HELD_S for now_s, picture in given_out)
    assert decoder.errors == 0


@pytest.mark.parametrize(("profile", "bframes"), [("main", 0), ("high", 2)])
def test_other_encoders_streams_are_skimmed_or_decoded_whole_but_never_lost(profile: str, bframes: int) -> None:
    packets = street(profile, GROUP, bframes)
    decoder, given_out = watch(packets)
    crossing = {picture.arrival_monotonic for _, picture in given_out if 29 <= picture.arrival_monotonic < 33}
    assert len(crossing) >= 4 * FPS / (1 + bframes)
    assert decoder.errors == 0


def test_groups_of_pictures_that_are_long_are_decoded_whole() -> None:
    packets = street(group=int(GROUP_S * FPS) + 20)
    decoder, _ = watch(packet for packet in packets if packet.arrival_monotonic < EMPTY_S)
    assert decoder.decoded >= EMPTY_S * FPS


def test_after_a_loss_nothing_is_given_out_before_the_next_keyframe() -> None:
    choice = Skimming(Decoder("h264"), b"")
    packets = street()[: 2 * GROUP]
    assert list(choice.pictures(packets[0], newest=True))
    choice.reset()
    assert [len(list(choice.pictures(packet, newest=True))) for packet in packets[1 : GROUP + 2]] == [0] * 19 + [1, 1]


def test_renumbered_pictures_come_out_of_a_decoder_as_if_nothing_had_been_left_out() -> None:
    decoder, numbers, number = Decoder("h264"), None, 0
    for place, packet in enumerate(street()[: 6 * GROUP]):
        if packet.keyframe:
            [picture], number = decoder.decode(packet), 0
            numbers = FrameNumbers.of(nal.units(packet.data))
            reference = coarse(picture.luma())
        elif place % 7 == 0:
            assert numbers is not None
            number += 1
            skimmed = decoder.skim(packet, numbers, number)
            assert skimmed is not None
            assert difference(coarse(skimmed.luma()), reference) < LEAST


@given(st.integers(0, 2**16 - 1), st.sampled_from(range(1, 60)))
def test_a_number_that_is_put_in_can_be_taken_back(number: int, place: int) -> None:
    units = nal.units(street()[place].data)
    numbers = FrameNumbers.of(nal.units(street()[0].data))
    assert numbers is not None
    own = place % GROUP % (1 << numbers.bits)
    assert numbered(numbered(units, numbers, number), numbers, own) == units


@given(st.binary(max_size=80), st.integers(0, 99), st.integers(4, 16))
def test_garbage_is_renumbered_or_refused(data: bytes, number: int, bits: int) -> None:
    with contextlib.suppress(ValueError):
        assert len(nal.unescaped(FrameNumbers(bits).renumbered(b"\x41" + data, number))) >= 1
    is_referred_to([b"\x41" + data])


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=60).map(bytes))
def test_escapes_are_taken_out_as_they_were_put_in(data: bytes) -> None:
    escaped = nal.escaped(data)
    assert nal.unescaped(escaped) == data
    assert not any(mark in escaped for mark in (b"\0\0\0", b"\0\0\1", b"\0\0\2"))


def test_calm_pictures_do_not_stir_and_a_thing_does() -> None:
    skim = Skim()
    assert not any(skim.stirs(n * SKIM_S, 3.0 + n % 2) for n in range(50))
    assert skim.stirs(50 * SKIM_S, 40.0)
    assert skim.worth(51 * SKIM_S)


def test_what_stirs_without_cause_is_no_reason_the_next_time_and_a_restless_camera_is_not_skimmed_for_a_while() -> None:
    skim = Skim()
    assert skim.stirs(0.0, LEAST + 1)
    skim.seen(CONFIRMED_S + 0.1, anything=False)
    assert not skim.stirs(2.0, LEAST + 1)
    assert not skim.worth(2.0)
    assert skim.worth(2.0 + 2 * FORGETS_S)
    skim.learn(1000.0, MOST)
    assert not skim.worth(1000.0)


def test_what_stirs_with_cause_makes_the_next_thing_no_less_noticed() -> None:
    skim = Skim()
    assert skim.stirs(0.0, LEAST + 1)
    skim.seen(0.2, anything=True)
    skim.seen(CONFIRMED_S + 1, anything=False)
    assert skim.stirs(20.0, LEAST + 1)


def test_a_stream_that_can_not_be_skimmed_is_left_alone() -> None:
    skim = Skim()
    for _ in range(FAILURES):
        assert skim.worth(0.0)
        skim.failed()
    assert not skim.worth(0.0)
