"""Whether each camera is really watched, and the alarm «unwatched» when it is not (`docs/watching.md`, "Not watched").

Pure: instants come in.  Only the watcher's own reports count, each vouching for the seconds before it; whatever keeps
them away (a dead, stopped, starved or looping watcher, a lost sub-stream) leaves these seconds unwatched.

Invariants: an alarm is raised when, of the last twice `bound_s`, more than `bound_s` went by unwatched, and ended when
`STEADY_S` in a row were watched; while a camera is lost, or the agent itself was held up, nothing is reckoned.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from edge_agent.clock import US
from edge_agent.messages import WatchStats
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraId

BOUND_S = 60.0
STEADY_S = 15.0
"""Watching works again when of so long nearly everything was watched."""
NEARLY = 0.8
LATE_S = 8.0
"""Until its next report the watcher is believed for so long: they come every 5 s."""
HELD_UP_S = 10.0
"""The agent looks every second; after such a pause it can't tell what was watched meanwhile."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Of the `seconds` until `end_s` so many were watched."""

    end_s: float
    seconds: float
    watched_s: float

    def since(self, start_s: float) -> float:
        """What was watched of it after `start_s`."""
        part = min(self.seconds, self.end_s - start_s)
        return max(0.0, self.watched_s * part / self.seconds)

    @property
    def good(self) -> bool:
        return self.watched_s >= NEARLY * self.seconds


@dataclass(slots=True)
class _Camera:
    due_s: float | None = None
    """Since when it should be watched; None: not now."""
    spans: deque[_Span] = field(default_factory=deque)
    well_s: float | None = None
    """Until when it was last watched well."""
    alarm: Alarm | None = None


class Vigil:
    """Of the cameras that should be watched; the agent's main thread's."""

    def __init__(
        self,
        cameras: Iterable[CameraId],
        bound_s: float = BOUND_S,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._cameras = {camera: _Camera() for camera in cameras}
        self._bound_s, self._new_id = bound_s, new_id
        self._looked_s: float | None = None

    def expect(self, camera: CameraId, live: bool, now_s: float) -> None:
        """The recorder has pictures of it, or no longer: one that is lost is no news."""
        known = self._cameras.get(camera)
        if known is not None and live != (known.due_s is not None):
            known.due_s = now_s if live else None

    def hear(self, stats: WatchStats, now_s: float) -> None:
        """The watcher tells what it saw of a camera since it told last."""
        known = self._cameras.get(stats.camera)
        if known is None or stats.seconds <= 0:
            return
        span = _Span(now_s, stats.seconds, min(stats.watched_s, stats.seconds))
        known.spans.append(span)
        if span.good:
            known.well_s = now_s

    def look(self, now_s: float, now_us: int) -> list[Alarm]:
        """The alarms that begin and end; to be called every second."""
        held_up = self._looked_s is not None and now_s - self._looked_s > HELD_UP_S
        self._looked_s = now_s
        told = []
        for camera, known in self._cameras.items():
            if held_up and known.due_s is not None:
                known.due_s = now_s
            while known.spans and known.spans[0].end_s <= now_s - max(2 * self._bound_s, STEADY_S + LATE_S):
                known.spans.popleft()
            if known.alarm is None:
                known.alarm = self._begun(camera, known, now_s, now_us)
                told += [known.alarm] if known.alarm else []
            elif self._works(known, now_s):
                told.append(replace(known.alarm, phase=AlarmPhase.END, at_us=max(now_us, known.alarm.at_us)))
                known.alarm = None
                known.due_s = None if known.due_s is None else now_s  # what was told is told
        return told

    def _begun(self, camera: CameraId, known: _Camera, now_s: float, now_us: int) -> Alarm | None:
        if known.due_s is None:
            return None
        since_s = max(known.due_s, now_s - 2 * self._bound_s)
        until_s = self._until(known, now_s)
        if until_s - since_s - _watched(known, since_s) < self._bound_s:
            return None
        started_s = max(since_s, known.well_s or since_s)
        started_us = now_us - round((now_s - started_s) * US)
        return Alarm(self._new_id(), camera, AlarmNature.UNWATCHED, AlarmPhase.START, now_us, started_us)

    def _works(self, known: _Camera, now_s: float) -> bool:
        return _watched(known, self._until(known, now_s) - STEADY_S) >= NEARLY * STEADY_S

    @staticmethod
    def _until(known: _Camera, now_s: float) -> float:
        """Up to when it is known what was watched: a report that is not yet late is waited for."""
        last_s = known.spans[-1].end_s if known.spans else float("-inf")
        return last_s if now_s - last_s <= LATE_S else now_s


def _watched(known: _Camera, since_s: float) -> float:
    return sum(span.since(since_s) for span in known.spans)
