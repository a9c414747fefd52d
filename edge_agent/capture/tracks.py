"""From blobs, picture by picture, to things that move: pure values and rules, no pictures and no clock.

Distances are in heights of the picture, so that they mean the same along both axes.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.model import Box

KEEP_S = 1.2
"""A thing not seen for so long is gone (or for two pictures, where they come more slowly)."""
PATH_S = 6.0
"""So much of a thing's way is remembered."""
WINDOW_S = 2.0
"""Movement is judged over this span …"""
LEAST_SPAN_S = 0.35
"""… and over no less than this."""
EDGE = 0.01
"""A box nearer to the picture's edge may be cut by it."""
LEAST_WAY = 0.02
"""Whatever shifted by less has not moved."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment by both clocks: UTC for what is told, monotonic seconds for how long things last."""

    utc_us: int
    s: float


@dataclass(frozen=True, slots=True)
class Sighting:
    at_s: float
    box: Box

    @property
    def centre(self) -> tuple[float, float]:
        return self.box.x + self.box.width / 2, self.box.y + self.box.height / 2


class Track:
    """One thing followed through the pictures."""

    def __init__(self, number: int, first: Sighting, aspect: float) -> None:
        self.number = number
        self.sightings: deque[Sighting] = deque([first])
        self.pictures = 1
        """Pictures since it was first seen; in some of them it may have been hidden."""
        self.seen = 1
        self._aspect = aspect

    @property
    def last(self) -> Sighting:
        return self.sightings[-1]

    @property
    def box(self) -> Box:
        return self.last.box

    @property
    def path(self) -> list[tuple[float, float]]:
        """Centres in parts of the picture, oldest first, without those of a thing still cut by the picture's edge."""
        whole = [sighting.centre for sighting in self.sightings if not _cut(sighting.box)]
        return whole if len(whole) > 1 else [sighting.centre for sighting in self.sightings]

    def add(self, sighting: Sighting) -> None:
        self.seen += 1
        self.sightings.append(sighting)
        while sighting.at_s - self.sightings[0].at_s > PATH_S and len(self.sightings) > 4:
            self.sightings.popleft()

    def expected(self, at_s: float) -> tuple[float, float]:
        """Where its centre should be at `at_s`."""
        recent = self._window(0.7)
        (x0, y0), (x1, y1) = recent[0].centre, recent[-1].centre
        span_s = recent[-1].at_s - recent[0].at_s
        ahead = min(at_s - self.last.at_s, 1.0) / span_s if span_s > 0 else 0.0
        return x1 + (x1 - x0) * ahead, y1 + (y1 - y0) * ahead

    def moves(self, least_seen: int) -> bool:
        """It has lately gone some way, straight rather than to and fro, and was there most of the time."""
        recent = self._window(WINDOW_S)
        if self.seen < least_seen or self.seen < 0.6 * self.pictures:
            return False
        if len(recent) < 2 or recent[-1].at_s - recent[0].at_s < LEAST_SPAN_S:
            return False
        steps = [self._shift(a, b) for a, b in itertools.pairwise(recent)]
        dx, dy = sum(step[0] for step in steps), sum(step[1] for step in steps)
        way, walked = math.hypot(dx, dy), sum(math.hypot(*step) for step in steps)
        # A large thing's box trembles more than a small one's.
        extent = (abs(dx) * self.box.width * self._aspect + abs(dy) * self.box.height) / way if way else 0.0
        straight = 0.8 if len(recent) < 5 else 0.6
        return way >= max(LEAST_WAY, 0.15 * extent) and way >= straight * walked

    def heading(self) -> tuple[float, float]:
        """(direction in degrees, how far it went that way) over the last 3 s; 0 = up, 90 = right.

        The straight line that fits all sightings best, since single boxes tremble.  A thing cut by the picture's edge
        grows rather than moves: such sightings are used only where there are no others, and count a third.
        """
        recent = self._window(3.0)
        whole = [sighting for sighting in recent if not _cut(sighting.box)]
        worth = 1.0 if len(whole) >= 4 else 1 / 3
        recent = whole if len(whole) >= 4 else recent
        count = len(recent)
        mean_t = sum(one.at_s for one in recent) / count
        spread = sum((one.at_s - mean_t) ** 2 for one in recent)
        if spread <= 0:
            return 0.0, 0.0
        vx = sum((one.at_s - mean_t) * one.centre[0] for one in recent) / spread * self._aspect
        vy = sum((one.at_s - mean_t) * one.centre[1] for one in recent) / spread
        way = math.hypot(vx, vy) * (recent[-1].at_s - recent[0].at_s)
        return math.degrees(math.atan2(vx, -vy)) % 360, way * worth

    def _window(self, span_s: float) -> list[Sighting]:
        """The sightings of the last `span_s`, but at least three: slow pictures are further apart."""
        since = self.last.at_s - span_s - 1e-6
        count = sum(1 for sighting in self.sightings if sighting.at_s >= since)
        return list(self.sightings)[-max(3, count) :]

    def _shift(self, a: Sighting, b: Sighting) -> tuple[float, float]:
        (ax, ay), (bx, by) = a.centre, b.centre
        return (bx - ax) * self._aspect, by - ay


