"""Alarms that come in storms, told as one each, without hiding that they were many (`docs/incidents.md`, "Storms").

Pure: instants come in.  A camera's zone may raise alarms of one nature and severity BURST at once and one a REFILL_S
after that.
The one that comes beyond this is told, too, but stands for all that follow until it has been quiet for QUIET_S: they
are counted in its `merged`, and its END waits.  Natures and zones have each their own measure, so a tree in the wind
hides nobody at the gate.

Invariants: whatever is heard, an alarm that is told begins with START, ends with END and has nothing after it; all
ENDs' `1 + merged` together are the alarms that were heard; in T seconds a measure lets at most
BURST + T / REFILL_S + T / QUIET_S + 2 alarms start.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from edge_agent.model import Alarm, AlarmCut, AlarmPhase, Moment
from edge_agent.modes.severity import louder

BURST = 10
REFILL_S = 60.0
QUIET_S = 60.0
UPDATE_S, UPDATE_MOST_S = 10.0, 60.0
"""Between two updates of one that stands for others; the longer it lasts, the more."""

Measure = tuple[object, ...]


def measure_of(alarm: Alarm) -> Measure:
    """What shares a measure."""
    return alarm.camera, alarm.nature, alarm.zone, alarm.severity


@dataclass(slots=True)
class _Storm:
    """One alarm that stands for others."""

    last: Alarm
    """As last told."""
    began_s: float
    told_s: float
    quiet_s: float
    """When the last of those it stands for ended."""
    under_way: set[str]
    """The alarms that last: itself and those it stands for."""
    end_picture: bytes | None = None
    """Of the one that ended last."""
    ended_us: int = 0
    cut: AlarmCut | None = None
    seen_us: int | None = None


@dataclass(slots=True)
class _Measured:
    left: float
    at_s: float
    storm: _Storm | None = None


@dataclass(slots=True)
class Storms:
    """All alarms of the node's cameras; one thread."""

    _measures: dict[Measure, _Measured] = field(init=False, default_factory=dict)
    _open: dict[str, Alarm] = field(init=False, default_factory=dict)
    """Told by themselves, and not ended."""
    _merged: dict[str, Measure] = field(init=False, default_factory=dict)
    """Alarms under way that a storm's alarm stands for, that one included."""

    def hear(self, alarm: Alarm, now_s: float) -> list[Alarm]:
        """What is to be told now; an update or end of what nobody knows begins with its START."""
        if (measure := self._merged.get(alarm.alarm_id)) is not None:
            return self._of_storm(alarm, self._measures[measure], now_s)
        if alarm.alarm_id in self._open:
            if alarm.phase is AlarmPhase.START:
                alarm = dataclasses.replace(alarm, phase=AlarmPhase.UPDATE)
            return [self._told(alarm)]
        told = self._start(dataclasses.replace(alarm, phase=AlarmPhase.START, cut=None, seen_us=None), now_s)
        return told if alarm.phase is not AlarmPhase.END else [*told, *self.hear(alarm, now_s)]

    def tick(self, now_s: float) -> list[Alarm]:
        """The ends of storms that are over."""
        ended: list[Alarm] = []
        for measured in list(self._measures.values()):
            storm = measured.storm
            if storm and not storm.under_way and now_s - storm.quiet_s >= QUIET_S:
                ended.append(self._end(measured, storm))
        return ended

    def close(self, at_us: int, cut: AlarmCut) -> list[Alarm]:
        """The ends of whatever is open."""
        ended = []
        for measured in self._measures.values():
            storm = measured.storm
            if storm:
                if storm.under_way:
                    storm.cut, storm.seen_us, storm.ended_us = cut, storm.last.at_us, max(at_us, storm.last.at_us)
                ended.append(self._end(measured, storm))
        return ended + [self._told(end_of(alarm, at_us, cut)) for alarm in list(self._open.values())]

    def _start(self, alarm: Alarm, now_s: float) -> list[Alarm]:
        measure = measure_of(alarm)
        measured = self._measures.setdefault(measure, _Measured(BURST, now_s))
        measured.left = min(BURST, measured.left + max(0.0, now_s - measured.at_s) / REFILL_S)
        measured.at_s = now_s
        storm = measured.storm
        if storm is not None:
            self._merged[alarm.alarm_id] = measure
            storm.under_way.add(alarm.alarm_id)
            count = storm.last.merged + 1
            shown = dataclasses.replace(
                alarm, alarm_id=storm.last.alarm_id, started_us=storm.last.started_us, merged=count
            )
            return self._update(storm, shown, now_s)
        if measured.left >= 1:
            measured.left -= 1
            return [self._told(alarm)]
        measured.storm = _Storm(alarm, now_s, now_s, now_s, {alarm.alarm_id}, ended_us=alarm.at_us)
        self._merged[alarm.alarm_id] = measure
        return [alarm]

    def _of_storm(self, alarm: Alarm, measured: _Measured, now_s: float) -> list[Alarm]:
        storm = measured.storm
        assert storm is not None
        if alarm.phase is AlarmPhase.END:
            del self._merged[alarm.alarm_id]
            storm.under_way.discard(alarm.alarm_id)
            storm.quiet_s, storm.ended_us = now_s, max(storm.ended_us, alarm.at_us)
            storm.cut, storm.seen_us = alarm.cut, alarm.seen_us
            if alarm.picture is not None:
                storm.end_picture = alarm.picture
                storm.last = dataclasses.replace(storm.last, box=alarm.box, path=alarm.path)
            return []
        shown = dataclasses.replace(
            alarm, alarm_id=storm.last.alarm_id, started_us=storm.last.started_us, merged=storm.last.merged
        )
        return self._update(storm, shown, now_s, own=alarm.alarm_id == storm.last.alarm_id)

    @staticmethod
    def _update(storm: _Storm, alarm: Alarm, now_s: float, own: bool = False) -> list[Alarm]:
        """The storm's alarm as it is now, told when it is time to; its own best picture at once."""
        severity = louder(alarm.severity, storm.last.severity)
        best = own and alarm.moment is Moment.BEST
        due = (
            best
            or severity is not storm.last.severity
            or now_s - storm.told_s >= min(UPDATE_MOST_S, max(UPDATE_S, (now_s - storm.began_s) / 6))
        )
        at_us = max(alarm.at_us, storm.last.at_us + 1)  # two messages of one instant would have one id
        moment = Moment.BEST if best else Moment.UPDATE
        update = dataclasses.replace(alarm, phase=AlarmPhase.UPDATE, at_us=at_us, severity=severity, moment=moment)
        storm.last = dataclasses.replace(update, picture=None)
        if not due:
            return []
        storm.told_s = now_s
        return [update]

    def _end(self, measured: _Measured, storm: _Storm) -> Alarm:
        measured.storm = None
        for alarm_id in storm.under_way:
            del self._merged[alarm_id]
        return dataclasses.replace(
            storm.last,
            phase=AlarmPhase.END,
            at_us=max(storm.ended_us, storm.last.at_us),
            picture=storm.end_picture,
            moment=Moment.END,
            cut=storm.cut,
            seen_us=storm.seen_us,
        )

    def _told(self, alarm: Alarm) -> Alarm:
        if alarm.phase is AlarmPhase.END:
            self._open.pop(alarm.alarm_id, None)
        else:
            self._open[alarm.alarm_id] = dataclasses.replace(alarm, picture=None)
        return alarm


def end_of(alarm: Alarm, at_us: int, cut: AlarmCut) -> Alarm:
    """The END of an alarm whose own end nobody will see."""
    return dataclasses.replace(
        alarm, phase=AlarmPhase.END, at_us=max(at_us, alarm.at_us), picture=None, cut=cut, seen_us=alarm.at_us
    )
