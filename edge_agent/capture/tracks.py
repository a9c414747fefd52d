"""From blobs, picture by picture, to things that move: pure values and rules, no pictures and no clock.

Distances are in heights of the picture, so that they mean the same along both axes.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from dataclasses import dataclass

from edge_agent.model import Box

NEAR_X, NEAR_Y = 0.015, 0.05
"""Pieces not further apart than these parts of the picture are one thing: above all one over the other."""
PATH_S = 6.0
"""So much of a thing's way is remembered."""
WINDOW_S = 2.0
"""Movement is judged over this span …"""
LEAST_SPAN_S = 0.35
"""… and over no less than this."""
EDGE = 0.01
"""A box nearer to the picture's edge may be cut by it."""
FLIES = 0.45
"""What is faster than so many heights of the picture a second is looked at once more."""
FLUTTERS = 0.25
"""… and of what is faster than this, while it is new …"""
JUMP = 0.85
"""What went so much of its way in a single step, has only begun to look otherwise."""
HEADS_S = 1.2
"""Heads are counted over this span."""
JUDGED = 5
"""… (no more than so many sightings to judge by), the first and the last step must go the same way."""
_FITTED = 12
"""Sightings that a direction is fitted to: the pairs of more would only cost."""
LEAST_WAY = 0.02
"""Whatever shifted by less has not moved."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment by both clocks: UTC for what is told, monotonic seconds for how long things last."""

    utc_us: int
    s: float


@dataclass(frozen=True, slots=True)
class Blob:
    """Something that differs from the usual picture."""

    box: Box
    outline: float = 0.0
    """How much stronger the edges around it are than in the usual picture, -1 … 1: something stands there that was not
    there; negative: something is gone that was."""
    parts: tuple[Box, ...] = ()
    """The pieces that it was joined of, where it is of several."""
    heads: int = 1
    """How many people side by side its upper edge looks like."""


@dataclass(frozen=True, slots=True)
class Sighting:
    at_s: float
    box: Box
    outline: float = 0.0
    shared: bool = False
    """It was one blob with others: its place in it was found by its looks, or reckoned."""
    heads: int = 1

    @property
    def centre(self) -> tuple[float, float]:
        return self.box.x + self.box.width / 2, self.box.y + self.box.height / 2

    @property
    def foot(self) -> tuple[float, float]:
        return self.box.x + self.box.width / 2, self.box.y + self.box.height

    @property
    def cut(self) -> bool:
        """Whether the picture's edge may hide a part of it."""
        return _cut(self.box)


