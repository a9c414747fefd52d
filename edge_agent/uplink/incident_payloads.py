"""What the messages about alarms' handling say (`docs/mqtt.md`, `docs/incidents.md`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edge_agent.buffer.register import Incident, Note, NoteKind
from edge_agent.model import AlarmCut
from edge_agent.uplink.payloads import (
    Code,
    Count,
    Footage,
    Id,
    Message,
    Payload,
    Slug,
    Text,
    Us,
    Words,
    footage_of,
    shown,
)
from edge_agent.uplink.topics import Topics

MAX_LISTED = 32
"""Alarms that the retained message lists."""


class Mark(Payload):
    """Who did something, and when."""

    at_us: Us
    who: Text


class Saying(Mark):
    text: Text


class NotePart(Saying):
    """A line of the register."""

    kind: NoteKind
    person_id: Text
    ref: Text = ""
    """The command's id, as in the node's journal."""


class IncidentState(Payload):
    """How an alarm stands, and what people made of it."""

    alarm_id: Id
    camera: Slug | None
    """None: the alarm is the node's own, and `nature` its code."""
    camera_name: Text = ""
    nature: Code
    zone: Text | None = None
    severity: Text | None = None
    started_us: Us
    seen_us: Us
    """Until when it is known to have gone on."""
    ended_us: Us | None = None
    cut: AlarmCut | None = None
    merged: Count = 0
    text: Words
    acknowledged: Mark | None = None
    false_alarm: Mark | None = None
    comments: Count = 0
    last_comment: Saying | None = None
    holds: Annotated[tuple[Text, ...], Field(max_length=64)] = ()
    releases: Annotated[tuple[Text, ...], Field(max_length=64)] = ()


class IncidentRecord(IncidentState):
    """The same with all that is known: a row of the register."""

    zone_name: Text = ""
    direction_deg: Annotated[float, Field(ge=0, le=360)] | None = None
    footage: Footage | None = None
    notes: Annotated[tuple[NotePart, ...], Field(max_length=64)] = ()


class IncidentMessage(Message):
    """Somebody acknowledged an alarm, commented it, marked it or tied something to it."""

    message_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,160}$")]
    site: Slug
    node: Slug
    incident: IncidentState


class RegisterMessage(Message):
    """The newest alarms of the node's register, those that are open first of all; for whoever comes later."""

    site: Slug
    node: Slug
    open: Count
    waiting: Count
    """Not acknowledged, of the last 24 hours."""
    incidents: Annotated[tuple[IncidentState, ...], Field(max_length=2 * MAX_LISTED)]
    """By their starts."""


TYPES: dict[str, type[Message]] = {"incident": IncidentMessage, "incidents": RegisterMessage}


def incident_state(incident: Incident) -> IncidentState:
    return IncidentState(**_fields(incident))


def incident_record(incident: Incident) -> IncidentRecord:
    entry = incident.entry
    until_us = entry.seen_us if entry.ended_us is None else entry.ended_us
    return IncidentRecord(
        **_fields(incident),
        zone_name=shown(entry.zone_name),
        direction_deg=entry.direction_deg,
        footage=footage_of(entry.camera, entry.started_us, until_us) if entry.camera else None,
        notes=tuple(
            NotePart(
                kind=note.kind,
                at_us=note.at_us,
                who=shown(note.who),
                person_id=shown(note.person_id),
                text=shown(note.text),
                ref=note.ref,
            )
            for note in incident.notes
        ),
    )


def incident_message(incident: Incident, topics: Topics, at_us: int) -> IncidentMessage:
    return IncidentMessage(
        at_us=at_us,
        message_id=f"{incident.entry.alarm_id}.notes.{len(incident.notes)}",
        site=topics.site,
        node=topics.node,
        incident=incident_state(incident),
    )


def _fields(incident: Incident) -> dict[str, object]:
    entry = incident.entry
    comments = [note for note in incident.notes if note.text and note.kind not in (NoteKind.HOLD, NoteKind.RELEASE)]
    last = comments[-1] if comments else None
    return {
        "alarm_id": entry.alarm_id,
        "camera": entry.camera or None,
        "camera_name": shown(entry.camera_name),
        "nature": entry.nature,
        "zone": entry.zone,
        "severity": entry.severity,
        "started_us": entry.started_us,
        "seen_us": entry.seen_us,
        "ended_us": entry.ended_us,
        "cut": entry.cut,
        "merged": entry.merged,
        "text": Words(uk=shown(entry.uk), en=shown(entry.en)),
        "acknowledged": _mark(incident.acknowledged),
        "false_alarm": _mark(incident.false),
        "comments": len(comments),
        "last_comment": Saying(at_us=last.at_us, who=shown(last.who), text=shown(last.text)) if last else None,
        "holds": incident.texts(NoteKind.HOLD),
        "releases": incident.texts(NoteKind.RELEASE),
    }


def _mark(note: Note | None) -> Mark | None:
    return Mark(at_us=note.at_us, who=shown(note.who)) if note else None
