"""SQLite files as the agent keeps them: durable at commit, set aside when damaged, never a crash loop."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.when import from_us

_log = logging.getLogger(__name__)


def open_database(path: Path, schema: str, clock: Clock, *, read_only: bool = False) -> sqlite3.Connection:
    """Open (or create) a database with `schema` (idempotent SQL); every commit is on the disk when it returns.

    A damaged file is renamed to `<name>.damaged-<time>` and a new one begun; what to do about its loss is the
    caller's to know.  The connection may be handed to another thread; one lock of the owner's keeps them apart.
    """
    try:
        if read_only:
            return _configured(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _prepared(path, schema)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = path.with_name(f"{path.name}.damaged-{from_us(clock.utc_us()):%Y%m%dT%H%M%SZ}")
            _log.error("%s is damaged (%s): set aside as %s, a new one is begun", path, error, aside.name)
            path.rename(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            return _prepared(path, schema)
    except (sqlite3.Error, OSError) as error:
        raise ArchiveError(f"cannot open the database {path}: {error}") from error


def _prepared(path: Path, schema: str) -> sqlite3.Connection:
    created = not path.exists()
    connection = _configured(sqlite3.connect(path, timeout=10, check_same_thread=False))
    try:
        if created:
            path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check found damage")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.isolation_level = None
    return connection
