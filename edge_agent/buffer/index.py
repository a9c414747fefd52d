"""The index of the archive: which file holds which time of which camera, and what is missing or gone.

A cache of the files (segments), plus the facts that are not in them: gaps and the receipts of deletions.  One thread
of the agent writes it; the command line reads it beside.  Its tables: `docs/archive.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.buffer.index_marks import IndexMarks
from edge_agent.buffer.index_past import IndexPast, Receipt
from edge_agent.buffer.index_rows import COLUMNS, KEY, key_of, row_of, segment_of
from edge_agent.buffer.index_schema import INSERT
from edge_agent.buffer.segments import DAY_US, SegmentName
from edge_agent.model import CameraId, Interval, Segment

__all__ = ["COLUMNS", "DeleteReason", "Holdings", "Index", "Receipt", "segment_of"]

_REPLACE = (
    " ON CONFLICT (camera, start_us, sequence) DO UPDATE SET end_us = excluded.end_us,"
    " size_bytes = excluded.size_bytes, frames = excluded.frames, sha256 = excluded.sha256, torn = excluded.torn,"
    " damaged = excluded.damaged, clock = excluded.clock, disk = excluded.disk"
)


class DeleteReason(StrEnum):
    """Why a recording went."""

    AGE = "age"
    SPACE = "space"
    MISSING = "missing"
    """The file vanished without the agent's doing."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the archive holds of one camera, or of all."""

    files: int
    size_bytes: int
    first_us: int | None
    last_us: int | None


