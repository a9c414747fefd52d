"""The node's roster at work: read at the start, renewed by the broker or by hand, told to the door."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import ArchiveError
from edge_agent.trust.door import Door
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.keys import parse_public_key
from edge_agent.trust.roster import Draft, Roster, RosterRefusedError, diff
from edge_agent.trust.roster_store import RosterStore

_log = logging.getLogger(__name__)
TOLD_CHANGES = 50
REFUSALS_EVERY_S = 600.0
"""What a broker can send as often as it likes is journalled once in so long, with its count."""


class RosterKeeper:
    """Owned by whoever owns the door; made only where an authority is pinned."""

    def __init__(self, store: RosterStore, door: Door, journal: Journal, clock: Clock) -> None:
        self._store, self._door, self._journal, self._clock = store, door, journal, clock
        self._roster: Roster | None = None
        self._refused = 0
        self._told_at: float | None = None
        self._load()

    @property
    def roster(self) -> Roster | None:
        """The installed one, in force or not."""
        return self._roster

    def offered(self, token: bytes) -> None:
        """The broker has a roster: install it when it is newer.  One that is refused changes nothing."""
        try:
            installed = self._store.install(token)
        except RosterRefusedError as error:
            self._refuse(str(error))
            return
        except ArchiveError as error:
            _log.error("the roster can't be kept: %s", error)
            return
        if installed is not None:
            self._rely_on(installed, "from the broker")

    def look(self) -> None:
        """Notice a roster that was installed at the node."""
        if self._store.changed():
            before = self._roster
            self._load()
            if self._roster is not None and self._roster != before:
                self._note(before, self._roster, "at the node")

    def _load(self) -> None:
        try:
            self._roster = self._store.load()
        except (RosterRefusedError, ArchiveError) as error:
            _log.error("no roster is in force: %s", error)
            self._roster = None
            self._door.rely_on(None, f"the node's roster can't be used, install it anew: {error}")
            return
        self._door.rely_on(self._roster)
        if self._roster and (trouble := self._roster.in_force(self._clock.utc_us())):
            _log.error("%s", trouble)

    def _rely_on(self, roster: Roster, how: str) -> None:
        before, self._roster = self._roster, roster
        self._door.rely_on(roster)
        self._note(before, roster, how)

    def _note(self, before: Roster | None, roster: Roster, how: str) -> None:
        _log.info("roster %d installed %s", roster.version, how)
        self._append(
            JournalEntry(
                JournalKind.ROSTER,
                Outcome.DONE,
                reason=f"roster {roster.version} installed {how}",
                args={
                    "version": roster.version,
                    "sha256": hashlib.sha256(roster.token).hexdigest(),
                    "changes": list(_changes(before, roster))[:TOLD_CHANGES],
                },
            )
        )

    def _refuse(self, words: str) -> None:
        self._refused += 1
        now = self._clock.monotonic()
        if self._told_at is not None and now - self._told_at < REFUSALS_EVERY_S:
            return
        _log.warning("a roster is refused: %s", words)
        self._append(JournalEntry(JournalKind.ROSTER, Outcome.REFUSED, reason=words, count=self._refused))
        self._told_at, self._refused = now, 0

    def _append(self, entry: JournalEntry) -> None:
        """A roster counts even when the journal can't be written: it is the authority's, and may take rights away."""
        try:
            self._journal.append(entry)
        except ArchiveError as error:
            _log.critical("not journalled: %s: %s", entry.reason, error)


def roster_keeper(config: Config, door: Door, journal: Journal, clock: Clock) -> RosterKeeper | None:
    """None where no authority is pinned: then the configuration's people are all there are."""
    store = roster_store(config)
    return RosterKeeper(store, door, journal, clock) if store else None


def roster_store(config: Config) -> RosterStore | None:
    authority = config.trust.authority
    return RosterStore(config.data_dir, parse_public_key(authority)) if authority else None


def _changes(before: Roster | None, after: Roster) -> Iterable[str]:
    old = before.claims if before else Draft(city=after.claims.city)
    for change in diff(old, after.claims):
        fields = f": {', '.join(change.fields)}" if change.fields else ""
        yield f"{change.what} {change.id} {change.kind}{fields}"
