"""From what goes on to alarms: the life of each from START over UPDATEs to END.  Pure: values in, values out; instants
and ids come in from outside.

Invariants, for every sequence of pictures: an alarm's first message is its START and its last its END, each once; of
each nature a place has at most one alarm at a time; no id is used twice; when nothing goes on there is no message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from edge_agent.capture.calibration import View, movement
from edge_agent.capture.naming import Names
from edge_agent.capture.natures import Happening, Natures
from edge_agent.capture.regions import Line, Point, Region
from edge_agent.capture.tracker import Eyes, Tracker
from edge_agent.capture.tracks import Blob, Instant, Track
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Approach, Box, CameraId, Kind, Moment, Pace, Side

QUIET_S = 4.0
"""An alarm ends when what it is about has not been so for this long; …"""
QUIET = {AlarmNature.OBJECT_LEFT: 8.0, AlarmNature.OBJECT_TAKEN: 8.0, AlarmNature.LOITERING: 8.0}
"""… what stands still may be hidden for longer."""
UPDATE_S = 5.0
"""Least time between updates; long alarms are updated less often, …"""
UPDATE_MOST_S = 60.0
"""… at least this often."""
TOLD_S = 4.0
"""After so long an alarm of movement has said where its thing goes."""
DIRECTION_WAY = 0.1
"""A direction is told once a thing went this far, in heights of the picture."""
BETTER = 1.25
"""The best frame is worth a picture of its own when it shows so much more of the thing than the START's."""
MEASURED_S = 0.5
"""Direction, speed and kind are measured anew so often, once they are known."""
PATH_POINTS = 16
"""A path is told with at most so many."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One message to send, and what its picture should show."""

    alarm: Alarm
    """Without its picture; where its `moment` is said it should have one."""
    others: tuple[Box, ...] = ()
    path: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    decisions: tuple[Decision, ...] = ()
    best: tuple[str, ...] = ()
    """Alarms whose thing has not been seen better than in this frame: keep it."""
    vanished: tuple[str, ...] = ()
    """Alarms whose thing is not in this frame but was in the one before: keep that one for their END, …"""
    seen: tuple[str, ...] = ()
    """… unless it is seen again: these are in this frame."""


Key = tuple[AlarmNature, str | None]


@dataclass(slots=True)
class _Open:
    """An alarm under way."""

    alarm_id: str
    key: Key
    started: Instant
    last_s: float
    told_s: float
    thing: Track | None = None
    """The main one of those that it is about."""
    measured_s: float = float("-inf")
    box: Box | None = None
    direction_deg: float | None = None
    bearing_deg: float | None = None
    approach: Approach | None = None
    speed_mps: float | None = None
    pace: Pace | None = None
    kind: Kind | None = None
    side: Side | None = None
    counted: set[tuple[int, Side | None, int]] = field(default_factory=set)
    told_count: int = 0
    told_side: Side | None = None
    forgotten: int = 0
    first_score: float = 0.0
    best_score: float = 0.0
    best_s: float = 0.0
    best_box: Box | None = None
    best_path: tuple[Point, ...] = ()
    seen_s: float = 0.0
    """When its thing was last seen, though it no longer does what the alarm is about; of a camera's trouble, now."""
    seen: Track | None = None
    """What was seen then."""

    @property
    def main(self) -> int | None:
        return self.thing.number if self.thing else None

    @property
    def path(self) -> tuple[Point, ...]:
        return tuple(self.thing.path) if self.thing else ()

    @property
    def count(self) -> int:
        return max(1, len(self.counted) + self.forgotten)


