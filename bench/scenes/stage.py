"""The demo's street with players of a script instead of its own acts, and with whatever spoils a camera's picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from bench.scenes.labels import Sight, Track
from edge_agent.demo import scenery
from edge_agent.demo.scene import ActorKind, Crossing, StreetScene, Weather
from edge_agent.demo.scenery import HEIGHT, WIDTH, Picture

Effect = Callable[[Picture, float], Picture]
"""A picture at a time in seconds; it may change the one it is given.  A function of these two alone."""

SIZE, FPS = (640, 360), 10
STRIDE_M = 1.4
GREY = 150


@dataclass(frozen=True, slots=True)
class Player(Crossing):
    """Somebody who goes from place to place; in between, and where two places are one, it stands."""

    way: tuple[tuple[float, float, float], ...] = ()
    """(seconds, x, y) of its feet in pixels of 1280x720, in order."""
    scale: float = 1.0
    """As if it stood so much nearer."""
    contrast: float = 1.0
    """1: as painted; 0: as grey as the road."""

    def feet(self, at_s: float) -> tuple[float, float]:
        times, xs, ys = zip(*self.way, strict=True)
        return float(np.interp(at_s, times, xs)), float(np.interp(at_s, times, ys))

    def walked(self, at_s: float) -> float:
        """Pixels so far."""
        way, last = 0.0, self.way[0]
        for place in self.way[1:]:
            here = self.feet(at_s) if at_s < place[0] else place[1:]
            way += math.dist(last[1:], here)
            if at_s < place[0]:
                break
            last = place
        return way


@dataclass(frozen=True, slots=True)
class Prop:
    """A thing that lies or stands there for a time: feet in pixels of 1280x720, size in metres."""

    x: float
    y: float
    width_m: float
    height_m: float
    colour: scenery.Colour
    from_s: float = -math.inf
    until_s: float = math.inf
    before_players: bool = False
    """It hides them."""


def player(
    way: Sequence[tuple[float, float, float]],
    *,
    kind: ActorKind = ActorKind.PERSON,
    look: int = 0,
    scale: float = 1.0,
    contrast: float = 1.0,
) -> Player:
    (begins_s, *start), (ends_s, *end) = way[0], way[-1]
    return Player(kind, look, begins_s, ends_s, (start[0], start[1]), (end[0], end[1]), tuple(way), scale, contrast)


class Stage(StreetScene):
    """Pictures by their number, as `StreetScene`; light falls before the camera shakes, `lens` is on its glass.

    frozen_s: from then on the same picture comes again and again.
    """

    def __init__(
        self,
        seed: int,
        weather: Weather,
        players: Sequence[Player] = (),
        props: Sequence[Prop] = (),
        light: Sequence[Effect] = (),
        lens: Sequence[Effect] = (),
        frozen_s: float = math.inf,
        *,
        size: tuple[int, int] = SIZE,
        fps: float = FPS,
    ) -> None:
        super().__init__(size, fps, seed, weather)
        self._players = list(players)
        self._props = [(prop, self._paint_prop(prop)) for prop in props]
        self._light, self._lens = light, lens
        self._frozen_s = frozen_s
        self._played = lru_cache(maxsize=2048)(self._paint_player)

    def frame(self, number: int) -> Picture:
        return super().frame(min(number, round(min(self._frozen_s, 1e6) * self.fps)))

    def tracks(self, seconds: float) -> list[Track]:
        """What each player does in the picture; who never comes into it has none."""
        found = []
        for one in self._players:
            sights = []
            for number in range(round(seconds * self.fps)):
                at_s = number / self.fps
                if one.begins_s <= at_s <= one.ends_s and (box := self._box(one, at_s)) is not None:
                    x, y = one.feet(at_s)
                    dx, dy = self._shaken(at_s)
                    sights.append(Sight(at_s, box, (x / WIDTH + dx / self.size[0], y / HEIGHT + dy / self.size[1])))
            if sights:
                found.append(Track(tuple(sights)))
        return found

    def _present(self, at_s: float) -> list[Crossing]:
        return [one for one in self._players if one.begins_s <= at_s <= one.ends_s]

    def _painted(self, at_s: float) -> Picture:
        background = [prop for prop in self._props if not prop[0].before_players]
        plain = self._street
        if any(prop.from_s <= at_s < prop.until_s for prop, _ in background):
            self._street = plain.copy()
            self._lay(self._street, background, at_s)
        picture = super()._painted(at_s)
        self._street = plain
        self._lay(picture, [prop for prop in self._props if prop[0].before_players], at_s)
        return picture

    def _lay(self, picture: Picture, props: Sequence[tuple[Prop, Picture]], at_s: float) -> None:
        for prop, sprite in props:
            if prop.from_s <= at_s < prop.until_s:
                height, width = sprite.shape[:2]
                left, top = prop.x * self._fit[0] - width / 2, prop.y * self._fit[1] - height
                self._blend(picture, sprite, round(left), round(top))

    def _lit(self, picture: Picture, at_s: float) -> Picture:
        picture = super()._lit(picture, at_s)
        for effect in self._light:
            picture = effect(picture, at_s)
        return picture

    def _sensed(self, picture: Picture, number: int) -> Picture:
        for effect in self._lens:
            picture = effect(picture, number / self.fps)
        return super()._sensed(picture, number)

    def _placed(self, crossing: Crossing, at_s: float) -> tuple[Picture, int, int]:
        one = cast("Player", crossing)
        x, y = one.feet(at_s)
        scale = scenery.pixels_per_metre(y) / 100 * one.scale
        phase = int(one.walked(at_s) / (100 * scale) / STRIDE_M * scenery.WALK_PHASES) % scenery.WALK_PHASES
        if one.kind is ActorKind.CAR:
            phase = 0
        leftwards = one.end[0] < one.start[0]
        sprite = self._played(one.kind, one.look, phase, leftwards, round(scale, 2), one.contrast)
        height, width = sprite.shape[:2]
        return sprite, round(x * self._fit[0] - width / 2), round(y * self._fit[1] - height)

    def _paint_player(
        self, kind: ActorKind, look: int, phase: int, leftwards: bool, scale: float, contrast: float
    ) -> Picture:
        sprite = self._paint_sprite(kind, look, phase, leftwards, scale).copy()
        if contrast != 1:
            sprite[:, :, :3] = (GREY + (sprite[:, :, :3].astype(np.float32) - GREY) * contrast).astype(np.uint8)
            sprite[:, :, 3][sprite[:, :, 3] < 200] = 0  # a flat light throws no shadow
        return sprite

    def _paint_prop(self, prop: Prop) -> Picture:
        scale = scenery.pixels_per_metre(prop.y)
        width = max(2, round(prop.width_m * scale * self._fit[0]))
        height = max(2, round(prop.height_m * scale * self._fit[1]))
        sprite = np.zeros((height, width, 4), np.uint8)
        sprite[:] = (*prop.colour, 255)
        shade = tuple(round(part * 0.6) for part in prop.colour)
        cv2.rectangle(sprite, (0, 0), (width - 1, height - 1), (*shade, 255), max(1, height // 10))
        return sprite
