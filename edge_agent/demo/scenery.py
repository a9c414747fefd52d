"""What a street scene is painted with: the empty street, people, cars, rain, noise, night light.

Everything here is painted once, when a scene is built.  Pictures are uint8[h, w, 3] BGR, sprites uint8[h, w, 4] BGRA
whose lowest row is the ground.  Measures of the street are those of a 1280x720 picture.
"""

from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

WIDTH, HEIGHT = 1280, 720
"""The size that the street is painted in; other sizes are scaled from it."""

FAR_WALK_Y, ROAD_TOP_Y, ROAD_BOTTOM_Y, NEAR_WALK_Y = 404, 446, 596, 612
"""Top edges of the far pavement, the road, its near kerb and the near pavement."""

WALK_PHASES = 12
"""Sprites of one full step of a walking person."""

_SMOOTH = 4  # sprites are painted this much larger and reduced, which smooths their edges

_CLOTHES: tuple[tuple[Colour, Colour], ...] = (
    ((52, 48, 150), (70, 52, 40)),
    ((140, 84, 40), (48, 46, 44)),
    ((60, 110, 62), (96, 74, 58)),
    ((190, 186, 180), (60, 40, 34)),
    ((38, 36, 40), (120, 96, 70)),
)
_PAINTS: tuple[Colour, ...] = ((44, 40, 168), (186, 184, 180), (112, 64, 30), (58, 58, 60), (70, 120, 76))

COUNT_OF_CLOTHES, COUNT_OF_PAINTS = len(_CLOTHES), len(_PAINTS)


def pixels_per_metre(foot_y: float) -> float:
    """How large a metre looks to the camera at the picture row where something stands."""
    return 48 + (foot_y - 430) * (88 - 48) / (664 - 430)


def _picture(array: Any) -> Picture:
    """OpenCV's and numpy's loose types, narrowed to what they are here."""
    return cast("Picture", np.asarray(array, np.uint8))


