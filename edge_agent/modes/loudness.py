"""How loudly each alarm under way is told: never quieter than it was (`docs/modes.md`, "Severity")."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edge_agent.model import Alarm, AlarmPhase, CameraId, Moment, Severity
from edge_agent.modes.severity import louder

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    severity: Severity
    last: Alarm
    """Without its picture."""
    picture: bytes | None
    """Kept while nothing of the alarm was told; …"""
    moment: Moment | None
    """… what it shows."""

    @property
    def told(self) -> bool:
        return self.severity is not Severity.SILENT


class Loudness:
    """Between those who raise alarms and those who tell them; owned by the agent's main thread.

    severity_of: what the camera's mode says now of an alarm; tell: gets what is not silent.
    """

    def __init__(self, severity_of: Callable[[Alarm], Severity], tell: Callable[[Alarm], None]) -> None:
        self._severity_of, self._tell = severity_of, tell
        self._open: dict[str, _Open] = {}
        self._silent: Counter[CameraId] = Counter()

    def hear(self, alarm: Alarm) -> None:
        """A message of an alarm's life, its severity not yet known."""
        if alarm.phase is AlarmPhase.END:
            self._end(alarm)
            return
        known = self._open.get(alarm.alarm_id)
        if known is None:
            known = self._open[alarm.alarm_id] = _Open(Severity.SILENT, alarm, alarm.picture, alarm.moment)
            if self._severity_of(alarm) is Severity.SILENT:
                self._silent[alarm.camera] += 1
                _log.info("silent alarm %s %s on %s", alarm.alarm_id, alarm.nature, alarm.camera)
        elif alarm.picture is not None and not known.told:
            known.picture, known.moment = alarm.picture, alarm.moment
        known.last = replace(alarm, picture=None)
        self._weigh(known, alarm)

    def weigh_again(self, cameras: Iterable[CameraId], now_us: int) -> None:
        """The modes of these cameras changed: what is under way and got louder is told at once."""
        changed = set(cameras)
        for known in list(self._open.values()):
            last = known.last
            if last.camera in changed and louder(known.severity, self._severity_of(last)) is not known.severity:
                self._weigh(known, replace(last, phase=AlarmPhase.UPDATE, at_us=max(now_us, last.at_us)))

    def silent(self, camera: CameraId) -> int:
        """How many were silent since the camera's mode began."""
        return self._silent[camera]

    def take_silent(self, cameras: Iterable[CameraId]) -> dict[CameraId, int]:
        """The same of several that had any, to be counted anew from now on."""
        return {camera: count for camera in cameras if (count := self._silent.pop(camera, 0))}

    def _end(self, alarm: Alarm) -> None:
        known = self._open.pop(alarm.alarm_id, None)
        severity = known.severity if known else self._severity_of(alarm)
        if severity is not Severity.SILENT:
            self._tell(replace(alarm, severity=severity))

    def _weigh(self, known: _Open, alarm: Alarm) -> None:
        told, known.severity = known.told, louder(known.severity, self._severity_of(alarm))
        if not known.told:
            return
        if not told:
            # Whoever hears of it for the first time hears its start.
            if alarm.picture is None:
                alarm = replace(alarm, picture=known.picture, moment=known.moment)
            alarm = replace(alarm, phase=AlarmPhase.START)
            known.picture = None
        self._tell(replace(alarm, severity=known.severity))
