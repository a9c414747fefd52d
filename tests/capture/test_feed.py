"""The queue between reader and writer, the first packets, and the waits between attempts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.backoff import Backoff
from edge_agent.capture.feed import Feed, Reader, Rounds
from edge_agent.capture.opening import Opening
from edge_agent.capture.source import AUDIO, VIDEO, CameraFailed, Packet, StreamInfo, VideoTrack
from edge_agent.clock import SystemClock
from edge_agent.model import CameraFault
from tests.peers.support import wait_until

INFO = StreamInfo(VideoTrack("h264", Fraction(1, 90_000), 640, 360, b""))

ROUNDS = Rounds(SystemClock(), 1.0, lambda: None)
"""Never started: nothing here can be polled."""


def packet(number: int, *, size: int = 1000, keyframe: bool = False, track: int = VIDEO) -> Packet:
    return Packet(track, bytes(size), number * 3600, number * 3600, 3600, keyframe, number * 40_000, number / 25)


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.booleans(), st.sampled_from([VIDEO, VIDEO, AUDIO])), max_size=80),
    st.lists(st.booleans(), max_size=80),
)
def test_only_whole_tails_of_groups_are_lost_and_all_are_counted(
    packets: list[tuple[int, bool, int]], takes: list[bool]
) -> None:
    feed = Feed(limit_bytes=12_000)
    got: list[tuple[Packet, int]] = []
    for number, (size, keyframe, track) in enumerate(packets):
        feed.put([packet(number, size=size, keyframe=keyframe, track=track)])
        if number < len(takes) and takes[number]:
            got += feed.take(0)
    got += feed.take(0)
    pictures = [(one, lost) for one, lost in got if one.track == VIDEO]
    assert all(one.keyframe for one, lost in pictures if lost)
    sent = [number for number, (_, _, track) in enumerate(packets) if track == VIDEO]
    expected = iter(sent)
    for one, lost in pictures:
        skipped = 0
        while (number := next(expected)) * 3600 != one.pts:
            skipped += 1
        assert (skipped, number) == (lost, (one.pts or 0) // 3600)
    assert feed.frames == len(sent)


def test_what_came_before_the_failure_is_given_first() -> None:
    feed = Feed()
    feed.put([packet(0, keyframe=True)])
    feed.fail(CameraFailed(CameraFault.CLOSED, "closed"))
    assert len(feed.take(0)) == 1
    with pytest.raises(CameraFailed) as failed:
        feed.take(0)
    assert failed.value.fault is CameraFault.CLOSED


@dataclass
class Hanging:
    """A source whose read hangs until `go`, as libav's do."""

    go: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def open(self) -> StreamInfo:
        return INFO

    def packets(self) -> Iterator[Packet]:
        yield packet(0, keyframe=True)
        self.go.wait(10)
        yield packet(1)
        raise AssertionError("an abandoned reader asks for nothing more")

    def close(self) -> None:
        self.closed.set()


def test_an_abandoned_reader_gives_up_with_its_next_packet() -> None:
    feed, source = Feed(), Hanging()
    reader = Reader("gate", lambda: source, feed, ROUNDS)
    reader.start()
    wait_until(lambda: feed.info() is INFO, 5, "the source is open")
    assert len(feed.take(5)) == 1
    feed.abandon()
    source.go.set()
    assert source.closed.wait(5)
    reader.join(5)
    assert feed.take(0) == []


class Defect(Hanging):
    def open(self) -> StreamInfo:
        raise RuntimeError("rtsp://user:password@camera")


class Unmade(Hanging):
    def __init__(self) -> None:
        raise RuntimeError("rtsp://user:password@camera")


@pytest.mark.parametrize("defect", [Defect, Unmade])
def test_a_defect_of_a_source_is_a_broken_camera_without_its_words(defect: type[Hanging]) -> None:
    feed = Feed()
    reader = Reader("gate", defect, feed, ROUNDS)
    reader.start()
    reader.join(5)
    with pytest.raises(CameraFailed, match=r"reading failed \(RuntimeError\)") as failed:
        feed.info()
    assert failed.value.fault is CameraFault.BROKEN