def paint_street(seed: int) -> Picture:
    """The empty street by day: sky, houses, two pavements, the road."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, 1, HEIGHT)[:, None, None]
    sky = np.array([214, 190, 168]) * (1 - rows) + np.array([226, 222, 214]) * rows
    street = _picture(np.broadcast_to(sky, (HEIGHT, WIDTH, 3)).copy())
    left = -40
    while left < WIDTH:
        width = int(rng.integers(210, 330))
        _paint_house(street, rng, left, width)
        left += width
    _paint_ground(street)
    cv2.rectangle(street, (0, HEIGHT - 22), (WIDTH, HEIGHT), (52, 84, 66), -1)
    for x in (330, 930):
        cv2.rectangle(street, (x, 170), (x + 7, FAR_WALK_Y + 26), (62, 62, 60), -1)
        cv2.line(street, (x + 3, 174), (x + 58, 162), (62, 62, 60), 6)
        cv2.ellipse(street, (x + 62, 165), (16, 6), 0, 0, 360, (196, 214, 220), -1)
    return _textured(street, rng)


def _paint_house(street: Picture, rng: np.random.Generator, left: int, width: int) -> None:
    walls: tuple[Colour, ...] = ((128, 148, 176), (150, 164, 170), (108, 122, 154), (170, 178, 176), (122, 140, 132))
    wall = walls[int(rng.integers(len(walls)))]
    top = int(rng.integers(46, 130))
    cv2.rectangle(street, (left, top), (left + width, FAR_WALK_Y), wall, -1)
    cv2.rectangle(street, (left, top - 10), (left + width, top), _shade(wall, 0.62), -1)
    cv2.line(street, (left + width, top), (left + width, FAR_WALK_Y), _shade(wall, 0.7), 3)
    for y in range(top + 8, FAR_WALK_Y, 9):
        cv2.line(street, (left, y), (left + width, y), _shade(wall, 0.95), 1)
    columns = max(2, width // 74)
    pitch = width / columns
    for y in range(top + 26, FAR_WALK_Y - 140, 84):
        for column in range(columns):
            x = round(left + pitch * (column + 0.5)) - 18
            glass = _shade((112, 98, 84), float(rng.uniform(0.7, 1.35)))
            cv2.rectangle(street, (x - 3, y - 3), (x + 39, y + 57), _shade(wall, 1.2), -1)
            cv2.rectangle(street, (x, y), (x + 36, y + 52), glass, -1)
            cv2.line(street, (x + 18, y), (x + 18, y + 52), _shade(wall, 1.15), 2)
            cv2.line(street, (x, y + 18), (x + 36, y + 18), _shade(wall, 1.15), 2)
    # The ground floor: a shop window with its awning, and a door.
    shop = (left + 16, FAR_WALK_Y - 92, left + width - 76, FAR_WALK_Y - 16)
    awning: Colour = ((60, 60, 140), (110, 90, 50), (70, 110, 60))[int(rng.integers(3))]
    cv2.rectangle(street, shop[:2], shop[2:], (84, 78, 70), -1)
    for x in range(shop[0] + 8, shop[2] - 22, 46):
        cv2.rectangle(
            street, (x, shop[1] + 20), (x + 30, shop[3] - 4), _shade((132, 140, 150), rng.uniform(0.6, 1.2)), -1
        )
    cv2.rectangle(street, (shop[0] - 6, shop[1] - 8), (shop[2] + 6, shop[1] + 12), awning, -1)
    cv2.rectangle(street, (left + width - 60, FAR_WALK_Y - 94), (left + width - 22, FAR_WALK_Y), (46, 58, 78), -1)
    cv2.circle(street, (left + width - 28, FAR_WALK_Y - 44), 3, (120, 190, 210), -1)


def _paint_ground(street: Picture) -> None:
    slabs, joint = (158, 162, 164), (138, 142, 144)
    cv2.rectangle(street, (0, FAR_WALK_Y), (WIDTH, ROAD_TOP_Y), slabs, -1)
    cv2.rectangle(street, (0, ROAD_BOTTOM_Y), (WIDTH, HEIGHT), slabs, -1)
    for top, bottom in ((FAR_WALK_Y, ROAD_TOP_Y - 6), (NEAR_WALK_Y, HEIGHT)):
        for y in range(top, bottom, 20):
            cv2.line(street, (0, y), (WIDTH, y), joint, 1)
        for x in range(-600, WIDTH + 600, 48):
            # Joints run towards a vanishing point above the middle of the picture.
            near, far = (WIDTH / 2 + (x - WIDTH / 2) * (y + 300) / 900 for y in (top, bottom))
            cv2.line(street, (round(near), top), (round(far), bottom), joint, 1)
    cv2.rectangle(street, (0, ROAD_TOP_Y), (WIDTH, ROAD_BOTTOM_Y), (88, 88, 86), -1)
    for y, height in ((ROAD_TOP_Y - 6, 8), (ROAD_BOTTOM_Y, 12)):
        cv2.rectangle(street, (0, y), (WIDTH, y + height), (176, 180, 182), -1)
        cv2.line(street, (0, y + height), (WIDTH, y + height), (70, 70, 70), 2)
    for x in range(-20, WIDTH, 150):
        cv2.rectangle(street, (x, 514), (x + 84, 519), (206, 212, 214), -1)
    cv2.ellipse(street, (760, 560), (34, 9), 0, 0, 360, (66, 66, 66), -1)
    cv2.ellipse(street, (240, 486), (60, 10), 0, 0, 360, (78, 78, 76), -1)


def _textured(street: Picture, rng: np.random.Generator) -> Picture:
    """Fine grain and large stains, fixed to the surfaces, so that nothing is perfectly flat."""
    grain = rng.normal(0, 3.2, (HEIGHT, WIDTH)).astype(np.float32)
    stains = cv2.resize(rng.normal(0, 6, (36, 64)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    strength = np.where(np.arange(HEIGHT) < 46, 0.15, 1.0)[:, None]
    return _picture(np.clip(street + ((grain + stains) * strength)[:, :, None], 0, 255).astype(np.uint8))


def _shade(colour: Colour, factor: float) -> Colour:
    blue, green, red = (min(255, round(part * factor)) for part in colour)
    return blue, green, red


def paint_tree(seed: int) -> Picture:
    """A tree's crown; it stands before the houses and sways in the wind."""
    rng = np.random.default_rng(seed + 77)
    sprite = np.zeros((260 * 2, 240 * 2, 4), np.uint8)
    for _ in range(150):
        angle, reach = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform(0, 1))
        centre = (round(240 + 168 * reach * math.cos(angle)), round(250 + 176 * reach * math.sin(angle)))
        green = _shade((52, 96, 66), float(rng.uniform(0.55, 1.3)))
        cv2.circle(sprite, centre, int(rng.integers(18, 48)), (*green, 255), -1, cv2.LINE_AA)
    return _picture(cv2.resize(sprite, (240, 260), interpolation=cv2.INTER_AREA))


