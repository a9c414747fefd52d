"""What goes on in the zones and at the lines, from the things that are followed (`docs/watching.md`, "Natures").  Pure.

`Natures` says, picture by picture, what is so now; how long an alarm about it lasts is `capture/alarms.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.capture.calibration import View, movement
from edge_agent.capture.regions import Line, Point, Region, area, overlap
from edge_agent.capture.tracks import Track
from edge_agent.model import AlarmNature, Box, Kind, Pace, Side

SURE = 2
"""So many pictures in a row make a thing be in a zone, or out of it, or beyond a line."""
LINE_MARGIN = 0.008
"""Nearer to a line than this, in heights of the picture, nobody is on a side of it."""
RUN_S = 0.4
CROWD_S = 5.0
HELD_MOST_S = 300.0
"""The background does not swallow what rests in such a zone for so long."""
LINK_S = 8.0
"""Who is lost from sight is the one who appears near that place within this time."""
OBJECT_OUTLINE = 0.1
PART = 0.5
"""What moves with something larger, and is no larger than so much of it, is a part of it: a head, a bag, a shadow."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that is so in this picture."""

    nature: AlarmNature
    place: str | None = None
    """The zone or line; None: the whole picture."""
    things: tuple[Track, ...] = ()
    side: Side | None = None


@dataclass(slots=True)
class _Presence:
    """Whether a thing is in a zone, with some inertia."""

    inside: bool
    count: int = 0

    def seen(self, inside: bool) -> bool:
        """True when that has just changed for sure."""
        self.count = self.count + 1 if inside != self.inside else 0
        if self.count < SURE:
            return False
        self.inside, self.count = inside, 0
        return True


@dataclass(slots=True)
class _Stay:
    """Somebody's stay in a zone, over short losses from sight."""

    since_s: float
    last_s: float
    box: Box
    track: int
    cut: bool


class _Zone:
    """One zone and what is remembered of who is in it."""

    def __init__(self, region: Region, view: View) -> None:
        self.region, self._view = region, view
        self._area = area(region.polygon)
        self._presence: dict[int, _Presence] = {}
        self._stays: list[_Stay] = []
        self._running: dict[int, float] = {}
        self._crowded_since_s: float | None = None
        self._rules: dict[AlarmNature, Callable[[float, list[Track], list[Track]], list[Track]]] = {
            AlarmNature.MOTION: self._motion,
            AlarmNature.LOITERING: self._loitering,
            AlarmNature.RUNNING: self._running_now,
            AlarmNature.CROWD: self._crowding,
            AlarmNature.OBJECT_LEFT: self._left_behind,
            AlarmNature.OBJECT_TAKEN: self._taken,
        }

    def update(self, now_s: float, seen: list[Track], moving: list[Track], gone: list[Track]) -> list[Happening]:
        inside = [track for track in seen if self.region.holds(track.box)]
        entered, left = self._comings_and_goings(seen, inside, gone)
        found: list[Happening] = []
        for nature in self.region.natures:
            if nature is AlarmNature.ENTERED:
                things = entered
            elif nature is AlarmNature.LEFT:
                things = left
            else:
                things = self._rules[nature](now_s, inside, moving)
            if things:
                found.append(Happening(nature, self.region.zone, tuple(things)))
        return found

    def _motion(self, _now_s: float, inside: list[Track], moving: list[Track]) -> list[Track]:
        return [track for track in inside if track in moving]

    def _comings_and_goings(
        self, seen: list[Track], inside: list[Track], gone: list[Track]
    ) -> tuple[list[Track], list[Track]]:
        entered: list[Track] = []
        left: list[Track] = []
        for track in seen:
            within = track in inside
            known = self._presence.get(track.number)
            if known is None:
                # what comes over the picture's edge comes from outside
                known = self._presence[track.number] = _Presence(within and not track.from_edge)
            # what has not moved yet, may be none that comes and goes
            if track.moved_s is not None and known.seen(within):
                (entered if within else left).append(track)
        for track in gone:
            known = self._presence.pop(track.number, None)
            if known and known.inside and track.last.cut and track.moved_s is not None:
                left.append(track)
        return entered, left

    def _loitering(self, now_s: float, inside: list[Track], _moving: list[Track]) -> list[Track]:
        self._stays = [stay for stay in self._stays if now_s - stay.last_s <= LINK_S]
        long: list[Track] = []
        for track in inside:
            if track.moved_s is None and not self._continues(track):
                continue
            stay = self._stay_of(track, now_s)
            stay.last_s, stay.box, stay.track, stay.cut = now_s, track.box, track.number, track.last.cut
            if now_s - stay.since_s >= self.region.loiter_s:
                long.append(track)
        return long

    def _continues(self, track: Track) -> bool:
        return any(_near(stay.box, track.box, self._view.aspect) for stay in self._stays)

    def _stay_of(self, track: Track, now_s: float) -> _Stay:
        for stay in self._stays:
            if stay.track == track.number:
                return stay
        lost = [
            stay
            for stay in self._stays
            if stay.last_s < track.began_s and not stay.cut and _near(stay.box, track.box, self._view.aspect)
        ]
        if lost:
            return min(lost, key=lambda stay: stay.since_s)
        stay = _Stay(now_s, now_s, track.box, track.number, track.last.cut)
        self._stays.append(stay)
        return stay

    def _running_now(self, now_s: float, inside: list[Track], moving: list[Track]) -> list[Track]:
        fast: list[Track] = []
        since: dict[int, float] = {}
        for track in inside:
            if track not in moving:
                continue
            found = movement(track, self._view)
            if found.pace is Pace.RUN and found.kind is Kind.PERSON_LIKE:
                since[track.number] = self._running.get(track.number, now_s)
                if now_s - since[track.number] >= RUN_S:
                    fast.append(track)
        self._running = since
        return fast

    def _crowding(self, now_s: float, inside: list[Track], _moving: list[Track]) -> list[Track]:
        things = [track for track in inside if track.moved_s is not None]
        covered = sum(overlap(self.region.polygon, one.box) * one.box.width * one.box.height for one in things)
        if covered < self.region.crowd_part * self._area:
            self._crowded_since_s = None
            return []
        if self._crowded_since_s is None:
            self._crowded_since_s = now_s
        return things if now_s - self._crowded_since_s >= CROWD_S else []

    def _left_behind(self, now_s: float, inside: list[Track], _moving: list[Track]) -> list[Track]:
        return [track for track in self._resting(now_s, inside) if _outline(track) >= OBJECT_OUTLINE]

    def _taken(self, now_s: float, inside: list[Track], _moving: list[Track]) -> list[Track]:
        return [track for track in self._resting(now_s, inside) if _outline(track) <= -OBJECT_OUTLINE]

    def _resting(self, now_s: float, inside: list[Track]) -> list[Track]:
        """What has stood there for long enough and never moved by itself, or is but a part of what did: a bag's track
        may be that of its bearer."""
        return [
            track
            for track in inside
            if track.rests(self.region.object_s)
            and (
                track.moved_s is None
                or (
                    now_s - track.moved_s >= self.region.object_s
                    and track.box.width * track.box.height <= 0.5 * track.moved_area
                )
            )
        ]


