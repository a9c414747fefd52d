"""SQLite files as the agent keeps them: durable at commit, set aside when damaged, never a crash loop."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.when import from_us

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schema:
    """What the tables of a database look like."""

    sql: str
    """Idempotent."""
    version: int = 0
    """The database's `user_version`; 0 where there was only ever one."""
    migrate: Callable[[sqlite3.Connection, int], None] | None = None
    """Brings a database of an older version to what `sql` goes on from; within one transaction."""
    trusted: Callable[[sqlite3.Connection], bool] = lambda _: False
    """Whether looking through the whole file for damage may be spared."""
    salvage: Callable[[sqlite3.Connection, Path], None] | None = None
    """Takes what it can from a damaged database that was set aside, into the new one."""


def open_database(
    path: Path, schema: str | Schema, clock: Clock, *, read_only: bool = False, beside: bool = False
) -> sqlite3.Connection:
    """Open (or create) a database with `schema` (idempotent SQL); every commit is on the disk when it returns.

    `read_only`, or `beside` the one that owns it, to write: it must be there, and whether it is whole is not judged.

    A damaged file is renamed to `<name>.damaged-<time>` and a new one begun; what to do about its loss is the
    caller's to know.  One of a newer version is refused.  The connection may be handed to another thread; one lock of
    the owner's keeps them apart.
    """
    wanted = schema if isinstance(schema, Schema) else Schema(schema)
    try:
        if read_only or beside:
            return _existing(path, wanted, "rw" if beside else "ro")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _prepared(path, wanted)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = path.with_name(f"{path.name}.damaged-{from_us(clock.utc_us()):%Y%m%dT%H%M%SZ}")
            _log.error("%s is damaged (%s): set aside as %s, a new one is begun", path, error, aside.name)
            for suffix in ("", "-wal", "-shm"):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            connection = _prepared(path, wanted)
            if wanted.salvage is not None:
                wanted.salvage(connection, aside)
            return connection
    except (sqlite3.Error, OSError) as error:
        raise ArchiveError(f"cannot open the database {path}: {error}") from error


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _existing(path: Path, schema: Schema, mode: str) -> sqlite3.Connection:
    connection = _configured(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=10))
    try:
        if schema.version and version_of(connection) != schema.version:
            raise ArchiveError(
                f"{path} is of another version of edge-agent: the agent carries an older one over when it starts"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _prepared(path: Path, schema: Schema) -> sqlite3.Connection:
    created = not path.exists()
    connection = _configured(sqlite3.connect(path, timeout=10, check_same_thread=False))
    try:
        if created:
            path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = version_of(connection)
        if version > schema.version:
            raise ArchiveError(f"{path} was made by a newer version of edge-agent: install that one again")
        if not schema.trusted(connection) and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check found damage")
        if version < schema.version:
            connection.execute("BEGIN IMMEDIATE")
            if schema.migrate is not None:
                schema.migrate(connection, version)
            connection.execute(f"PRAGMA user_version = {schema.version}")
            connection.execute("COMMIT")
        connection.executescript(schema.sql)
    except BaseException:
        connection.close()
        raise
    return connection


def _configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.isolation_level = None
    return connection