def paint_person(look: int, phase: int) -> Picture:
    """A person of 1.75 m walking to the right, at 100 pixels a metre: 110x184 with the shadow; `phase` of a step."""
    coat, trousers = _CLOTHES[look % COUNT_OF_CLOTHES]
    skin: Colour = (126, 156, 204)
    canvas = _Canvas(110, 184)
    swing = math.sin(2 * math.pi * phase / WALK_PHASES)
    lift = math.cos(2 * math.pi * phase / WALK_PHASES)
    bob = 2.5 * abs(swing)
    hip, shoulder = (54.0, 94 + bob), (56.0, 44 + bob)
    canvas.ellipse((55, 177), (40, 6), (20, 20, 20), alpha=90)
    for side, colour, sleeve in ((-1, _shade(trousers, 0.75), _shade(coat, 0.72)), (1, trousers, coat)):
        leg = 0.44 * swing * side
        bend = 0.5 * max(0.0, -lift * side)
        knee = (hip[0] + 40 * math.sin(leg), hip[1] + 40 * math.cos(leg))
        foot = (knee[0] + 40 * math.sin(leg - bend), knee[1] + 40 * math.cos(leg - bend))
        canvas.line(hip, knee, colour, 17)
        canvas.line(knee, foot, colour, 13)
        canvas.line(foot, (foot[0] + 11, foot[1] + 2), (34, 32, 32), 8)
        arm = -0.5 * swing * side
        elbow = (shoulder[0] + 27 * math.sin(arm), shoulder[1] + 6 + 27 * math.cos(arm))
        hand = (elbow[0] + 24 * math.sin(arm + 0.35), elbow[1] + 24 * math.cos(arm + 0.35))
        if side == 1:
            _paint_trunk(canvas, hip, shoulder, coat, skin)
        canvas.line((shoulder[0], shoulder[1] + 4), elbow, sleeve, 12)
        canvas.line(elbow, hand, sleeve, 10)
        canvas.ellipse(hand, (5, 5), skin)
    return canvas.sprite()


def _paint_trunk(
    canvas: _Canvas, hip: tuple[float, float], shoulder: tuple[float, float], coat: Colour, skin: Colour
) -> None:
    canvas.line(hip, (shoulder[0], shoulder[1] + 6), coat, 30)
    canvas.line((shoulder[0], shoulder[1] - 8), (shoulder[0] + 1, shoulder[1] - 18), skin, 9)
    canvas.ellipse((shoulder[0] + 2, shoulder[1] - 25), (11, 14), skin)
    canvas.ellipse((shoulder[0] - 1, shoulder[1] - 31), (12, 9), (34, 44, 58))


