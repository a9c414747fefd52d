"""What happens in a scene, as it is known without looking at any watcher: kinds, zones, labels.

Labels are computed from the tracks that the generator itself drew (`stage`) or were written down by hand (`footage`).
Times are seconds from the first picture, places parts of the picture, directions degrees: 0 = up, 90 = right.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from edge_agent.model import Box

Point = tuple[float, float]

ASPECT = 16 / 9
JOIN_S = 5.0
"""Movements in one place that follow each other within this are one event: no watcher could part them usefully."""
PLAIN = 0.5
"""A thing is plainly visible once this part of its usual box is inside the picture."""


class Kind(StrEnum):
    """What a label says has happened; the words are those of the alarms' natures."""

    MOTION = "motion"
    ENTERED = "zone_entered"
    LEFT = "zone_left"
    LINE = "line_crossed"
    LOITERING = "loitering"
    OBJECT_LEFT = "object_left"
    OBJECT_TAKEN = "object_taken"
    CROWD = "crowd"
    RUNNING = "running"
    COVERED = "covered"
    BLINDED = "blinded"
    DEFOCUSED = "defocused"
    TURNED = "turned"
    FROZEN = "frozen"


SPOILT = frozenset({Kind.COVERED, Kind.BLINDED, Kind.DEFOCUSED, Kind.TURNED, Kind.FROZEN})
"""Of the camera itself rather than of what it sees."""


@dataclass(frozen=True, slots=True)
class Zone:
    name: str
    polygon: tuple[Point, ...]

    def holds(self, at: Point) -> bool:
        """Whether a foot there stands in it."""
        corners = np.array([(x * 1e4, y * 1e4) for x, y in self.polygon], np.float32)
        return cv2.pointPolygonTest(corners, (at[0] * 1e4, at[1] * 1e4), False) >= 0


@dataclass(frozen=True, slots=True)
class Line:
    """Crossed from the left to the right of somebody who looks from `start` to `end`, or the other way."""

    name: str
    start: Point
    end: Point

    def side(self, at: Point) -> float:
        """Positive to the right of it (the picture's y grows downwards)."""
        (x0, y0), (x1, y1) = self.start, self.end
        return (x1 - x0) * (at[1] - y0) - (y1 - y0) * (at[0] - x0)

    def beside(self, at: Point) -> bool:
        """Whether the place is before the line's length rather than beyond an end of it."""
        (x0, y0), (x1, y1) = self.start, self.end
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        return 0 <= ((at[0] - x0) * (x1 - x0) + (at[1] - y0) * (y1 - y0)) / length <= 1


@dataclass(frozen=True, slots=True)
class Sight:
    """One thing in one picture: its box, cut to the picture, and where its feet are, which may be outside."""

    at_s: float
    box: Box
    foot: Point


