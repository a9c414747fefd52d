"""What each camera brought in each hour (`docs/forecast.md`): counted from the index as recordings come.

A cache in a SQLite file of its own.  One thread of the agent writes it; the command line reads a copy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from edge_agent.buffer.index import Index
from edge_agent.buffer.rates import DAY_US, HOUR_US, WEEK_US, HourVolume, by_hour
from edge_agent.clock import Clock
from edge_agent.database import open_database
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Hold, Interval, Segment

HISTORY_US = 5 * WEEK_US

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hour (
    camera TEXT NOT NULL,
    hour_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    recorded_us INTEGER NOT NULL,
    PRIMARY KEY (camera, hour_us)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counted (
    camera TEXT PRIMARY KEY,
    until_us INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Volumes:
    """Every method raises ArchiveError when the disk refuses."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self._name = name

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Self:
        """The agent's own; a damaged file is set aside and counted anew."""
        return cls(open_database(path, _SCHEMA, clock), str(path))

    @classmethod
    def copy_of(cls, path: Path, clock: Clock) -> Self:
        """A copy in memory beside a running agent; an empty one where there is no file."""
        copy = sqlite3.connect(":memory:", isolation_level=None)
        if path.exists():
            source = open_database(path, "", clock, read_only=True)
            try:
                source.backup(copy)
            except sqlite3.Error as error:
                raise ArchiveError(f"the table of hours {path} can't be read: {error}") from error
            finally:
                source.close()
        copy.executescript(_SCHEMA)
        return cls(copy, str(path))

    def close(self) -> None:
        self._db.close()

    def add(self, segments: Iterable[Segment]) -> None:
        """Count closed recordings, each camera's in the order of time; what was counted is passed over."""
        with self._transaction() as db:
            for segment in segments:
                row = db.execute("SELECT until_us FROM counted WHERE camera = ?", (segment.camera,)).fetchone()
                if row is not None and segment.end_us <= row[0]:
                    continue
                db.executemany(
                    "INSERT INTO hour VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " size_bytes = size_bytes + excluded.size_bytes,"
                    " recorded_us = min(recorded_us + excluded.recorded_us, ?)",
                    [
                        (segment.camera, volume.hour_us, volume.size_bytes, volume.recorded_us, HOUR_US)
                        for volume in by_hour(segment.start_us, segment.end_us, segment.size_bytes)
                    ],
                )
                db.execute("INSERT OR REPLACE INTO counted VALUES (?, ?)", (segment.camera, segment.end_us))

    def counted_until(self, camera: CameraId) -> int | None:
        with self._errors():
            row = self._db.execute("SELECT until_us FROM counted WHERE camera = ?", (camera,)).fetchone()
        return None if row is None else int(row[0])

    def hours(self, camera: CameraId) -> list[HourVolume]:
        """Oldest first."""
        query = "SELECT hour_us, size_bytes, recorded_us FROM hour WHERE camera = ? ORDER BY hour_us"
        with self._errors():
            return [HourVolume(*row) for row in self._db.execute(query, (camera,))]

    def prune(self, before_us: int, holds: Sequence[Hold]) -> None:
        """Drop the hours that end by then, but for those that a hold keeps."""
        with self._transaction() as db:
            old = db.execute("SELECT camera, hour_us FROM hour WHERE hour_us <= ?", (before_us - HOUR_US,)).fetchall()
            gone = [
                (camera, hour)
                for camera, hour in old
                if not any(hold.covers(CameraId(camera), Interval(hour, hour + HOUR_US)) for hold in holds)
            ]
            db.executemany("DELETE FROM hour WHERE camera = ? AND hour_us = ?", gone)

    def catch_up(self, index: Index, camera: CameraId, now_us: int) -> Iterator[None]:
        """Count what the index knows and the table does not; a day at each step, so that nobody waits for long."""
        begun = self.counted_until(camera)
        if begun is not None and begun > now_us + DAY_US:
            begun = now_us
            self._forget_future(camera, now_us)
        if begun is None:
            begun = index.holdings(camera).first_us
        last = index.last_end_us(camera)
        if begun is None or last is None:
            return
        last = min(last, now_us + DAY_US)
        for start in range(begun, last, DAY_US):
            self.add(index.segments(camera, Interval(start, min(start + DAY_US, last))))
            yield

    def _forget_future(self, camera: CameraId, now_us: int) -> None:
        """The clock ran ahead and was set back: what comes now would else never be counted."""
        with self._transaction() as db:
            db.execute("DELETE FROM hour WHERE camera = ? AND hour_us > ?", (camera, now_us))
            db.execute("UPDATE counted SET until_us = ? WHERE camera = ?", (now_us, camera))

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
            raise ArchiveError(f"the table of hours {self._name} fails: {error}") from error
