"""Merkle roots over the recordings of each hour, proofs for one of them, and over what went on a day long past
(`docs/archive.md`, «Hours» and «Every second»)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from edge_agent.buffer.coverage import TOLERANCE_US
from edge_agent.buffer.index import Index
from edge_agent.buffer.index_past import HOUR_US, Hour, Receipt, Rolled
from edge_agent.buffer.index_rows import key_of
from edge_agent.buffer.segments import DAY_US
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust import merkle

GRACE_US = 120 * US
"""So long after an hour its root is made."""
KEEP_RECEIPTS_US = 30 * DAY_US


@dataclass(frozen=True, slots=True)
class Proof:
    """That a recording stands under the root of its hour."""

    segment: Segment
    hour: Hour
    index: int
    path: tuple[bytes, ...]

    @property
    def verified(self) -> bool:
        leaf = merkle.leaf_hash(leaf_of(self.segment))
        return merkle.verify_inclusion(leaf, self.index, self.hour.count, self.path, self.hour.root)


def leaf_of(segment: Segment) -> bytes:
    """The bytes of a recording's leaf; it must have a hash."""
    assert segment.sha256 is not None
    return f"edge-agent.segment/1\n{segment.path}\n{segment.end_us}\n{segment.size_bytes}\n{segment.sha256}\n".encode()


def seal_next(index: Index, now_us: int) -> Hour | None:
    """Make the next root that is due; None when there is none."""
    hour_us = index.unsealed_hour(now_us - GRACE_US)
    if hour_us is None:
        return None
    known = index.hours(Interval(hour_us, hour_us + 1))
    leaves = _leaves(index.batch(hour_us, None))
    hour = Hour(hour_us, len(known), len(leaves), merkle.root(leaves))
    index.seal(hour)
    return hour


def prove(index: Index, path: str) -> Proof:
    """The audit path of a recording, held or deleted; NotFoundError and ArchiveError say why there is none."""
    place = index.batch_of(key_of(path))
    if place is None:
        raise NotFoundError(
            f"{path} stands under no root: it is not known here, its hour is not over, or its receipt was rolled up"
        )
    hour_us, batch = place
    segments = index.batch(hour_us, batch)
    hours = [hour for hour in index.hours(Interval(hour_us, hour_us + 1)) if hour.batch == batch]
    at = next(number for number, segment in enumerate(segments) if segment.path == path)
    proof = Proof(segments[at], hours[0], at, tuple(merkle.inclusion(_leaves(segments), at))) if hours else None
    if proof is None or not proof.verified:
        raise ArchiveError(f"{path}: what the index holds of its hour does not give the hour's root")
    return proof


def roll_up(index: Index, now_us: int) -> Iterator[tuple[CameraId, int]]:
    """Put receipts that are old enough in one for each camera, day and reason; a step for each camera and day."""
    for day in index.past_days(now_us - KEEP_RECEIPTS_US):
        for camera in index.cameras():
            receipts = index.day_receipts(camera, day)
            if receipts:
                index.roll(camera, day, rolled(camera, day, receipts))
                yield camera, day


def rolled(camera: CameraId, day: int, receipts: Sequence[Receipt]) -> list[Rolled]:
    """What remains of the receipts of one camera and day, given in order of start and sequence; one for each reason."""
    remains = []
    for reason, alike in groupby(sorted(receipts, key=lambda one: one.reason), key=lambda one: one.reason):
        those = list(alike)
        leaves = _leaves([one.segment for one in those if one.segment.sha256 is not None])
        remains.append(
            Rolled(
                camera,
                day,
                reason,
                files=len(those),
                size_bytes=sum(one.segment.size_bytes for one in those),
                first_deleted_us=min(one.deleted_us for one in those),
                last_deleted_us=max(one.deleted_us for one in those),
                spans=_spans([one.segment.interval for one in those]),
                hashed=len(leaves),
                root=merkle.root(leaves),
            )
        )
    return remains


def _leaves(segments: Sequence[Segment]) -> list[bytes]:
    return [merkle.leaf_hash(leaf_of(segment)) for segment in segments]


def _spans(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    spans: list[Interval] = []
    for interval in sorted(intervals):
        if spans and interval.start_us - spans[-1].end_us <= TOLERANCE_US:
            spans[-1] = Interval(spans[-1].start_us, max(spans[-1].end_us, interval.end_us))
        else:
            spans.append(interval)
    return tuple(spans)


__all__ = ["HOUR_US", "Proof", "leaf_of", "prove", "roll_up", "rolled", "seal_next"]
