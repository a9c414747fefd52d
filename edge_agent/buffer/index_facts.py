"""The index's facts that are in no file: gaps, losses that go on, installation, and the agent's runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.buffer.index_store import IndexStore
from edge_agent.model import CameraId, Gap, GapCause, Interval


@dataclass(frozen=True, slots=True)
class Loss:
    """Nothing is recorded of a camera now, and why."""

    cause: GapCause
    evidence: str


@dataclass(frozen=True, slots=True)
class Installed:
    """From when to when a camera belongs to the node; None: not noted, or it still does."""

    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """A run of the agent."""

    started_us: int
    alive_us: int
    """Its last sign of life."""
    ended: bool
    """In order."""
    boot: str
    """The kernel's id of the boot it ran in."""


class IndexFacts(IndexStore):
    """What only the agent knows."""

    def add_gap(self, gap: Gap) -> None:
        self.add_gaps([gap])

    def add_gaps(self, gaps: Iterable[Gap]) -> None:
        rows = [(gap.camera, gap.start_us, gap.end_us, gap.cause, gap.evidence) for gap in gaps]
        if not rows:
            return
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO camera (camera) VALUES (?)", [(row[0],) for row in rows])
            db.executemany("INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?, ?)", rows)

    def trim_gaps(self, camera: CameraId, at_us: int) -> None:
        """Something was recorded then: a gap over it, left by a clock that was ahead, ends there."""
        over = (camera, at_us, at_us)
        with self._errors():
            found = self._db.execute("SELECT 1 FROM gap WHERE camera = ? AND start_us <= ? AND end_us > ?", over)
            if found.fetchone() is None:
                return
        with self._transaction() as db:
            db.execute("DELETE FROM gap WHERE camera = ? AND start_us = ? AND end_us > ?", over)
            db.execute("UPDATE gap SET end_us = ? WHERE camera = ? AND start_us < ? AND end_us > ?", (at_us, *over))

    def gaps(self, camera: CameraId, interval: Interval) -> list[Gap]:
        query = (
            "SELECT camera, start_us, end_us, cause, evidence FROM gap"
            " WHERE camera = ? AND end_us > ? AND start_us < ? ORDER BY start_us"
        )
        with self._errors():
            return [
                Gap(CameraId(row[0]), row[1], row[2], GapCause(row[3]), row[4])
                for row in self._db.execute(query, (camera, interval.start_us, interval.end_us))
            ]

    def cameras(self) -> list[CameraId]:
        """Every camera that is or was the node's."""
        with self._errors():
            return [CameraId(row[0]) for row in self._db.execute("SELECT camera FROM camera ORDER BY camera")]

    def installed(self, camera: CameraId) -> Installed:
        with self._errors():
            row = self._db.execute("SELECT since_us, until_us FROM camera WHERE camera = ?", (camera,)).fetchone()
        return Installed(*row) if row else Installed()

    def note_installed(self, camera: CameraId, installed: Installed) -> None:
        query = (
            "INSERT INTO camera (camera, since_us, until_us) VALUES (?, ?, ?) ON CONFLICT (camera)"
            " DO UPDATE SET since_us = excluded.since_us, until_us = excluded.until_us"
        )
        with self._transaction() as db:
            db.execute(query, (camera, installed.since_us, installed.until_us))

    def note_loss(self, camera: CameraId, loss: Loss | None) -> None:
        """None: it is recorded again.  The first of several losses stays."""
        with self._transaction() as db:
            if loss is None:
                db.execute("DELETE FROM loss WHERE camera = ?", (camera,))
            else:
                db.execute("INSERT OR IGNORE INTO loss VALUES (?, ?, ?)", (camera, loss.cause, loss.evidence))

    def losses(self) -> dict[CameraId, Loss]:
        with self._errors():
            rows = self._db.execute("SELECT camera, cause, evidence FROM loss").fetchall()
        return {CameraId(row[0]): Loss(GapCause(row[1]), row[2]) for row in rows}

    def note_life(self, life: Life) -> None:
        """Begin a run, or go on with it."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO life VALUES (?, ?, ?, ?)",
                (life.started_us, life.alive_us, int(life.ended), life.boot),
            )

    def last_life(self) -> Life | None:
        """The run that showed life last."""
        query = "SELECT started_us, alive_us, ended, boot FROM life ORDER BY rowid DESC LIMIT 1"
        with self._errors():
            row = self._db.execute(query).fetchone()
        return None if row is None else Life(row[0], row[1], bool(row[2]), row[3])