class Natures:
    """One camera's zones and lines."""

    def __init__(self, regions: Sequence[Region], lines: Sequence[Line], view: View) -> None:
        self._view = view
        self._zones = [_Zone(region, view) for region in regions]
        self._lines = [(line, dict[int, Point]()) for line in lines]
        self._known: dict[int, Track] = {}

    def update(self, now_s: float, tracks: Sequence[Track], moving: list[Track]) -> list[Happening]:
        """All that is so in this picture.  tracks: all that are known; moving: those of them that move."""
        for track in moving:
            track.moved_s, track.moved_area = now_s, track.box.width * track.box.height
        seen = [track for track in tracks if track.last.at_s == now_s]
        gone = [track for number, track in self._known.items() if not any(one.number == number for one in tracks)]
        self._known = {track.number: track for track in tracks}
        found: list[Happening] = []
        for zone in self._zones:
            found += zone.update(now_s, seen, moving, gone)
        for line, sure in self._lines:
            found += self._crossings(line, sure, moving)
            for track in gone:
                sure.pop(track.number, None)
        return found

    def held(self, tracks: Sequence[Track], now_s: float) -> list[Track]:
        """Things at rest that the background must not swallow: their zone is watched for such."""
        wanted = {AlarmNature.LOITERING, AlarmNature.OBJECT_LEFT, AlarmNature.OBJECT_TAKEN, AlarmNature.CROWD}
        zones = [zone.region for zone in self._zones if wanted & set(zone.region.natures)]
        return [
            track
            for track in tracks
            if track.seen >= 5
            and now_s - (track.moved_s or track.began_s) < HELD_MOST_S
            and any(zone.holds(track.box) for zone in zones)
        ]

    def clear(self) -> None:
        """Nothing is followed any more."""
        self._known.clear()
        for _, sure in self._lines:
            sure.clear()

    def _crossings(self, line: Line, sure: dict[int, Point], moving: list[Track]) -> list[Happening]:
        found: dict[Side, list[Track]] = {}
        for track in moving:
            recent = list(track.sightings)[-SURE:]
            foot = (sum(one.foot[0] for one in recent) / len(recent), sum(one.foot[1] for one in recent) / len(recent))
            if line.distance(foot, self._view.aspect) < LINE_MARGIN:
                continue
            before = sure.get(track.number, track.sightings[0].foot)
            sure[track.number] = foot
            side = line.crossed(before, foot)
            if side and line.side in (None, side) and not any(_part_of(track, one) for one in moving):
                found.setdefault(side, []).append(track)
        return [Happening(AlarmNature.LINE, line.line, tuple(things), side) for side, things in found.items()]


def _near(a: Box, b: Box, aspect: float) -> bool:
    """Whether what was seen at `a` may be what is at `b`: within about its own size."""
    reach = max(a.width * aspect, a.height, b.width * aspect, b.height)
    across = abs(a.x + a.width / 2 - b.x - b.width / 2) * aspect
    return across <= reach and abs(a.y + a.height / 2 - b.y - b.height / 2) <= reach


def _part_of(track: Track, other: Track) -> bool:
    """Whether it is rather a part of the other one than somebody: smaller, over or before it, and in step with it."""
    a, b = track.box, other.box
    if a.width * a.height > PART * b.width * b.height:
        return False
    common = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    if common < 0.7 * a.width or a.y > b.y + b.height or a.y + a.height < b.y - 0.1 * b.height:
        return False
    (ax, ay, _), (bx, by, _) = track.velocity(), other.velocity()
    return math.hypot(ax - bx, ay - by) <= 0.4 * math.hypot(bx, by)


def _outline(track: Track) -> float:
    recent = list(track.sightings)[-9:]
    return sum(one.outline for one in recent) / len(recent)
