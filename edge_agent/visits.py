"""Who is at the node's cabinet now, as they said themselves (`docs/commands.md`, "Visits"); an open visit that was
forgotten is an alarm."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter, ValidationError

from edge_agent.buffer.documents import Documents
from edge_agent.clock import US, Clock
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import PersonId
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.when import from_us

_log = logging.getLogger(__name__)
TABLE = "visit"
ALARM = "visit_forgotten"
FORGOTTEN_US = 12 * 3600 * US
MAX_OPEN = 16


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who came and has not said that they left."""

    person_id: PersonId
    who: str
    """Surname, name, patronymic."""
    why: str
    since_us: int


@cache
def _adapter() -> TypeAdapter[Visit]:
    return TypeAdapter(Visit)


class Visits:
    """The open ones, over restarts; owned by whoever owns the documents.  ArchiveError when they can't be kept."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents, self._clock = documents, clock

    def open(self) -> list[Visit]:
        """The longest first."""
        found = [visit for document in self._documents.all(TABLE) if (visit := _parsed(document))]
        return sorted(found, key=lambda visit: visit.since_us)

    def begin(self, person_id: PersonId, who: str, why: str) -> Visit:
        """UsageError when this person is here already, or more than a cabinet has room for."""
        known = self.open()
        if any(visit.person_id == person_id for visit in known):
            raise UsageError(f"a visit of {person_id} is open already: close it first")
        if len(known) >= MAX_OPEN:
            raise UsageError(f"{MAX_OPEN} visits are open: have those who left close theirs")
        visit = Visit(person_id, who, why, self._clock.utc_us())
        self._documents.put(TABLE, {"id": str(person_id), **dataclasses.asdict(visit)})
        return visit

    def end(self, person_id: PersonId) -> Visit:
        """NotFoundError when no visit of this person is open."""
        visit = next((visit for visit in self.open() if visit.person_id == person_id), None)
        if visit is None:
            raise NotFoundError(f"no visit of {person_id} is open")
        self._documents.remove(TABLE, str(person_id))
        return visit


def look_for_forgotten(visits: Visits, alarms: NodeAlarms, clock: Clock) -> None:
    """Raise, renew or end the alarm."""
    now_us = clock.utc_us()
    alarms.set(ALARM, _said([visit for visit in visits.open() if now_us - visit.since_us > FORGOTTEN_US]))


def _said(forgotten: list[Visit]) -> Said | None:
    if not forgotten:
        return None
    names = ", ".join(visit.who for visit in forgotten)
    since = f"{from_us(forgotten[0].since_us):%Y-%m-%d %H:%M} UTC"
    return Said(
        f"Відвідування вузла не закрито: {names}, від {since}. Якщо роботу закінчено: edge-agent visit close",
        f"A visit to the node was not closed: {names}, since {since}. When the work is done: edge-agent visit close",
    )


def _parsed(document: dict[str, object]) -> Visit | None:
    try:
        return _adapter().validate_python({key: value for key, value in document.items() if key != "id"})
    except ValidationError as error:
        _log.error("a visit in the documents can't be understood and is left alone: %s", error)
        return None