class Index(IndexMarks, IndexPast):
    """The SQLite file; every method raises ArchiveError when the disk refuses."""

    def damage(self) -> str:
        """What SQLite finds wrong with the file; nothing when it is sound."""
        with self._errors():
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        return "" if found == "ok" else found

    def add(self, segments: Iterable[Segment], *, known_stay: bool = False, clock_trusted: bool = True) -> None:
        """Enter closed segments; one that is known already is replaced, or left alone where `known_stay`."""
        added = list(segments)
        if added:
            with self._transaction() as db:
                rows = [row_of(segment) for segment in added]
                db.executemany(INSERT + (" ON CONFLICT DO NOTHING" if known_stay else _REPLACE), rows)
                if not clock_trusted:
                    self._leave_undated(added)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop rows whose files are gone without our doing."""
        with self._transaction() as db:
            db.executemany(f"DELETE FROM segment WHERE {KEY}", [key_of(path) for path in paths])

    def segments(self, camera: CameraId, interval: Interval) -> list[Segment]:
        """Segments that overlap the interval, in order of their starts; doomed ones are gone already."""
        # none begins longer before the interval than the camera's longest is: the key finds them without a search
        query = (
            f"SELECT {COLUMNS} FROM segment WHERE camera = ?1"
            " AND start_us > ?2 - (SELECT longest_us FROM camera WHERE camera = ?1) AND start_us < ?3"
            " AND end_us > ?2 AND doomed IS NULL ORDER BY start_us, sequence"
        )
        with self._errors():
            found = self._db.execute(query, (camera, interval.start_us, interval.end_us))
            return [segment_of(row) for row in found]

    def spans(self, camera: CameraId, interval: Interval) -> list[tuple[int, int]]:
        """Starts and ends of the segments that overlap the interval."""
        query = (
            "SELECT start_us, end_us FROM segment WHERE camera = ?1"
            " AND start_us > ?2 - (SELECT longest_us FROM camera WHERE camera = ?1) AND start_us < ?3"
            " AND end_us > ?2 AND doomed IS NULL ORDER BY start_us"
        )
        with self._errors():
            return self._db.execute(query, (camera, interval.start_us, interval.end_us)).fetchall()

    def beginning(self, camera: CameraId, interval: Interval) -> dict[tuple[int, int], str]:
        """Every known file that begins in the interval, doomed ones included: start and sequence → its disk."""
        query = "SELECT start_us, sequence, disk FROM segment WHERE camera = ? AND start_us >= ? AND start_us < ?"
        with self._errors():
            rows = self._db.execute(query, (camera, interval.start_us, interval.end_us))
            return {(start_us, sequence): disk for start_us, sequence, disk in rows}

    def paths(self) -> dict[str, int]:
        """Every known file with its size in bytes, doomed ones included; as long as the archive is large."""
        query = "SELECT camera, start_us, sequence, size_bytes FROM segment"
        with self._errors():
            return {str(SegmentName(CameraId(row[0]), row[1], row[2])): row[3] for row in self._db.execute(query)}

    def by_path(self, paths: Iterable[str]) -> list[Segment]:
        """Those of the files that are known, doomed ones included."""
        query = f"SELECT {COLUMNS} FROM segment WHERE {KEY}"
        with self._errors():
            rows = [self._db.execute(query, key_of(path)).fetchone() for path in paths]
        return [segment_of(row) for row in rows if row is not None]

    def days(self, camera: CameraId) -> list[int]:
        """UTC days (since 1970) on which recordings of a camera begin."""
        found: list[int] = []
        query = "SELECT min(start_us) FROM segment WHERE camera = ? AND start_us >= ?"
        with self._errors():
            after_us = 0
            while (first := self._db.execute(query, (camera, after_us)).fetchone()[0]) is not None:
                found.append(first // DAY_US)
                after_us = (found[-1] + 1) * DAY_US
        return found

    def unhashed(self, after: str | None = None) -> Segment | None:
        """The next segment whose SHA-256 is still to be computed, after that path."""
        query = (
            f"SELECT {COLUMNS} FROM segment WHERE sha256 IS NULL AND doomed IS NULL"
            " AND (camera, start_us, sequence) > (?, ?, ?) ORDER BY camera, start_us, sequence LIMIT 1"
        )
        with self._errors():
            row = self._db.execute(query, key_of(after) if after else ("", 0, 0)).fetchone()
        return None if row is None else segment_of(row)

    def note_hash(self, segment: Segment) -> bool:
        """Enter the hash and size of a file whose hash is not known; false when it is known meanwhile."""
        assert segment.sha256 is not None
        facts = (bytes.fromhex(segment.sha256), segment.size_bytes, *key_of(segment.path))
        with self._transaction() as db:
            noted = db.execute(f"UPDATE segment SET sha256 = ?, size_bytes = ? WHERE {KEY} AND sha256 IS NULL", facts)
            return noted.rowcount > 0

    def holdings(self, camera: CameraId | None = None) -> Holdings:
        """Kept by triggers: as quick over a month as over an hour."""
        query = (
            "SELECT coalesce(sum(files), 0), coalesce(sum(size_bytes), 0),"
            " min((SELECT min(start_us) FROM segment WHERE segment.camera = camera.camera)),"
            " max((SELECT max(end_us) FROM segment WHERE segment.camera = camera.camera))"
            " FROM camera WHERE ?1 IS NULL OR camera = ?1"
        )
        with self._errors():
            return Holdings(*self._db.execute(query, (camera,)).fetchone())

    def held_on(self) -> dict[str, tuple[int, int]]:
        """Files and bytes by disk, of those that hold any; kept by triggers."""
        with self._errors():
            rows = self._db.execute("SELECT disk, files, size_bytes FROM disk WHERE files > 0")
            return {disk: (files, size) for disk, files, size in rows}

    def moved(self, paths: Iterable[str], disk: str) -> None:
        """Somebody moved these files to another disk."""
        with self._transaction() as db:
            db.executemany(f"UPDATE segment SET disk = ? WHERE {KEY}", [(disk, *key_of(path)) for path in paths])

    def last_end_us(self, camera: CameraId, before_us: int | None = None) -> int | None:
        """End of the newest known time of a camera, recorded or accounted for as a gap; of what began before then."""
        if before_us is None:
            parts = [f"SELECT max(end_us) AS last FROM {table} WHERE camera = ?1" for table in ("segment", "gap")]
        else:
            # by the newest start, so that a recording from a clock that ran ahead hides nothing
            parts = [
                f"SELECT * FROM (SELECT end_us AS last FROM {table} WHERE camera = ?1 AND start_us < ?2"
                " ORDER BY start_us DESC LIMIT 1)"
                for table in ("segment", "gap", "receipt")
            ]
        with self._errors():
            query = f"SELECT max(last) FROM ({' UNION ALL '.join(parts)})"
            row = self._db.execute(query, (camera,) if before_us is None else (camera, before_us)).fetchone()
        return None if row[0] is None else int(row[0])

    def doom(self, segments: Iterable[Segment], reason: str) -> None:
        """First step of a deletion: from here on the segments are going, whatever crashes."""
        rows = [(reason, *key_of(segment.path)) for segment in segments]
        if rows:
            with self._transaction() as db:
                db.executemany(f"UPDATE segment SET doomed = ? WHERE {KEY}", rows)

    def doomed(self) -> list[tuple[Segment, str]]:
        """Deletions that were begun and not finished, with their reasons."""
        query = f"SELECT {COLUMNS}, doomed FROM segment WHERE doomed IS NOT NULL"
        with self._errors():
            return [(segment_of(row), row[11]) for row in self._db.execute(query)]

    def gone(self, deleted: Iterable[tuple[Segment, str]], at_us: int) -> None:
        """Last step of a deletion: the files are gone; the rows become receipts."""
        rows = [(reason, at_us, *key_of(segment.path)) for segment, reason in deleted]
        if not rows:
            return
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO receipt SELECT camera, start_us, sequence, end_us, size_bytes, sha256, batch, ?, ?, disk"
                f" FROM segment WHERE {KEY}",
                rows,
            )
            db.executemany(f"DELETE FROM segment WHERE {KEY}", [row[2:] for row in rows])
