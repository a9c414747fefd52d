"""The film of what the watcher sees, picture by picture (`capture/drawing.py` draws it)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from edge_agent.capture.decoder import Picture
from edge_agent.capture.drawing import NEWS_LINES, Film, Scene, scene
from edge_agent.capture.tuning import Step
from edge_agent.capture.zone_check import Shape
from edge_agent.clock import US
from edge_agent.model import Alarm
from edge_agent.when import from_us

TOLD_US = US
"""The box that was told with an alarm is shown so long after."""


class WatchFilm(Film):
    """One camera's; `with WatchFilm(…) as film:`."""

    def __init__(self, camera: str, shapes: Sequence[Shape], zone: ZoneInfo) -> None:
        super().__init__()
        self._camera, self._shapes, self._zone = camera, shapes, zone
        self._news: deque[str] = deque(maxlen=NEWS_LINES)

    def show(self, picture: Picture, step: Step) -> None:
        """One picture that was looked at, and what came of it."""
        self._news.extend(self._line(alarm) for alarm in step.alarms)
        shown = Scene(
            f"{self._camera}  {self._time(step.at.utc_us)}",
            step.insight,
            frozenset(alarm.zone for alarm in step.open),
            tuple(one.box for one in step.open if one.box is not None and step.at.utc_us - one.at_us < TOLD_US),
            tuple(self._news),
        )
        self.add(scene(picture.bgr(), self._shapes, shown), step.at.utc_us)

    def _line(self, alarm: Alarm) -> str:
        place = f" in {alarm.zone}" if alarm.zone else ""
        way = "" if alarm.direction_deg is None else f", {alarm.direction_deg:.0f} deg"
        return f"{self._time(alarm.at_us)} {alarm.phase.upper()} {alarm.nature}{place}{way}"

    def _time(self, at_us: int) -> str:
        tenths = at_us % US // 100_000
        return f"{from_us(at_us, self._zone):%Y-%m-%d %H:%M:%S}.{tenths}"
