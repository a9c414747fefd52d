"""The index by age: which recording is the oldest, by a look-up for each camera (`docs/retention.md`)."""

from __future__ import annotations

from collections.abc import Collection

from edge_agent.buffer.index_facts import IndexFacts
from edge_agent.buffer.index_rows import COLUMNS, KEY, key_of, segment_of
from edge_agent.buffer.promise import DAY_US, UNDATED, Aged
from edge_agent.model import CameraId, Interval, Segment

Place = tuple[int, int, int]
"""Of a recording in the order of age: age mark, start, sequence."""
FIRST: Place = (-1, -1, -1)
LAST = 2**63 - 1


def place_of(aged: Aged) -> Place:
    """Where it stands in that order."""
    _, start_us, sequence = key_of(aged.segment.path)
    return aged.mark_us, start_us, sequence


class IndexMarks(IndexFacts):
    """Recordings by age mark.  `age_us` is the mark; `mark_us` holds it where it is not the recording's own end."""

    _undated: int | None = None

    def recorded_cameras(self) -> list[CameraId]:
        """Every camera of which something is kept."""
        with self._errors():
            rows = self._db.execute("SELECT camera FROM camera WHERE files > 0 ORDER BY camera")
            return [CameraId(row[0]) for row in rows]

    def by_age(self, camera: CameraId, after: Place, limit: int, disks: Collection[str] | None = None) -> list[Aged]:
        """A camera's recordings by age mark, from behind `after`, on these disks (None: all); doomed ones are gone
        already."""
        on_disks = "" if disks is None else f" AND disk IN ({', '.join('?' * len(disks))})"
        query = (
            f"SELECT {COLUMNS}, age_us FROM segment WHERE camera = ? AND (age_us, start_us, sequence) > (?, ?, ?)"
            f" AND doomed IS NULL{on_disks} ORDER BY age_us, start_us, sequence LIMIT ?"
        )
        with self._errors():
            rows = self._db.execute(query, (camera, *after, *(disks or ()), limit))
            return [Aged(segment_of(row), row[11]) for row in rows]

    def last_dated_us(self) -> int:
        """The latest age mark that is a date; 0 when there is none."""
        query = "SELECT max(age_us) FROM segment WHERE camera = ? AND age_us < ?"
        cameras = self.recorded_cameras()
        with self._errors():
            marks = [self._db.execute(query, (camera, UNDATED)).fetchone()[0] for camera in cameras]
        return max((int(mark) for mark in marks if mark is not None), default=0)

    def date_from(self, beyond_us: int, now_us: int) -> int:
        """Give all marks beyond a time the mark `now_us`, undated ones in their order; how many there were."""
        query = (
            "UPDATE segment SET mark_us = ? + CASE WHEN age_us >= ? THEN age_us - ? ELSE 0 END"
            " WHERE camera = ? AND age_us > ?"
        )
        late = [camera for camera in self.recorded_cameras() if self._last_mark(camera) > beyond_us]
        if not late:
            return 0
        changed = 0
        with self._transaction() as db:
            for camera in late:
                changed += db.execute(query, (now_us, UNDATED, UNDATED, camera, beyond_us)).rowcount
        self._undated = UNDATED
        return changed

    def came_and_went(self, since_us: int, until_us: int, disk: str) -> tuple[int, int]:
        """Bytes that were recorded on a disk, and that went from it for want of space, in this time."""
        recorded = (
            "SELECT coalesce(sum(size_bytes), 0) FROM segment"
            " WHERE camera = ? AND end_us > ? AND end_us <= ? AND disk = ?"
        )
        freed = (
            "SELECT coalesce(sum(size_bytes), 0) FROM receipt"
            " WHERE deleted_us > ? AND deleted_us <= ? AND reason = 'space' AND disk = ?"
        )
        cameras = self.recorded_cameras()
        with self._errors():
            came = [self._db.execute(recorded, (camera, since_us, until_us, disk)).fetchone()[0] for camera in cameras]
            return sum(came), int(self._db.execute(freed, (since_us, until_us, disk)).fetchone()[0])

    def size_within(self, camera: CameraId, interval: Interval) -> int:
        """Bytes of the recordings that overlap the interval."""
        query = (
            "SELECT coalesce(sum(size_bytes), 0) FROM segment WHERE camera = ?1"
            " AND start_us > ?2 - (SELECT longest_us FROM camera WHERE camera = ?1) AND start_us < ?3"
            " AND end_us > ?2 AND doomed IS NULL"
        )
        with self._errors():
            return int(self._db.execute(query, (camera, interval.start_us, interval.end_us)).fetchone()[0])

    def went_early(self, camera: CameraId, promised: Interval) -> bool:
        """Whether anything that began within it went for want of space."""
        one = "SELECT 1 FROM receipt WHERE camera = ? AND start_us > ? AND start_us < ? AND reason = 'space' LIMIT 1"
        day = "SELECT 1 FROM rolled WHERE camera = ? AND day > ? AND day < ? AND reason = 'space' LIMIT 1"
        values = (camera, promised.start_us, promised.end_us)
        days = (camera, promised.start_us // DAY_US, promised.end_us // DAY_US)
        with self._errors():
            found = self._db.execute(one, values).fetchone() or self._db.execute(day, days).fetchone()
        return found is not None

    def spare(self, segments: list[Segment]) -> None:
        """Call deletions back whose files are still there."""
        with self._transaction() as db:
            db.executemany(f"UPDATE segment SET doomed = NULL WHERE {KEY}", [key_of(s.path) for s in segments])

    def _leave_undated(self, segments: list[Segment]) -> None:
        """Within a transaction: they came in while the clock was not trusted, so their age counts from when it is."""
        rows = [(self._next_undated(), *key_of(segment.path)) for segment in segments]
        self._db.executemany(f"UPDATE segment SET mark_us = ? WHERE {KEY}", rows)

    def _last_mark(self, camera: CameraId) -> int:
        with self._errors():
            row = self._db.execute("SELECT max(age_us) FROM segment WHERE camera = ?", (camera,)).fetchone()
        return int(row[0] or 0)

    def _next_undated(self) -> int:
        if self._undated is None:
            self._undated = max([UNDATED, *map(self._last_mark, self.recorded_cameras())])
        self._undated += 1
        return self._undated
