"""Brings what is in no file from one index into another, as far as the one can be read."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

_log = logging.getLogger(__name__)

FACTS = ("gap", "receipt", "rewrapped", "rolled", "life", "hour", "loss")


def carry_facts(db: sqlite3.Connection, old: sqlite3.Connection, unknown: list[str]) -> dict[str, int]:
    """All facts of an index of this version; rows by table.  What could not be read is added to `unknown`, in words."""
    kept = {table: copy_table(db, old, table, unknown) for table in FACTS}
    insert = (
        "INSERT INTO camera (camera, since_us, until_us) VALUES (?, ?, ?) ON CONFLICT (camera)"
        " DO UPDATE SET since_us = excluded.since_us, until_us = excluded.until_us"
    )
    _each(db, old, "SELECT camera, since_us, until_us FROM camera", insert, "camera", unknown)
    return kept


def copy_table(db: sqlite3.Connection, old: sqlite3.Connection, table: str, unknown: list[str]) -> int:
    """Rows with the columns that both have."""
    try:
        theirs = columns_of(old, table)
    except sqlite3.DatabaseError as error:
        unknown.append(f"«{table}» of the old index ({error})")
        return 0
    columns = [name for name in columns_of(db, table) if name in theirs]
    if not columns:
        return 0
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
    return _each(db, old, f"SELECT {names} FROM {table}", insert, table, unknown)


def columns_of(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def forget_hours(db: sqlite3.Connection) -> None:
    """Where it is not known which recordings stood under which root, all roots are made again; where nothing of an hour
    is missing, that gives the one which the journal has."""
    db.execute("DELETE FROM hour")
    db.execute("DELETE FROM rewrapped")
    db.execute("UPDATE receipt SET batch = NULL")
    db.execute("UPDATE segment SET batch = NULL WHERE batch IS NOT NULL")


def salvage(db: sqlite3.Connection, damaged: Path) -> None:
    """Into an index that was just begun, from the one that was set aside; the recordings come from their files."""
    unknown: list[str] = []
    try:
        with closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)) as old:
            db.execute("BEGIN IMMEDIATE")
            kept = carry_facts(db, old, unknown)
            forget_hours(db)
            db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        kept, unknown = {}, [f"all of it ({error})"]
    words = ", ".join(f"{count} {table}" for table, count in kept.items() if count) or "nothing"
    _log.warning("of the damaged index %s were kept; not readable: %s", words, "; ".join(unknown) or "nothing")


def _each(
    db: sqlite3.Connection, old: sqlite3.Connection, query: str, insert: str, what: str, unknown: list[str]
) -> int:
    count = 0
    try:
        for row in old.execute(query):
            db.execute(insert, row)
            count += 1
    except sqlite3.DatabaseError as error:
        unknown.append(f"«{what}» of the old index after the first {count} ({error})")
    return count
