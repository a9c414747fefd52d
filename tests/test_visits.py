"""Visits to the node: who is there, over restarts, and what was forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.buffer.documents import Documents
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import AlarmPhase, PersonId
from edge_agent.trust.command import MaintainArgs, SignedCommand, Work
from edge_agent.trust.door import Admitted
from edge_agent.trust.policy import Access, Person, Role
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.payloads import trouble
from edge_agent.uplink.visit_orders import VisitOrders
from edge_agent.visits import ALARM, FORGOTTEN_US, MAX_OPEN, TABLE, Visits, look_for_forgotten
from tests.simulators.clock import HandClock
from tests.test_node_alarms import Told
from tests.trust.support import somebody

ONE, OTHER = PersonId("one"), PersonId("other")


def visits_in(folder: Path, clock: HandClock) -> Visits:
    return Visits(Documents(folder / "visits.json", clock), clock)


def test_whoever_comes_is_there_until_they_leave_over_restarts_too(tmp_path: Path) -> None:
    clock = HandClock()
    visits = visits_in(tmp_path, clock)
    first = visits.begin(ONE, "Мельник Андрій", "диск")
    clock.move(60)
    second = visits.begin(OTHER, "Коваль Іван", "живлення")
    with pytest.raises(UsageError, match="open already"):
        visits.begin(ONE, "Мельник Андрій", "знову")
    assert visits_in(tmp_path, clock).open() == [first, second]
    assert visits_in(tmp_path, clock).end(ONE) == first
    with pytest.raises(NotFoundError, match="no visit of one"):
        visits_in(tmp_path, clock).end(ONE)
    assert visits_in(tmp_path, clock).open() == [second]


def test_a_cabinet_has_room_for_so_many(tmp_path: Path) -> None:
    visits = visits_in(tmp_path, HandClock())
    for number in range(MAX_OPEN):
        visits.begin(PersonId(f"p{number}"), "x", "y")
    with pytest.raises(UsageError, match="16 visits are open"):
        visits.begin(PersonId("late"), "x", "y")


def test_a_visit_that_nobody_closed_is_an_alarm_after_twelve_hours_and_ends_with_it(tmp_path: Path) -> None:
    told = Told(tmp_path)
    visits = visits_in(tmp_path, told.clock)

    def look() -> None:
        look_for_forgotten(visits, told.alarms, told.clock)

    visits.begin(ONE, "Мельник Андрій", "диск")
    told.clock.move(FORGOTTEN_US / 1e6)
    look()
    assert told.steps == []
    told.clock.move(60)
    visits.begin(OTHER, "Коваль Іван", "живлення")
    look()
    (alarm,) = told.alarms.open
    assert "Мельник Андрій" in alarm.uk
    assert "Коваль" not in alarm.uk
    assert "edge-agent visit close" in trouble(alarm).text.en
    visits.end(ONE)
    look()
    assert told.steps == [(ALARM, AlarmPhase.START), (ALARM, AlarmPhase.END)]


def admitted(person: Person, args: MaintainArgs) -> Admitted:
    return Admitted(SignedCommand(person.person_id, "a/b", 0, 0, "n" * 16, args.action, args), person, Access.DIRECT)


def test_a_colleague_closes_what_was_forgotten_and_other_work_gets_leave(tmp_path: Path) -> None:
    clock = HandClock()
    visits = visits_in(tmp_path, clock)
    orders = VisitOrders(visits, clock)
    key = Ed25519PrivateKey.generate()
    first, second = (somebody(name, Role.CONTRACTOR, key) for name in ("one", "other"))

    def carried_out(by: Person, args: MaintainArgs) -> Done:
        return orders.carry_out(admitted(by, args), args)

    carried_out(first, MaintainArgs(work=Work.VISIT_OPEN, reason="диск"))
    clock.move(3 * 3600)
    with pytest.raises(NotFoundError):
        carried_out(second, MaintainArgs(work=Work.VISIT_CLOSE))
    closed = carried_out(second, MaintainArgs(work=Work.VISIT_CLOSE, person="one"))
    assert (closed.leave, "3 h" in closed.said.en, visits.open()) == (False, True, [])
    given = carried_out(second, MaintainArgs(work=Work.REPAIR))
    assert (given.leave, given.result) == (True, {"who": second.full_name})


def test_a_damaged_document_hides_no_other_visit(tmp_path: Path) -> None:
    clock = HandClock()
    documents = Documents(tmp_path / "visits.json", clock)
    documents.put(TABLE, {"id": "broken", "who": 5})
    visits = Visits(documents, clock)
    visits.begin(ONE, "Мельник Андрій", "диск")
    assert [visit.person_id for visit in visits.open()] == [ONE]
