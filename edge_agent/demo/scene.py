"""A street before a camera that stands still: people and cars cross it, the light changes, the sensor is noisy.

Frames are a function of their number (and of what the scene was built with), so a test or a demo can ask for any of
them, in any order, and `truth` tells what is to be seen there.  The street lives in acts of 38 s: somebody crosses it
within the first 27 s, then it is empty for at least 10 s.  A cloud passes within two seconds while it is empty.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from edge_agent.clock import US
from edge_agent.demo import scenery
from edge_agent.demo.scenery import HEIGHT, WIDTH, Picture
from edge_agent.model import Box

ACT_S = 38.0
FIRST_CROSSING_S = 3.0
_CLOUD_FROM_S, _CLOUD_CYCLE_S, _CLOUD_EDGE_S = 31.0, 3 * ACT_S, 1.5
_NOISE_MARGIN = 64
_STRIDE_M = 1.4


class ActorKind(StrEnum):
    PERSON = "person"
    CAR = "car"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something in a frame: its box, cut to the picture; 0 = moving up, 90 = right, 180 down, 270 left."""

    kind: ActorKind
    box: Box
    direction_deg: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """One way through the street, in pixels of 1280x720: where its feet are at the start and at the end."""

    kind: ActorKind
    look: int
    begins_s: float
    ends_s: float
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def direction_deg(self) -> float:
        return math.degrees(math.atan2(self.end[0] - self.start[0], self.start[1] - self.end[1])) % 360

    def feet(self, at_s: float) -> tuple[float, float]:
        part = (at_s - self.begins_s) / (self.ends_s - self.begins_s)
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part


@dataclass(frozen=True, slots=True)
class Weather:
    """What makes a watcher's life hard.  All zero: a calm day with a good camera."""

    noise: float = 2.5
    """Standard deviation of the sensor's noise, grey levels."""
    rain: float = 0.0
    """0 … 1."""
    wind: float = 0.0
    """0 … 1: how far the tree sways; at 1 about 25 pixels of 1280."""
    shake: float = 0.0
    """How far the camera's mast moves, pixels of 1280."""
    night: bool = False
    cloud: bool = True
    """Whether clouds pass: 22 % of the light within 1.5 s."""


def crossings(seed: int, act: int) -> list[Crossing]:
    """Who crosses the street in an act, in the order in which they appear; times count from the scene's start."""
    rng = np.random.default_rng((seed, act))
    opening = act * ACT_S + FIRST_CROSSING_S
    plan = [("walker",), ("walker", "car"), ("jaywalker",), ("walker", "walker"), ("car", "walker", "car")][
        0 if act == 0 else int(rng.integers(5))
    ]
    cast_of_act: list[Crossing] = []
    for place, role in enumerate(plan):
        begins_s = opening + (0 if place == 0 else float(rng.uniform(0.8, 4)))
        rightwards = bool(rng.integers(2)) if act else True
        look = int(rng.integers(1000))
        if role == "car":
            # Right-hand traffic: the near lane goes to the right.
            foot_y, kind, speed, margin = (584.0 if rightwards else 500.0), ActorKind.CAR, rng.uniform(7, 11), 190
        else:
            near = bool(rng.integers(2)) if act else True
            foot_y = float(rng.uniform(640, 672)) if near else float(rng.uniform(428, 438))
            kind, speed, margin = ActorKind.PERSON, rng.uniform(1.3, 1.7), 55
        start, end = (-float(margin), foot_y), (float(WIDTH + margin), foot_y)
        if role == "jaywalker":
            start, end = (-float(margin), 664.0), (WIDTH * 0.85, 428.0)
        if not rightwards:
            start, end = (WIDTH - start[0], start[1]), (WIDTH - end[0], end[1])
        scale = scenery.pixels_per_metre((start[1] + end[1]) / 2)
        lasts_s = min(20.0, abs(end[0] - start[0]) / scale / float(speed))
        cast_of_act.append(Crossing(kind, look, begins_s, begins_s + lasts_s, start, end))
    return sorted(cast_of_act, key=lambda crossing: crossing.begins_s)


