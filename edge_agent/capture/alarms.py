"""From moving things to alarms: zones, and the life of an alarm from START over UPDATEs to END.  Pure: values in,
values out; instants and ids come in from outside.

Invariants, for every sequence of pictures: an alarm's first message is its START and its last its END, each once; a
zone has at most one alarm at a time; no id is used twice; without movement there is no message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.capture.tracks import Instant, Track, Tracker
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Box, CameraId

Point = tuple[float, float]
QUIET_S = 4.0
"""An alarm ends after so long without movement in its zone."""
UPDATE_S = 5.0
"""Least time between updates; long alarms are updated less often, …"""
UPDATE_MOST_S = 60.0
"""… at least this often."""
DIRECTION_WAY = 0.1
"""A direction is told once a thing went this far, in heights of the picture."""
OVERLAP = 0.5
"""A thing is in a zone when its foot is, or this part of its box."""


@dataclass(frozen=True, slots=True)
class Region:
    """A zone: polygon in parts of the picture, 0 … 1 from the top left."""

    zone: str
    polygon: tuple[Point, ...]

    def holds(self, box: Box) -> bool:
        foot = (box.x + box.width / 2, min(box.y + box.height, 0.999))
        return contains(self.polygon, foot) or overlap(self.polygon, box) >= OVERLAP


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether the point is inside (even–odd rule)."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def overlap(polygon: Sequence[Point], box: Box) -> float:
    """The part of the box that the polygon covers (Sutherland-Hodgman clipping, then the shoelace formula)."""
    if box.width <= 0 or box.height <= 0:
        return 0.0
    points = list(polygon)
    for axis, limit, sign in (
        (0, box.x, 1),
        (0, box.x + box.width, -1),
        (1, box.y, 1),
        (1, box.y + box.height, -1),
    ):
        clipped: list[Point] = []
        for a, b in zip(points, points[1:] + points[:1], strict=True):
            a_in, b_in = sign * (a[axis] - limit) >= 0, sign * (b[axis] - limit) >= 0
            if a_in:
                clipped.append(a)
            if a_in != b_in:
                part = (limit - a[axis]) / (b[axis] - a[axis])
                clipped.append((a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part))
        points = clipped
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
    return min(1.0, abs(area) / 2 / (box.width * box.height))


@dataclass(frozen=True, slots=True)
class Decision:
    """One message to send, and what its picture should show."""

    alarm: Alarm
    """Without its picture."""
    pictured: bool
    """Whether it should have one: of this moment's frame; at the END of the best frame."""
    others: tuple[Box, ...] = ()
    path: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    decisions: tuple[Decision, ...] = ()
    best: tuple[str, ...] = ()
    """Alarms whose thing has not been seen better than in this frame: keep it for their END."""


@dataclass(slots=True)
class _Open:
    """An alarm under way."""

    alarm_id: str
    zone: str | None
    started: Instant
    moved_s: float
    told_s: float
    main: int
    box: Box
    path: tuple[Point, ...]
    direction_deg: float | None = None
    best_score: float = -1.0
    best_box: Box | None = None
    best_path: tuple[Point, ...] = ()


