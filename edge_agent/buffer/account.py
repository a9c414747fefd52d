"""What of an interval is there, and what exactly is missing, by the index's own knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_agent.buffer.holds import Held
from edge_agent.buffer.index import Index, Receipt
from edge_agent.model import CameraId, Gap, Interval, uncovered

JITTER_US = 500_000
"""Less than this between two recordings is the camera's own jitter."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A piece of time that can't be shown."""

    interval: Interval
    cause: str
    """A GapCause; `deleted`; `unknown`: not accounted for, or never recorded at all."""
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


def account(index: Index, camera: CameraId, interval: Interval) -> Account:
    """Account for an interval that is past; ArchiveError when the index can't be read."""
    segments = index.segments(camera, interval)
    holes = uncovered(interval, (segment.interval for segment in segments), JITTER_US)
    missing: list[Missing] = []
    if holes:
        gaps, receipts = index.gaps(camera, interval), index.receipts(camera, interval)
        missing = [piece for hole in holes for piece in explained(hole, receipts, gaps)]
    return Account(
        camera,
        interval,
        recorded_s=interval.seconds - sum(piece.interval.seconds for piece in missing),
        size_bytes=sum(segment.size_bytes for segment in segments),
        missing=tuple(missing),
    )


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


def explained(hole: Interval, receipts: Sequence[Receipt], gaps: Sequence[Gap]) -> list[Missing]:
    """A hole cut by its causes: what was deleted, what was never recorded, and what nobody accounts for."""
    pieces = [Missing(r.segment.interval.clipped(hole), "deleted", r.reason) for r in receipts]
    pieces += [Missing(gap.interval.clipped(hole), str(gap.cause), gap.evidence) for gap in gaps]
    found: list[Missing] = []
    reached = hole.start_us
    for piece in sorted(pieces, key=lambda piece: piece.interval):
        start_us, end_us = max(piece.interval.start_us, reached), piece.interval.end_us
        if end_us <= start_us:
            continue
        if start_us - reached > JITTER_US:
            found.append(Missing(Interval(reached, start_us), "unknown", ""))
        else:
            start_us = reached
        found.append(Missing(Interval(start_us, end_us), piece.cause, piece.evidence))
        reached = end_us
    if hole.end_us - reached > JITTER_US or not found:
        found.append(Missing(Interval(reached, hole.end_us), "unknown", ""))
    return _joined(found)


def _joined(pieces: Iterable[Missing]) -> list[Missing]:
    """Neighbours of the same cause as one: ten days of deleted minutes are one line."""
    found: list[Missing] = []
    for piece in pieces:
        last = found[-1] if found else None
        if (
            last is not None
            and (last.cause, last.evidence) == (piece.cause, piece.evidence)
            and piece.interval.start_us - last.interval.end_us <= JITTER_US
        ):
            found[-1] = Missing(Interval(last.interval.start_us, piece.interval.end_us), last.cause, last.evidence)
        else:
            found.append(piece)
    return found
