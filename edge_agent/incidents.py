"""Alarms on their way out: measured, entered in the register, told; none stays open (`docs/incidents.md`).

An alarm is in the register before it is told, and told before the register forgets that it must be.  So whatever is
killed between: after the restart what may not have been told is told again, with the same message id, and what was
open gets its END.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from edge_agent.buffer.register import Entry, Incident, Register
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import Alarm, AlarmCut, AlarmPhase, NodeAlarm
from edge_agent.node_alarms import Said
from edge_agent.storms import Storms, end_of
from edge_agent.uplink.incident_payloads import (
    MAX_LISTED,
    IncidentMessage,
    RegisterMessage,
    incident_message,
    incident_state,
)
from edge_agent.uplink.payloads import Words, alarm_words
from edge_agent.uplink.topics import Topics

_log = logging.getLogger(__name__)
LIST_EVERY_S = 30.0
"""The list of the newest alarms is published at most so often: alarms themselves are told at once.  …"""
LIST_SOON_S = 2.0
"""… After what a person did, so often."""
WAITING_US = 86_400 * US


@cache
def _alarm() -> TypeAdapter[Alarm | NodeAlarm]:
    return TypeAdapter(Alarm | NodeAlarm)


class Outlet(Protocol):
    """To whom it is told; `Reports`."""

    def tell_alarm(self, alarm: Alarm) -> None: ...

    def tell_node_alarm(self, alarm: NodeAlarm) -> None: ...

    def tell_incident(self, message: IncidentMessage) -> None: ...

    def tell_incidents(self, message: RegisterMessage) -> None: ...

    def alarm_names(self, alarm: Alarm) -> tuple[str, str]:
        """Of its camera and of its zone, for people."""
        ...


@dataclass(slots=True)
class _List:
    """When the retained list was last published, and whether it is still true."""

    at_s: float | None = None
    stale: bool = True
    gap_s: float = LIST_EVERY_S


class Incidents:
    """Owned by the agent's main thread; `trouble` hears whether the register can be written."""

    def __init__(
        self,
        register: Register,
        outlet: Outlet,
        topics: Topics,
        trouble: Callable[[Said | None], None],
        clock: Clock,
    ) -> None:
        self._register, self._outlet, self._topics = register, outlet, topics
        self._trouble, self._clock = trouble, clock
        self._storms = Storms()
        self._list = _List()
        self._failing = False

    def resume(self, node_alarms: Collection[NodeAlarm]) -> None:
        """After a start: tell what may not have been told, end what nobody can see end any more.

        node_alarms: those of the node that still last.
        """
        try:
            untold, left_open = self._register.untold(), self._register.open_messages()
        except ArchiveError as error:
            _log.error("alarms that were open can't be ended: %s", error)
            return
        now_us, lasting = self._clock.utc_us(), {alarm.alarm_id for alarm in node_alarms}
        for alarm in _read(untold):
            self._out(alarm)
        for alarm in _read(left_open):
            if isinstance(alarm, Alarm):
                _log.warning("alarm %s of camera %s was open when the node went down", alarm.alarm_id, alarm.camera)
                self._tell(end_of(alarm, now_us, AlarmCut.RESTART))
            elif alarm.alarm_id not in lasting:
                self._tell(replace(alarm, phase=AlarmPhase.END, at_us=max(now_us, alarm.at_us)))

    def hear(self, alarm: Alarm) -> None:
        """A camera's alarm begins, goes on or ends."""
        for told in self._storms.hear(alarm, self._clock.monotonic()):
            self._tell(told)

    def hear_node(self, alarm: NodeAlarm) -> None:
        """One of the node's own."""
        self._tell(alarm)

    def written(self, incident: Incident) -> None:
        """Somebody wrote something beside an alarm: everybody shall see it."""
        self._list.stale, self._list.gap_s = True, LIST_SOON_S
        self._outlet.tell_incident(incident_message(incident, self._topics, self._clock.utc_us()))

    def look(self) -> None:
        """To be called every second or so: storms that are over, the list when it is due."""
        for told in self._storms.tick(self._clock.monotonic()):
            self._tell(told)
        published_s = self._list.at_s
        if self._list.stale and (published_s is None or self._clock.monotonic() - published_s >= self._list.gap_s):
            self.tell_list()

    def tell_list(self) -> None:
        """The newest alarms, for whoever was not there; also to a broker that is there again."""
        now_us = self._clock.utc_us()
        try:
            lasting, waiting = self._register.counts(now_us - WAITING_US)
            latest = [incident_state(incident) for incident in self._register.latest(MAX_LISTED)]
        except ArchiveError as error:
            _log.error("the newest alarms can't be listed: %s", error)
            return
        message = RegisterMessage(
            at_us=now_us,
            site=self._topics.site,
            node=self._topics.node,
            open=lasting,
            waiting=waiting,
            incidents=tuple(latest),
        )
        self._list = _List(self._clock.monotonic(), stale=False)
        self._outlet.tell_incidents(message)

    def prune(self) -> None:
        """To be called now and then."""
        try:
            if gone := self._register.prune(self._clock.utc_us()):
                _log.info("%d old alarms left the register", gone)
        except ArchiveError as error:
            _log.error("%s", error)

    def close(self) -> None:
        """The node stops in order: what is open is ended."""
        for told in self._storms.close(self._clock.utc_us(), AlarmCut.STOP):
            self._tell(told)
        self._register.close()

    def _tell(self, alarm: Alarm | NodeAlarm) -> None:
        if self._known_ended(alarm):
            return
        self._enter(alarm)
        self._out(alarm)

    def _out(self, alarm: Alarm | NodeAlarm) -> None:
        try:
            if isinstance(alarm, Alarm):
                self._outlet.tell_alarm(alarm)
            else:
                self._outlet.tell_node_alarm(alarm)
        except ArchiveError as error:
            _log.error("alarm %s is told after the next start: %s", alarm.alarm_id, error)
        else:
            self._register.told(alarm.alarm_id)

    def _known_ended(self, alarm: Alarm | NodeAlarm) -> bool:
        """An END is the last word, whoever says more."""
        try:
            return alarm.phase is not AlarmPhase.UPDATE and self._register.ended(alarm.alarm_id)
        except ArchiveError:
            return False

    def _enter(self, alarm: Alarm | NodeAlarm) -> None:
        """An alarm is told even when the register can't be written."""
        self._list.stale = True
        message = _alarm().dump_json(replace(alarm, picture=None) if isinstance(alarm, Alarm) else alarm).decode()
        said: Said | None = None
        try:
            self._register.enter(self._entry(alarm), message, self._clock.utc_us())
        except ArchiveError as error:
            _log.error("%s", error)
            said = Said(f"Реєстр подій не записується: {error}", f"The incident register can't be written: {error}")
        if said is not None or self._failing:
            self._failing = said is not None
            self._trouble(said)

    def _entry(self, alarm: Alarm | NodeAlarm) -> Entry:
        ends = alarm.phase is AlarmPhase.END
        if isinstance(alarm, NodeAlarm):
            return Entry(
                alarm_id=alarm.alarm_id,
                camera="",
                nature=alarm.code,
                zone=None,
                severity=None,
                camera_name="",
                zone_name="",
                uk=alarm.uk,
                en=alarm.en,
                direction_deg=None,
                started_us=alarm.started_us,
                seen_us=alarm.at_us,
                ended_us=alarm.at_us if ends else None,
                cut=None,
                merged=0,
            )
        camera_name, zone_name = self._outlet.alarm_names(alarm)
        words = _what_happened(alarm, camera_name, zone_name)
        seen_us = alarm.at_us if alarm.seen_us is None else alarm.seen_us
        return Entry(
            alarm_id=alarm.alarm_id,
            camera=alarm.camera,
            nature=alarm.nature,
            zone=alarm.zone,
            severity=alarm.severity,
            camera_name=camera_name,
            zone_name=zone_name,
            uk=words.uk,
            en=words.en,
            direction_deg=alarm.direction_deg,
            started_us=alarm.started_us,
            seen_us=seen_us,
            ended_us=seen_us if ends else None,
            cut=alarm.cut,
            merged=alarm.merged,
        )


def _what_happened(alarm: Alarm, camera_name: str, zone_name: str) -> Words:
    """In the register stands what happened; that it is over stands beside it."""
    shown = replace(alarm, phase=AlarmPhase.UPDATE) if alarm.phase is AlarmPhase.END and alarm.cut is None else alarm
    return alarm_words(shown, camera_name, zone_name)


def _read(messages: list[str]) -> list[Alarm | NodeAlarm]:
    found: list[Alarm | NodeAlarm] = []
    for message in messages:
        try:
            found.append(_alarm().validate_json(message))
        except ValidationError as error:
            _log.error("an alarm in the register can't be understood and is left alone: %s", error)
    return found
