"""The incident register: each alarm of the node, and what people made of it (`docs/incidents.md`).

SQLite like the node's other databases: a commit is on the disk, a damaged file is set aside and what can be read of it
carried over.  Bounded by KEEP_US and MAX_ALARMS; what is open is never forgotten.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent.clock import US, Clock
from edge_agent.database import Schema, open_database
from edge_agent.errors import ArchiveError, NotFoundError, UsageError

_log = logging.getLogger(__name__)
KEEP_US = 366 * 86_400 * US
MAX_ALARMS = 100_000
"""About 150 MB."""
MAX_NOTES = 40
"""Of one alarm."""

_TABLES = """
CREATE TABLE IF NOT EXISTS alarm (
    id TEXT PRIMARY KEY, camera TEXT NOT NULL, nature TEXT NOT NULL, zone TEXT, severity TEXT,
    camera_name TEXT NOT NULL, zone_name TEXT NOT NULL, uk TEXT NOT NULL, en TEXT NOT NULL, direction_deg REAL,
    started_us INTEGER NOT NULL, seen_us INTEGER NOT NULL, ended_us INTEGER, cut TEXT, merged INTEGER NOT NULL,
    message TEXT NOT NULL, untold INTEGER NOT NULL, changed_us INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0, false INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS alarm_started ON alarm (started_us, id);
CREATE INDEX IF NOT EXISTS alarm_lasting ON alarm (started_us) WHERE ended_us IS NULL;
CREATE INDEX IF NOT EXISTS alarm_waiting ON alarm (started_us) WHERE NOT acknowledged AND NOT false;
CREATE INDEX IF NOT EXISTS alarm_untold ON alarm (id) WHERE untold;
CREATE TABLE IF NOT EXISTS note (
    number INTEGER PRIMARY KEY, alarm_id TEXT NOT NULL, kind TEXT NOT NULL, at_us INTEGER NOT NULL,
    who TEXT NOT NULL, person_id TEXT NOT NULL, text TEXT NOT NULL, ref TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS note_alarm ON note (alarm_id, number);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""
_ALARM = (
    "id, camera, nature, zone, severity, camera_name, zone_name, uk, en, direction_deg, started_us, seen_us, ended_us,"
    " cut, merged"
)
_COMPLETE_FROM = "complete_from_us"


class NoteKind(StrEnum):
    ACKNOWLEDGED = "acknowledged"
    COMMENT = "comment"
    FALSE = "false"
    """A false alarm, …"""
    TRUE = "true"
    """… and taken back."""
    HOLD = "hold"
    """`text` is the id of the hold it is tied to."""
    RELEASE = "release"
    """`text` is the id of the request that released the recordings."""


class AlarmState(StrEnum):
    """What may be asked for."""

    OPEN = "open"
    ENDED = "ended"
    WAITING = "waiting"
    """Not acknowledged."""
    ACKNOWLEDGED = "acknowledged"
    FALSE = "false"


_WHERE = {
    AlarmState.OPEN: "ended_us IS NULL",
    AlarmState.ENDED: "ended_us IS NOT NULL",
    AlarmState.WAITING: "NOT acknowledged",
    AlarmState.ACKNOWLEDGED: "acknowledged",
    AlarmState.FALSE: "false",
}


_MARKS = {
    NoteKind.ACKNOWLEDGED: ("acknowledged", 1),
    NoteKind.FALSE: ("false", 1),
    NoteKind.TRUE: ("false", 0),
}


@dataclass(frozen=True, slots=True)
class Note:
    """What a person made of an alarm."""

    kind: NoteKind
    at_us: int
    who: str
    """Surname, name and patronymic."""
    person_id: str
    text: str = ""
    ref: str = ""
    """Of the command, as in the journal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An alarm as told."""

    alarm_id: str
    camera: str
    """Empty: of the node itself."""
    nature: str
    """The alarm's nature, or the code of one of the node's own."""
    zone: str | None
    severity: str | None
    camera_name: str
    zone_name: str
    uk: str
    en: str
    direction_deg: float | None
    started_us: int
    seen_us: int
    """Until when it is known to have gone on."""
    ended_us: int | None
    cut: str | None
    merged: int


@dataclass(frozen=True, slots=True)
class Incident:
    """An alarm and its notes, oldest first."""

    entry: Entry
    notes: tuple[Note, ...] = ()

    def first(self, kind: NoteKind) -> Note | None:
        return next((note for note in self.notes if note.kind is kind), None)

    @property
    def acknowledged(self) -> Note | None:
        return self.first(NoteKind.ACKNOWLEDGED)

    @property
    def false(self) -> Note | None:
        """The mark that it is a false alarm, unless that was taken back."""
        marks = [note for note in self.notes if note.kind in (NoteKind.FALSE, NoteKind.TRUE)]
        return marks[-1] if marks and marks[-1].kind is NoteKind.FALSE else None

    def texts(self, kind: NoteKind) -> tuple[str, ...]:
        return tuple(note.text for note in self.notes if note.kind is kind)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Alarms that went on within [start_us, end_us), and more that they must be; in the order of their starts."""

    start_us: int = 0
    end_us: int = 2**62
    camera: str | None = None
    state: AlarmState | None = None
    after: tuple[int, str] | None = None
    """Start and id of the last one that is known already."""


def _salvage(db: sqlite3.Connection, damaged: Path) -> None:
    """What can be read of the damaged one, from both ends of each table."""
    kept = 0
    with closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)) as old:
        db.execute("BEGIN IMMEDIATE")
        for table in ("alarm", "note", "fact"):
            columns = [str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")]
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            for order in ("ASC", "DESC"):
                with suppress(sqlite3.DatabaseError):
                    for row in old.execute(f"SELECT {names} FROM {table} NOT INDEXED ORDER BY rowid {order}"):
                        kept += db.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", row).rowcount
        db.execute("COMMIT")
    _log.warning("of the damaged register of incidents %d rows were kept", kept)


_SCHEMA = Schema(_TABLES, version=1, salvage=_salvage)


class Register:
    """Owned by the agent's main thread; ArchiveError when the disk fails."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._db = open_database(path, _SCHEMA, clock)
        self._told: set[str] = set()

    def close(self) -> None:
        """What was told stays so."""
        with suppress(ArchiveError), self._changing():
            """Only what is told is entered."""
        self._db.close()

    def enter(self, entry: Entry, message: str, now_us: int) -> None:
        """How an alarm stands now; `message` is kept until it was told."""
        with self._changing() as db:
            db.execute(
                f"INSERT INTO alarm ({_ALARM}, message, untold, changed_us)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (id) DO UPDATE SET"
                " severity = excluded.severity, uk = excluded.uk, en = excluded.en,"
                " direction_deg = coalesce(excluded.direction_deg, direction_deg), seen_us = excluded.seen_us,"
                " ended_us = coalesce(ended_us, excluded.ended_us), cut = excluded.cut, merged = excluded.merged,"
                " message = excluded.message, untold = 1, changed_us = excluded.changed_us",
                (
                    entry.alarm_id,
                    entry.camera,
                    entry.nature,
                    entry.zone,
                    entry.severity,
                    entry.camera_name,
                    entry.zone_name,
                    entry.uk,
                    entry.en,
                    entry.direction_deg,
                    entry.started_us,
                    entry.seen_us,
                    entry.ended_us,
                    entry.cut,
                    entry.merged,
                    message,
                    now_us,
                ),
            )

    def told(self, alarm_id: str) -> None:
        """Its message is in the outbox; entered with the next change, for telling it twice does no harm."""
        self._told.add(alarm_id)

    def untold(self) -> list[str]:
        """The messages that may not have been told, oldest first."""
        with self._guarded() as db:
            rows = db.execute("SELECT id, message FROM alarm WHERE untold ORDER BY changed_us").fetchall()
        return [message for alarm_id, message in rows if alarm_id not in self._told]

    def open_messages(self) -> list[str]:
        """The last message of each alarm that is open."""
        with self._guarded() as db:
            return [
                row[0] for row in db.execute("SELECT message FROM alarm WHERE ended_us IS NULL ORDER BY started_us")
            ]

    def ended(self, alarm_id: str) -> bool:
        with self._guarded() as db:
            row = db.execute("SELECT ended_us FROM alarm WHERE id = ?", (alarm_id,)).fetchone()
        return row is not None and row[0] is not None

    def note(self, alarm_id: str, notes: Sequence[Note], now_us: int) -> Incident:
        """Write them down, all or none; UsageError when it would have more than MAX_NOTES."""
        with self._changing() as db:
            known = db.execute("SELECT count(*) FROM note WHERE alarm_id = ?", (alarm_id,)).fetchone()[0]
            if known + len(notes) > MAX_NOTES:
                raise UsageError(f"alarm {alarm_id} has {known} notes, more than {MAX_NOTES} are not kept")
            for note in notes:
                db.execute(
                    "INSERT INTO note (alarm_id, kind, at_us, who, person_id, text, ref) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (alarm_id, note.kind, note.at_us, note.who, note.person_id, note.text, note.ref),
                )
                if note.kind in _MARKS:
                    column, value = _MARKS[note.kind]
                    db.execute(f"UPDATE alarm SET {column} = ? WHERE id = ?", (value, alarm_id))
            db.execute("UPDATE alarm SET changed_us = ? WHERE id = ?", (now_us, alarm_id))
        return self.get(alarm_id)

    def get(self, prefix: str) -> Incident:
        """The alarm with this id, or the only one whose id begins so; NotFoundError, UsageError."""
        with self._guarded() as db:
            rows = db.execute(
                f"SELECT {_ALARM} FROM alarm WHERE id = ? OR (id >= ? AND id < ?) ORDER BY id != ? LIMIT 2",
                (prefix, prefix, prefix + "\x7f", prefix),
            ).fetchall()
        if not rows:
            raise NotFoundError(f"no alarm {prefix} is known here")
        if len(rows) > 1 and rows[0][0] != prefix:
            raise UsageError(f"several alarms begin with {prefix}: say more of the id")
        return self._with_notes(Entry(*rows[0]))

    def find(self, wanted: Wanted) -> Iterator[Incident]:
        """One by one, in the order of their starts."""
        after = wanted.after or (-1, "")
        query = (
            f"SELECT {_ALARM} FROM alarm WHERE (started_us, id) > (?, ?) AND started_us < ?"
            " AND coalesce(ended_us, 9223372036854775807) >= ? AND (? IS NULL OR camera = ?)"
        )
        if wanted.state is not None:
            query += f" AND {_WHERE[wanted.state]}"
        values = (*after, wanted.end_us, wanted.start_us, wanted.camera, wanted.camera)
        with self._guarded() as db:
            for row in db.execute(query + " ORDER BY started_us, id", values):
                yield self._with_notes(Entry(*row))

    def latest(self, count: int) -> list[Incident]:
        """What is open first of all, then what began last; by their starts."""
        with self._guarded() as db:
            newest = "ORDER BY started_us DESC LIMIT ?"
            rows = db.execute(f"SELECT {_ALARM} FROM alarm WHERE ended_us IS NULL {newest}", (count,)).fetchall()
            rows += db.execute(
                f"SELECT {_ALARM} FROM alarm WHERE ended_us IS NOT NULL {newest}", (count - len(rows),)
            ).fetchall()
            return [self._with_notes(Entry(*row)) for row in sorted(rows, key=lambda row: (row[10], row[0]))]

    def counts(self, since_us: int) -> tuple[int, int]:
        """How many are open, and how many that began since then nobody has acknowledged."""
        with self._guarded() as db:
            lasting = db.execute("SELECT count(*) FROM alarm WHERE ended_us IS NULL").fetchone()[0]
            query = "SELECT count(*) FROM alarm WHERE started_us >= ? AND NOT acknowledged AND NOT false"
            return int(lasting), int(db.execute(query, (since_us,)).fetchone()[0])

    @property
    def complete_from_us(self) -> int:
        """What ended before is not all here any more; 0 while nothing went."""
        with self._guarded() as db:
            row = db.execute("SELECT value FROM fact WHERE name = ?", (_COMPLETE_FROM,)).fetchone()
        return int(row[0]) if row else 0

    def prune(self, now_us: int, most: int = MAX_ALARMS) -> int:
        """Forget what is too old or too much, the oldest first; how many went."""
        with self._changing() as db:
            count = db.execute("SELECT count(*) FROM alarm").fetchone()[0]
            rows = db.execute(
                "SELECT id, started_us FROM alarm WHERE ended_us IS NOT NULL AND (ended_us < ? OR id IN"
                " (SELECT id FROM alarm WHERE ended_us IS NOT NULL ORDER BY started_us LIMIT ?))",
                (now_us - KEEP_US, max(0, count - most)),
            ).fetchall()
            if not rows:
                return 0
            db.executemany("DELETE FROM note WHERE alarm_id = ?", [(row[0],) for row in rows])
            db.executemany("DELETE FROM alarm WHERE id = ?", [(row[0],) for row in rows])
            db.execute(
                "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (_COMPLETE_FROM, max(row[1] for row in rows) + 1),
            )
        return len(rows)

    def _with_notes(self, entry: Entry) -> Incident:
        rows = self._db.execute(
            "SELECT kind, at_us, who, person_id, text, ref FROM note WHERE alarm_id = ? ORDER BY number",
            (entry.alarm_id,),
        ).fetchall()
        return Incident(entry, tuple(Note(NoteKind(row[0]), *row[1:]) for row in rows))

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, wholly or not at all; what was told meanwhile is entered with it."""
        told = list(self._told)
        with self._guarded() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany("UPDATE alarm SET untold = 0 WHERE id = ?", [(alarm_id,) for alarm_id in told])
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        self._told.difference_update(told)

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except (sqlite3.Error, OSError) as error:
            raise ArchiveError(f"the register of incidents {self._path}: {error}") from error
