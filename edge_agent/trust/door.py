"""The one door: every command of a person comes through here, remote or direct, and is journalled before it is done."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import NoReturn

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import PersonId
from edge_agent.trust.command import CommandRefusedError, RefusalCode, SignedCommand, cameras_of, verify
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.order import Order, OrderRefusedError, stay_within
from edge_agent.trust.order import verify as verify_order
from edge_agent.trust.policy import Access, Action, Limits, Person, Wanted, decide
from edge_agent.trust.roster import Roster

FLOOD_WINDOW_S = 600.0
FLOOD_ENTRIES = 20
"""Refusals a stranger can cause are told one by one up to this many a window, then counted: some 2 MB a day at most."""

NEEDS_ORDER = frozenset({Action.HOLD, Action.HOLD_END, Action.EXPORT})
"""What is only done upon an official's signed order, where the city has an authority."""
SHUT_OPENS = frozenset({(Access.DIRECT, Action.STATUS), (Access.DIRECT, Action.MAINTAIN)})
"""What goes on without a roster in force: seeing to the node, at the node."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A command that may be carried out; the journal knows of it."""

    command: SignedCommand
    person: Person
    access: Access
    order: Order | None = None
    """The official's order that it carries out."""


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
        self._roster: Roster | None = None
        self._shut: str | None = None
        self._orders_needed = False
        self._window_began = clock.monotonic()
        self._told = 0
        self._untold: Counter[RefusalCode] = Counter()

    def rely_on(self, roster: Roster | None, trouble: str | None = None) -> None:
        """From now on the city's authority counts: its roster's people, and orders for what needs one.

        Before the first roster the configuration's people are known; with `trouble` nobody gets in but for what is
        SHUT_OPENS.
        """
        self._orders_needed = True
        self._roster, self._shut = roster, trouble
        if roster is not None:
            self._people = roster.people

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
        try:
            order, reason = self._permitted(command, person, access)
        except CommandRefusedError as refusal:
            self._journal_refusal(_entry(command, person, access, Outcome.REFUSED, f"{refusal.code}: {refusal}"))
            raise
        try:
            self._journal.append(_entry(command, person, access, Outcome.ACCEPTED, reason))
        except ArchiveError as error:
            raise CommandRefusedError(
                RefusalCode.JOURNAL_UNAVAILABLE, f"refused, for it can't be journalled: {error}", person, command
            ) from error
        return Admitted(command, person, access, order)

    def concerns(self, admitted: Admitted, cameras: tuple[str, ...]) -> None:
        """Asks again, once it is known which cameras a command is about; CommandRefusedError when it may not be."""
        wanted = Wanted(self._audience, self._zone, cameras)
        command, person = admitted.command, admitted.person
        decision = decide(person, command.action, admitted.access, self._clock.utc_us(), wanted)
        if not decision.allowed:
            raise CommandRefusedError(RefusalCode.NOT_PERMITTED, decision.reason, person, command)

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

    def _permitted(self, command: SignedCommand, person: Person, access: Access) -> tuple[Order | None, str]:
        """The order it carries out, and by what right; CommandRefusedError when by none."""

        def refuse(code: RefusalCode, words: str) -> NoReturn:
            raise CommandRefusedError(code, words, person, command)

        now_us, action = self._clock.utc_us(), command.action
        shut = self._shut or (self._roster.in_force(now_us) if self._roster else None)
        if shut and (access, action) not in SHUT_OPENS:
            refuse(RefusalCode.NO_ROSTER, shut)
        here = Wanted(self._audience, self._zone, cameras_of(command.args))
        # The role first: whoever has no right to carry it out learns nothing about orders.
        by_role = decide(dataclasses.replace(person, limits=Limits()), action, access, now_us, here)
        if not by_role.allowed:
            refuse(RefusalCode.NOT_PERMITTED, by_role.reason)
        try:
            order = self._ordered(command, here, now_us)
        except OrderRefusedError as error:
            refuse(RefusalCode.BEYOND_ORDER if error.beyond else RefusalCode.BAD_ORDER, str(error))
        if order is None and self._orders_needed and action in NEEDS_ORDER:
            refuse(RefusalCode.ORDER_NEEDED, f"{action} carries out an official's signed order, and none is with it")
        purpose = order.terms.basis.kind if order else None
        decision = decide(person, action, access, now_us, dataclasses.replace(here, purpose=purpose))
        if not decision.allowed:
            refuse(RefusalCode.NOT_PERMITTED, decision.reason)
        said = f", order {order.terms.number} of {order.official.full_name}" if order else ""
        return order, decision.reason + said

    def _ordered(self, command: SignedCommand, here: Wanted, now_us: int) -> Order | None:
        token = getattr(command.args, "order", None)
        if token is None:
            return None
        order = verify_order(token, self._people, here, now_us)
        stay_within(order, command.args)
        recipient = order.terms.recipient
        if recipient and self._roster and not self._roster.may_receive(recipient, now_us):
            raise OrderRefusedError("the order's recipient is not in the roster")
        return order

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