def daylight(at_s: float, cloud: bool = True) -> float:
    """The part of the full light there is: a slow wave of 5 %, and the shadow of a cloud with its fast edges."""
    light = 0.97 + 0.05 * math.sin(2 * math.pi * at_s / 95)
    if not cloud:
        return light
    phase = (at_s - _CLOUD_FROM_S) % _CLOUD_CYCLE_S
    if at_s < _CLOUD_FROM_S:
        return light
    covered = min(1.0, phase / _CLOUD_EDGE_S, max(0.0, (ACT_S + _CLOUD_EDGE_S - phase) / _CLOUD_EDGE_S))
    return light * (1 - 0.22 * max(0.0, covered))


class StreetScene:
    """Frames of a street by their number.  Not for several threads at once: it draws on its own sheets.

    `size` is (width, height); `clock_us` is the UTC time of frame 0, drawn into the picture as cameras do; None: none.
    """

    def __init__(
        self,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        fps: float = 15,
        seed: int = 1,
        weather: Weather | None = None,
        clock_us: int | None = None,
    ) -> None:
        self.size = size
        self.fps = fps
        self.seed = seed
        self.weather = weather or Weather()
        self.clock_us = clock_us
        """May be set before filming starts, so that building the scene does not make the clock late."""
        self._fit = (size[0] / WIDTH, size[1] / HEIGHT)
        self._street = self._fitted(scenery.paint_street(seed))
        self._tree = self._fitted(scenery.paint_tree(seed))
        trunk = (round(1130 * self._fit[0]), round(250 * self._fit[1]), round(1146 * self._fit[0]))
        cv2.rectangle(
            self._street, trunk[:2], (trunk[2], round((scenery.FAR_WALK_Y + 30) * self._fit[1])), (48, 58, 70), -1
        )
        if not self.weather.wind:
            self._blend(self._street, self._tree, round(1018 * self._fit[0]), round(70 * self._fit[1]))
        self._night = self._fitted(scenery.paint_night()) if self.weather.night else None
        sigma = self.weather.noise * (2 if self.weather.night else 1)
        self._noise = scenery.paint_noise(size, sigma, seed, _NOISE_MARGIN) if sigma else None
        self._rain = scenery.paint_rain(size, self.weather.rain, seed) if self.weather.rain else None
        self._sprite = lru_cache(maxsize=512)(self._paint_sprite)
        self._acts = lru_cache(maxsize=8)(crossings)

    def frame(self, number: int) -> Picture:
        """Frame `number` (0 …), a new uint8[h, w, 3] BGR."""
        at_s = number / self.fps
        picture = self._lit(self._painted(at_s), at_s)
        if self._rain is not None:
            offset = self.size[1] - int(at_s * 1400 * self._fit[1]) % self.size[1]
            cv2.add(picture, self._rain[offset : offset + self.size[1]], picture)
        if self.weather.shake:
            dx, dy = self._shaken(at_s)
            move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            picture = cast("Picture", cv2.warpAffine(picture, move, self.size, borderMode=cv2.BORDER_REPLICATE))
        picture = self._sensed(picture, number)
        if self.clock_us is not None:
            self._draw_clock(picture, self.clock_us + round(at_s * US))
        return picture

    def _painted(self, at_s: float) -> Picture:
        """The street and who is in it, in full light."""
        picture = self._street.copy()
        if self.weather.wind:
            sway = 25 * self.weather.wind * (math.sin(at_s * 2.1) + 0.5 * math.sin(at_s * 5.3 + 1)) / 1.5
            place = (1018 + sway) * self._fit[0], (70 + abs(sway) / 5) * self._fit[1]
            self._blend(picture, self._tree, round(place[0]), round(place[1]))
        for crossing in sorted(self._present(at_s), key=lambda one: one.feet(at_s)[1]):
            sprite, left, top = self._placed(crossing, at_s)
            self._blend(picture, sprite, left, top)
        return picture

    def _lit(self, picture: Picture, at_s: float) -> Picture:
        """The same in the light there is; `picture` may be changed."""
        if self._night is not None:
            cv2.multiply(picture, self._night, picture, scale=1 / 255)
        else:
            cv2.convertScaleAbs(picture, picture, alpha=daylight(at_s, self.weather.cloud))
        return picture

    def _sensed(self, picture: Picture, number: int) -> Picture:
        """What the sensor makes of it; `picture` may be changed."""
        if self._noise is not None:
            rng = np.random.default_rng((self.seed, number))
            for operation, tile in zip((cv2.add, cv2.subtract), self._noise, strict=True):
                x, y = (int(part) for part in rng.integers(_NOISE_MARGIN, size=2))
                operation(picture, tile[y : y + self.size[1], x : x + self.size[0]], picture)
        return picture

    def truth(self, number: int) -> list[Actor]:
        """Who is to be seen in frame `number`, the nearest last; boxes are of the whole body, without its shadow."""
        at_s = number / self.fps
        actors: list[Actor] = []
        for crossing in sorted(self._present(at_s), key=lambda one: one.feet(at_s)[1]):
            box = self._box(crossing, at_s)
            if box is not None:
                actors.append(Actor(crossing.kind, box, crossing.direction_deg))
        return actors

    def _box(self, crossing: Crossing, at_s: float) -> Box | None:
        """Where its body is in the picture, None when it is outside."""
        dx, dy = self._shaken(at_s)
        sprite, left, top = self._placed(crossing, at_s)
        solid = sprite[:, :, 3] > 200
        columns, rows = (np.flatnonzero(solid.any(axis=axis)) for axis in (0, 1))
        first, last, upper, lower = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        x0, x1 = (min(max((left + edge + dx) / self.size[0], 0.0), 1.0) for edge in (float(first), float(last)))
        y0, y1 = (min(max((top + edge + dy) / self.size[1], 0.0), 1.0) for edge in (float(upper), float(lower)))
        return Box(x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None

    def _present(self, at_s: float) -> list[Crossing]:
        act = self._acts(self.seed, int(at_s // ACT_S))
        return [crossing for crossing in act if crossing.begins_s <= at_s < crossing.ends_s]

    def _placed(self, crossing: Crossing, at_s: float) -> tuple[Picture, int, int]:
        """The sprite of a crossing now, and where its left upper corner is."""
        x, y = crossing.feet(at_s)
        scale = scenery.pixels_per_metre(y) / 100
        walked_m = math.dist(crossing.start, (x, y)) / (100 * scale)
        phase = int(walked_m / _STRIDE_M * scenery.WALK_PHASES) % scenery.WALK_PHASES
        if crossing.kind is ActorKind.CAR:
            phase = 0
        leftwards = crossing.end[0] < crossing.start[0]
        sprite = self._sprite(crossing.kind, crossing.look, phase, leftwards, round(scale, 2))
        height, width = sprite.shape[:2]
        return sprite, round(x * self._fit[0] - width / 2), round(y * self._fit[1] - height)

    def _paint_sprite(self, kind: ActorKind, look: int, phase: int, leftwards: bool, scale: float) -> Picture:
        sprite = scenery.paint_car(look) if kind is ActorKind.CAR else scenery.paint_person(look, phase)
        if leftwards:
            sprite = np.ascontiguousarray(sprite[:, ::-1])
        height, width = sprite.shape[:2]
        fitted = (max(2, round(width * scale * self._fit[0])), max(2, round(height * scale * self._fit[1])))
        return cast("Picture", cv2.resize(sprite, fitted, interpolation=cv2.INTER_AREA))

    def _shaken(self, at_s: float) -> tuple[float, float]:
        reach = self.weather.shake * self._fit[0]
        return reach * math.sin(at_s * 9.1), reach * 0.6 * math.sin(at_s * 12.7 + 0.5)

    def _fitted(self, picture: Picture) -> Picture:
        if self._fit == (1.0, 1.0):
            return picture
        height, width = picture.shape[:2]
        size = (round(width * self._fit[0]), round(height * self._fit[1]))
        return cast("Picture", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))

    @staticmethod
    def _blend(picture: Picture, sprite: Picture, left: int, top: int) -> None:
        """Lay a sprite over the picture, cut at its edges."""
        height, width = picture.shape[:2]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + sprite.shape[1], width), min(top + sprite.shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return
        part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
        below = picture[y0:y1, x0:x1]
        alpha = part[:, :, 3:].astype(np.uint16)
        below[:] = (part[:, :, :3] * alpha + below * (255 - alpha)) // 255

    def _draw_clock(self, picture: Picture, utc_us: int) -> None:
        text = f"{dt.datetime.fromtimestamp(utc_us // US, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        at, scale = (round(24 * self._fit[0]), round(40 * self._fit[1])), 0.8 * self._fit[1]
        for colour, width in (((20, 20, 20), 4), ((244, 244, 244), 2)):
            thickness = max(1, round(width * self._fit[1]))
            cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
