"""Turns: several cameras on one thread, by a clock that is moved by hand or runs as fast as it can."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from fractions import Fraction

import pytest

from edge_agent.capture.feed import Feed
from edge_agent.capture.source import VIDEO, CameraFailed, Packet, StreamInfo, VideoTrack
from edge_agent.capture.turns import Turn, Turns
from edge_agent.clock import SystemClock
from edge_agent.model import CameraFault
from tests.peers.support import wait_until
from tests.simulators.clock import HandClock

INFO = StreamInfo(VideoTrack("h264", Fraction(1, 90_000), 640, 360, b""))


class Camera:
    """Gives a packet each time it is polled, and fails after so many."""

    def __init__(self, packets: int) -> None:
        self.left = packets
        self.closed = False

    def open(self) -> StreamInfo:
        return INFO

    def packets(self) -> Iterator[Packet]:
        raise AssertionError("it is polled")

    def poll(self) -> list[Packet]:
        if not self.left:
            raise CameraFailed(CameraFault.CLOSED, "the camera closed the connection")
        self.left -= 1
        return [Packet(VIDEO, b"x", 0, 0, 0, False, 0, 0.0)]

    def close(self) -> None:
        self.closed = True


def taking(feed: Feed, pause_s: float, taken: list[int]) -> Generator[float, None, None]:
    try:
        while True:
            yield pause_s
            taken.append(len(feed.take(0.0)))
    finally:
        taken.append(-1)


def test_a_turn_reads_then_drives_and_is_due_when_its_worker_says() -> None:
    clock, feed, taken, camera = HandClock(), Feed(), list[int](), Camera(100)
    turn = Turn("gate", clock)
    turn.steps = taking(feed, 0.7, taken)
    turn.add("read-gate", camera, feed)
    turn.take()
    assert turn.due_s == clock.monotonic() + 0.7
    turn.take()
    assert taken == [2]
    turn.close()
    assert taken == [2, -1]
    assert camera.closed


def test_a_camera_that_fails_is_told_of_when_its_packets_are_taken_and_is_polled_no_more() -> None:
    clock, feed, camera = HandClock(), Feed(), Camera(1)
    turn = Turn("gate", clock)
    turn.add("read-gate", camera, feed)
    for _ in range(3):
        turn.take()
    assert camera.closed
    assert len(feed.take(0.0)) == 1
    with pytest.raises(CameraFailed, match="closed"):
        feed.take(0.0)


def test_a_connection_that_nobody_takes_from_any_more_is_closed() -> None:
    feed, camera = Feed(), Camera(10)
    turn = Turn("gate", HandClock())
    turn.add("read-gate", camera, feed)
    turn.take()
    feed.abandon()
    turn.take()
    assert camera.closed


def test_of_cameras_on_one_thread_each_gets_its_turns_until_they_are_stopped_and_closed() -> None:
    clock, stop = SystemClock(), threading.Event()
    turns, cameras, counts = [], [], [list[int](), list[int]()]
    for number, taken in enumerate(counts):
        feed, camera = Feed(), Camera(100_000)
        turn = Turn(f"cam{number}", clock)
        turn.steps = taking(feed, 0.01, taken)
        turn.add(f"read-cam{number}", camera, feed)
        turns.append(turn)
        cameras.append(camera)
    thread = Turns("watch-0", clock, stop, turns)
    thread.start()
    wait_until(lambda: all(len(taken) >= 5 for taken in counts), 30, "both get their turns")
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert all(camera.closed for camera in cameras)
    assert all(taken[-1] == -1 for taken in counts)
