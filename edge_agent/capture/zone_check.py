"""Whether zones and lines are drawn as they were meant, in plain words.  Pure geometry.

Points are parts of the picture, 0 … 1 from the top left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_agent.capture.regions import Point, area, contains

LEAST_SIDE = 0.02
"""A zone narrower than this part of the picture can hold nobody's feet for long."""
SAME = 0.005
"""Corners nearer to each other than this were meant to be one."""
ALIKE = 0.95
"""Zones that share so much of both are one zone drawn twice."""
_GRID = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """A zone, or a line (not closed) with its direction."""

    place: str
    """Its id."""
    points: tuple[Point, ...]
    closed: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a zone or a line."""

    place: str
    """Its id."""
    uk: str
    en: str
    where: Point | None = None
    serious: bool = True
    """False: it works, but perhaps not as meant."""


def check_zone(zone: str, polygon: Sequence[Point], min_area: float) -> list[Fault]:
    """All that is wrong with one; `min_area`: smallest thing that counts, as a part of the picture."""
    faults = [*_outside(zone, polygon), *_doubled(zone, polygon, closed=True)]
    if len(distinct(polygon)) < 3:
        return [*faults, Fault(zone, "менше трьох різних кутів", "fewer than three different corners", polygon[0])]
    crossing = self_crossing(_undoubled(polygon))
    if crossing is not None:
        uk = f"край перетинає сам себе біля {_at(crossing)}: перевірте порядок кутів"
        en = f"its edge crosses itself near {_at(crossing)}: check the order of the corners"
        return [*faults, Fault(zone, uk, en, crossing)]
    size = area(polygon)
    width, height = extent(polygon)
    if size < min_area or min(width, height) < LEAST_SIDE:
        sizes = f"{size:.2%}", f"{width:.0%} x {height:.0%}", f"{min_area:.2%}"
        uk = "замала: {} кадру ({}), а найменше, що рахується, {}".format(*sizes)
        en = "too small: {} of the picture ({}); the least that counts is {}".format(*sizes)
        faults.append(Fault(zone, uk, en, polygon[0]))
    elif size > 0.98:
        uk, en = "це майже весь кадр: зона не потрібна", "it is nearly the whole picture: no zone is needed"
        faults.append(Fault(zone, uk, en, serious=False))
    return faults


def check_line(line: str, points: Sequence[Point]) -> list[Fault]:
    """All that is wrong with one."""
    faults = [*_outside(line, points), *_doubled(line, points, closed=False)]
    length = sum(math.dist(a, b) for a, b in itertools.pairwise(points))
    if length < LEAST_SIDE:
        uk, en = f"закоротка: {length:.1%} кадру", f"too short: {length:.1%} of the picture"
        faults.append(Fault(line, uk, en, points[0]))
    if (crossing := _crossing(list(itertools.pairwise(points)), closed=False)) is not None:
        uk, en = f"перетинає сама себе біля {_at(crossing)}", f"it crosses itself near {_at(crossing)}"
        faults.append(Fault(line, uk, en, crossing))
    return faults


def check_together(zones: Sequence[tuple[str, Sequence[Point]]]) -> list[Fault]:
    """What is wrong among zones: the same one drawn twice."""
    faults = []
    for (one, first), (other, second) in itertools.combinations(zones, 2):
        shared, either = 0, 0
        for point in _inner_points():
            a, b = contains(first, point), contains(second, point)
            shared, either = shared + (a and b), either + (a or b)
        if either and shared / either >= ALIKE:
            uk, en = f"майже те саме місце, що й зона {one}", f"nearly the same place as zone {one}"
            faults.append(Fault(other, uk, en, serious=False))
    return faults


def self_crossing(polygon: Sequence[Point]) -> Point | None:
    """A place where two edges that are no neighbours meet."""
    return _crossing(list(zip(polygon, [*polygon[1:], polygon[0]], strict=True)), closed=True)


def extent(points: Sequence[Point]) -> tuple[float, float]:
    """(width, height) of what it spans."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return max(xs) - min(xs), max(ys) - min(ys)


def distinct(points: Sequence[Point]) -> list[Point]:
    """Without those that are as good as another one."""
    kept: list[Point] = []
    for point in points:
        if all(math.dist(point, other) >= SAME for other in kept):
            kept.append(point)
    return kept


def _crossing(edges: Sequence[tuple[Point, Point]], *, closed: bool) -> Point | None:
    last = len(edges) - 1
    for i, j in itertools.combinations(range(len(edges)), 2):
        if j == i + 1 or (closed and (i, j) == (0, last)):
            continue
        if (met := _meeting(*edges[i], *edges[j])) is not None:
            return met
    return None


def _meeting(a: Point, b: Point, c: Point, d: Point) -> Point | None:
    """Where the stretches ab and cd cross, ends included; None where they don't, or lie in one line."""
    across = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
    if abs(across) < 1e-12:
        return None
    t = ((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0])) / across
    u = ((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0])) / across
    return (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) if 0 <= t <= 1 and 0 <= u <= 1 else None


def _outside(place: str, points: Sequence[Point]) -> Iterator[Fault]:
    for point in points:
        if not (0 <= point[0] <= 1 and 0 <= point[1] <= 1):
            uk = f"кут {_at(point)} поза кадром: числа від 0 до 1, від лівого верхнього кута"
            en = f"the corner {_at(point)} is outside the picture: numbers from 0 to 1, from the top left"
            yield Fault(place, uk, en, (min(max(point[0], 0.0), 1.0), min(max(point[1], 0.0), 1.0)))


def _doubled(place: str, points: Sequence[Point], *, closed: bool) -> Iterator[Fault]:
    pairs = list(itertools.pairwise(points)) + ([(points[-1], points[0])] if closed else [])
    for a, b in pairs:
        if math.dist(a, b) < SAME:
            uk, en = f"кут {_at(b)} записано двічі", f"the corner {_at(b)} stands there twice"
            yield Fault(place, uk, en, b, serious=False)


def _undoubled(polygon: Sequence[Point]) -> list[Point]:
    return [b for a, b in zip([polygon[-1], *polygon[:-1]], polygon, strict=True) if math.dist(a, b) >= SAME]


def _inner_points() -> Iterator[Point]:
    for x, y in itertools.product(range(0, _GRID, 4), repeat=2):
        yield (x + 0.5) / _GRID, (y + 0.5) / _GRID


def _at(point: Point) -> str:
    return f"[{point[0]:.2f}, {point[1]:.2f}]"