@dataclass(slots=True)
class Alarms:
    """One camera's alarms; one thread.  Without regions the whole picture is one zone without a name.

    aspect: width of the picture by its height; new_id: gives an id never given before.
    """

    camera: CameraId
    regions: Sequence[Region]
    aspect: float
    new_id: Callable[[], str]
    _tracker: Tracker = field(init=False)
    _open: dict[str | None, _Open] = field(init=False, default_factory=dict)
    _moving: list[Track] = field(init=False, default_factory=list)
    _at_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tracker = Tracker(self.aspect)

    @property
    def open_ids(self) -> set[str]:
        return {alarm.alarm_id for alarm in self._open.values()}

    @property
    def tracks(self) -> list[Track]:
        """Everything that is followed, whether it counts or not."""
        return self._tracker.tracks

    @property
    def following(self) -> list[Box]:
        """Where the things are that move now."""
        return [track.box for track in self._moving]

    def update(self, now: Instant, boxes: Sequence[Box]) -> Outcome:
        """What a picture changes; a picture not later than the one before is ignored."""
        if self._at_s is not None and now.s <= self._at_s:
            return Outcome()
        elapsed_s = now.s - self._at_s if self._at_s is not None else 0.0
        self._at_s = now.s
        least_seen = 3 if elapsed_s < 0.5 else 2
        tracks = self._tracker.update(now.s, boxes)
        self._moving = [track for track in tracks if track.last.at_s == now.s and track.moves(least_seen)]
        decisions: list[Decision] = []
        best: list[str] = []
        zones: list[tuple[str | None, Region | None]] = [(region.zone, region) for region in self.regions]
        for zone, region in zones or [(None, None)]:
            inside = [track for track in self._moving if region is None or region.holds(track.box)]
            decision = self._zone(now, zone, inside)
            if decision:
                decisions.append(decision)
            alarm = self._open.get(zone)
            if alarm and inside and self._seen_better(alarm, inside):
                best.append(alarm.alarm_id)
        return Outcome(tuple(decisions), tuple(best))

    def close(self, now: Instant) -> tuple[Decision, ...]:
        """End what is open: the stream is lost, or the process stops.  Nothing is followed any more afterwards."""
        ended = tuple(self._told(now, alarm, AlarmPhase.END, True) for alarm in self._open.values())
        self._open.clear()
        self._moving = []
        self._tracker.clear()
        self._at_s = None
        return ended

    def _zone(self, now: Instant, zone: str | None, inside: list[Track]) -> Decision | None:
        alarm = self._open.get(zone)
        if alarm is None:
            if not inside:
                return None
            main = max(inside, key=lambda track: track.box.width * track.box.height)
            alarm = _Open(self.new_id(), zone, now, now.s, now.s, main.number, main.box, tuple(main.path))
            self._open[zone] = alarm
            self._follow(alarm, now, inside)
            return self._told(now, alarm, AlarmPhase.START, True, inside)
        if not inside:
            if now.s - alarm.moved_s < QUIET_S:
                return None
            del self._open[zone]
            return self._told(now, alarm, AlarmPhase.END, True)
        knew = alarm.direction_deg is not None
        self._follow(alarm, now, inside)
        learnt = not knew and alarm.direction_deg is not None
        pause_s = min(UPDATE_MOST_S, max(UPDATE_S, (now.s - alarm.started.s) / 6))
        if learnt or now.s - alarm.told_s >= pause_s:
            return self._told(now, alarm, AlarmPhase.UPDATE, learnt, inside)
        return None

    @staticmethod
    def _follow(alarm: _Open, now: Instant, inside: list[Track]) -> None:
        alarm.moved_s = now.s
        same = [track for track in inside if track.number == alarm.main]
        main = same[0] if same else max(inside, key=lambda track: track.box.width * track.box.height)
        alarm.main, alarm.box, alarm.path = main.number, main.box, tuple(main.path)
        direction_deg, way = main.heading()
        if way >= DIRECTION_WAY:
            alarm.direction_deg = round(direction_deg, 1) % 360

    @staticmethod
    def _seen_better(alarm: _Open, inside: list[Track]) -> bool:
        """The best frame shows the main thing whole and large."""
        box = alarm.box
        whole = box.x > 0.01 and box.y > 0.01 and box.x + box.width < 0.99 and box.y + box.height < 0.99
        score = box.width * box.height * (1.0 if whole else 0.25)
        if not any(track.number == alarm.main for track in inside) or score <= alarm.best_score * 1.05:
            return False
        alarm.best_score, alarm.best_box, alarm.best_path = score, box, alarm.path
        return True

    def _told(
        self, now: Instant, alarm: _Open, phase: AlarmPhase, pictured: bool, inside: Sequence[Track] = ()
    ) -> Decision:
        alarm.told_s = now.s
        ends = phase is AlarmPhase.END
        message = Alarm(
            alarm_id=alarm.alarm_id,
            camera=self.camera,
            nature=AlarmNature.MOTION,
            phase=phase,
            at_us=max(now.utc_us, alarm.started.utc_us),
            started_us=alarm.started.utc_us,
            zone=alarm.zone,
            box=alarm.best_box if ends and alarm.best_box else alarm.box,
            direction_deg=alarm.direction_deg,
        )
        others = tuple(track.box for track in inside if track.number != alarm.main)
        return Decision(message, pictured, others, alarm.best_path if ends and alarm.best_path else alarm.path)
