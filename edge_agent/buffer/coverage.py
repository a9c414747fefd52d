"""What became of every second of a camera: pieces that tile an interval exactly (`docs/archive.md`, «Every second»).

`coverage` is a function of values; `Library.coverage` gathers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from edge_agent.buffer.index_facts import Installed, Loss
from edge_agent.clock import US
from edge_agent.model import Gap, GapCause, Interval

TOLERANCE_US = 500_000
"""Less than this between two recordings is the camera's own jitter, not a gap."""
FRESH_US = 10 * US
"""What is younger may be on its way to the disk."""
UNKNOWN = "nothing was written down about it"
UNTOLD = "nothing is recorded; its cause is told when recording goes on"


class PieceState(StrEnum):
    """Where two are true of a time, the first of them is told."""

    RECORDED = "recorded"
    DELETED = "deleted"
    GAP = "gap"
    OPEN = "open"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time of which one thing is true; never empty."""

    start_us: int
    end_us: int
    state: PieceState
    cause: GapCause | None = None
    """Of a gap; None when nothing was written down about it."""
    evidence: str = ""
    reason: str = ""
    """Why it was deleted."""
    at_us: int | None = None
    """When the last of it was deleted."""

    @property
    def interval(self) -> Interval:
        return Interval(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True)
class Deleted:
    """Something that was recorded once."""

    interval: Interval
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of a camera about an interval."""

    now_us: int
    recorded: Sequence[Interval] = ()
    deleted: Sequence[Deleted] = ()
    gaps: Sequence[Gap] = ()
    loss: Loss | None = None
    """What goes on now."""
    last_us: int | None = None
    """The end of the newest known time, wherever the interval is."""
    installed: Installed = field(default_factory=Installed)


def coverage(interval: Interval, known: Known) -> list[Piece]:
    """What became of the interval, in order: the pieces tile it, and no two neighbours say the same."""
    if interval.empty:
        return []
    painting = _Painting(interval)
    painting.paint(_joined(Piece(*_ends(part), PieceState.RECORDED) for part in known.recorded))
    painting.paint(
        _joined(
            Piece(*_ends(one.interval), PieceState.DELETED, reason=one.reason, at_us=one.at_us) for one in known.deleted
        )
    )
    painting.paint(Piece(*_ends(gap.interval), PieceState.GAP, gap.cause, gap.evidence) for gap in known.gaps)
    painting.paint(_tail(known))
    painting.bridge()
    start, end = interval.start_us, interval.end_us
    since, until = _installed(known)
    painting.paint([Piece(start, since, PieceState.OUTSIDE), Piece(until, end, PieceState.OUTSIDE)])
    painting.paint([Piece(start, end, PieceState.GAP, None, UNKNOWN)])
    return _merged(painting.pieces)


def _installed(known: Known) -> tuple[int, int]:
    since, until = known.installed.since_us, known.installed.until_us
    ends = known.now_us if until is None else min(until, known.now_us)
    return (ends if since is None else since), ends


def _tail(known: Known) -> list[Piece]:
    """From the newest that is known until now."""
    since, until = _installed(known)
    last = since if known.last_us is None else known.last_us
    if known.loss is not None:
        return [Piece(last, until, PieceState.GAP, known.loss.cause, known.loss.evidence)]
    fresh = max(last, known.now_us - FRESH_US)
    return [Piece(last, min(fresh, until), PieceState.GAP, None, UNTOLD), Piece(fresh, until, PieceState.OPEN)]


class _Painting:
    """What is painted first stays; later layers show where nothing is yet."""

    def __init__(self, whole: Interval) -> None:
        self._whole = whole
        self._pieces: list[Piece] = []
        self._holes = [whole]

    @property
    def pieces(self) -> list[Piece]:
        return sorted(self._pieces, key=lambda piece: piece.start_us)

    def paint(self, layer: Iterable[Piece]) -> None:
        """Pieces of a layer may overlap and be empty; of two, the one that begins earlier shows."""
        todo = sorted((piece for piece in layer if piece.start_us < piece.end_us), key=lambda piece: piece.start_us)
        left: list[Interval] = []
        at = 0
        for hole in self._holes:
            reached = hole.start_us
            # a piece may reach over several holes, so only those that end before this one are done with
            while at < len(todo) and todo[at].end_us <= reached:
                at += 1
            for number in range(at, len(todo)):
                piece = todo[number]
                if piece.start_us >= hole.end_us or reached >= hole.end_us:
                    break
                start, end = max(piece.start_us, reached), min(piece.end_us, hole.end_us)
                if start >= end:
                    continue
                if start > reached:
                    left.append(Interval(reached, start))
                self._pieces.append(replace(piece, start_us=start, end_us=end))
                reached = end
            if reached < hole.end_us:
                left.append(Interval(reached, hole.end_us))
        self._holes = left

    def bridge(self) -> None:
        """Give holes within the tolerance to the piece before them, or to the one behind."""
        begins = {piece.start_us: piece for piece in self._pieces}
        ends = {piece.end_us: piece for piece in self._pieces}
        left: list[Interval] = []
        for hole in self._holes:
            neighbour = ends.get(hole.start_us) or begins.get(hole.end_us)
            if neighbour is None or hole.end_us - hole.start_us > TOLERANCE_US:
                left.append(hole)
            else:
                self._pieces.append(replace(neighbour, start_us=hole.start_us, end_us=hole.end_us))
        self._holes = left


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Alike pieces, less than the tolerance apart, in one."""
    joined: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.start_us):
        last = joined[-1] if joined else None
        if last is not None and piece.start_us - last.end_us <= TOLERANCE_US and _alike(last, piece):
            joined[-1] = _one(last, piece)
        else:
            joined.append(piece)
    return joined


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and _alike(merged[-1], piece):
            merged[-1] = _one(merged[-1], piece)
        else:
            merged.append(piece)
    return merged


def _alike(one: Piece, other: Piece) -> bool:
    says = (one.state, one.cause, one.evidence, one.reason)
    return says == (other.state, other.cause, other.evidence, other.reason)


def _one(first: Piece, then: Piece) -> Piece:
    at = max((at for at in (first.at_us, then.at_us) if at is not None), default=None)
    return replace(first, end_us=max(first.end_us, then.end_us), at_us=at)


def _ends(interval: Interval) -> tuple[int, int]:
    return interval.start_us, interval.end_us
