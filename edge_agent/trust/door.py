"""The one door: every command of a person comes through here, remote or direct, and is journalled before it is done."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import PersonId
from edge_agent.trust.command import CommandRefusedError, RefusalCode, SignedCommand, cameras_of, verify
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access, Person, Wanted, decide

FLOOD_WINDOW_S = 600.0
FLOOD_ENTRIES = 20
"""Refusals a stranger can cause are told one by one up to this many a window, then counted: some 2 MB a day at most."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A command that may be carried out; the journal knows of it."""

    command: SignedCommand
    person: Person
    access: Access


class Door:
    """Verifies, checks freshness and permission, and journals; one thread's."""

    def __init__(
        self,
        people: Mapping[PersonId, Person],
        audience: str,
        journal: Journal,
        nonces: NonceStore,
        clock: Clock,
        *,
        zone: tzinfo = UTC,
    ) -> None:
        self._people = people
        self._audience = audience
        self._journal = journal
        self._nonces = nonces
        self._clock = clock
        self._zone = zone
        self._window_began = clock.monotonic()
        self._told = 0
        self._untold: Counter[RefusalCode] = Counter()

    def enter(self, token: bytes, access: Access) -> Admitted:
        """CommandRefusedError when the command is not to be carried out, whatever the cause."""
        self.settle()
        try:
            command = verify(token, self._people, self._audience, self._clock.utc_us())
            self._be_fresh(command)
        except CommandRefusedError as refusal:
            self._journal_stranger(refusal, access)
            raise
        person = self._people[command.person_id]
        decision = decide(person, command.action, access, self._clock.utc_us(), self._wanted(command))
        if not decision.allowed:
            entry = _entry(command, person, access, Outcome.REFUSED, f"{RefusalCode.NOT_PERMITTED}: {decision.reason}")
            self._journal_refusal(entry)
            raise CommandRefusedError(RefusalCode.NOT_PERMITTED, decision.reason, person, command)
        try:
            self._journal.append(_entry(command, person, access, Outcome.ACCEPTED, decision.reason))
        except ArchiveError as error:
            raise CommandRefusedError(
                RefusalCode.JOURNAL_UNAVAILABLE, f"refused, for it can't be journalled: {error}", person, command
            ) from error
        return Admitted(command, person, access)

    def outcome(self, admitted: Admitted, ok: bool, words: str) -> None:
        """Journal what became of an admitted command; ArchiveError when the journal can't be written."""
        outcome = Outcome.DONE if ok else Outcome.FAILED
        self._journal.append(_entry(admitted.command, admitted.person, admitted.access, outcome, words))

    def settle(self, *, now: bool = False) -> None:
        """Journal the refusals that were only counted, when their window is over, or `now` (at the stop)."""
        if not now and self._clock.monotonic() - self._window_began < FLOOD_WINDOW_S:
            return
        if self._untold:
            kinds = ", ".join(f"{code} {count}" for code, count in sorted(self._untold.items()))
            entry = JournalEntry(
                JournalKind.ACCESS, Outcome.REFUSED, reason=f"flood: {kinds}", count=self._untold.total()
            )
            if not self._journal_refusal(entry):
                return
        self._window_began = self._clock.monotonic()
        self._told = 0
        self._untold.clear()

    def _wanted(self, command: SignedCommand) -> Wanted:
        return Wanted(self._audience, self._zone, cameras_of(command.args))

    def _be_fresh(self, command: SignedCommand) -> None:
        person = self._people[command.person_id]
        try:
            fresh = self._nonces.claim(command)
        except ArchiveError as error:
            raise CommandRefusedError(
                RefusalCode.JOURNAL_UNAVAILABLE, f"refused, for it can't be remembered: {error}", person, command
            ) from error
        if not fresh:
            raise CommandRefusedError(
                RefusalCode.REPLAYED, "this command came before and is not carried out twice", person, command
            )

    def _journal_stranger(self, refusal: CommandRefusedError, access: Access) -> None:
        """A refusal that anybody can cause as often as they like, be it by sending a known token again."""
        if self._told >= FLOOD_ENTRIES:
            self._untold[refusal.code] += 1
            return
        self._told += 1
        command, person = refusal.command, refusal.person
        entry = JournalEntry(
            JournalKind.ACCESS,
            Outcome.REFUSED,
            who=person.full_name if person else "",
            person_id=person.person_id if person else None,
            action=command.action if command else "",
            access=access,
            reason=f"{refusal.code}: {refusal}",
            ref=command.nonce if command else "",
        )
        self._journal_refusal(entry)

    def _journal_refusal(self, entry: JournalEntry) -> bool:
        """A refusal stands even when it can't be journalled: nothing is done."""
        try:
            self._journal.append(entry)
        except ArchiveError as error:
            _log.error("a refusal could not be journalled: %s", error)
            return False
        return True


def _entry(command: SignedCommand, person: Person, access: Access, outcome: Outcome, reason: str) -> JournalEntry:
    return JournalEntry(
        JournalKind.ACCESS,
        outcome,
        who=person.full_name,
        person_id=person.person_id,
        action=command.action,
        access=access,
        reason=reason,
        args=command.args.model_dump(exclude_defaults=True),
        ref=command.nonce,
    )
