"""What of a hold's interval is there, and what exactly is missing (`docs/retention.md`, "Holds")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.buffer.coverage import Piece, PieceState
from edge_agent.buffer.holds import Held
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.buffer.promise import EARLIEST_US
from edge_agent.model import CameraId, Interval

UNKNOWN = "unknown"
_THERE = (PieceState.RECORDED, PieceState.OPEN)


@dataclass(frozen=True, slots=True)
class Missing:
    """A piece of time that can't be shown."""

    interval: Interval
    cause: str
    """A GapCause; `deleted`; `outside`: the camera was not installed; `unknown`: nothing was written down about it."""
    evidence: str
    """The words of the gap; the reason of the deletion."""


@dataclass(frozen=True, slots=True)
class Account:
    """One camera's interval."""

    camera: CameraId
    interval: Interval
    recorded_s: float
    size_bytes: int
    """Of the recordings that overlap it, whole."""
    missing: tuple[Missing, ...]


def account(library: Library, camera: CameraId, interval: Interval) -> Account:
    """Account for an interval that is past; ArchiveError when the index can't be read."""
    # A day is looked into for files; nothing was recorded before there was this product.
    looked = interval.clipped(Interval(EARLIEST_US, max(interval.end_us, EARLIEST_US)))
    pieces = library.coverage(camera, looked)
    return Account(
        camera,
        interval,
        recorded_s=sum(piece.interval.seconds for piece in pieces if piece.state in _THERE),
        size_bytes=sum(segment.size_bytes for segment in library.segments(camera, looked)),
        missing=tuple(_missing(piece) for piece in pieces if piece.state not in _THERE),
    )


def _missing(piece: Piece) -> Missing:
    match piece.state:
        case PieceState.DELETED:
            return Missing(piece.interval, "deleted", piece.reason)
        case PieceState.GAP:
            return Missing(piece.interval, piece.cause or UNKNOWN, piece.evidence)
        case _:
            return Missing(piece.interval, str(piece.state), "")


def missing_by_cause(accounts: Iterable[Account]) -> dict[str, float]:
    """Seconds missing, by cause; the largest first."""
    sums: dict[str, float] = {}
    for one in accounts:
        for piece in one.missing:
            sums[piece.cause] = sums.get(piece.cause, 0.0) + piece.interval.seconds
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def held_bytes(index: Index, held: Held, camera: CameraId) -> int:
    """What holds keep of a camera just now."""
    return sum(index.size_within(camera, interval) for interval in held.intervals(camera))