def paint_car(look: int) -> Picture:
    """A car of 4.3 m driving to the right, at 100 pixels a metre: 450x170 with the shadow."""
    paint = _PAINTS[look % COUNT_OF_PAINTS]
    canvas = _Canvas(450, 170)
    canvas.ellipse((225, 156), (214, 11), (16, 16, 16), alpha=120)
    cabin = [(96, 72), (150, 18), (282, 18), (346, 72)]
    canvas.polygon([(10, 84), (30, 70), (96, 64), (346, 66), (424, 84), (438, 104), (438, 134), (12, 134)], paint)
    canvas.polygon(cabin, _shade(paint, 0.9))
    canvas.polygon([(114, 70), (156, 27), (212, 27), (212, 70)], (96, 84, 72))
    canvas.polygon([(222, 70), (222, 27), (276, 27), (326, 70)], (104, 92, 80))
    canvas.line((217, 74), (217, 128), _shade(paint, 0.7), 2)
    canvas.line((12, 112), (438, 112), _shade(paint, 0.82), 5)
    canvas.ellipse((428, 96), (9, 8), (220, 240, 248))
    canvas.ellipse((18, 94), (7, 9), (40, 40, 190))
    for x in (98, 352):
        canvas.ellipse((x, 130), (35, 35), (30, 30, 30))
        canvas.ellipse((x, 130), (20, 20), (150, 152, 154))
        canvas.ellipse((x, 130), (7, 7), (80, 80, 82))
    return canvas.sprite()


class _Canvas:
    """A transparent sheet painted four times too large."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._sheet = np.zeros((height * _SMOOTH, width * _SMOOTH, 4), np.uint8)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: Colour, width: float) -> None:
        cv2.line(self._sheet, self._at(start), self._at(end), (*colour, 255), round(width * _SMOOTH))

    def ellipse(self, at: tuple[float, float], axes: tuple[float, float], colour: Colour, alpha: int = 255) -> None:
        cv2.ellipse(self._sheet, self._at(at), self._at(axes), 0, 0, 360, (*colour, alpha), -1)

    def polygon(self, corners: list[tuple[int, int]], colour: Colour) -> None:
        cv2.fillPoly(self._sheet, [np.array([self._at(corner) for corner in corners], np.int32)], (*colour, 255))

    def sprite(self) -> Picture:
        return _picture(cv2.resize(self._sheet, self._size, interpolation=cv2.INTER_AREA))

    @staticmethod
    def _at(point: tuple[float, float]) -> tuple[int, int]:
        return round(point[0] * _SMOOTH), round(point[1] * _SMOOTH)


def paint_noise(size: tuple[int, int], sigma: float, seed: int, margin: int) -> tuple[Picture, Picture]:
    """What a sensor adds and what it takes away, `margin` pixels larger each way so that a tile can be shifted."""
    width, height = size
    rng = np.random.default_rng(seed + 5)
    grain = rng.normal(0, sigma, (height + margin, width + margin, 1)) + rng.normal(
        0, sigma / 3, (height + margin, width + margin, 3)
    )
    return _picture(np.clip(grain, 0, 255).round().astype(np.uint8)), _picture(
        np.clip(-grain, 0, 255).round().astype(np.uint8)
    )


def paint_rain(size: tuple[int, int], strength: float, seed: int) -> Picture:
    """Streaks to be added to the picture, twice its height, its halves alike, so that they can fall for ever."""
    width, height = size
    rng = np.random.default_rng(seed + 11)
    half = np.zeros((height, width, 3), np.uint8)
    for _ in range(round(260 * strength * width * height / (WIDTH * HEIGHT))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        length, light = int(rng.integers(14, 34) * height / HEIGHT), int(rng.integers(24, 64))
        cv2.line(half, (x, y), (x - length // 6, y + length), (light, light, light), 1, cv2.LINE_AA)
    return _picture(np.vstack((half, half)))


def paint_night() -> Picture:
    """How much of the daylight is left at night, 255 = all: blue dark with pools of light below the two lamps."""
    light = np.empty((HEIGHT, WIDTH, 3), np.float32)
    light[:] = (0.24, 0.17, 0.14)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for centre in (392, 992):
        pool = np.exp(-(((x - centre) / 210) ** 2 + ((y - 430) / 190) ** 2))[:, :, None]
        light += (pool * np.array([0.30, 0.46, 0.56])).astype(np.float32)
    return _picture(np.clip(light * 255, 0, 255).astype(np.uint8))
