"""Coverage: whatever is known, the pieces tile the interval and each says what is true of it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.coverage import (
    FRESH_US,
    TOLERANCE_US,
    UNKNOWN,
    UNTOLD,
    Deleted,
    Known,
    Piece,
    PieceState,
    coverage,
)
from edge_agent.buffer.index_facts import Installed, Loss
from edge_agent.clock import US
from edge_agent.model import CameraId, Gap, GapCause, Interval

CAMERA = CameraId("gate")
NOW = 100 * US
TIMES = st.integers(0, 120 * 4).map(lambda quarter: quarter * US // 4)
INTERVALS = st.tuples(TIMES, TIMES).map(lambda ends: Interval(min(ends), max(ends)))
DELETED = st.builds(Deleted, INTERVALS, st.sampled_from(["age", "space"]), TIMES)
GAPS = INTERVALS.map(lambda i: Gap(CAMERA, i.start_us, i.end_us, GapCause.CAMERA, "stalled"))
KNOWN = st.builds(
    Known,
    st.just(NOW),
    st.lists(INTERVALS, max_size=6),
    st.lists(DELETED, max_size=4),
    st.lists(GAPS, max_size=4),
    st.none() | st.just(Loss(GapCause.NETWORK, "unreachable")),
    st.none() | TIMES,
    st.builds(Installed, st.none() | TIMES, st.none() | TIMES),
)


def s(start: float, end: float) -> Interval:
    return Interval(round(start * US), round(end * US))


@given(INTERVALS, KNOWN)
def test_pieces_tile_the_interval_exactly_and_neighbours_differ(interval: Interval, known: Known) -> None:
    pieces = coverage(interval, known)
    if interval.empty:
        assert pieces == []
        return
    assert (pieces[0].start_us, pieces[-1].end_us) == (interval.start_us, interval.end_us)
    assert all(one.end_us == other.start_us for one, other in itertools.pairwise(pieces))
    assert all(piece.start_us < piece.end_us for piece in pieces)
    for one, other in itertools.pairwise(pieces):
        assert (one.state, one.cause, one.evidence, one.reason) != (
            other.state,
            other.cause,
            other.evidence,
            other.reason,
        )


@given(INTERVALS, KNOWN, TIMES)
def test_each_moment_is_told_by_the_strongest_fact_about_it(interval: Interval, known: Known, moment: int) -> None:
    pieces = [piece for piece in coverage(interval, known) if piece.start_us <= moment < piece.end_us]
    if not pieces:
        assert not interval.start_us <= moment < interval.end_us
        return
    (piece,) = pieces

    def at(facts: list[Interval]) -> bool:
        return any(fact.start_us <= moment < fact.end_us for fact in facts)

    if at(list(known.recorded)):
        assert piece.state is PieceState.RECORDED
    elif at([one.interval for one in known.deleted]):
        assert piece.state in (PieceState.RECORDED, PieceState.DELETED)
    elif at([gap.interval for gap in known.gaps]):
        assert piece.state is not PieceState.OUTSIDE
    if piece.state is PieceState.RECORDED:
        near = Interval(moment - TOLERANCE_US, moment + TOLERANCE_US + 1)
        assert any(part.overlaps(near) for part in known.recorded), "no more than jitter is told as recorded"


def test_recorded_missing_deleted_and_open_each_say_what_they_are() -> None:
    known = Known(
        NOW,
        recorded=[s(40, 60), s(60.2, 80), s(90, 94)],
        deleted=[Deleted(s(20, 30), "age", 7), Deleted(s(30, 40), "age", 9)],
        gaps=[Gap(CAMERA, 80 * US, 90 * US, GapCause.CAMERA, "stalled")],
        last_us=94 * US,
        installed=Installed(10 * US, None),
    )
    assert coverage(s(0, 110), known) == [
        Piece(0, 10 * US, PieceState.OUTSIDE),
        Piece(10 * US, 20 * US, PieceState.GAP, None, UNKNOWN),
        Piece(20 * US, 40 * US, PieceState.DELETED, reason="age", at_us=9),
        Piece(40 * US, 80 * US, PieceState.RECORDED),
        Piece(80 * US, 90 * US, PieceState.GAP, GapCause.CAMERA, "stalled"),
        Piece(90 * US, 94 * US, PieceState.RECORDED),
        Piece(94 * US, NOW, PieceState.OPEN),
        Piece(NOW, 110 * US, PieceState.OUTSIDE),
    ]


def test_a_loss_that_goes_on_reaches_until_now_wherever_one_asks() -> None:
    known = Known(NOW, [s(0, 50)], loss=Loss(GapCause.NETWORK, "unreachable"), last_us=50 * US)
    assert coverage(s(70, 80), known) == [Piece(70 * US, 80 * US, PieceState.GAP, GapCause.NETWORK, "unreachable")]
    assert coverage(s(95, 100), known)[-1].cause is GapCause.NETWORK


def test_silence_without_a_cause_is_no_recording() -> None:
    known = Known(NOW, [s(0, 50)], last_us=50 * US, installed=Installed(0, None))
    assert coverage(s(40, 100), known) == [
        Piece(40 * US, 50 * US, PieceState.RECORDED),
        Piece(50 * US, NOW - FRESH_US, PieceState.GAP, None, UNTOLD),
        Piece(NOW - FRESH_US, NOW, PieceState.OPEN),
    ]


def test_a_camera_that_was_taken_out_is_outside_from_then_on() -> None:
    known = Known(NOW, [s(0, 50)], last_us=50 * US, installed=Installed(0, 50 * US))
    assert [piece.state for piece in coverage(s(0, 100), known)] == [PieceState.RECORDED, PieceState.OUTSIDE]
