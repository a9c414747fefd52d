"""What people make of alarms, carried out at the node (`docs/incidents.md`, "What people do")."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import tzinfo
from typing import Any

from edge_agent.buffer.holds import Holds
from edge_agent.buffer.register import AlarmState, Incident, Note, NoteKind, Register, Wanted
from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.trust.command import CommandRefusedError
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.incident_args import AcknowledgeArgs, IncidentArgs, IncidentsArgs
from edge_agent.uplink import incident_words as words
from edge_agent.uplink.exports import Release
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.incident_payloads import IncidentRecord, incident_record

_log = logging.getLogger(__name__)
PAGE_BYTES = 120_000
"""Of records in an answer: with what is around them it fits a message."""


class IncidentOrders:
    """Owned by the agent's main thread; `changed` gets an incident that somebody wrote beside."""

    def __init__(
        self,
        register: Register,
        holds: Holds,
        door: Door,
        changed: Callable[[Incident], None],
        zone: tzinfo,
        clock: Clock,
    ) -> None:
        self._register, self._holds, self._door = register, holds, door
        self._changed, self._zone, self._clock = changed, zone, clock

    def acknowledge(self, admitted: Admitted, args: AcknowledgeArgs) -> Done:
        """The first one counts; whoever comes later is told who was first, and a comment is not lost."""
        incident = self.found(admitted, args.alarm)
        before = incident.acknowledged
        if before is None:
            return self._written(admitted, incident, [(NoteKind.ACKNOWLEDGED, args.comment)])
        if args.comment:
            incident = self._write(admitted, incident, [(NoteKind.COMMENT, args.comment)])
        return Done(words.already(incident.entry.alarm_id, before, self._zone), _result(incident, changed=False))

    def write(self, admitted: Admitted, args: IncidentArgs) -> Done:
        """Comment, mark, tie; what is so already is not written twice."""
        incident = self.found(admitted, args.alarm)
        alarm_id, before = incident.entry.alarm_id, incident.false
        notes: list[tuple[NoteKind, str]] = []
        if args.false_alarm is not None and args.false_alarm != (before is not None):
            notes.append((NoteKind.FALSE if args.false_alarm else NoteKind.TRUE, args.comment))
        elif args.comment:
            notes.append((NoteKind.COMMENT, args.comment))
        if args.hold is not None:
            hold = self._holds.get(args.hold)
            if hold.hold_id not in incident.texts(NoteKind.HOLD):
                notes.append((NoteKind.HOLD, hold.hold_id))
        if args.release is not None and args.release not in incident.texts(NoteKind.RELEASE):
            notes.append((NoteKind.RELEASE, args.release))
        if notes:
            return self._written(admitted, incident, notes)
        said = words.already(alarm_id, before, self._zone) if before and args.false_alarm else words.unchanged(alarm_id)
        return Done(said, _result(incident, changed=False))

    def tell(self, admitted: Admitted, args: IncidentsArgs) -> Done:
        """A page of the register, of the cameras that the person may know of."""
        if args.alarm is not None:
            return Done(words.page_told(1, more=False), self._page([self.found(admitted, args.alarm)], more=False))
        after = None if args.after_us is None or args.after_id is None else (args.after_us, args.after_id)
        state = None if args.state is None else AlarmState(args.state)
        page: list[Incident] = []
        size, more = 0, False
        for incident in self._register.find(Wanted(args.start_us, args.end_us, args.camera, state, after)):
            if not self._may_see(admitted, incident):
                continue
            size += len(incident_record(incident).model_dump_json())
            if page and (len(page) >= args.most or size > PAGE_BYTES):
                more = True
                break
            page.append(incident)
        return Done(words.page_told(len(page), more=more), self._page(page, more=more))

    def with_hold(self, admitted: Admitted, incident: Incident, done: Done) -> Done:
        """A hold was entered for the sake of an alarm: both are told.  It holds, whatever the register can't take."""
        hold_id, person = str(done.result["hold"]["hold_id"]), admitted.person
        note = self._note(NoteKind.HOLD, hold_id, person.full_name, person.person_id, admitted.command.nonce)
        if not self._tied(incident, note):
            return done
        alarm_id = incident.entry.alarm_id
        said = words.both(done.said, words.noted(alarm_id, [NoteKind.HOLD]))
        return Done(said, {**done.result, "incident": alarm_id})

    def with_release(self, release: Release) -> str | None:
        """A release is done, perhaps long after it was asked for: the id of the alarm that it is tied to now."""
        prefix = release.export.incident
        if prefix is None:
            return None
        try:
            incident = self._register.get(prefix)
        except EdgeError as error:
            _log.error("release %s can't be tied to alarm %s: %s", release.id, prefix, error)
            return None
        note = self._note(NoteKind.RELEASE, release.id, release.who, release.person_id, release.id)
        return incident.entry.alarm_id if self._tied(incident, note) else None

    def _tied(self, incident: Incident, note: Note) -> bool:
        alarm_id = incident.entry.alarm_id
        if note.text in incident.texts(note.kind):
            return True
        try:
            self._changed(self._register.note(alarm_id, [note], note.at_us))
        except EdgeError as error:
            _log.error("%s %s can't be tied to alarm %s: %s", note.kind, note.text, alarm_id, error)
            return False
        return True

    def _note(self, kind: NoteKind, text: str, who: str, person_id: str, ref: str) -> Note:
        return Note(kind, self._clock.utc_us(), who, person_id, text, ref)

    def _page(self, page: list[Incident], *, more: bool) -> dict[str, Any]:
        return {
            "incidents": [_json(incident_record(incident)) for incident in page],
            "more": more,
            "complete_from_us": self._register.complete_from_us,
        }

    def found(self, admitted: Admitted, prefix: str) -> Incident:
        """The alarm that is meant; NotFoundError, UsageError, CommandRefusedError when it is not this person's."""
        incident = self._register.get(prefix)
        self._door.concerns(admitted, _cameras(incident))
        return incident

    def _may_see(self, admitted: Admitted, incident: Incident) -> bool:
        try:
            self._door.concerns(admitted, _cameras(incident))
        except CommandRefusedError:
            return False
        return True

    def _written(self, admitted: Admitted, incident: Incident, notes: list[tuple[NoteKind, str]]) -> Done:
        written = self._write(admitted, incident, notes)
        said = words.noted(incident.entry.alarm_id, [kind for kind, _ in notes])
        return Done(said, _result(written, changed=True))

    def _write(self, admitted: Admitted, incident: Incident, notes: list[tuple[NoteKind, str]]) -> Incident:
        now_us, person = self._clock.utc_us(), admitted.person
        made = [
            Note(kind, now_us, person.full_name, person.person_id, text, admitted.command.nonce) for kind, text in notes
        ]
        written = self._register.note(incident.entry.alarm_id, made, now_us)
        self._changed(written)
        return written


def _cameras(incident: Incident) -> tuple[str, ...]:
    return (incident.entry.camera,) if incident.entry.camera else ()


def _json(record: IncidentRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_defaults=True)


def _result(incident: Incident, *, changed: bool) -> dict[str, Any]:
    return {"changed": changed, "incident": _json(incident_record(incident))}
