"""What must arrive, kept on disk until the broker has acknowledged it (`docs/mqtt.md`, "The outbox").

SQLite with a write-ahead log and synchronous=FULL: a message is on the disk when `put` returns, and is gone only after
`done`.  One lock makes it safe for the agent's loop (which puts) and the uplink's thread (which sends).

Order: everything leaves in the order it came, within two streams each for texts (alarms, answers) and pictures: what is
*live*, and the *backlog* of an outage.  Live is what was put within `LIVE_S`, and with it all that still waits of the
same thread (an alarm's earlier steps), so that the messages of one alarm are never turned round.

Bound: the messages may take `max_bytes`, and pictures leave `SPARE_BYTES` of the disk to the texts.  What no longer
fits drives out the oldest pictures first, then the oldest alarms, then the oldest answers, never what ranks above
itself; every loss is counted, and `losses()` says how many of which kind.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

from edge_agent.buffer.ballast import Ballast
from edge_agent.clock import US, Clock, SystemClock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

MAX_BYTES = 2_000_000_000
SPARE_BYTES = 64_000_000
LIVE_S = 120
"""A message that waited longer is news of yesterday: those of now may overtake it."""
REJECTED_KEPT_BYTES = 8_000_000
SET_ASIDE_KEPT = 3
ROW_BYTES = 200
"""What SQLite needs for a message beside its topic and payload, rounded up."""

BALLAST_BYTES = 8 << 20
"""More than the log may have grown to, which must be written out before anything can be freed."""
_FREED_AT_ONCE = 1_000_000
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SETTINGS = ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 4194304")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    id INTEGER PRIMARY KEY AUTOINCREMENT, keep INTEGER NOT NULL, at_us INTEGER NOT NULL,
    topic TEXT NOT NULL, retain INTEGER NOT NULL, lane TEXT NOT NULL DEFAULT '', thread TEXT NOT NULL DEFAULT '',
    payload BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS item_lane ON item (keep = 0, id);
CREATE INDEX IF NOT EXISTS item_keep ON item (keep, id);
CREATE INDEX IF NOT EXISTS item_at ON item (at_us);
CREATE INDEX IF NOT EXISTS item_thread ON item (thread, at_us);
CREATE INDEX IF NOT EXISTS item_of_lane ON item (lane) WHERE keep <> 0;
CREATE TABLE IF NOT EXISTS rejected (
    id INTEGER PRIMARY KEY, keep INTEGER NOT NULL, at_us INTEGER NOT NULL, topic TEXT NOT NULL, retain INTEGER NOT NULL,
    payload BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


_ADDED = ("lane", "thread")
"""Columns that outboxes of before version 0.2 lack."""
_COLUMNS = "id, topic, payload, retain, keep, at_us, thread"
_LIVE = (
    "id IN (SELECT id FROM item WHERE at_us >= :since UNION SELECT earlier.id FROM item AS recent JOIN item AS earlier"
    " ON earlier.thread = recent.thread WHERE recent.at_us >= :since AND recent.thread <> '')"
)
_BACKLOG = (
    "at_us < :since AND (thread = '' OR NOT EXISTS"
    " (SELECT 1 FROM item AS recent WHERE recent.thread = item.thread AND recent.at_us >= :since))"
)


class Keep(IntEnum):
    """How long a message holds its place when the outbox is full: the smallest is dropped first."""

    PICTURE = 0
    ALARM = 1
    ANSWER = 2


@dataclass(frozen=True, slots=True)
class OutboxItem:
    item_id: int
    topic: str
    payload: bytes
    retain: bool
    keep: Keep
    at_us: int
    """When it was put."""
    thread: str = ""
    """Whatever bears the same name here (one alarm's life) keeps its order whatever overtakes it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that the broker will not have."""

    item: OutboxItem
    reason: str


@dataclass(frozen=True, slots=True)
class Losses:
    """What will never be sent, since this outbox began; zeros are the normal state."""

    pictures: int = 0
    alarms: int = 0
    answers: int = 0
    rejected: int = 0


class Outbox:
    """A durable queue of MQTT messages in one SQLite file.

    A file that is not a sound database is set aside as `<name>.corrupt-<utc>` and a new one is begun; `set_aside` names
    it then.  The methods raise ArchiveError when the disk is full, read-only or failing; the constructor never does, so
    that an agent can start with a failing disk: each later call tries the file again.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        clock: Clock | None = None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """`free_bytes` tells what the disk of a folder has left."""
        self._path = path
        self._max_bytes = max_bytes
        self._free_bytes = free_bytes
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"), BALLAST_BYTES)
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self.set_aside: Path | None = None
        self._db: sqlite3.Connection | None = None
        self._size_bytes = 0
        self._depth = 0
        try:
            with self._guarded():
                self._connected()
        except ArchiveError as error:
            log.error("%s; each use tries again", error)

    def watch(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every put, on the putting thread; it must only wake somebody."""
        self._listeners.append(listener)

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        keep: Keep = Keep.ALARM,
        lane: str = "",
        thread: str = "",
    ) -> int:
        """Keep a message; it is on the disk when this returns its id, or lost for want of room and counted when 0.

        `lane` is what `waiting` counts by; `thread` names what keeps its order among itself.
        """
        size = _size(topic, payload)
        if size > self._max_bytes:
            raise ArchiveError(f"outbox: a message of {len(payload)} bytes for {topic} is larger than the outbox")
        row = (int(keep), self._clock.utc_us(), topic, int(retain), lane, thread, payload)
        with self._guarded():
            try:
                item_id = self._in_transaction(lambda db: self._insert(db, row, size))
            except sqlite3.OperationalError as error:
                if not _is_full(error) or keep is Keep.PICTURE:
                    raise
                self._make_room(size)
                item_id = self._in_transaction(lambda db: self._insert(db, row, size))
        for listener in self._listeners:
            listener()
        return item_id

    def next(
        self, limit: int, *, skip: Collection[int] = (), pictures: bool = False, live: bool | None = None
    ) -> list[OutboxItem]:
        """The first `limit` texts or pictures in sending order, without those whose ids are in `skip`.

        `live`: only of what is live, or only of the backlog.
        """
        where = [f"(keep = 0) = {int(pictures)}"]
        if live is not None:
            where.append(_LIVE if live else _BACKLOG)
        if skip:
            where.append(f"id NOT IN ({','.join(str(int(item_id)) for item_id in skip)})")
        query = f"SELECT {_COLUMNS} FROM item WHERE {' AND '.join(where)} ORDER BY id LIMIT :limit"
        values = {"limit": limit, "since": self._clock.utc_us() - LIVE_S * US}
        with self._guarded():
            rows = self._in_transaction(lambda db: db.execute(query, values).fetchall(), "BEGIN")
        return [_item(row) for row in rows]

    def waiting(self, lane: str) -> int:
        """How many texts of a lane wait."""
        query = "SELECT count(*) FROM item WHERE lane = ? AND keep <> 0"
        with self._guarded():
            return int(self._in_transaction(lambda db: db.execute(query, (lane,)).fetchone()[0], "BEGIN"))

    def done(self, *item_ids: int) -> None:
        """Forget messages that were acknowledged; ids that are no longer here are passed over."""
        if not item_ids:
            return
        with self._guarded():
            self._in_transaction(lambda db: self._remove(db, item_ids))
            if self._depth == 0 and self._db:
                self._ballast.take_on(self._free_bytes(self._path.parent) - SPARE_BYTES)
                # As a script, for only a script is stepped to its end when it gives no columns: a page is a step.
                self._db.executescript("PRAGMA incremental_vacuum")

    def reject(self, item_id: int, reason: str) -> None:
        """Take a refused message out of the queue; the newest stay with the reason, within `REJECTED_KEPT_BYTES`."""
        with self._guarded():
            self._in_transaction(lambda db: self._set_rejected(db, item_id, reason))

    def rejected(self) -> list[Rejected]:
        """The refused messages that are still kept, oldest first."""
        query = "SELECT id, topic, payload, retain, keep, at_us, '', reason FROM rejected ORDER BY id"
        with self._guarded():
            rows = self._in_transaction(lambda db: db.execute(query).fetchall(), "BEGIN")
            return [Rejected(_item(row[:-1]), row[-1]) for row in rows]

    def depth(self) -> int:
        """How many messages wait."""
        return self._depth

    def size_bytes(self) -> int:
        """What they take of the bound."""
        return self._size_bytes

    def losses(self) -> Losses:
        with self._guarded():
            query = "SELECT name, value FROM counter"
            rows = dict(self._in_transaction(lambda db: db.execute(query).fetchall(), "BEGIN"))
        return Losses(rows.get("PICTURE", 0), rows.get("ALARM", 0), rows.get("ANSWER", 0), rows.get("rejected", 0))

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _insert(self, db: sqlite3.Connection, row: tuple[int, int, str, int, str, str, bytes], size: int) -> int:
        keep = Keep(row[0])
        while self._room(db, keep) < size:
            if not self._drop_oldest(db, keep):
                _count(db, keep.name)
                log.warning("outbox full: no room for a new %s, for %s", keep.name.lower(), row[2])
                return 0
        cursor = db.execute(
            "INSERT INTO item (keep, at_us, topic, retain, lane, thread, payload) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        )
        self._size_bytes += size
        self._depth += 1
        return int(cursor.lastrowid or 0)

    def _room(self, db: sqlite3.Connection, keep: Keep) -> int:
        """What a message may take now; of the disk only pictures are asked to leave some, texts may use it up."""
        room = self._max_bytes - self._size_bytes
        if keep is not Keep.PICTURE:
            return room
        unused = db.execute("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").fetchone()
        return min(room, self._free_bytes(self._path.parent) - SPARE_BYTES + int(unused[0]))

    def _drop_oldest(self, db: sqlite3.Connection, at_most: Keep) -> bool:
        """Lose the oldest of the least kind that ranks no higher than `at_most`."""
        query = "SELECT id, keep, topic FROM item WHERE keep <= ? ORDER BY keep, id LIMIT 1"
        row = db.execute(query, (int(at_most),)).fetchone()
        if row is None:
            return False
        self._remove(db, (row[0],))
        _count(db, Keep(row[1]).name)
        log.warning("outbox full: dropped the oldest %s, for %s", Keep(row[1]).name.lower(), row[2])
        return True

    def _make_room(self, size: int) -> None:
        """The disk is full: turn the oldest pictures into free pages; the ballast is what that needs to begin with."""
        self._ballast.drop()
        db = self._connected()
        wanted = self._size_bytes - max(2 * size, _FREED_AT_ONCE)
        while self._size_bytes > wanted:
            # What is written out of the log leaves its room to the next lines.
            db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            if not self._in_transaction(lambda db: self._drop_oldest(db, Keep.PICTURE)):
                break

    def _remove(self, db: sqlite3.Connection, item_ids: Collection[int]) -> None:
        for item_id in item_ids:
            row = db.execute("DELETE FROM item WHERE id = ? RETURNING topic, payload", (item_id,)).fetchone()
            if row:
                self._size_bytes -= _size(*row)
                self._depth -= 1

    def _set_rejected(self, db: sqlite3.Connection, item_id: int, reason: str) -> None:
        columns = "id, keep, at_us, topic, retain, payload"
        moved = db.execute(
            f"INSERT OR REPLACE INTO rejected ({columns}, reason) SELECT {columns}, ? FROM item WHERE id = ?",
            (reason, item_id),
        )
        if moved.rowcount:
            self._remove(db, (item_id,))
            _count(db, "rejected")
            db.execute(
                "DELETE FROM rejected WHERE id IN (SELECT id FROM (SELECT id, sum(length(payload) + ?) OVER"
                " (ORDER BY id DESC) AS total FROM rejected) WHERE total > ?)",
                (ROW_BYTES, REJECTED_KEPT_BYTES),
            )

    def _in_transaction(self, work: Callable[[sqlite3.Connection], Answer], begin: str = "BEGIN IMMEDIATE") -> Answer:
        """Do `work` wholly or not at all; once more, on a new file, when the old one proves corrupt."""
        try:
            return self._attempt(work, begin)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            self._begin_anew(error)
            return self._attempt(work, begin)

    def _attempt(self, work: Callable[[sqlite3.Connection], Answer], begin: str) -> Answer:
        db = self._connected()
        before = self._size_bytes, self._depth
        try:
            db.execute(begin)
            answer = work(db)
            db.execute("COMMIT")
        except sqlite3.Error:
            self._size_bytes, self._depth = before
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return answer

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._connect()
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                self._begin_anew(error)
        assert self._db is not None
        return self._db

    def _connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            for setting in _SETTINGS:
                db.execute(f"PRAGMA {setting}")
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _corruption(found)
            _add_columns(db)
            db.executescript(_SCHEMA)
            self._depth, self._size_bytes = db.execute(
                "SELECT count(*), coalesce(sum(length(CAST(topic AS BLOB)) + length(payload) + ?), 0) FROM item",
                (ROW_BYTES,),
            ).fetchone()
        except sqlite3.Error:
            db.close()
            raise
        self._db = db
        self._ballast.take_on(self._free_bytes(self._path.parent) - SPARE_BYTES)

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Set the broken file aside with its log; only the newest few such files stay, so they can't fill the disk."""
        self._disconnect()
        stamp = datetime.fromtimestamp(self._clock.utc_us() / US, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self._path.with_name(f"{self._path.name}.corrupt-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        fsync_folder(self._path.parent)
        self.set_aside = aside
        log.error("the outbox %s is corrupt (%s): set aside as %s, a new one begun", self._path, error, aside.name)
        mains = sorted(p for p in self._path.parent.glob(f"{self._path.name}.corrupt-*Z"))
        for old in mains[:-SET_ASIDE_KEPT]:
            for suffix in ("", "-wal", "-shm"):
                old.with_name(old.name + suffix).unlink(missing_ok=True)
        self._connect()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """The lock, and the translation of what SQLite and the file system say."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                raise ArchiveError(f"outbox {self._path}: {error}; check the disk's space and health") from error


def _size(topic: str, payload: bytes) -> int:
    return len(topic.encode()) + len(payload) + ROW_BYTES


def _count(db: sqlite3.Connection, name: str) -> None:
    db.execute(
        "INSERT INTO counter VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
        (name,),
    )


def _add_columns(db: sqlite3.Connection) -> None:
    there = {row[1] for row in db.execute("PRAGMA table_info(item)")}
    for column in _ADDED if there else ():
        if column not in there:
            db.execute(f"ALTER TABLE item ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")


def _item(row: tuple[int, str, bytes, int, int, int, str]) -> OutboxItem:
    return OutboxItem(row[0], row[1], row[2], bool(row[3]), Keep(row[4]), row[5], row[6])


def _is_full(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _CORRUPT


def _corruption(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