class Track:
    """One thing followed through the pictures."""

    def __init__(self, number: int, first: Sighting, aspect: float) -> None:
        self.number = number
        self.sightings: deque[Sighting] = deque([first])
        self.pictures = 1
        """Pictures since it was first seen; in some of them it may have been hidden."""
        self.seen = 1
        self.began_s = first.at_s
        self.from_edge = first.cut
        """It came in over the picture's edge."""
        self.moved_s: float | None = None
        """When it last moved; None: it never did."""
        self.moved_area = 0.0
        """How large it was then, as a part of the picture."""
        self.parted = False
        """It comes from the blob of something that is known to move, where it was before unnoticed."""
        self.alone = 1
        """Sightings in which it was a blob of its own."""
        self.shared_s = 0.0
        """For so long now it has been one blob with others."""
        self.hidden_s = 0.0
        """… and for so long it was not found there."""
        self.drift: tuple[float, float] | None = None
        """While it is, how it moves there: parts of the picture a second, to the right and down."""
        self._aspect = aspect

    @property
    def last(self) -> Sighting:
        return self.sightings[-1]

    @property
    def box(self) -> Box:
        return self.last.box

    @property
    def path(self) -> list[tuple[float, float]]:
        """Its way in parts of the picture, oldest first, without sightings that the picture's edge cuts.

        Each place is the mean of three, since single boxes tremble.
        """
        whole = [sighting.centre for sighting in self.sightings if not sighting.cut]
        places = whole if len(whole) > 1 else [sighting.centre for sighting in self.sightings]
        if len(places) < 5:
            return places
        smooth = [
            ((a[0] + b[0] + c[0]) / 3, (a[1] + b[1] + c[1]) / 3)
            for a, b, c in zip(places, places[1:], places[2:], strict=False)
        ]
        return [places[0], *smooth, places[-1]]

    def add(self, sighting: Sighting) -> None:
        """`sighting` must be later than the last one."""
        self.seen += 1
        if sighting.shared:
            self.shared_s += sighting.at_s - self.last.at_s
        else:
            self.alone, self.shared_s, self.hidden_s, self.drift = self.alone + 1, 0.0, 0.0, None
        self.sightings.append(sighting)
        while sighting.at_s - self.sightings[0].at_s > PATH_S and len(self.sightings) > 4:
            self.sightings.popleft()

    @property
    def size(self) -> tuple[float, float]:
        """How (wide, high) it is, when it is seen best: the second largest of its latest sightings by itself."""
        own = [one.box for one in itertools.islice(reversed(self.sightings), 16) if not one.shared][:8] or [self.box]
        return sorted([box.width for box in own])[-2:][0], sorted([box.height for box in own])[-2:][0]

    @property
    def heads(self) -> int:
        """How many people it lately was, who were never seen apart."""
        own = [one for one in self._window(HEADS_S) if not one.shared]
        if len(own) < 4 or own[-1].at_s - own[0].at_s < 0.7 * HEADS_S:
            return 1
        heads = [one.heads for one in own]
        return min(sorted(heads)[len(heads) // 5], *heads[-2:])

    def rests(self, span_s: float) -> bool:
        """It has been seen for so long, and its box is where it was."""
        if self.last.at_s - self.began_s < span_s or self.seen < 0.5 * self.pictures:
            return False
        recent = list(self.sightings)[-9:]
        middle = [statistics.median(side) for side in zip(*map(_sides, recent), strict=True)]
        return all(abs(a - b) <= 0.02 for a, b in zip(middle, _sides(self.sightings[0]), strict=True))

    def expected(self, at_s: float) -> tuple[float, float]:
        """Where its centre should be at `at_s`."""
        recent = self._window(0.7)
        (x0, y0), (x1, y1) = recent[0].centre, recent[-1].centre
        span_s = recent[-1].at_s - recent[0].at_s
        ahead = min(at_s - self.last.at_s, 1.0) / span_s if span_s > 0 else 0.0
        return x1 + (x1 - x0) * ahead, y1 + (y1 - y0) * ahead

    def ahead(self, at_s: float) -> Box:
        """Where its box should be at `at_s`."""
        if self.drift is None:
            x, y = self.expected(at_s)
            return Box(x - self.box.width / 2, y - self.box.height / 2, self.box.width, self.box.height)
        (vx, vy), after_s = self.drift, at_s - self.last.at_s
        return Box(self.box.x + vx * after_s, self.box.y + vy * after_s, self.box.width, self.box.height)

    def moves(self, least_seen: int) -> bool:
        """It has lately gone some way, straight rather than to and fro, and was there most of the time."""
        return self._goes(self._window(WINDOW_S), least_seen) or (
            # who is known to move may have turned, or have parted from somebody, a moment ago
            self.moved_s is not None and self._goes(self._window(WINDOW_S / 2), least_seen)
        )

    def _goes(self, recent: list[Sighting], least_seen: int) -> bool:
        if self.seen < least_seen or self.seen < 0.6 * self.pictures or self.pictures > self.seen < 4:
            return False
        if len(recent) < 2 or recent[-1].at_s - recent[0].at_s < LEAST_SPAN_S:
            return False
        steps = [self._shift(a, b) for a, b in itertools.pairwise(recent)]
        dx, dy = sum(step[0] for step in steps), sum(step[1] for step in steps)
        lengths = [math.hypot(*step) for step in steps]
        way, walked = math.hypot(dx, dy), sum(lengths)
        if len(steps) > 2 and max(lengths) > JUMP * way:
            return False
        # A large thing's box trembles more than a small one's.
        extent = (abs(dx) * self.box.width * self._aspect + abs(dy) * self.box.height) / way if way else 0.0
        straight = 0.8 if len(recent) < 5 else 0.6
        speed = way / (recent[-1].at_s - recent[0].at_s)
        if speed > FLIES and (self.seen < least_seen + 1 or way < 0.85 * walked):
            return False  # insects cross the picture like this, and turn
        most_deg = 25 if speed > FLIES else 50 if speed > FLUTTERS else 180
        if len(recent) <= JUDGED and _turn_deg(steps[0], steps[-1]) > most_deg:
            return False
        return way >= max(LEAST_WAY, 0.15 * extent) and way >= straight * walked and self._whole(recent, way)

    def _whole(self, recent: list[Sighting], way: float) -> bool:
        """Its hind side came along: a patch of light only grows.  What comes straight on grows to all sides."""
        first, last = recent[0].box, recent[-1].box
        if recent[0].cut or recent[-1].cut:
            return True
        along = 0.0
        for scale, low, high in (
            (self._aspect, last.x - first.x, last.x + last.width - first.x - first.width),
            (1.0, last.y - first.y, last.y + last.height - first.y - first.height),
        ):
            if low * high > 0:
                along += (min(abs(low), abs(high)) * scale) ** 2
        comes = len(recent) >= 5 and last.width > 1.2 * first.width and last.height > 1.2 * first.height
        return math.sqrt(along) >= 0.25 * way or comes

    def velocity(self) -> tuple[float, float, float]:
        """(to the right, down, seconds it was watched for), in heights of the picture a second, over the last 3 s.

        The middle of the slopes between all pairs of sightings (Theil and Sen), for each side of the box by itself:
        neither a box that lost its legs for a moment nor a side cut by the picture's edge bends it.  Things stand on
        the ground, so their foot counts where it is seen.
        """
        recent = self._window(3.0)
        if len(recent) > _FITTED:
            recent = [recent[round(n * (len(recent) - 1) / (_FITTED - 1))] for n in range(_FITTED)]
        left = _slope([(one.at_s, one.box.x) for one in recent if one.box.x >= EDGE])
        right = _slope([(s.at_s, s.box.x + s.box.width) for s in recent if s.box.x + s.box.width <= 1 - EDGE])
        top = _slope([(one.at_s, one.box.y) for one in recent if one.box.y >= EDGE])
        foot = _slope([(s.at_s, s.box.y + s.box.height) for s in recent if s.box.y + s.box.height <= 1 - EDGE])
        across = [slope for slope in (left, right) if slope is not None]
        down = foot if foot is not None else top
        vx = sum(across) / len(across) if across else 0.0
        return vx * self._aspect, down or 0.0, recent[-1].at_s - recent[0].at_s

    def heading(self) -> tuple[float, float]:
        """(direction in degrees, how far it went that way) over the last 3 s; 0 = up, 90 = right."""
        vx, vy, span_s = self.velocity()
        return math.degrees(math.atan2(vx, -vy)) % 360, math.hypot(vx, vy) * span_s

    def _window(self, span_s: float) -> list[Sighting]:
        """The sightings of the last `span_s`, but at least three: slow pictures are further apart."""
        since = self.sightings[-1].at_s - span_s - 1e-6
        recent: list[Sighting] = []
        for sighting in reversed(self.sightings):
            if sighting.at_s < since and len(recent) >= 3:
                break
            recent.append(sighting)
        recent.reverse()
        return recent

    def _shift(self, a: Sighting, b: Sighting) -> tuple[float, float]:
        (ax, ay), (bx, by) = a.centre, b.centre
        return (bx - ax) * self._aspect, by - ay


def _turn_deg(a: tuple[float, float], b: tuple[float, float]) -> float:
    """How far the way turns from one step to another, 0 … 180."""
    turn = math.degrees(math.atan2(b[1], b[0]) - math.atan2(a[1], a[0]))
    return abs((turn + 180) % 360 - 180)


def _sides(sighting: Sighting) -> tuple[float, float, float, float]:
    box = sighting.box
    return box.x, box.y, box.x + box.width, box.y + box.height


def _cut(box: Box) -> bool:
    return box.x < EDGE or box.y < EDGE or box.x + box.width > 1 - EDGE or box.y + box.height > 1 - EDGE


def _slope(points: list[tuple[float, float]]) -> float | None:
    """The median slope of all pairs; None where there are too few."""
    if len(points) < 3:
        return None
    slopes = [(y1 - y0) / (t1 - t0) for (t0, y0), (t1, y1) in itertools.combinations(points, 2) if t1 > t0]
    return statistics.median(slopes) if slopes else None