def _cut(box: Box) -> bool:
    return box.x < EDGE or box.y < EDGE or box.x + box.width > 1 - EDGE or box.y + box.height > 1 - EDGE


class Tracker:
    """Gives each blob to the thing it continues.  aspect: width of the picture divided by its height."""

    def __init__(self, aspect: float) -> None:
        self._aspect = aspect
        self._tracks: list[Track] = []
        self._numbers = 0
        self._at_s: float | None = None

    def update(self, at_s: float, boxes: Sequence[Box]) -> list[Track]:
        """All things known after a picture, those seen in it with `last.at_s == at_s`; `at_s` must grow."""
        elapsed_s = at_s - self._at_s if self._at_s is not None else 0.0
        self._at_s = at_s
        for track in self._tracks:
            track.pictures += 1
        free = list(boxes)
        for track, box in self._pairs(at_s, elapsed_s, boxes):
            track.add(Sighting(at_s, box))
            free.remove(box)
        for box in free:
            self._numbers += 1
            self._tracks.append(Track(self._numbers, Sighting(at_s, box), self._aspect))
        keep_s = max(KEEP_S, 2.1 * elapsed_s)
        self._tracks = [track for track in self._tracks if at_s - track.last.at_s <= keep_s]
        return list(self._tracks)

    @property
    def tracks(self) -> list[Track]:
        """All things known after the last picture."""
        return list(self._tracks)

    def clear(self) -> None:
        self._tracks.clear()
        self._at_s = None

    def _pairs(self, at_s: float, elapsed_s: float, boxes: Sequence[Box]) -> list[tuple[Track, Box]]:
        """The nearest first; each track and each box once."""
        costs = [
            (cost, number, index)
            for number, track in enumerate(self._tracks)
            for index, box in enumerate(boxes)
            if (cost := self._cost(track, box, at_s, elapsed_s)) < 1
        ]
        tracks_taken: set[int] = set()
        boxes_taken: set[int] = set()
        pairs: list[tuple[Track, Box]] = []
        for _, number, index in sorted(costs):
            if number not in tracks_taken and index not in boxes_taken:
                tracks_taken.add(number)
                boxes_taken.add(index)
                pairs.append((self._tracks[number], boxes[index]))
        return pairs

    def _cost(self, track: Track, box: Box, at_s: float, elapsed_s: float) -> float:
        """0 … 1 where `box` may continue `track`: its distance from the expected place, by what is believable."""
        x, y = track.expected(at_s)
        was = track.box
        away = math.hypot((box.x + box.width / 2 - x) * self._aspect, box.y + box.height / 2 - y)
        reach = 0.35 * math.hypot(was.width * self._aspect, was.height) + min(0.5, 0.3 * max(elapsed_s, 0.1))
        small, large = sorted((was.width * was.height, box.width * box.height))
        # Things don't become another size at once: what does is rather another thing, or rain.
        unlike = 0.1 * math.log(max(large, 1e-9) / max(small, 1e-9))
        return away / reach + unlike
