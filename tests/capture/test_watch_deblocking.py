"""When the deblocking filter is left out: the rule by itself, and with a real encoder by day and by night."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np
import pytest

from edge_agent.capture import nal
from edge_agent.capture.deblocking import LONG_GROUP, TRIED_PICTURES, TRIED_S, Deblocking
from edge_agent.capture.decoder import Decoder
from edge_agent.capture.motion import Luma
from edge_agent.capture.source import VIDEO, Packet
from edge_agent.demo.scene import Weather
from tests.capture.watching import EmptyStreet, coded

FPS, GROUP, GROUPS = 10, 20, 4
PATCH = 0.04


class Stream:
    """What is tried, and how much the filter matters."""

    def __init__(self) -> None:
        self.part: float | None = 0.0
        """Of the picture, where it does; None: these packets can't be decoded."""
        self.tried: list[list[float]] = []
        self.deblocking = Deblocking(self._shown)

    def goes_on(self, at_s: float, count: int, group: int) -> None:
        for number in range(count):
            now_s = at_s + number / FPS
            self.deblocking.see(Packet(VIDEO, b"x", None, None, 0, number % group == 0, 0, now_s))

    def _shown(self, packets: Sequence[Packet], deblocks: bool) -> Luma | None:
        if deblocks:
            self.tried.append([packet.arrival_monotonic for packet in packets])
        if self.part is None:
            return None
        picture = np.full((180, 320), 100, np.uint8)
        if not deblocks:
            picture[: round(180 * self.part)] += 8
        return picture


@pytest.mark.parametrize(("part", "needed"), [(0.0, False), (0.01, False), (PATCH, True), (None, True)])
def test_the_filter_is_left_out_where_it_was_tried_and_matters_little(part: float | None, needed: bool) -> None:
    stream = Stream()
    stream.part = part
    stream.goes_on(50, TRIED_PICTURES - 1, 25)
    assert stream.deblocking.needed
    stream.goes_on(50, TRIED_PICTURES, 25)
    assert stream.deblocking.needed is needed


def test_a_group_shorter_than_that_is_tried_as_a_whole() -> None:
    stream = Stream()
    stream.goes_on(50, 6, 5)
    assert [len(tried) for tried in stream.tried] == [5]
    assert not stream.deblocking.needed


def test_it_is_tried_again_when_night_may_have_come() -> None:
    stream = Stream()
    stream.goes_on(0, 60, 20)
    stream.goes_on(TRIED_S - 2, 20, 20)
    assert [tried[0] for tried in stream.tried] == [0]
    stream.part = PATCH
    stream.goes_on(TRIED_S, 60, 20)
    assert [tried[0] for tried in stream.tried] == [0, TRIED_S]
    assert stream.deblocking.needed


def test_nothing_is_tried_across_a_gap() -> None:
    stream = Stream()
    for _ in range(3):
        stream.goes_on(50, 12, 50)
        stream.deblocking.lose()
        stream.deblocking.see(Packet(VIDEO, b"x", None, None, 0, False, 0, 52.0))
    assert not stream.tried
    assert stream.deblocking.needed


def test_with_rare_keyframes_it_is_never_left_out() -> None:
    stream = Stream()
    stream.goes_on(50, LONG_GROUP + 1, 500)
    assert stream.deblocking.needed
    stream.goes_on(50 + TRIED_S, 60, 20)
    assert stream.deblocking.needed


def by_the_book(packets: list[Packet]) -> list[Luma]:
    context = av.CodecContext.create("h264", "r")
    frames = [frame for one in packets for frame in context.decode(av.Packet(nal.annex_b(one.data)))]
    frames += context.decode(None)
    return [np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)[: frame.height] for frame in frames]


@pytest.mark.parametrize(
    ("weather", "bit_rate", "needed"),
    [(Weather(cloud=False), 512_000, False), (Weather(night=True, noise=6, cloud=False), 150_000, True)],
    ids=["day", "night"],
)
def test_real_streams_are_decoded_by_the_book_where_they_are_coded_coarsely(
    weather: Weather, bit_rate: int, needed: bool
) -> None:
    scene = EmptyStreet((640, 360), FPS, 1, weather)
    packets = coded((scene.frame(number) for number in range(GROUPS * GROUP)), FPS, GROUP, bit_rate)
    meant = by_the_book(packets)
    decoder = Decoder("h264")
    shown = [picture.luma().copy() for one in packets for picture in decoder.decode(one)]
    assert len(shown) == len(meant) == GROUPS * GROUP
    right = [np.array_equal(a, b) for a, b in zip(shown, meant, strict=True)]
    assert all(right[:GROUP]), "until it was tried nothing is left out"
    assert all(right) is needed
    apart = [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(shown, meant, strict=True)]
    assert max(apart) < 1
