"""From the picture to the street: how large a metre is, how fast things go, and where to.  Pure.

A level street seen by a camera that is not tilted sideways: a metre looks the larger, the further below the horizon its
row is, in proportion (h = f · H / Z and y − horizon = f · camera height / Z).  Two measured lengths at different rows
give the horizon and the scale; the angle of view gives depth.  Lengths in the picture are in heights of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from edge_agent.capture.tracks import Sighting, Track
from edge_agent.model import Approach, Kind, Pace

Unit = Annotated[float, Field(ge=0, le=1)]
FORESHORTENED = 3.0
"""Without calibration: a way up or down in the picture is about so many times longer on the street than one across."""
PERSON_M, VEHICLE_M = 1.7, 1.5
"""Heights that are assumed without calibration."""
LEAST_BELOW = 0.02
"""Nearer to the horizon than this nothing is measured."""
SLOW_MPS, WALK_MPS, RUN_MPS = 0.5, 2.3, 6.5


@dataclass(frozen=True, slots=True)
class Measure:
    """A length known on the spot: a post or a person upright, or a kerb or a gate across the view, between two points
    of the picture; its row is where its lower end is."""

    start: tuple[Unit, Unit]
    end: tuple[Unit, Unit]
    metres: Annotated[float, Field(gt=0, le=1000)]

    @property
    def row(self) -> float:
        return max(self.start[1], self.end[1])

    def per_metre(self, aspect: float) -> float:
        """How large a metre is there."""
        return math.hypot((self.end[0] - self.start[0]) * aspect, self.end[1] - self.start[1]) / self.metres


@dataclass(frozen=True, slots=True)
class Ground:
    """The street before the camera."""

    horizon: float
    """The row where everything is infinitely far; above the picture it is negative."""
    grows: float
    """By so much a metre grows for each part of the picture further down."""
    focal: float
    aspect: float

    @classmethod
    def fitted(cls, measures: Sequence[Measure], aspect: float, view_deg: float) -> Ground:
        """The least-squares line through the measures; ValueError when they tell none."""
        rows = [measure.row for measure in measures]
        scales = [measure.per_metre(aspect) for measure in measures]
        if len(rows) < 2 or max(rows) - min(rows) < 0.05:
            raise ValueError("two lengths at rows of the picture at least 0.05 apart are needed")
        mean_row, mean_scale = sum(rows) / len(rows), sum(scales) / len(scales)
        spread = sum((row - mean_row) ** 2 for row in rows)
        grows = sum((row - mean_row) * (scale - mean_scale) for row, scale in zip(rows, scales, strict=True)) / spread
        if grows <= 0 or mean_scale <= 0:
            raise ValueError("a metre must look larger further down in the picture")
        return cls(mean_row - mean_scale / grows, grows, aspect / 2 / math.tan(math.radians(view_deg) / 2), aspect)

    def per_metre(self, row: float) -> float | None:
        """How large a metre is at a row; None too near to the horizon."""
        below = row - self.horizon
        return self.grows * below if below >= LEAST_BELOW else None

    def place(self, point: tuple[float, float]) -> tuple[float, float] | None:
        """(metres to the right of the camera's axis, metres away) of a point on the ground."""
        scale = self.per_metre(point[1])
        return ((point[0] - 0.5) * self.aspect / scale, self.focal / scale) if scale else None

    def velocity(self, point: tuple[float, float], vx: float, vy: float) -> tuple[float, float] | None:
        """(to the right, away), m/s, of what moves by (vx, vy) heights a second in the picture."""
        scale = self.per_metre(point[1])
        if scale is None:
            return None
        sinks = self.grows * vy / scale
        return (vx - (point[0] - 0.5) * self.aspect * sinks) / scale, -self.focal * sinks / scale


@dataclass(frozen=True, slots=True)
class View:
    """What is known of how a camera looks at the street; aspect: the picture's width by its height."""

    aspect: float
    ground: Ground | None = None
    bearing_deg: float | None = None
    """Where the camera's axis points: 0 = north, 90 = east."""


@dataclass(frozen=True, slots=True)
class Movement:
    direction_deg: float
    """In the picture: 0 = up, 90 = right."""
    way: float
    """How far it went within the time looked at, in heights of the picture."""
    kind: Kind | None
    bearing_deg: float | None
    approach: Approach | None
    speed_mps: float | None
    pace: Pace | None


def movement(track: Track, view: View) -> Movement:
    """How a thing moves, over its last 3 s."""
    vx, vy, span_s = track.velocity()
    kind = kind_of(track, view)
    seen = _whole(track)
    across, away = vx, -vy * FORESHORTENED
    speed: float | None = None
    towards = (0.0, 1.0)
    # the velocity is that of the middle of the way
    middle = seen[len(seen) // 2].foot if seen else (0.5, 0.0)
    if view.ground and (moved := view.ground.velocity(middle, vx, vy)):
        across, away = moved
        speed = math.hypot(across, away)
        towards = view.ground.place(middle) or towards
    elif seen and kind in (Kind.PERSON_LIKE, Kind.VEHICLE_LIKE):
        height = _full([one.box.height for one in seen])
        # the least it can be: how far a way up or down leads is not known well enough
        speed = math.hypot(vx, vy) / height * (PERSON_M if kind is Kind.PERSON_LIKE else VEHICLE_M)
    total = math.hypot(across, away)
    radial = (across * towards[0] + away * towards[1]) / math.hypot(*towards)
    approach = None
    if total and abs(radial) >= 0.5 * total:
        approach = Approach.LEAVING if radial > 0 else Approach.APPROACHING
    bearing = None
    if view.bearing_deg is not None and total:
        bearing = (view.bearing_deg + math.degrees(math.atan2(across, away))) % 360
    return Movement(
        math.degrees(math.atan2(vx, -vy)) % 360,
        math.hypot(vx, vy) * span_s,
        kind,
        bearing,
        approach,
        speed,
        None if speed is None else pace(speed, kind),
    )


def kind_of(track: Track, view: View) -> Kind | None:
    """What a thing may be by its size, where that is known, and its shape; of the pictures that show it whole."""
    seen = _whole(track)
    if len(seen) < 2:
        return None
    width = _full([one.box.width for one in seen]) * view.aspect
    height = _full([one.box.height for one in seen])
    shape = width / height if height else math.inf
    scale = view.ground.per_metre(seen[-1].foot[1]) if view.ground else None
    if scale is None:
        if shape <= 0.75:
            return Kind.PERSON_LIKE
        return Kind.VEHICLE_LIKE if shape >= 1.4 else None
    wide_m, high_m = width / scale, height / scale
    if (wide_m > 2.2 and shape > 1.1) or high_m > 2.8:
        return Kind.VEHICLE_LIKE
    if high_m < 0.8 and wide_m < 1.5:
        return Kind.SMALL
    return Kind.PERSON_LIKE if 1.1 <= high_m <= 2.4 and shape < 1.1 else None


def pace(speed_mps: float, kind: Kind | None) -> Pace:
    if speed_mps < SLOW_MPS:
        return Pace.SLOW
    if kind in (Kind.VEHICLE_LIKE, Kind.VEHICLE):
        return Pace.VEHICLE
    if speed_mps < WALK_MPS:
        return Pace.WALK
    return Pace.RUN if speed_mps < RUN_MPS else Pace.VEHICLE


def _full(sizes: list[float]) -> float:
    """The second largest: boxes lose a jacket or legs that look like the street more often than they gain some."""
    return sorted(sizes)[-2:][0]


def _whole(track: Track) -> list[Sighting]:
    """Its latest sightings that the picture's edge does not cut."""
    return [one for one in list(track.sightings)[-12:] if not one.cut]
