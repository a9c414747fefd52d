"""What the index keeps of recordings that went, and the hours' Merkle roots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.buffer.index_facts import IndexFacts
from edge_agent.buffer.index_rows import segment_of
from edge_agent.buffer.segments import DAY_US
from edge_agent.model import CameraId, Interval, Segment

HOUR_US = DAY_US // 24
_ENDED = "WHERE camera IN (SELECT camera FROM camera) AND end_us >= ?1 AND end_us < ?2"
"""By the index of each camera."""
_RECEIPT = "camera, start_us, sequence, end_us, size_bytes, NULL, sha256, 0, NULL, NULL, disk"
_REWRAPPED = "camera, start_us, sequence, end_us, size_bytes, NULL, sha256, 0, NULL, NULL, ''"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What remains of a deleted recording."""

    segment: Segment
    reason: str
    """A DeleteReason, followed by the id of the hold that had kept it beyond its time, if one had."""
    deleted_us: int


@dataclass(frozen=True, slots=True)
class Rolled:
    """The receipts of recordings of one camera that ended on one UTC day and went for one reason."""

    camera: CameraId
    day: int
    """Days since 1970."""
    reason: str
    files: int
    size_bytes: int
    first_deleted_us: int
    last_deleted_us: int
    spans: tuple[Interval, ...]
    """What was recorded, in order."""
    hashed: int
    """So many of the files had a hash."""
    root: bytes
    """The Merkle root over the leaves of these."""


@dataclass(frozen=True, slots=True)
class Hour:
    """A batch of the recordings that ended within one UTC hour."""

    hour_us: int
    batch: int
    count: int
    root: bytes


