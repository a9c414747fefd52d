"""Intervals and what they leave uncovered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.messages import (
    AlarmRaised,
    CameraChanged,
    CameraStats,
    ExportStep,
    Message,
    SegmentClosed,
    decode,
    encode,
)
from edge_agent.model import (
    Alarm,
    AlarmNature,
    AlarmPhase,
    Box,
    CameraFault,
    CameraId,
    CameraState,
    Interval,
    Segment,
    uncovered,
)

moments = st.integers(0, 60)
intervals = st.tuples(moments, moments).map(lambda pair: Interval(min(pair), max(pair)))


@given(intervals, st.lists(intervals, max_size=8))
def test_each_moment_is_either_covered_or_in_exactly_one_hole(whole: Interval, parts: list[Interval]) -> None:
    holes = uncovered(whole, parts)
    for moment in range(whole.start_us, whole.end_us):
        covered = any(part.start_us <= moment < part.end_us for part in parts)
        assert sum(hole.start_us <= moment < hole.end_us for hole in holes) == (0 if covered else 1)


@given(intervals, intervals)
def test_clipping_stays_inside_both(one: Interval, other: Interval) -> None:
    clipped = one.clipped(other)
    assert other.start_us <= clipped.start_us <= clipped.end_us <= other.end_us
    assert clipped.empty or (one.start_us <= clipped.start_us and clipped.end_us <= one.end_us)


def test_an_interval_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before"):
        Interval(2, 1)


CAMERA = CameraId("gate")
PICTURE = bytes(range(256))


@pytest.mark.parametrize(
    "message",
    [
        CameraChanged(CAMERA, CameraState.LOST, 5, CameraFault.LOGIN, "пароль"),
        SegmentClosed(Segment(CAMERA, "gate/2026-11-22/1_000001.mp4.age", 1, 2, 3, 4, "ab")),
        AlarmRaised(
            Alarm("a1", CAMERA, AlarmNature.MOTION, AlarmPhase.START, 1, 1, "door", Box(0, 0.5, 1, 0.5), 90.0, PICTURE)
        ),
    ],
)
def test_a_message_of_a_child_arrives_as_it_was_sent(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(st.binary(max_size=200))
def test_garbage_from_a_child_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        decode(line)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_message_of_a_child_holds_numbers_that_are_such(number: str) -> None:
    stats = encode(CameraStats(CameraId("gate"), 1, 25.5, 4e6, None, 7))
    step = encode(ExportStep("j", "done", result={"parts": [{"seconds": 25.5}]}))
    for line in (stats, step):
        assert encode(decode(line)) == line
        with pytest.raises(ValueError, match="not a message"):
            decode(line.replace(b"25.5", number.encode()))