@dataclass(frozen=True, slots=True)
class Track:
    """One thing's whole way; `label` is what else it means (running, say)."""

    sights: tuple[Sight, ...]

    def plainly(self) -> list[Sight]:
        """Those sights where enough of it is inside the picture."""
        usual = sorted(sight.box.width * sight.box.height for sight in self.sights)[len(self.sights) // 2]
        return [sight for sight in self.sights if sight.box.width * sight.box.height >= PLAIN * usual]


@dataclass(frozen=True, slots=True)
class Label:
    """One event that a watcher should tell."""

    kind: Kind
    zone: str | None
    """Zone or line; None: the whole picture."""
    start_s: float
    end_s: float
    directions_deg: tuple[float, ...] = ()
    """Of those who move in it; empty where there is none to tell, or it turns."""
    track: tuple[Sight, ...] = ()
    """Of the thing, or of the first of them."""
    side: str | None = None
    """Of the line, as seen along it, to which somebody went."""


def direction_deg(sights: Sequence[Sight], aspect: float = ASPECT) -> float | None:
    """From the first foot to the last; None when it went less than a tenth of the picture's height, or turned."""
    (x0, y0), (x1, y1) = sights[0].foot, sights[-1].foot
    dx, dy = (x1 - x0) * aspect, y1 - y0
    walked = sum(
        math.hypot((b.foot[0] - a.foot[0]) * aspect, b.foot[1] - a.foot[1]) for a, b in itertools.pairwise(sights)
    )
    if math.hypot(dx, dy) < max(0.1, 0.9 * walked):
        return None
    return math.degrees(math.atan2(dx, -dy)) % 360


def movements(tracks: Iterable[Track], zone: Zone | None) -> list[Label]:
    """Motion in a zone, or anywhere: from the first plain sight to the last; what is close together is one."""
    parts: list[tuple[float, float, Track, list[Sight]]] = []
    for track in tracks:
        inside = [sight for sight in track.plainly() if zone is None or zone.holds(sight.foot)]
        for run in _runs(inside):
            going = _going(run)
            if going and _moves(going):
                parts.append((going[0].at_s, going[-1].at_s, track, going))
    labels: list[Label] = []
    for start_s, end_s, track, run in sorted(parts, key=lambda part: part[:2]):
        told = direction_deg(run)
        directions = () if told is None else (told,)
        if labels and start_s - labels[-1].end_s < JOIN_S:
            last = labels[-1]
            labels[-1] = Label(
                last.kind, last.zone, last.start_s, max(last.end_s, end_s), last.directions_deg + directions, last.track
            )
        else:
            labels.append(
                Label(Kind.MOTION, zone.name if zone else None, start_s, end_s, directions, tuple(track.sights))
            )
    return labels


def _runs(sights: Sequence[Sight]) -> list[list[Sight]]:
    """Parts without a hole of more than a second."""
    runs: list[list[Sight]] = []
    for sight in sights:
        if runs and sight.at_s - runs[-1][-1].at_s <= 1.0:
            runs[-1].append(sight)
        else:
            runs.append([sight])
    return runs


def _going(run: Sequence[Sight]) -> list[Sight]:
    """Without the rests at its beginning and end."""
    moving = [n for n, (a, b) in enumerate(itertools.pairwise(run)) if math.dist(a.foot, b.foot) > 1e-4]
    return list(run[moving[0] : moving[-1] + 2]) if moving else []


def _moves(run: Sequence[Sight]) -> bool:
    xs, ys = [sight.foot[0] * ASPECT for sight in run], [sight.foot[1] for sight in run]
    return math.hypot(max(xs) - min(xs), max(ys) - min(ys)) >= 0.05


def passages(tracks: Iterable[Track], zone: Zone) -> list[Label]:
    """Each entering and leaving of a zone while in the picture."""
    labels: list[Label] = []
    for track in tracks:
        for before, after in itertools.pairwise(track.sights):
            was, now = zone.holds(before.foot), zone.holds(after.foot)
            if was != now:
                labels.append(_instant(Kind.ENTERED if now else Kind.LEFT, zone.name, track, after.at_s))
    return labels


def stays(tracks: Iterable[Track], zone: Zone, least_s: float) -> list[Label]:
    """Who is in a zone for longer than `least_s`: loitering from then on until they leave it."""
    found = []
    for track in tracks:
        for run in _runs([sight for sight in track.sights if zone.holds(sight.foot)]):
            if run[-1].at_s - run[0].at_s > least_s:
                start_s = run[0].at_s + least_s
                found.append(Label(Kind.LOITERING, zone.name, start_s, run[-1].at_s, (), track.sights))
    return found


def crowds(tracks: Iterable[Track], zone: Zone, part: float) -> list[Label]:
    """When the boxes of those in it cover at least so much of a zone."""
    there: defaultdict[float, list[Box]] = defaultdict(list)
    for track in tracks:
        for sight in track.sights:
            there[sight.at_s].append(sight.box)
    size = np.array([320, 180])
    inside = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(inside, [np.round(np.array(zone.polygon) * size).astype(np.int32)], 1)
    times = []
    for at_s, boxes in sorted(there.items()):
        covered = np.zeros_like(inside)
        for box in boxes:
            left, top = np.round(np.array([box.x, box.y]) * size).astype(int)
            right, bottom = np.round(np.array([box.x + box.width, box.y + box.height]) * size).astype(int)
            covered[top:bottom, left:right] = 1
        if np.count_nonzero(covered & inside) >= part * np.count_nonzero(inside):
            times.append(at_s)
    return [Label(Kind.CROWD, zone.name, times[0], times[-1])] if times else []


def line_crossings(tracks: Iterable[Track], line: Line) -> list[Label]:
    labels: list[Label] = []
    for track in tracks:
        for before, after in itertools.pairwise(track.sights):
            right = line.side(after.foot) > 0
            if (line.side(before.foot) > 0) != right and line.beside(after.foot):
                label = _instant(Kind.LINE, line.name, track, after.at_s)
                labels.append(replace(label, side="right" if right else "left"))
    return labels


def _instant(kind: Kind, zone: str, track: Track, at_s: float) -> Label:
    near = [sight for sight in track.sights if abs(sight.at_s - at_s) <= 1.5]
    told = direction_deg(near)
    return Label(kind, zone, at_s, at_s, () if told is None else (told,), track.sights)
