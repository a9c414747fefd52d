"""The index of the archive: which file holds which time of which camera, and what is missing or gone.

A cache of the files (segments), plus the facts that are not in them: gaps and the receipts of deletions.  One thread
of the agent writes it; the command line reads it beside.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge_agent.buffer.promise import UNDATED, Aged
from edge_agent.clock import US, Clock
from edge_agent.database import open_database
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, ClockTrust, Gap, GapCause, Interval, Segment

_SCHEMA = """
CREATE TABLE IF NOT EXISTS segment (
    path TEXT PRIMARY KEY,
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    frames INTEGER,
    sha256 TEXT,
    torn INTEGER NOT NULL DEFAULT 0,
    doomed TEXT,
    mark_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS segment_by_time ON segment (camera, end_us);
CREATE INDEX IF NOT EXISTS segment_by_mark ON segment (camera, mark_us);
CREATE INDEX IF NOT EXISTS segment_doomed ON segment (doomed) WHERE doomed IS NOT NULL;
CREATE TABLE IF NOT EXISTS gap (
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    cause TEXT NOT NULL,
    evidence TEXT NOT NULL,
    PRIMARY KEY (camera, start_us)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt (
    path TEXT NOT NULL,
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT,
    reason TEXT NOT NULL,
    deleted_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS receipt_by_time ON receipt (camera, start_us);
CREATE INDEX IF NOT EXISTS receipt_by_deletion ON receipt (deleted_us);
"""
EARLIEST_US = 1_704_067_200 * US
"""2024: what says it is older comes from a clock that was never set."""
_COLUMNS = "camera, path, start_us, end_us, size_bytes, frames, sha256, torn"


class DeleteReason(StrEnum):
    """Why a recording went."""

    AGE = "age"
    SPACE = "space"
    MISSING = "missing"
    """The file vanished without the agent's doing."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What remains of a deleted recording."""

    segment: Segment
    reason: str
    """A DeleteReason, followed by the id of the hold that had kept it beyond its time, if one had."""
    deleted_us: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the archive holds of one camera, or of all."""

    files: int
    size_bytes: int
    first_us: int | None
    last_us: int | None


class Index:
    """The SQLite file; every method raises ArchiveError when the disk refuses."""

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        self._path = path
        self._db = open_database(path, _SCHEMA, clock, read_only=read_only)
        self._undated: int | None = None

    def close(self) -> None:
        self._db.close()

    def add(self, segments: Iterable[Segment], *, clock_trusted: bool = True) -> None:
        """Enter closed segments; one that is known already is replaced."""
        rows = []
        for s in segments:
            row = (s.camera, s.path, s.start_us, s.end_us, s.size_bytes, s.frames, s.sha256, int(s.torn))
            rows.append((*row, s.end_us if clock_trusted and _datable(s) else self._next_undated()))
        with self._transaction() as db:
            db.executemany(
                f"INSERT OR REPLACE INTO segment ({_COLUMNS}, mark_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def forget(self, paths: Iterable[str]) -> None:
        """Drop rows whose files are gone without our doing."""
        with self._transaction() as db:
            db.executemany("DELETE FROM segment WHERE path = ?", [(path,) for path in paths])

    def segments(self, camera: CameraId, interval: Interval) -> list[Segment]:
        """Segments that overlap the interval, in time order; doomed ones are gone already."""
        found = []
        query = (
            f"SELECT {_COLUMNS} FROM segment WHERE camera = ? AND end_us > ? AND doomed IS NULL"
            " ORDER BY end_us, start_us"
        )
        with self._errors():
            for row in self._db.execute(query, (camera, interval.start_us)):
                segment = _segment(row)
                if segment.start_us >= interval.end_us:
                    break
                found.append(segment)
        return found

    def paths(self) -> dict[str, int]:
        """Every known file with its size in bytes, doomed ones included."""
        with self._errors():
            return dict(self._db.execute("SELECT path, size_bytes FROM segment"))

    def by_path(self, paths: Iterable[str]) -> list[Segment]:
        query = f"SELECT {_COLUMNS} FROM segment WHERE path = ?"
        with self._errors():
            rows = [self._db.execute(query, (path,)).fetchone() for path in paths]
        return [_segment(row) for row in rows if row is not None]

    def holdings(self, camera: CameraId | None = None) -> Holdings:
        where, values = ("WHERE camera = ?", (camera,)) if camera else ("", ())
        query = f"SELECT count(*), coalesce(sum(size_bytes), 0), min(start_us), max(end_us) FROM segment {where}"
        with self._errors():
            return Holdings(*self._db.execute(query, values).fetchone())

    def cameras(self) -> list[CameraId]:
        """Every camera of which something is or was kept."""
        query = "SELECT camera FROM segment UNION SELECT camera FROM gap UNION SELECT camera FROM receipt ORDER BY 1"
        with self._errors():
            return [CameraId(row[0]) for row in self._db.execute(query)]

    def last_end_us(self, camera: CameraId) -> int | None:
        """End of the newest known time of a camera: recorded, or accounted for as a gap."""
        query = (
            "SELECT max(last) FROM (SELECT max(end_us) AS last FROM segment WHERE camera = ?"
            " UNION ALL SELECT max(end_us) FROM gap WHERE camera = ?)"
        )
        with self._errors():
            row = self._db.execute(query, (camera, camera)).fetchone()
        return None if row[0] is None else int(row[0])

    def add_gap(self, gap: Gap) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?, ?)",
                (gap.camera, gap.start_us, gap.end_us, gap.cause, gap.evidence),
            )

    def gaps(self, camera: CameraId, interval: Interval) -> list[Gap]:
        query = "SELECT * FROM gap WHERE camera = ? AND end_us > ? AND start_us < ? ORDER BY start_us"
        with self._errors():
            return [
                Gap(CameraId(row[0]), row[1], row[2], GapCause(row[3]), row[4])
                for row in self._db.execute(query, (camera, interval.start_us, interval.end_us))
            ]

    def doom(self, going: Iterable[tuple[Segment, str]]) -> None:
        """First step of a deletion: from here on the segments are going, each for its reason, whatever crashes."""
        with self._transaction() as db:
            db.executemany("UPDATE segment SET doomed = ? WHERE path = ?", [(reason, s.path) for s, reason in going])

    def spare(self, segments: Iterable[Segment]) -> None:
        """Call deletions back whose files are still there."""
        with self._transaction() as db:
            db.executemany("UPDATE segment SET doomed = NULL WHERE path = ?", [(s.path,) for s in segments])

    def doomed(self) -> list[tuple[Segment, str]]:
        """Deletions that were begun and not finished, with their reasons."""
        query = f"SELECT {_COLUMNS}, doomed FROM segment WHERE doomed IS NOT NULL"
        with self._errors():
            return [(_segment(row), row[8]) for row in self._db.execute(query)]

    def gone(self, deleted: Iterable[tuple[Segment, str]], at_us: int) -> None:
        """Last step of a deletion: the files are gone; the rows become receipts."""
        rows = list(deleted)
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO receipt VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(s.path, s.camera, s.start_us, s.end_us, s.size_bytes, s.sha256, reason, at_us) for s, reason in rows],
            )
            db.executemany("DELETE FROM segment WHERE path = ?", [(s.path,) for s, _ in rows])

    def receipts(self, camera: CameraId, interval: Interval) -> list[Receipt]:
        query = "SELECT * FROM receipt WHERE camera = ? AND end_us > ? AND start_us < ? ORDER BY start_us"
        with self._errors():
            rows = self._db.execute(query, (camera, interval.start_us, interval.end_us)).fetchall()
        return [
            Receipt(Segment(CameraId(row[1]), row[0], row[2], row[3], row[4], None, row[5]), row[6], row[7])
            for row in rows
        ]

    # -- by age mark (`docs/retention.md`) --------------------------------------------------------------------------

    def recorded_cameras(self) -> list[CameraId]:
        """Every camera of which something is kept; a look-up for each, however many recordings there are."""
        found: list[CameraId] = []
        with self._errors():
            while row := self._db.execute(
                "SELECT camera FROM segment WHERE camera > ? ORDER BY camera LIMIT 1", (found[-1] if found else "",)
            ).fetchone():
                found.append(CameraId(row[0]))
        return found

    def by_age(self, camera: CameraId, after: tuple[int, str], limit: int) -> list[Aged]:
        """A camera's recordings by age mark, then path, from behind `after`; doomed ones are gone already."""
        query = (
            f"SELECT {_COLUMNS}, mark_us FROM segment WHERE camera = ? AND (mark_us, path) > (?, ?)"
            " AND doomed IS NULL ORDER BY mark_us, path LIMIT ?"
        )
        with self._errors():
            return [Aged(_segment(row), row[8]) for row in self._db.execute(query, (camera, *after, limit))]

    def last_dated_us(self) -> int:
        """The latest age mark that is a date; 0 when there is none."""
        query = "SELECT max(mark_us) FROM segment WHERE camera = ? AND mark_us < ?"
        with self._errors():
            marks = [self._db.execute(query, (camera, UNDATED)).fetchone()[0] for camera in self.recorded_cameras()]
        return max((int(mark) for mark in marks if mark is not None), default=0)

    def date_from(self, beyond_us: int, now_us: int) -> int:
        """Give all marks beyond a time the mark `now_us`, undated ones in their order; how many there were."""
        query = (
            "UPDATE segment SET mark_us = ? + CASE WHEN mark_us >= ? THEN mark_us - ? ELSE 0 END"
            " WHERE camera = ? AND mark_us > ?"
        )
        with self._errors():
            late = [camera for camera in self.recorded_cameras() if self._last_mark(camera) > beyond_us]
        if not late:
            return 0
        changed = 0
        with self._transaction() as db:
            for camera in late:
                changed += db.execute(query, (now_us, UNDATED, UNDATED, camera, beyond_us)).rowcount
        self._undated = UNDATED
        return changed

    def came_and_went(self, since_us: int, until_us: int, reason: DeleteReason) -> tuple[int, int]:
        """Bytes that were recorded, and that were deleted for this reason, in this time."""
        recorded = "SELECT coalesce(sum(size_bytes), 0) FROM segment WHERE camera = ? AND end_us > ? AND end_us <= ?"
        freed = (
            "SELECT coalesce(sum(size_bytes), 0) FROM receipt WHERE deleted_us > ? AND deleted_us <= ? AND reason = ?"
        )
        with self._errors():
            came = (
                self._db.execute(recorded, (camera, since_us, until_us)).fetchone()[0]
                for camera in self.recorded_cameras()
            )
            return sum(map(int, came)), int(self._db.execute(freed, (since_us, until_us, reason)).fetchone()[0])

    def size_within(self, camera: CameraId, interval: Interval) -> int:
        """Bytes of the recordings that overlap the interval."""
        query = (
            "SELECT coalesce(sum(size_bytes), 0) FROM segment"
            " WHERE camera = ? AND end_us > ? AND start_us < ? AND doomed IS NULL"
        )
        with self._errors():
            return int(self._db.execute(query, (camera, interval.start_us, interval.end_us)).fetchone()[0])

    def went_early(self, camera: CameraId, promised: Interval) -> bool:
        """Whether anything that began within it went for want of space."""
        query = "SELECT 1 FROM receipt WHERE camera = ? AND start_us > ? AND start_us < ? AND reason = ? LIMIT 1"
        values = (camera, promised.start_us, promised.end_us, DeleteReason.SPACE)
        with self._errors():
            return self._db.execute(query, values).fetchone() is not None

    def _last_mark(self, camera: CameraId) -> int:
        row = self._db.execute("SELECT max(mark_us) FROM segment WHERE camera = ?", (camera,)).fetchone()
        return int(row[0] or 0)

    def _next_undated(self) -> int:
        if self._undated is None:
            with self._errors():
                self._undated = max([UNDATED, *map(self._last_mark, self.recorded_cameras())])
        self._undated += 1
        return self._undated

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ArchiveError(f"the index {self._path} fails: {error}") from error


def _datable(segment: Segment) -> bool:
    """Whether its age may be counted from its own end."""
    return segment.clock in (None, ClockTrust.SYNCED) and segment.end_us >= EARLIEST_US


def _segment(row: tuple[Any, ...]) -> Segment:
    camera, path, start_us, end_us, size_bytes, frames, sha256, torn = row[:8]
    return Segment(CameraId(camera), path, start_us, end_us, size_bytes, frames, sha256, bool(torn))
