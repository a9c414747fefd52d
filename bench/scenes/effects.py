"""What spoils a camera's picture: weather, light, things on the glass, somebody's hand.

Each is a callable of (picture, seconds), deterministic: whatever is random in it is drawn when it is made.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.demo.scenery import Picture

_Plane = NDArray[np.float32]


def ramp(at_s: float, from_s: float, over_s: float) -> float:
    """0 before `from_s`, 1 from `over_s` later on."""
    if over_s <= 0:
        return float(at_s >= from_s)
    return min(1.0, max(0.0, (at_s - from_s) / over_s))


def _grid(picture: Picture) -> tuple[_Plane, _Plane]:
    """Column and row of each pixel, in heights of the picture."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    return x, y


def _scaled(picture: Picture, gain: _Plane) -> Picture:
    """float32[h, w] or float32[h, 1] times the picture."""
    full = cv2.resize(gain, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cast("Picture", cv2.multiply(picture, cv2.merge([full] * 3), dtype=cv2.CV_8U))


def _brightened(picture: Picture, light: _Plane, tint: tuple[float, float, float] = (1, 1, 1)) -> Picture:
    """With light (grey levels, float32[h, w]) added."""
    return cast("Picture", cv2.add(picture, cv2.merge([light * part for part in tint]), dtype=cv2.CV_8U))


def _pool(picture: Picture, x: float, y: float, wide: float, high: float) -> _Plane:
    """A soft round light of strength 1 at (x, y), in heights of the picture."""
    columns, rows = _grid(picture)
    return cast("_Plane", np.exp(-(((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2)).astype(np.float32))


# ---- weather


class Snow:
    """Flakes that fall and drift; a few are near the lens, large and faint."""

    def __init__(self, seed: int, flakes: int = 260, wind: float = 0.1) -> None:
        rng = np.random.default_rng((seed, 21))
        self._x, self._y = rng.uniform(0, 1.8, flakes), rng.uniform(0, 1.1, flakes)
        near = rng.uniform(0, 1, flakes) ** 4
        self._size = 1 + np.round(near * 5).astype(int)
        self._falls, self._drifts = 0.25 + 0.7 * near, wind * rng.uniform(0.5, 1.5, flakes)
        self._phase = rng.uniform(0, 6.28, flakes)
        self._bright = (235 - 90 * near).astype(int)

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        height, width = picture.shape[:2]
        x = ((self._x + self._drifts * at_s + 0.02 * np.sin(at_s * 2 + self._phase)) % (width / height + 0.1)) * height
        y = ((self._y + self._falls * at_s) % 1.1 - 0.05) * height
        sheet = picture.copy()
        for left, top, size, bright in zip(x, y, self._size, self._bright, strict=True):
            cv2.circle(sheet, (round(left), round(top)), int(size * height / 360), (int(bright),) * 3, -1)
        return cast("Picture", cv2.addWeighted(sheet, 0.7, picture, 0.3, 0))


class Fog:
    """Grey that drifts, thicker here and there."""

    def __init__(self, seed: int, thick: float = 0.5, drift: float = 0.04) -> None:
        rng = np.random.default_rng((seed, 22))
        clouds = rng.uniform(-1, 1, (6, 40)).astype(np.float32)
        # three times beside itself and then enlarged: it goes on where it begins anew, without an edge in the fog
        self._clouds: _Plane = cv2.resize(np.tile(clouds, 3), (2400, 90), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
        self._thick, self._drift = thick, drift

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        offset = 800 + at_s * self._drift * 90 % 800
        part = cv2.getRectSubPix(self._clouds, (160, 90), (offset + 80, 44.5))
        clear: _Plane = np.clip(1 - self._thick - 0.15 * part, 0.1, 1).astype(np.float32)
        full = cv2.resize(clear, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return _brightened(_scaled(picture, clear), np.asarray((1 - full) * 190, np.float32))


@dataclass(frozen=True, slots=True)
class CloudShadow:
    """The soft edge of a cloud's shadow wanders over the street within some seconds, stays and wanders off."""

    comes_s: float
    goes_s: float
    takes_s: float = 6.0
    depth: float = 0.35
    soft: float = 0.15

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        columns, rows = _grid(picture[::4, ::4])
        along = (columns + 0.4 * rows) / (16 / 9 + 0.4)
        edges = [1.4 * ramp(at_s, begins, self.takes_s) - 0.2 for begins in (self.comes_s, self.goes_s)]
        dark = [1 / (1 + np.exp(np.clip((along - edge) / self.soft * 6, -60, 60))) for edge in edges]
        return _scaled(picture, (1 - self.depth * np.clip(dark[0] - dark[1], 0, 1)).astype(np.float32))


# ---- light


@dataclass(frozen=True, slots=True)
class Headlights:
    """The cones of cars that are not in the picture sweep over the street's walls."""

    sweeps: tuple[tuple[float, float, bool], ...]
    """(begins, seconds over the whole width, to the right)."""
    strength: float = 85.0

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        for begins_s, takes_s, rightwards in self.sweeps:
            part = (at_s - begins_s) / takes_s
            if 0 <= part <= 1:
                x = (part if rightwards else 1 - part) * 2.4 - 0.3
                light = _pool(picture, x, 0.5, 0.28, 0.22) * self.strength * math.sin(math.pi * part) ** 0.5
                picture = _brightened(picture, light.astype(np.float32), (0.85, 0.95, 1.0))
        return picture


@dataclass(frozen=True, slots=True)
class Lamp:
    """A lamp that goes on, at once or slowly, and lights its part of the street."""

    from_s: float
    over_s: float
    x: float
    y: float = 0.5
    strength: float = 60.0
    radius: float = 0.28

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        part = ramp(at_s, self.from_s, self.over_s)
        if part == 0:
            return picture
        light = _pool(picture, self.x, self.y, self.radius, self.radius) * self.strength * part
        return _brightened(picture, light.astype(np.float32), (0.7, 0.9, 1.0))


@dataclass(frozen=True, slots=True)
class Gain:
    """Automatic exposure steps: (from when, over how long, by what factor beside the one before)."""

    steps: tuple[tuple[float, float, float], ...]

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        gain = 1.0
        for from_s, over_s, factor in self.steps:
            gain *= factor ** ramp(at_s, from_s, over_s)
        return cast("Picture", cv2.convertScaleAbs(picture, alpha=gain))


@dataclass(frozen=True, slots=True)
class Flicker:
    """Lamps on 50 Hz beside a rolling shutter: bands that wander through the picture with the beat of both."""

    depth: float = 0.06
    beat_hz: float = 0.7
    bands: float = 1.5

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        rows = np.linspace(0, 1, picture.shape[0], dtype=np.float32)[:, None]
        return _scaled(picture, 1 + self.depth * np.sin(2 * math.pi * (self.beat_hz * at_s + self.bands * rows)))


@dataclass(frozen=True, slots=True)
class InfraRed:
    """Dusk, and then the camera's filter swings away: a black moment, then grey under its own lamps, with grain."""

    at_s: float
    dusk_s: float = 6.0
    """The light goes for so long before."""
    sigma: float = 4.0
    seed: int = 0

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        if at_s < self.at_s:
            return cast(
                "Picture",
                cv2.convertScaleAbs(picture, alpha=1 - 0.6 * ramp(at_s, self.at_s - self.dusk_s, self.dusk_s)),
            )
        if at_s < self.at_s + 0.3:
            return np.zeros_like(picture)
        weights = np.array([[0.15, 0.25, 0.6]], np.float32)
        grey = cv2.transform(picture, weights).astype(np.float32)
        settles = 1.5 - 0.5 * ramp(at_s, self.at_s + 0.3, 1.0)  # it starts too bright
        seen = grey * (0.25 + 0.55 * _pool(picture, 0.89, 0.6, 0.8, 0.5)) * settles
        rng = np.random.default_rng((self.seed, round(at_s * 1000)))
        grain = rng.integers(-128, 128, (picture.shape[0] // 2, picture.shape[1] // 2), np.int8).astype(np.float32)
        seen += cv2.resize(grain, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) * (self.sigma / 74)
        return cast("Picture", cv2.merge([np.clip(seen, 0, 255).astype(np.uint8)] * 3))


# ---- on and before the glass


@dataclass(frozen=True, slots=True)
class _Flight:
    begins_s: float
    lasts_s: float
    x: float
    y: float
    turns: tuple[float, float, float, float]
    size: float


class Insects:
    """Moths near the lens, lit by its lamps: bright, blurred, quick and never straight for long."""

    def __init__(self, seed: int, seconds: float, every_s: float = 1.5) -> None:
        rng = np.random.default_rng((seed, 23))
        self._flights = [
            _Flight(
                begins_s,
                float(rng.uniform(0.4, 1.8)),
                float(rng.uniform(0.2, 1.6)),
                float(rng.uniform(0.1, 0.9)),
                cast("tuple[float, float, float, float]", tuple(float(turn) for turn in rng.uniform(3, 14, 4))),
                float(rng.uniform(0.012, 0.035)),
            )
            for begins_s in np.cumsum(rng.exponential(every_s, int(seconds / every_s))).tolist()
        ]

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        here = [flight for flight in self._flights if 0 <= at_s - flight.begins_s < flight.lasts_s]
        if not here:
            return picture
        height, width = picture.shape[:2]
        sheet = np.zeros((height // 2, width // 2), np.uint8)
        for flight in here:
            points = [self._at(flight, at_s - flight.begins_s - late) for late in (0, 0.02, 0.04)]  # blurred by 1/25 s
            places = [np.array([round(x * height / 2), round(y * height / 2)]) for x, y in points]
            for a, b in itertools.pairwise(places):
                cv2.line(sheet, a.tolist(), b.tolist(), 150, max(2, round(flight.size * height)))
        soft = cv2.GaussianBlur(sheet, (0, 0), height / 180)
        full = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
        return cast("Picture", cv2.add(picture, cv2.merge([full] * 3)))

    @staticmethod
    def _at(flight: _Flight, since_s: float) -> tuple[float, float]:
        a, b, c, d = flight.turns
        x = flight.x + 0.25 * math.sin(a * since_s) + 0.1 * math.sin(b * since_s * 2 + 1)
        return x, flight.y + 0.2 * math.sin(c * since_s + 2) + 0.1 * math.sin(d * since_s * 2)


class Web:
    """A spider's web across a corner, lit by the camera's lamps, swaying in the wind."""

    def __init__(self, seed: int, sway: float = 0.015, bright: int = 90) -> None:
        rng = np.random.default_rng((seed, 24))
        self._threads = [
            (rng.uniform(0, 0.7), rng.uniform(0, 0.6), float(rng.uniform(0, 6.28)), float(rng.uniform(0.7, 1.3)))
            for _ in range(7)
        ]
        self._sway, self._bright = sway, bright

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        height, width = picture.shape[:2]
        sheet = np.zeros((height, width), np.uint8)
        gust = 0.5 + 0.5 * math.sin(at_s * 0.37)
        for x, y, phase, pace in self._threads:
            swing = self._sway * gust * math.sin(at_s * 2.6 * pace + phase)
            way = [(0.0, y), ((x + 0.1) / 2 + swing, y / 2 + swing), (x + 0.3, 0.0)]
            points = np.array([(round(px * height), round(py * height)) for px, py in way], np.int32)
            cv2.polylines(sheet, [points], False, self._bright, max(1, height // 180), cv2.LINE_AA)
        soft = cv2.GaussianBlur(sheet, (0, 0), height / 240)
        return cast("Picture", cv2.add(picture, cv2.merge([soft] * 3)))


@dataclass(frozen=True, slots=True)
class Covered:
    """A dark bag is pulled over the camera from one side."""

    from_s: float
    over_s: float = 1.2

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        part = ramp(at_s, self.from_s, self.over_s)
        columns = round(part * picture.shape[1])
        if columns:
            folds = 24 + 6 * np.sin(np.arange(columns, dtype=np.float32) / 37)
            picture[:, :columns] = folds.astype(np.uint8)[None, :, None]
        return picture


@dataclass(frozen=True, slots=True)
class Blinded:
    """Somebody shines a strong lamp into the lens."""

    from_s: float
    x: float = 0.9
    y: float = 0.5
    over_s: float = 0.5

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        part = ramp(at_s, self.from_s, self.over_s)
        if part == 0:
            return picture
        light = _pool(picture, self.x, self.y, 0.7, 0.6) * 420 * part + 60 * part
        return _brightened(
            cast("Picture", cv2.convertScaleAbs(picture, alpha=1 - 0.5 * part)), light.astype(np.float32)
        )


@dataclass(frozen=True, slots=True)
class Defocused:
    """The lens loses its focus."""

    from_s: float
    over_s: float = 2.0
    blur: float = 0.025

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        sigma = self.blur * picture.shape[0] * ramp(at_s, self.from_s, self.over_s)
        return cast("Picture", cv2.GaussianBlur(picture, (0, 0), sigma)) if sigma > 0.3 else picture


@dataclass(frozen=True, slots=True)
class Turned:
    """The camera is turned to the right, until it shows another part of the street."""

    from_s: float
    other: Picture = field(repr=False)
    """What is there, of the picture's own size."""
    over_s: float = 1.5
    part: float = 0.6

    def __call__(self, picture: Picture, at_s: float) -> Picture:
        width = picture.shape[1]
        shift = round(self.part * width * ramp(at_s, self.from_s, self.over_s))
        return np.ascontiguousarray(np.hstack([picture, self.other])[:, shift : shift + width])
