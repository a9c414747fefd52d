"""Presence at the node, and leave for work on it (`docs/commands.md`, "Visits")."""

from __future__ import annotations

from edge_agent.clock import US, Clock
from edge_agent.model import PersonId
from edge_agent.trust.command import MaintainArgs, Work
from edge_agent.trust.door import Admitted
from edge_agent.uplink import words
from edge_agent.uplink.hold_orders import Done
from edge_agent.visits import Visits


class VisitOrders:
    """Owned by whoever owns the visits."""

    def __init__(self, visits: Visits, clock: Clock) -> None:
        self._visits, self._clock = visits, clock

    def carry_out(self, admitted: Admitted, args: MaintainArgs) -> Done:
        """EdgeError says why it can't be."""
        person = admitted.person
        match args.work:
            case Work.VISIT_OPEN:
                visit = self._visits.begin(person.person_id, person.full_name, args.reason)
                return Done(words.visit_opened(visit.who), {"who": visit.who, "since_us": visit.since_us})
            case Work.VISIT_CLOSE:
                visit = self._visits.end(PersonId(args.person) if args.person else person.person_id)
                seconds = max(0.0, (self._clock.utc_us() - visit.since_us) / US)
                return Done(words.visit_closed(visit.who, seconds), {"who": visit.who, "since_us": visit.since_us})
        return Done(words.leave_given(person.full_name), {"who": person.full_name}, leave=True)
