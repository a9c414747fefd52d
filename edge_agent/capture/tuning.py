"""Watching again: pictures through a camera's settings, and what two settings make of the same pictures.

Decides as the watcher does (`capture/analysis.py`); nothing is told to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo

from edge_agent.capture.analysis import Analysis, Insight, Tampering
from edge_agent.capture.decoder import Picture, Sampler
from edge_agent.capture.tracks import Instant
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import US
from edge_agent.model import Alarm, AlarmNature, AlarmPhase

GAP_S = 5.0
"""Pictures further apart than this come from two connections: the watcher would have begun anew."""
NEAR_US = 3 * US
"""Alarms of two settings are the same one when they overlap, or come this near."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one picture that was looked at."""

    at: Instant
    alarms: tuple[Alarm, ...]
    """What would have been told."""
    open: tuple[Alarm, ...]
    """The newest word of each alarm that goes on."""
    insight: Insight


class Watching:
    """One camera with one set of settings, fed picture by picture."""

    def __init__(
        self, camera: WatchedCamera, timezone: ZoneInfo, language: Literal["uk", "en"], new_id: Callable[[], str]
    ) -> None:
        self._make = partial(Analysis, camera, timezone, language, new_id, Tampering(camera.tampering))
        self._fps = camera.fps
        self._sampler = Sampler(camera.fps)
        self._analysis = self._make()
        self._before: Instant | None = None
        self._open: dict[str, Alarm] = {}

    def see(self, picture: Picture) -> Step | None:
        """None when the watcher would pass over it."""
        now = Instant(picture.arrival_us, picture.arrival_monotonic)
        alarms: list[Alarm] = []
        if self._before is not None and not 0 <= now.s - self._before.s <= max(GAP_S, 3 / self._fps):
            alarms = self._analysis.close(self._before)
            self._analysis, self._sampler = self._make(), Sampler(self._fps)
        if picture.keyframe:
            self._analysis.keyframe(picture.luma(), now.s)
        if not self._sampler.wants(now.s):
            return None
        self._before = now
        alarms += self._analysis.see(picture.luma(), picture.bgr, now)
        return self._step(now, alarms)

    def close(self) -> Step | None:
        """The end of what is open; None when there never was a picture."""
        if self._before is None:
            return None
        return self._step(self._before, self._analysis.close(self._before))

    def _step(self, now: Instant, alarms: list[Alarm]) -> Step:
        for alarm in alarms:
            if alarm.phase is AlarmPhase.END:
                self._open.pop(alarm.alarm_id, None)
            else:
                self._open[alarm.alarm_id] = alarm
        return Step(now, tuple(alarms), tuple(self._open.values()), self._analysis.insight)


@dataclass(frozen=True, slots=True)
class Episode:
    """One alarm from its start to its end."""

    nature: AlarmNature
    place: str | None
    start_us: int
    end_us: int
    direction_deg: float | None = None

    def near(self, other: Episode) -> bool:
        """Whether both tell of the same."""
        same = (self.nature, self.place) == (other.nature, other.place)
        return same and self.start_us <= other.end_us + NEAR_US and other.start_us <= self.end_us + NEAR_US


def episodes(alarms: Iterable[Alarm]) -> list[Episode]:
    """The alarms that these messages tell of, in the order of their starts."""
    found: dict[str, Episode] = {}
    for alarm in alarms:
        known = found.get(alarm.alarm_id)
        if known is None:
            known = Episode(alarm.nature, alarm.zone, alarm.started_us, alarm.at_us)
        direction = alarm.direction_deg if alarm.direction_deg is not None else known.direction_deg
        found[alarm.alarm_id] = replace(known, end_us=max(known.end_us, alarm.at_us), direction_deg=direction)
    return sorted(found.values(), key=lambda episode: episode.start_us)


class Verdict(StrEnum):
    SAME = "same"
    GONE = "gone"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Difference:
    """What two settings make of one thing; the side that has none of it is None."""

    before: Episode | None
    after: Episode | None

    @property
    def verdict(self) -> Verdict:
        if self.before is None:
            return Verdict.NEW
        return Verdict.GONE if self.after is None else Verdict.SAME

    @property
    def start_us(self) -> int:
        return min(one.start_us for one in (self.before, self.after) if one is not None)


def compare(before: Sequence[Episode], after: Sequence[Episode]) -> list[Difference]:
    """Each episode of both once, in the order of time; those that tell of the same together, the nearest first."""
    left, right = set(range(len(before))), set(range(len(after)))
    pairs = sorted(
        (abs(one.start_us - other.start_us), i, j)
        for i, one in enumerate(before)
        for j, other in enumerate(after)
        if one.near(other)
    )
    found: list[Difference] = []
    for _, i, j in pairs:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            found.append(Difference(before[i], after[j]))
    found += [Difference(before[i], None) for i in left] + [Difference(None, after[j]) for j in right]
    return sorted(found, key=lambda one: (one.start_us, one.verdict))
