"""The connection that all of the index goes over: transactions, and errors in plain words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_agent.buffer.index_schema import SCHEMA
from edge_agent.clock import Clock
from edge_agent.database import open_database
from edge_agent.errors import ArchiveError


class IndexStore:
    """Open from construction; every method of those built on it raises ArchiveError when the disk refuses."""

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False, beside: bool = False) -> None:
        """`beside` the agent that owns it: to write, but not to judge whether it is whole."""
        self._path = path
        self._owned = not (read_only or beside)
        self._sound = True
        self._db = open_database(path, SCHEMA, clock, read_only=read_only, beside=beside)
        if self._owned:
            with suppress(sqlite3.Error):  # a full disk must not keep the agent from making room
                self._note_clean(False)

    def close(self) -> None:
        """In order: the next one to open it need not look for damage.  Closing again does nothing."""
        with suppress(sqlite3.Error):  # closed already, or its disk is full: it is looked through next time
            if self._owned and self._sound:
                self._note_clean(True)
        self._db.close()

    def _note_clean(self, clean: bool) -> None:
        self._db.execute("INSERT OR REPLACE INTO state VALUES ('clean', ?)", (str(int(clean)),))

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
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._sound = False
            raise ArchiveError(f"the index {self._path} fails: {error}") from error
