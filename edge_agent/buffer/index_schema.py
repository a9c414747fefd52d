"""The index's tables (`docs/archive.md`), and how an older index becomes one of this version."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator

from edge_agent.buffer.index_carry import salvage
from edge_agent.buffer.promise import EARLIEST_US, UNDATED
from edge_agent.buffer.segments import SegmentName
from edge_agent.database import Schema

_log = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE IF NOT EXISTS segment (
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    frames INTEGER,
    sha256 BLOB,
    torn INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER,
    clock TEXT,
    batch INTEGER,
    doomed TEXT,
    mark_us INTEGER,
    disk TEXT NOT NULL DEFAULT '',
    age_us INTEGER AS (coalesce(mark_us,
        CASE WHEN clock IN ('free', 'carried') OR end_us < {earliest_us} THEN {undated} ELSE end_us END)) VIRTUAL,
    PRIMARY KEY (camera, start_us, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS camera (
    camera TEXT PRIMARY KEY,
    files INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    longest_us INTEGER NOT NULL DEFAULT 0,
    since_us INTEGER,
    until_us INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disk (
    disk TEXT PRIMARY KEY,
    files INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    cause TEXT NOT NULL,
    evidence TEXT NOT NULL,
    PRIMARY KEY (camera, start_us)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS loss (
    camera TEXT PRIMARY KEY,
    cause TEXT NOT NULL,
    evidence TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt (
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB,
    batch INTEGER,
    reason TEXT NOT NULL,
    deleted_us INTEGER NOT NULL,
    disk TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS rolled (
    camera TEXT NOT NULL,
    day INTEGER NOT NULL,
    reason TEXT NOT NULL,
    part INTEGER NOT NULL,
    files INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    first_deleted_us INTEGER NOT NULL,
    last_deleted_us INTEGER NOT NULL,
    spans TEXT NOT NULL,
    hashed INTEGER NOT NULL,
    root BLOB NOT NULL,
    PRIMARY KEY (camera, day, reason, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS life (
    started_us INTEGER PRIMARY KEY,
    alive_us INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    boot TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS hour (
    hour_us INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    count INTEGER NOT NULL,
    root BLOB NOT NULL,
    journalled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour_us, batch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rewrapped (
    camera TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    batch INTEGER NOT NULL,
    PRIMARY KEY (camera, start_us, sequence, batch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
""".replace("{earliest_us}", str(EARLIEST_US)).replace("{undated}", str(UNDATED))
_INDEXES = """
CREATE INDEX IF NOT EXISTS segment_by_end ON segment (camera, end_us);
CREATE INDEX IF NOT EXISTS segment_by_mark ON segment (camera, age_us, start_us, sequence);
CREATE INDEX IF NOT EXISTS segment_doomed ON segment (doomed) WHERE doomed IS NOT NULL;
CREATE INDEX IF NOT EXISTS segment_unsealed ON segment (end_us) WHERE batch IS NULL AND sha256 IS NOT NULL;
CREATE INDEX IF NOT EXISTS segment_unhashed ON segment (camera, start_us) WHERE sha256 IS NULL;
CREATE INDEX IF NOT EXISTS rewrapped_by_end ON rewrapped (end_us);
CREATE INDEX IF NOT EXISTS gap_by_end ON gap (camera, end_us);
CREATE INDEX IF NOT EXISTS receipt_by_time ON receipt (camera, start_us);
CREATE INDEX IF NOT EXISTS receipt_by_deletion ON receipt (deleted_us);
CREATE INDEX IF NOT EXISTS receipt_by_age ON receipt (end_us);
CREATE INDEX IF NOT EXISTS receipt_unsealed ON receipt (end_us) WHERE batch IS NULL AND sha256 IS NOT NULL;
"""
_TRIGGERS = """
CREATE TRIGGER IF NOT EXISTS segment_comes AFTER INSERT ON segment BEGIN
    INSERT INTO camera (camera, files, size_bytes, longest_us)
        VALUES (NEW.camera, 1, NEW.size_bytes, NEW.end_us - NEW.start_us)
        ON CONFLICT (camera) DO UPDATE SET files = files + 1, size_bytes = size_bytes + NEW.size_bytes,
            longest_us = max(longest_us, NEW.end_us - NEW.start_us);
END;
CREATE TRIGGER IF NOT EXISTS segment_changes AFTER UPDATE OF size_bytes, end_us ON segment BEGIN
    UPDATE camera SET size_bytes = size_bytes + NEW.size_bytes - OLD.size_bytes,
        longest_us = max(longest_us, NEW.end_us - NEW.start_us) WHERE camera = NEW.camera;
END;
CREATE TRIGGER IF NOT EXISTS segment_goes AFTER DELETE ON segment BEGIN
    UPDATE camera SET files = files - 1, size_bytes = size_bytes - OLD.size_bytes WHERE camera = OLD.camera;
END;
CREATE TRIGGER IF NOT EXISTS disk_takes AFTER INSERT ON segment BEGIN
    INSERT INTO disk VALUES (NEW.disk, 1, NEW.size_bytes)
        ON CONFLICT (disk) DO UPDATE SET files = files + 1, size_bytes = size_bytes + NEW.size_bytes;
END;
CREATE TRIGGER IF NOT EXISTS disk_changes AFTER UPDATE OF size_bytes, disk ON segment BEGIN
    UPDATE disk SET files = files - 1, size_bytes = size_bytes - OLD.size_bytes WHERE disk = OLD.disk;
    INSERT INTO disk VALUES (NEW.disk, 1, NEW.size_bytes)
        ON CONFLICT (disk) DO UPDATE SET files = files + 1, size_bytes = size_bytes + NEW.size_bytes;
END;
CREATE TRIGGER IF NOT EXISTS disk_gives AFTER DELETE ON segment BEGIN
    UPDATE disk SET files = files - 1, size_bytes = size_bytes - OLD.size_bytes WHERE disk = OLD.disk;
END;
"""
_COUNT = """
INSERT INTO camera (camera, files, size_bytes, longest_us)
    SELECT camera, count(*), sum(size_bytes), max(end_us - start_us) FROM segment WHERE true GROUP BY camera
    ON CONFLICT (camera) DO UPDATE SET files = excluded.files, size_bytes = excluded.size_bytes,
        longest_us = max(longest_us, excluded.longest_us);
INSERT OR REPLACE INTO disk SELECT disk, count(*), sum(size_bytes) FROM segment GROUP BY disk;
"""
INSERT = (
    "INSERT INTO segment (camera, start_us, sequence, end_us, size_bytes, frames, sha256, torn, damaged, clock,"
    " disk) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def clean(connection: sqlite3.Connection) -> bool:
    """Whether the agent that wrote it last ended in order and met no damage."""
    try:
        row = connection.execute("SELECT value FROM state WHERE name = 'clean'").fetchone()
    except sqlite3.OperationalError:
        return False
    return row is not None and row[0] == "1"


def fill(connection: sqlite3.Connection, rows: Iterator[tuple[object, ...]]) -> None:
    """Many segments into new tables at once, as `INSERT` takes them; indexes and counts are made at the end."""
    each(connection, _TABLES)
    connection.executemany(INSERT.replace("INSERT", "INSERT OR IGNORE", 1), rows)
    each(connection, _COUNT)
    each(connection, _INDEXES)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "segment" not in names:
        return
    if version == 2:
        for table in ("segment", "receipt"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN disk TEXT NOT NULL DEFAULT ''")
        each(connection, _TABLES)
        connection.execute(
            "INSERT INTO disk SELECT '', coalesce(sum(files), 0), coalesce(sum(size_bytes), 0) FROM camera"
        )
        return
    for table in ("segment", "receipt"):
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for index in ("segment_by_time", "segment_by_age", "segment_doomed", "receipt_by_time"):
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    old = connection.execute("SELECT path, end_us, size_bytes, frames, sha256, torn FROM segment_1")
    fill(
        connection,
        (
            (*name, row[1], row[2], row[3], _blob(row[4]), row[5], None, None, "")
            for row in old
            if (name := _key(row[0]))
        ),
    )
    connection.executemany(
        "UPDATE segment SET doomed = ? WHERE camera = ? AND start_us = ? AND sequence = ?",
        [
            (doomed, *name)
            for path, doomed in connection.execute("SELECT path, doomed FROM segment_1 WHERE doomed IS NOT NULL")
            if (name := _key(path))
        ],
    )
    receipts = connection.execute("SELECT path, end_us, size_bytes, sha256, reason, deleted_us FROM receipt_1")
    connection.executemany(
        "INSERT INTO receipt VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?, '')",
        ((*name, row[1], row[2], _blob(row[3]), row[4], row[5]) for row in receipts if (name := _key(row[0]))),
    )
    each(connection, CARRIED)
    for table in ("segment", "receipt"):
        connection.execute(f"DROP TABLE {table}_1")
    _log.info("the index was carried over from version %d", version)


CARRIED = """
INSERT INTO camera (camera, since_us)
    SELECT camera, min(start_us) FROM
        (SELECT camera, start_us FROM segment UNION ALL SELECT camera, start_us FROM gap
         UNION ALL SELECT camera, start_us FROM receipt) WHERE true GROUP BY camera
    ON CONFLICT (camera) DO UPDATE SET since_us = coalesce(camera.since_us, excluded.since_us);
UPDATE camera SET longest_us = max(longest_us, coalesce(
    (SELECT max(end_us - start_us) FROM receipt WHERE receipt.camera = camera.camera), 0));
"""
"""After receipts were brought in from elsewhere: a camera whose installation was not noted was installed when the first
is known of it."""


def _key(path: str) -> tuple[str, int, int] | None:
    name = SegmentName.parse(path)
    return None if name is None else (name.camera, name.start_us, name.sequence)


def _blob(digest: str | None) -> bytes | None:
    return bytes.fromhex(digest) if digest else None


def each(connection: sqlite3.Connection, script: str) -> None:
    """Statements one by one, for `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


SCHEMA = Schema(_TABLES + _INDEXES + _TRIGGERS, version=3, migrate=_migrate, trusted=clean, salvage=salvage)
