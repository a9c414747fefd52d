"""Zones and lines in a camera's picture, and what lies in or crosses them.  Pure geometry.

Points are parts of the picture, 0 … 1 from the top left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.model import AlarmNature, Box, Kind, Side

Point = tuple[float, float]
OVERLAP = 0.5
"""A thing is in a zone when its foot is, or this part of its box."""


@dataclass(frozen=True, slots=True)
class Region:
    """A zone, what is watched for in it, and when that is so."""

    zone: str | None
    """None: the whole picture."""
    polygon: tuple[Point, ...]
    natures: tuple[AlarmNature, ...] = (AlarmNature.MOTION,)
    loiter_s: float = 60.0
    """Who stays so long loiters."""
    object_s: float = 20.0
    """What stands, or is missing, for so long was left, or taken."""
    crowd_part: float = 0.3
    """A crowd covers this part of the zone."""
    only: tuple[Kind, ...] = ()
    """Only what the city's detector calls so is told; all when empty."""

    def holds(self, box: Box) -> bool:
        foot = (box.x + box.width / 2, min(box.y + box.height, 0.999))
        return contains(self.polygon, foot) or overlap(self.polygon, box) >= OVERLAP


PICTURE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
"""All of it, as a polygon."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with a direction, from its first point to its last."""

    line: str
    points: tuple[Point, ...]
    side: Side | None = None
    """Crossing it to this side counts; None: to either."""

    def crossed(self, before: Point, now: Point) -> Side | None:
        """To which side of the line, as seen along it, somebody went who was at `before` and is at `now`."""
        for a, b in zip(self.points, self.points[1:], strict=False):
            if _meet(a, b, before, now):
                turn = _turn(a, b, now)
                if turn:
                    # rows count downwards, so a positive turn is to the right
                    return Side.RIGHT if turn > 0 else Side.LEFT
        return None

    def distance(self, point: Point, aspect: float) -> float:
        """In heights of the picture."""
        return min(_distance(a, b, point, aspect) for a, b in zip(self.points, self.points[1:], strict=False))


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether the point is inside (even–odd rule)."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def area(polygon: Sequence[Point]) -> float:
    """As a part of the picture (shoelace formula)."""
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, (*polygon[1:], polygon[0]), strict=True))) / 2


def overlap(polygon: Sequence[Point], box: Box) -> float:
    """The part of the box that the polygon covers (Sutherland-Hodgman clipping)."""
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
    return min(1.0, area(points) / (box.width * box.height)) if points else 0.0


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the ways a–b and c–d cross; c on a–b counts as before it, so that no crossing is counted twice."""
    return (_turn(a, b, c) > 0) != (_turn(a, b, d) > 0) and (_turn(c, d, a) > 0) != (_turn(c, d, b) > 0)


def _distance(a: Point, b: Point, point: Point, aspect: float) -> float:
    ax, bx, x = a[0] * aspect, b[0] * aspect, point[0] * aspect
    length = (bx - ax) ** 2 + (b[1] - a[1]) ** 2
    part = ((x - ax) * (bx - ax) + (point[1] - a[1]) * (b[1] - a[1])) / length if length else 0.0
    part = min(1.0, max(0.0, part))
    return math.hypot(x - ax - part * (bx - ax), point[1] - a[1] - part * (b[1] - a[1]))