class Polled(Hanging):
    """One that never waits: gives what it is told to, and fails when there is no more."""

    def __init__(self, polls: list[list[Packet]]) -> None:
        super().__init__()
        self.polls = polls

    def poll(self) -> list[Packet]:
        if not self.polls:
            raise CameraFailed(CameraFault.CLOSED, "closed")
        return self.polls.pop(0)


def test_one_thread_reads_all_that_can_be_polled_and_one_that_fails_leaves_the_others_alone() -> None:
    rounds_done = threading.Semaphore(0)
    rounds = Rounds(SystemClock(), 0.01, rounds_done.release)
    short, long = Polled([[packet(0)], [], [packet(1), packet(2)]]), Polled([[packet(number)] for number in range(500)])
    feeds = Feed(), Feed()
    for source, feed in zip((short, long), feeds, strict=True):
        Reader("gate", lambda source=source: source, feed, rounds).start()  # type: ignore[misc]
    rounds.start()
    assert short.closed.wait(5)
    assert [one.pts for one, _ in feeds[0].take(0)] == [0, 3600, 7200]
    with pytest.raises(CameraFailed, match="closed"):
        feeds[0].take(0)
    before = feeds[1].frames
    wait_until(lambda: feeds[1].frames > before, 5, "the other is still read")
    rounds.end()
    rounds.join(5)
    assert long.closed.is_set()
    assert rounds_done.acquire(timeout=0)


def test_an_abandoned_feed_has_its_source_closed_at_the_next_round() -> None:
    source, feed = Polled([[] for _ in range(500)]), Feed()
    rounds = Rounds(SystemClock(), 0.01, lambda: None)
    rounds.add("gate", source, feed)
    rounds.start()
    feed.abandon()
    assert source.closed.wait(5)
    rounds.end()
    rounds.join(5)


class Paced(SystemClock):
    """Time flies; what was waited for is kept."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return event.is_set()


def test_rounds_are_close_while_a_camera_is_new_or_sends_much_and_else_far_apart() -> None:
    clock = Paced()
    calm = [[packet(0)] for _ in range(6)]
    stormy = [[packet(0, size=1 << 20)] for _ in range(2)]
    rounds = Rounds(clock, 0.8, lambda: None)
    rounds.add("gate", Polled([*calm, *stormy, [packet(0)], [packet(0)]]), Feed())
    rounds.start()
    wait_until(lambda: len(clock.waits) > 20, 5, "some rounds")
    rounds.end()
    rounds.join(5)
    assert clock.waits[1:13] == [0.05, 0.1, 0.2, 0.4, 0.8, 0.8, 0.8 / 2, 0.8 / 2, 0.8, 0.8, 0.8, 0.8]


def test_the_opening_puts_the_first_picture_back_to_when_it_came_and_fills_in_its_times() -> None:
    held_up = [
        Packet(VIDEO, b"x", pts, dts, 0, number == 0, max(number * 40_000, 400_000), max(number / 25, 0.4))
        for number, (pts, dts) in enumerate(
            [(None, None), (10_800, None), (3600, 0), (7200, 3600)]
            + [(number * 3600, number * 3600 - 7200) for number in range(4, 16)]
        )
    ]
    opening = Opening.of([(one, 0) for one in held_up], Fraction(1, 90_000))
    assert opening.early_us == 400_000
    assert [one.dts for one, _ in opening.packets] == [number * 3600 - 7200 for number in range(16)]
    assert opening.packets[0][0].pts == 0


def test_an_opening_of_nothing_or_without_any_times_is_left_as_it_is() -> None:
    assert Opening.of([], Fraction(1, 90_000)) == Opening((), 0)
    timeless = Packet(VIDEO, b"x", None, None, 0, True, 5, 0.0)
    assert Opening.of([(timeless, 0)], Fraction(1, 90_000)).packets == ((timeless, 0),)


def test_waits_double_to_half_a_minute_and_begin_anew_after_success() -> None:
    backoff = Backoff(lambda low, high: (low + high) / 2)
    assert [backoff.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next() == 0.5
    assert Backoff(lambda low, _: low).next() == 0.375
