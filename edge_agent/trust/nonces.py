"""Which commands were seen already, over restarts and whatever the clock does (`docs/commands.md`, «Replay»)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.clock import US, Clock
from edge_agent.database import open_database
from edge_agent.errors import ArchiveError
from edge_agent.trust.command import LEEWAY_S, MAX_LIFETIME_S, SignedCommand

KEPT = 10_000
"""Nonces remembered, about 1 MB; a command lives for minutes, so these are years of a node's commands."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nonce (
    nonce TEXT PRIMARY KEY,
    expires_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_by_expiry ON nonce (expires_us);
CREATE TABLE IF NOT EXISTS horizon (only INTEGER PRIMARY KEY CHECK (only = 1), expires_us INTEGER NOT NULL);
"""


class NonceStore:
    """The latest nonces by the expiry of their commands, and a horizon: nothing that expires before it is fresh.

    A nonce is used once at a node, whoever signs, for jobs and answers are known by it.  It is forgotten only by
    raising the horizon to its expiry, so that no clock, wherever it is set, makes an old command fresh again.  One
    thread's.
    """

    def __init__(self, path: Path, clock: Clock, *, kept: int = KEPT) -> None:
        existed = path.exists() and path.stat().st_size > 0
        self._path = path
        self._kept = kept
        self.trouble = ""
        """Why the last command could not be remembered; nothing while they can."""
        self._database = open_database(path, _SCHEMA, clock)
        try:
            if self._database.execute("SELECT 1 FROM horizon").fetchone() is None:
                # A store that was there but had to be set aside may have held any command that is still alive.
                horizon_us = clock.utc_us() + (MAX_LIFETIME_S + LEEWAY_S) * US if existed else 0
                self._database.execute("INSERT OR IGNORE INTO horizon VALUES (1, ?)", (horizon_us,))
        except sqlite3.Error as error:
            self._database.close()
            raise ArchiveError(f"cannot use the nonce store {path}: {error}") from error

    def claim(self, command: SignedCommand) -> bool:
        """Remember a command, on the disk at return; false when it was seen before or is older than the memory.

        ArchiveError when it can't be remembered.
        """
        with self._written():
            return self._claimed(command)

    def probe(self) -> None:
        """ArchiveError when no command could be remembered now."""
        with self._written():
            self._database.execute("UPDATE horizon SET expires_us = expires_us")

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.rollback()
            self.trouble = f"cannot write the nonce store {self._path}: {error}"
            raise ArchiveError(self.trouble) from error
        self.trouble = ""

    def close(self) -> None:
        self._database.close()

    def _claimed(self, command: SignedCommand) -> bool:
        execute = self._database.execute
        (horizon_us,) = execute("SELECT expires_us FROM horizon").fetchone()
        if command.expires_us <= horizon_us:
            return False
        row = (command.nonce, command.expires_us)
        if execute("INSERT OR IGNORE INTO nonce VALUES (?, ?)", row).rowcount == 0:
            return False
        past_kept = execute(
            "SELECT expires_us FROM nonce ORDER BY expires_us DESC LIMIT 1 OFFSET ?", (self._kept,)
        ).fetchone()
        if past_kept is not None:
            execute("DELETE FROM nonce WHERE expires_us <= ?", past_kept)
            execute("UPDATE horizon SET expires_us = ?", past_kept)
        return True