class IndexPast(IndexFacts):
    """Receipts, rolled receipts, hours."""

    def receipts(self, camera: CameraId, interval: Interval) -> list[Receipt]:
        """Of recordings that overlap the interval, as far as they were not rolled up."""
        query = (
            f"SELECT {_RECEIPT}, reason, deleted_us FROM receipt WHERE camera = ?1"
            " AND start_us > ?2 - (SELECT longest_us FROM camera WHERE camera = ?1)"
            " AND start_us < ?3 AND end_us > ?2 ORDER BY start_us, sequence"
        )
        with self._errors():
            rows = self._db.execute(query, (camera, interval.start_us, interval.end_us))
            return [Receipt(segment_of(row), row[11], row[12]) for row in rows]

    def deleted_spans(self, camera: CameraId, interval: Interval) -> list[tuple[int, int, str, int]]:
        """Start, end, reason and time of deletion, of the same recordings as `receipts`."""
        query = (
            "SELECT start_us, end_us, reason, deleted_us FROM receipt WHERE camera = ?1"
            " AND start_us > ?2 - (SELECT longest_us FROM camera WHERE camera = ?1)"
            " AND start_us < ?3 AND end_us > ?2 ORDER BY start_us"
        )
        with self._errors():
            return self._db.execute(query, (camera, interval.start_us, interval.end_us)).fetchall()

    def day_receipts(self, camera: CameraId, day: int) -> list[Receipt]:
        """Of recordings of a camera that ended on a UTC day."""
        query = (
            f"SELECT {_RECEIPT}, reason, deleted_us FROM receipt"
            " WHERE camera = ? AND start_us > ? AND end_us >= ? AND end_us < ? ORDER BY start_us, sequence"
        )
        bounds = ((day - 1) * DAY_US - 1, day * DAY_US, (day + 1) * DAY_US)
        with self._errors():
            return [Receipt(segment_of(row), row[11], row[12]) for row in self._db.execute(query, (camera, *bounds))]

    def past_days(self, deleted_before_us: int) -> Iterator[int]:
        """UTC days of which receipts are left, all older than that, and no recording."""
        day = -1
        while True:
            with self._errors():
                first = self._db.execute(
                    "SELECT min(end_us) FROM receipt WHERE end_us >= ?", ((day + 1) * DAY_US,)
                ).fetchone()[0]
                if first is None:
                    return
                day = first // DAY_US
                span = (day * DAY_US, (day + 1) * DAY_US)
                living = self._db.execute(f"SELECT 1 FROM segment {_ENDED} LIMIT 1", span).fetchone()
                young = self._db.execute(
                    "SELECT 1 FROM receipt WHERE end_us >= ? AND end_us < ? AND deleted_us >= ? LIMIT 1",
                    (*span, deleted_before_us),
                ).fetchone()
                past = living is None and young is None
            if past:
                yield day

    def roll(self, camera: CameraId, day: int, rolled: Iterable[Rolled]) -> None:
        """Put these in the place of the camera's receipts of the day."""
        with self._transaction() as db:
            for one in rolled:
                key = (camera, day, one.reason)
                (part,) = db.execute(
                    "SELECT count(*) FROM rolled WHERE camera = ? AND day = ? AND reason = ?", key
                ).fetchone()
                spans = json.dumps([[span.start_us, span.end_us] for span in one.spans], separators=(",", ":"))
                counts = (one.files, one.size_bytes, one.first_deleted_us, one.last_deleted_us)
                db.execute(
                    "INSERT INTO rolled VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*key, part, *counts, spans, one.hashed, one.root),
                )
            for table in ("receipt", "rewrapped"):
                db.execute(
                    f"DELETE FROM {table} WHERE camera = ? AND start_us > ? AND end_us >= ? AND end_us < ?",
                    (camera, (day - 1) * DAY_US - 1, day * DAY_US, (day + 1) * DAY_US),
                )

    def rolled(self, camera: CameraId, interval: Interval) -> list[Rolled]:
        """Of days on which recordings ended that may overlap the interval."""
        query = (
            "SELECT camera, day, reason, files, size_bytes, first_deleted_us, last_deleted_us, spans, hashed, root"
            " FROM rolled WHERE camera = ? AND day >= ? AND day <= ? ORDER BY day, reason, part"
        )
        bounds = (interval.start_us // DAY_US, interval.end_us // DAY_US + 1)
        with self._errors():
            rows = self._db.execute(query, (camera, *bounds)).fetchall()
        return [_rolled(*row) for row in rows]

    def unsealed_hour(self, before_us: int) -> int | None:
        """The first hour that ended before, with recordings that are in no batch yet."""
        query = " UNION ALL ".join(
            f"SELECT min(end_us) AS first FROM {table} WHERE batch IS NULL AND sha256 IS NOT NULL AND end_us < ?1"
            for table in ("segment", "receipt")
        )
        with self._errors():
            (first,) = self._db.execute(
                f"SELECT min(first) FROM ({query})", (before_us // HOUR_US * HOUR_US,)
            ).fetchone()
        return None if first is None else int(first) // HOUR_US * HOUR_US

    def batch(self, hour_us: int, batch: int | None) -> list[Segment]:
        """The hashed recordings of a batch in the order of its leaves, those that went included; None: in none yet."""
        where = "AND batch IS ?3 AND sha256 IS NOT NULL"
        query = (
            f"SELECT {_RECEIPT} FROM segment {_ENDED} {where} UNION ALL"
            f" SELECT {_RECEIPT} FROM receipt WHERE end_us >= ?1 AND end_us < ?2 {where} UNION ALL"
            f" SELECT {_REWRAPPED} FROM rewrapped WHERE end_us >= ?1 AND end_us < ?2 {where} ORDER BY 1, 2, 3"
        )
        with self._errors():
            rows = self._db.execute(query, (hour_us, hour_us + HOUR_US, batch))
            return [segment_of(row) for row in rows]

    def hours(self, interval: Interval) -> list[Hour]:
        query = "SELECT hour_us, batch, count, root FROM hour WHERE hour_us >= ? AND hour_us < ? ORDER BY 1, 2"
        with self._errors():
            return [Hour(*row) for row in self._db.execute(query, (interval.start_us, interval.end_us))]

    def seal(self, hour: Hour) -> None:
        """Enter a batch of all that is in none yet."""
        span = (hour.hour_us, hour.hour_us + HOUR_US, hour.batch)
        with self._transaction() as db:
            for table in ("segment", "receipt"):
                db.execute(
                    f"UPDATE {table} SET batch = ?3"
                    " WHERE end_us >= ?1 AND end_us < ?2 AND batch IS NULL AND sha256 IS NOT NULL",
                    span,
                )
            db.execute(
                "INSERT INTO hour (hour_us, batch, count, root) VALUES (?, ?, ?, ?)",
                (hour.hour_us, hour.batch, hour.count, hour.root),
            )

    def unjournalled(self, limit: int) -> list[Hour]:
        query = "SELECT hour_us, batch, count, root FROM hour WHERE journalled = 0 ORDER BY hour_us, batch LIMIT ?"
        with self._errors():
            return [Hour(*row) for row in self._db.execute(query, (limit,))]

    def note_journalled(self, hours: Sequence[Hour]) -> None:
        with self._transaction() as db:
            db.executemany(
                "UPDATE hour SET journalled = 1 WHERE hour_us = ? AND batch = ?", [(h.hour_us, h.batch) for h in hours]
            )

    def batch_of(self, key: tuple[str, int, int]) -> tuple[int, int] | None:
        """Hour and batch in which a recording stands, the newest; None when it is in none, or not known any more."""
        query = " UNION ALL ".join(
            f"SELECT end_us, batch FROM {table} WHERE camera = ?1 AND start_us = ?2 AND sequence = ?3"
            " AND batch IS NOT NULL"
            for table in ("segment", "receipt", "rewrapped")
        )
        with self._errors():
            row = self._db.execute(f"{query} ORDER BY batch DESC LIMIT 1", key).fetchone()
        return None if row is None else (row[0] // HOUR_US * HOUR_US, row[1])


def _rolled(camera: str, day: int, reason: str, *rest: Any) -> Rolled:
    files, size_bytes, first_us, last_us, spans, hashed, root = rest
    intervals = tuple(Interval(*span) for span in json.loads(spans))
    return Rolled(CameraId(camera), day, reason, files, size_bytes, first_us, last_us, intervals, hashed, root)