@dataclass(slots=True)
class Alarms:
    """One camera's alarms; one thread.  new_id: gives an id never given before."""

    camera: CameraId
    regions: Sequence[Region]
    view: View
    new_id: Callable[[], str]
    lines: Sequence[Line] = ()
    names: Names | None = None
    """What things are called by the city's detector, where there is one."""
    eyes: Eyes | None = None
    """Finds things again in a blob with others, where somebody can."""
    moving: bool = field(init=False, default=False)
    """Whether something moved in the last picture."""
    _tracker: Tracker = field(init=False)
    _natures: Natures = field(init=False)
    _open: dict[Key, _Open] = field(init=False, default_factory=dict)
    _following: list[Box] = field(init=False, default_factory=list)
    _proven: list[Box] = field(init=False, default_factory=list)
    _at_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tracker = Tracker(self.view.aspect, self.eyes)
        self._natures = Natures(self.regions, self.lines, self.view)

    @property
    def open_ids(self) -> set[str]:
        return {alarm.alarm_id for alarm in self._open.values()}

    def told(self, now_s: float) -> bool:
        """Whether all that is watched for is so, and was told of a while ago: nothing that is new can begin."""
        if self.lines or self.names or not self.regions:
            return False
        under_way = [self._open.get((AlarmNature.MOTION, region.zone)) for region in self.regions]
        return all(region.natures == (AlarmNature.MOTION,) for region in self.regions) and all(
            alarm is not None and now_s - alarm.started.s >= TOLD_S for alarm in under_way
        )

    @property
    def tracks(self) -> list[Track]:
        """Everything that is followed, whether it counts or not."""
        return self._tracker.tracks

    @property
    def following(self) -> list[Box]:
        """Where the things are that the background must not swallow."""
        return self._following

    @property
    def proven(self) -> list[Box]:
        """Where things were seen that have turned out to move with the last picture."""
        return self._proven

    def update(self, now: Instant, blobs: Sequence[Blob], troubles: Collection[AlarmNature] = ()) -> Outcome:
        """What a picture changes; a picture not later than the one before is ignored.

        troubles: what is wrong with the camera itself.
        """
        if self._at_s is not None and now.s <= self._at_s:
            return Outcome()
        before_s = self._at_s
        elapsed_s = now.s - before_s if before_s is not None else 0.0
        self._at_s = now.s
        least_seen = 3 if elapsed_s < 0.5 else 2
        tracks = self._tracker.update(now.s, blobs)
        moving = [track for track in tracks if track.last.at_s == now.s and track.moves(least_seen)]
        self.moving = bool(moving)
        self._proven = [one.box for track in moving if track.moved_s is None for one in track.sightings]
        happenings = self._natures.update(now.s, tracks, moving)
        held = self._natures.held(tracks, now.s)
        self._following = [track.box for track in dict.fromkeys([*moving, *held])]
        if self.names:
            happenings = self.names.gate(now.s, happenings, tracks, moving)
        happenings += [Happening(nature) for nature in sorted(troubles)]
        decisions: list[Decision] = []
        best: list[str] = []
        for happening in happenings:
            decision = self._goes_on(now, happening)
            if decision:
                decisions.append(decision)
            alarm = self._open[happening.nature, happening.place]
            if self._seen_better(alarm, happening.things, now.s):
                best.append(alarm.alarm_id)
        for alarm in self._open.values():
            _see(alarm, tracks, now.s)
            if self._owes(now, alarm) or self._learns_later(now, alarm, moving):
                decisions.append(self._told(now, alarm, AlarmPhase.UPDATE, Moment.UPDATE))
        vanished = tuple(alarm.alarm_id for alarm in self._open.values() if alarm.seen_s == before_s)
        seen = tuple(alarm.alarm_id for alarm in self._open.values() if alarm.seen_s == now.s)
        return Outcome((*self._ended(now), *decisions), tuple(best), vanished, seen)

    def close(self, now: Instant) -> tuple[Decision, ...]:
        """End what is open: the stream is lost, or the process stops.  Nothing is followed any more afterwards."""
        ended = tuple(decision for alarm in self._open.values() for decision in self._last_words(now, alarm))
        self._open.clear()
        self._following = []
        self._tracker.clear()
        self._natures.clear()
        self._at_s = None
        return ended

    def _goes_on(self, now: Instant, happening: Happening) -> Decision | None:
        """START or UPDATE, when there is something to tell."""
        key = (happening.nature, happening.place)
        alarm = self._open.get(key)
        if alarm is None:
            alarm = self._open[key] = _Open(self.new_id(), key, now, now.s, now.s)
            self._follow(alarm, now, happening)
            return self._told(now, alarm, AlarmPhase.START, Moment.START, happening.things)
        knew = alarm.direction_deg is not None
        self._follow(alarm, now, happening)
        learnt = not knew and alarm.direction_deg is not None
        pause_s = min(UPDATE_MOST_S, max(UPDATE_S, (now.s - alarm.started.s) / 6))
        if learnt or self._owes(now, alarm) or now.s - alarm.told_s >= pause_s:
            moment = Moment.UPDATE if learnt or self._owes(now, alarm) else None
            return self._told(now, alarm, AlarmPhase.UPDATE, moment, happening.things)
        return None

    def _learns_later(self, now: Instant, alarm: _Open, moving: Sequence[Track]) -> bool:
        """Where its thing goes shows only once it has left: a zone may be narrow."""
        if alarm.direction_deg is not None or alarm.thing is None or alarm.last_s == now.s or alarm.thing not in moving:
            return False
        self._measure(alarm, now, alarm.thing)
        return alarm.direction_deg is not None

    @staticmethod
    def _owes(now: Instant, alarm: _Open) -> bool:
        """Each crossing is an event of its own: who crosses later is told of at once, but not more than once a second
        to one side."""
        if alarm.key[0] is not AlarmNature.LINE or alarm.count == alarm.told_count:
            return False
        return alarm.side is not alarm.told_side or now.s - alarm.told_s >= 1 - 1e-6

    def _ended(self, now: Instant) -> list[Decision]:
        over = [alarm for key, alarm in self._open.items() if now.s - alarm.last_s >= QUIET.get(key[0], QUIET_S) - 1e-9]
        for alarm in over:
            del self._open[alarm.key]
        return [decision for alarm in over for decision in self._last_words(now, alarm)]

    def _last_words(self, now: Instant, alarm: _Open) -> list[Decision]:
        """Its END, and before it the best frame where that is another than the START's and the last one."""
        better = alarm.best_score > alarm.first_score * BETTER and alarm.best_s != alarm.seen_s
        best = [self._told(now, alarm, AlarmPhase.UPDATE, Moment.BEST)] if better else []
        return [*best, self._told(now, alarm, AlarmPhase.END, Moment.END)]

    def _follow(self, alarm: _Open, now: Instant, happening: Happening) -> None:
        alarm.last_s = now.s
        if not happening.things:
            return
        alarm.side = happening.side or alarm.side
        line = happening.nature is AlarmNature.LINE
        for track in happening.things:
            alarm.counted |= {(track.number, happening.side, head) for head in range(track.heads if line else 1)}
        if len(alarm.counted) > 256:  # an alarm may last for days
            alarm.forgotten += len(alarm.counted) - 64
            alarm.counted = set(sorted(alarm.counted, key=lambda one: one[0])[-64:])
        same = [track for track in happening.things if track.number == alarm.main]
        main = same[0] if same else max(happening.things, key=lambda track: track.box.width * track.box.height)
        alarm.thing, alarm.box = main, main.box
        if same and alarm.direction_deg is not None and now.s - alarm.measured_s < MEASURED_S:
            return
        if not same:
            alarm.kind = None
        self._measure(alarm, now, main)

    def _measure(self, alarm: _Open, now: Instant, thing: Track) -> None:
        alarm.measured_s = now.s
        found = movement(thing, self.view)
        named = self.names.kind(thing.number) if self.names else None
        alarm.kind = named or found.kind or alarm.kind
        if found.way >= DIRECTION_WAY:
            alarm.direction_deg, alarm.bearing_deg = _degrees(found.direction_deg), _degrees(found.bearing_deg)
            alarm.approach, alarm.pace = found.approach, found.pace
            alarm.speed_mps = None if found.speed_mps is None else round(found.speed_mps, 1)

    @staticmethod
    def _seen_better(alarm: _Open, things: Sequence[Track], at_s: float) -> bool:
        """The best frame shows the main thing whole and large; the START's is the measure, and never better than it."""
        box = alarm.box
        if box is None or not any(track.number == alarm.main for track in things):
            return False
        whole = box.x > 0.01 and box.y > 0.01 and box.x + box.width < 0.99 and box.y + box.height < 0.99
        score = box.width * box.height * (1.0 if whole else 0.25)
        first = alarm.best_box is None
        if first:
            alarm.first_score = score
        if score <= alarm.best_score * 1.05:
            return False
        alarm.best_score, alarm.best_s, alarm.best_box, alarm.best_path = score, at_s, box, alarm.path
        return not first

    def _told(
        self, now: Instant, alarm: _Open, phase: AlarmPhase, moment: Moment | None, things: Sequence[Track] = ()
    ) -> Decision:
        alarm.told_s, alarm.told_count, alarm.told_side = now.s, alarm.count, alarm.side
        box, path = alarm.box, alarm.path
        if moment is Moment.BEST:
            box, path = alarm.best_box, alarm.best_path
        elif moment is Moment.END:
            box, path = (alarm.seen.box, tuple(alarm.seen.path)) if alarm.seen else (None, ())
        nature, place = alarm.key
        message = Alarm(
            alarm_id=alarm.alarm_id,
            camera=self.camera,
            nature=nature,
            phase=phase,
            at_us=max(now.utc_us, alarm.started.utc_us),
            started_us=alarm.started.utc_us,
            zone=place,
            box=box,
            direction_deg=alarm.direction_deg,
            bearing_deg=alarm.bearing_deg,
            approach=alarm.approach,
            speed_mps=alarm.speed_mps,
            pace=alarm.pace,
            kind=alarm.kind,
            count=alarm.count,
            side=alarm.side,
            path=_thinned(path),
            moment=moment,
        )
        others = tuple(track.box for track in things if track.number != alarm.main)
        return Decision(message, others, path)


def _see(alarm: _Open, tracks: Sequence[Track], at_s: float) -> None:
    """Where its thing is now, as long as it is seen at all."""
    if alarm.main is None:
        alarm.seen_s = at_s
        return
    main = next((track for track in tracks if track.number == alarm.main and track.last.at_s == at_s), None)
    if main is not None:
        alarm.seen_s, alarm.seen = at_s, main


def _degrees(direction: float | None) -> float | None:
    return None if direction is None else round(direction, 1) % 360


def _thinned(path: Sequence[Point]) -> tuple[Point, ...]:
    count = min(PATH_POINTS, len(path))
    if count < 2:
        return ()
    points = [path[round(n * (len(path) - 1) / (count - 1))] for n in range(count)]
    return tuple((round(x, 4), round(y, 4)) for x, y in points)
