"""Where something differs from the usual picture: the one file of the watcher that imports OpenCV.

`MotionDetector` keeps what each pixel usually looks like and how much it usually strays from that; `render` draws an
alarm's JPEG.  What the differences mean is decided elsewhere (`capture/alarms.py`); `docs/watching.md` tells why this
model and not another, with the figures.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.capture.tracks import NEAR_X, NEAR_Y, Blob
from edge_agent.model import Box

cv2.setNumThreads(1)  # one camera's analysis must not take a second core from the recording

Luma = NDArray[np.uint8]
"""uint8[h, w]"""
Bgr = NDArray[np.uint8]
"""uint8[h, w, 3]"""
_Plane = NDArray[np.float32]

MAX_WIDTH = 320
"""Analysis works on at most this many columns."""
PICTURE_WIDTH = 480
PICTURE_BYTES = 16_000
"""For mobile networks.  About the best of QUALITIES that stays below is taken, the last one whatever it needs."""
QUALITIES = (75, 65, 55, 45, 38, 30, 24)
AGAINST_FIRST = (1.43, 1.18, 1.0, 0.87, 0.78, 0.66, 0.56)
"""About how large a picture of each of them is, against the one that is tried first."""
COARSE_WIDTH = 100
LIT_NOISE = 2.5
"""Grey levels of difference from the usual picture up to which light need not be looked into."""
FAR = 8, 2.5
"""Light is looked at in blocks of so many pixels, smoothed by so many blocks: a person is small beside it."""
FITS = 0.99
"""Correlation of a picture with the usual one from which on that is right."""
LEAST_KEPT = 0.3
"""Light leaves at least this part of the contrast of fine structure."""
WHITE = 232
"""Nearly white places are clipped, one colour after the other: they follow no change of light."""
SAME_LIGHT = 0.3
"""A change of light by fewer grey levels is none."""
UNREST_MOST = 40.0
"""Whatever is stranger than this makes a place no more restless."""
RAISED_MOST = 64
HEADS_FROM = 20
"""Lower blobs than this, in pixels, show no heads."""
HEAD_LEVEL, HEAD_GAP, APART = 0.75, 0.12, 0.2
"""A head is so high up in a blob, the gap beside it so deep, and the next one so far away, in heights of the blob."""
_FIRST_MOST = 16
_FINE = (15, 15)
"""What is finer than this is structure, what is coarser light."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How the background is learnt; times in seconds, brightness in grey levels of 0 … 255."""

    learn_s: float = 2.0
    """The model only looks on for so long after its start …"""
    learn_frames: int = 3
    """… and for so many pictures."""
    usual_s: float = 6.0
    """Time constant of the background where nothing moves."""
    stopped_s: float = 15.0
    """… where something differs but has come to rest, …"""
    moving_s: float = 60.0
    """… and where something moves."""
    restless_s: float = 4.0
    """Time constant with which unrest (leaves, water) raises a pixel's threshold, …"""
    calm_s: float = 30.0
    """… and with which the threshold comes down again."""
    contrast: float = 4.0
    """Least difference that counts."""
    noise_factor: float = 4.0
    unrest_factor: float = 3.5
    light_part: float = 0.35
    """When more of the picture than this differs, the light has changed (or the camera was turned)."""
    lit_noise: float = 2.0
    lit_part: float = 0.3
    """New structure that is below so many times the noise's power, or this part of what is kept of the usual one's, is
    none: that place is only lit otherwise, …"""
    lit_weight: float = 0.3
    """… and learnt with this weight a picture."""
    light_hold_s: float = 1.0
    """After a change of light the model learns anew for so long, and reports nothing."""


class MotionDetector:
    """Background model of one camera; one thread.

    size: (width, height) of the pictures; min_area: smallest thing that counts, as a part of the picture; outlines:
    tell of each blob whether it stands there or is missing there; heads: how many people side by side it looks like.
    """

    def __init__(
        self,
        size: tuple[int, int],
        min_area: float,
        sensitivity: Sensitivity | None = None,
        *,
        outlines: bool = False,
        heads: bool = False,
    ) -> None:
        width, height = size
        scale = min(1.0, MAX_WIDTH / width)
        self.size = size
        self._small = (max(8, round(width * scale)), max(8, round(height * scale)))
        self._min_pixels = max(9.0, min_area * self._small[0] * self._small[1])
        self._is = sensitivity or Sensitivity()
        self.mask: Luma | None = None
        """Where the last picture differed, 255 or 0, in the size that is analysed; None while nothing is reported."""
        self._outlines, self._heads = outlines, heads
        self._usual: _Plane | None = None
        self._first: list[Luma] = []
        """The pictures of the beginning, until the model is learnt from them."""
        self._unrest: _Plane = np.zeros(self._small[::-1], np.float32)
        self._raised: deque[tuple[Box, tuple[slice, slice], _Plane]] = deque(maxlen=RAISED_MOST)
        """Of things that are not known to move: where they were, and the unrest of that place before."""
        self._before: Luma = np.zeros(self._small[::-1], np.uint8)
        self._neighbours = np.ones((3, 3), np.uint8)
        self._join = np.ones((5, 3), np.uint8)
        self._around = np.ones((5, 5), np.uint8)
        self._large, self._larger = np.ones((7, 5), np.uint8), np.ones((15, 11), np.uint8)
        self._frames = 0
        self._seen_s = 0.0
        self._hold_s = 0.0

    @property
    def picture(self) -> Luma:
        """The last picture as it is analysed; of the size of `mask`."""
        return self._before

    @property
    def ready(self) -> bool:
        """The model has seen enough to tell, and the light is steady."""
        return self._learnt and self._hold_s <= 0

    @property
    def _learnt(self) -> bool:
        return self._frames >= self._is.learn_frames and self._seen_s >= self._is.learn_s - 1e-6

    def detect(self, luma: Luma, elapsed_s: float, known: Sequence[Box] = ()) -> list[Blob]:
        """What differs now, `elapsed_s` after the picture before; nothing while the model is not `ready`.

        luma: uint8[h, w] of the size given at the start.  known: things being followed, whose places must not be
        taken for restless ones.
        """
        self.mask = None
        now = self._prepared(luma)
        if self._usual is None:
            self._usual, self._before, self._frames = now.astype(np.float32), now, 1
            self._first = [now]
            return []
        was_ready = self.ready
        self._frames += 1
        self._seen_s += elapsed_s
        self._hold_s -= elapsed_s
        usual = self._in_todays_light(now, self._usual)
        noise = _middle(np.abs(now[::4, ::4] - usual[::4, ::4])) * 1.48
        if self._learnt and self._is_lit_otherwise(now, noise):
            usual = self._in_local_light(now, usual, noise)
            noise = _middle(np.abs(now[::4, ::4] - usual[::4, ::4])) * 1.48
        strange = self._strangeness(now, usual)
        least = math.floor(max(self._is.contrast, self._is.noise_factor * noise))
        limit = cv2.max(_floored(self._unrest, self._is.unrest_factor), min(float(least), 255.0))  # type: ignore[call-overload]
        mask: Luma = cv2.compare(strange, limit, cv2.CMP_GT)  # type: ignore[assignment]
        count = cv2.countNonZero(mask)
        if self._learnt and count > self._is.light_part * mask.size:
            self._hold_s = self._is.light_hold_s
        if not was_ready or self._hold_s > 0:
            self._learn_fast(now, usual)
            return []
        if count < 0.25 * self._min_pixels:
            mask[:] = 0  # single pixels, which the majority would take away
        else:
            # the median of what is black or white is its majority: the mean tells it several times faster
            mask = cv2.blur(mask, (5, 5), borderType=cv2.BORDER_REPLICATE)  # type: ignore[assignment]
            mask = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]  # type: ignore[assignment]
            mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, self._join)  # type: ignore[assignment]
        things = self._things(mask, now, usual, noise, known)
        self._raised.extend(self._place(thing.box) for thing in things if thing.box not in known)
        self._learn(now, usual, strange, mask, elapsed_s, noise, known)
        self.mask = mask
        return things

    def excuse(self, boxes: Sequence[Box]) -> None:
        """What was seen there of late has turned out to be a thing that moves: these places are not restless."""
        for box, place, unrest in reversed(self._raised if boxes else ()):
            if box in boxes:
                cv2.min(self._unrest[place], unrest, dst=self._unrest[place])

    def _place(self, box: Box) -> tuple[Box, tuple[slice, slice], _Plane]:
        left, top, right, bottom = self._pixels(box)
        place = (slice(top, bottom), slice(left, right))
        return box, place, self._unrest[place].copy()

    def _prepared(self, luma: Luma) -> Luma:
        if luma.shape != self.size[::-1]:
            raise ValueError(f"a picture of {luma.shape[1]}x{luma.shape[0]}, expected {self.size[0]}x{self.size[1]}")
        small = cv2.resize(luma, self._small, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(small, (3, 3), 0)  # type: ignore[return-value]

    def _in_todays_light(self, now: Luma, usual: _Plane) -> _Plane:
        """The usual picture under the present light: gain and offset, from the parts that did not change otherwise."""
        # single pixels: what noise does to each is nothing to all of them together
        seen, known = now[4::10, 4::10].ravel().astype(np.float32), usual[4::10, 4::10].ravel()
        away = seen - known
        bright = known > np.add.reduce(known) / known.size
        if all(part.size and abs(_middle(part)) < SAME_LIGHT for part in (away[bright], away[~bright])):
            return usual
        gain, offset = 1.0, _middle(away.copy())
        for _ in range(3):
            error = np.abs(seen - (gain * known + offset))
            same = error <= max(1.5, 2.5 * _middle(error.copy()))
            count = np.count_nonzero(same)
            if count < same.size // 2:
                return usual
            x, y = known[same], seen[same]
            mean_x, mean_y = float(np.add.reduce(x)) / count, float(np.add.reduce(y)) / count
            x -= mean_x
            y -= mean_y
            spread = float(np.dot(x, x)) / count
            gain, common = 1.0, float(np.dot(x, y)) / count
            if spread > 25 and common > 0:  # without contrast a picture tells an offset only
                gain, ratio = common / spread, math.sqrt(float(np.dot(y, y)) / count / spread)
                if gain < FITS * ratio:
                    # Where the model is not quite right, the slope of least squares is too low: picture by picture it
                    # would take from the model's contrast.
                    gain = ratio
            if not 0.2 < gain < 5:
                return usual
            offset = mean_y - gain * mean_x
        if abs(gain - 1) < 0.004 and abs(offset + (gain - 1) * 128) < SAME_LIGHT:
            return usual
        return _possible(cv2.addWeighted(usual, gain, usual, 0, offset))  # type: ignore[arg-type]

    def _is_lit_otherwise(self, now: Luma, noise: float) -> bool:
        """Whether the whole picture is further from the usual one than noise makes it from the picture before."""
        if noise < LIT_NOISE:
            return False
        shift = _middle(cv2.absdiff(now[::4, ::4], self._before[::4, ::4]).astype(np.float32)) * 1.48 / math.sqrt(2)
        return noise > 2 * shift + 1

    def _in_local_light(self, now: Luma, usual: _Plane, noise: float) -> _Plane:
        """The usual picture under a light that is not the same everywhere: headlights, a lamp, the edge of a cloud.

        Light changes little from place to place.  What differs sharply stands there, and tells nothing of it.
        """
        away: _Plane = cv2.subtract(now, usual, dtype=cv2.CV_32F)  # type: ignore[assignment]
        alike = (np.abs(away - self._wide(_far(away))) <= 3 * noise).astype(np.float32)
        light = _far(away * alike) / np.maximum(_far(alike), 0.05)
        return _possible(cv2.add(usual, self._wide(light)))  # type: ignore[arg-type]

    def _wide(self, plane: _Plane) -> _Plane:
        return cv2.resize(plane, self._small, interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]

    def _strangeness(self, now: Luma, usual: _Plane) -> Luma:
        """How far each pixel is from anything usual within a pixel of it, so that a shaking camera moves nothing."""
        # whole grey levels: all of these are saturating operations on bytes
        known = cv2.convertScaleAbs(usual)
        above = cv2.subtract(now, cv2.dilate(known, self._neighbours))
        below = cv2.subtract(cv2.erode(known, self._neighbours), now)
        white = cv2.bitwise_and(
            cv2.threshold(now, WHITE, 255, cv2.THRESH_BINARY)[1], cv2.threshold(known, 220, 255, cv2.THRESH_BINARY)[1]
        )
        return cv2.subtract(cv2.max(above, below), white)  # type: ignore[return-value]

    def _learn_fast(self, now: Luma, usual: _Plane) -> None:
        cv2.accumulateWeighted(now, usual, 0.4 if self._learnt and not self._first else 1 / min(self._frames, 8))
        self._usual, self._before = usual, now
        if self._first:
            self._first = [*self._first, now][-_FIRST_MOST:]
            if self._learnt:
                self._learn_the_first()

    def _learn_the_first(self) -> None:
        """The middle of the first pictures: who walked through them is in none.  What is small and comes and goes is
        unrest (leaves, a cobweb), what is large must be strange in most of them to be so."""
        pictures, self._first = self._first, []
        self._usual = usual = np.median(pictures, axis=0).astype(np.float32)
        strange = [self._strangeness(one, self._in_todays_light(one, usual)) for one in pictures]
        small = [cv2.subtract(one, cv2.dilate(cv2.erode(one, self._large), self._larger)) for one in strange]
        unrest = np.maximum(np.median(strange, axis=0), np.mean(small, axis=0))
        self._unrest = np.minimum(unrest, UNREST_MOST).astype(np.float32)

    def _learn(
        self,
        now: Luma,
        usual: _Plane,
        strange: Luma,
        mask: Luma,
        elapsed_s: float,
        noise: float,
        known: Sequence[Box],
    ) -> None:
        def weight(time_s: float) -> float:
            return 1 - math.exp(-elapsed_s / time_s)

        strange = cv2.min(strange, UNREST_MOST)  # type: ignore[call-overload]
        rising: Luma = cv2.compare(strange, _floored(self._unrest), cv2.CMP_GT)  # type: ignore[assignment]
        falling = cv2.bitwise_not(rising)
        boxes = [self._pixels(box) for box in known]
        if cv2.countNonZero(mask):
            around = cv2.dilate(mask, self._neighbours)
            cv2.accumulateWeighted(now, usual, weight(self._is.usual_s), mask=cv2.bitwise_not(around))
            shifted = math.ceil(max(3.0, 3 * noise)) - 1
            still = cv2.threshold(cv2.absdiff(now, self._before), shifted, 255, cv2.THRESH_BINARY_INV)[1]
            still = cv2.bitwise_and(still, around)
            # What stands still is not restless, however strange it is: it would hide itself.
            rising = cv2.subtract(rising, still)  # type: ignore[assignment]
            for left, top, right, bottom in boxes:
                still[top:bottom, left:right] = 0
            cv2.accumulateWeighted(now, usual, weight(self._is.stopped_s), mask=still)
            cv2.accumulateWeighted(now, usual, weight(self._is.moving_s), mask=cv2.subtract(around, still))
        else:
            cv2.accumulateWeighted(now, usual, weight(self._is.usual_s))
        for left, top, right, bottom in boxes:
            rising[top:bottom, left:right] = 0
        # Soon after the start little is known yet: what moves to and fro then is learnt sooner.
        restless_s = min(self._is.restless_s, self._seen_s / 3)
        cv2.accumulateWeighted(strange, self._unrest, weight(restless_s), mask=rising)
        cv2.accumulateWeighted(strange, self._unrest, weight(self._is.calm_s), mask=falling)
        self._usual, self._before = usual, now

    def _pixels(self, box: Box) -> tuple[int, int, int, int]:
        width, height = self._small
        return (
            max(0, int(box.x * width) - 2),
            max(0, int(box.y * height) - 2),
            math.ceil((box.x + box.width) * width) + 2,
            math.ceil((box.y + box.height) * height) + 2,
        )

    def _things(self, mask: Luma, now: Luma, usual: _Plane, noise: float, known: Sequence[Box]) -> list[Blob]:
        """What is there; what is only lit otherwise is taken out of the mask and learnt at once."""
        things: list[Blob] = []
        for piece in self._blobs(mask):
            box = self._box(piece)
            # A thing that is known is none of light, though it looks so once the model has learnt it in part.
            if not any(_alike(box, one) for one in known) and self._only_lit(piece, mask, now, usual, noise):
                rows, columns = slice(piece.top, piece.bottom), slice(piece.left, piece.right)
                # The patch is learnt as a whole: parts of it would be taken for things of their own.
                cv2.accumulateWeighted(now[rows, columns], usual[rows, columns], self._is.lit_weight)
                mask[rows, columns] = 0
            else:
                outline = self._outline(piece, mask, now, usual) if self._outlines else 0.0
                parts = tuple(self._box(part) for part in piece.parts)
                heads = _heads(mask[piece.top : piece.bottom, piece.left : piece.right]) if self._heads else 1
                things.append(Blob(box, outline, parts, heads))
        return things

    def _only_lit(self, piece: _Piece, mask: Luma, now: Luma, usual: _Plane, noise: float) -> bool:
        """Whether the fine structure there is still the usual one, perhaps stronger or weaker: a lamp, headlights, a
        shadow.  Whatever covers the usual picture brings its own outline and covers the structure."""
        grown = self._grown(piece)
        inside = cv2.dilate(mask[grown], self._around) > 0
        picture = now[grown].astype(np.float32)
        seen = (picture - cv2.blur(picture, _FINE))[inside]
        known = (usual[grown] - cv2.blur(usual[grown], _FINE))[inside]
        structure, common = float(np.dot(known, known)), float(np.dot(seen, known))
        gain = common / structure if structure > 0 else 0.0
        new = (float(np.dot(seen, seen)) - gain * common) / seen.size
        kept = gain * common / seen.size if LEAST_KEPT < gain < 3.5 else 0.0
        if new > self._is.lit_noise * max(noise, 0.5) ** 2 + self._is.lit_part * kept:
            return False
        # Something smooth brings no structure of its own, and yet covers the usual one: that is surely gone, and not
        # because the place is dark or white now.
        lit, usually = picture[inside], usual[grown][inside]
        surely = gain + 6 * noise / math.sqrt(structure) if structure > 0 else math.inf
        gone = surely < LEAST_KEPT * min(1.0, float(lit.mean()) / max(float(usually.mean()), 1.0))
        return not gone or float((lit > WHITE).mean()) > 0.1

    def _outline(self, piece: _Piece, mask: Luma, now: Luma, usual: _Plane) -> float:
        """How much stronger the edges along its outline are now than usually, -1 … 1."""
        grown = self._grown(piece)
        band = cv2.morphologyEx(mask[grown], cv2.MORPH_GRADIENT, self._around) > 0
        seen, known = (
            float(np.abs(cv2.Sobel(one[grown], cv2.CV_32F, 1, 0))[band].sum())
            + float(np.abs(cv2.Sobel(one[grown], cv2.CV_32F, 0, 1))[band].sum())
            for one in (now, usual)
        )
        return (seen - known) / max(seen + known, 1.0)

    def _grown(self, piece: _Piece) -> tuple[slice, slice]:
        width, height = self._small
        return (
            slice(max(0, piece.top - 8), min(height, piece.bottom + 8)),
            slice(max(0, piece.left - 8), min(width, piece.right + 8)),
        )

    def _box(self, piece: _Piece) -> Box:
        width, height = self._small
        return Box(
            piece.left / width,
            piece.top / height,
            (piece.right - piece.left) / width,
            (piece.bottom - piece.top) / height,
        )

    def _blobs(self, mask: Luma) -> list[_Piece]:
        least = max(6.0, self._min_pixels / 5)
        pieces = []
        for contour in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
            # by Pick's theorem the pixels of what is enclosed; components with statistics cost fifteen times as much
            area = round(cv2.contourArea(contour) + len(contour) / 2 + 1)
            if area >= least:
                x, y, width, height = cv2.boundingRect(contour)
                pieces.append(_Piece(x, y, x + width, y + height, area))
        joined = _joined(pieces, self._small[0] * NEAR_X, self._small[1] * NEAR_Y)
        return [piece for piece in joined if piece.extent >= self._min_pixels and piece.area >= self._min_pixels * 0.5]


@dataclass(frozen=True, slots=True)
class _Piece:
    left: int
    top: int
    right: int
    bottom: int
    area: int
    parts: tuple[_Piece, ...] = ()
    """Those that it was joined of."""

    @property
    def extent(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)

    def near(self, other: _Piece, x: float, y: float) -> bool:
        return (
            self.left - x <= other.right
            and other.left - x <= self.right
            and self.top - y <= other.bottom
            and other.top - y <= self.bottom
        )

    def with_(self, other: _Piece) -> _Piece:
        return _Piece(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.area + other.area,
            (*(self.parts or (self,)), *(other.parts or (other,))),
        )


def _joined(pieces: list[_Piece], x: float, y: float) -> list[_Piece]:
    """Pieces at most `x` columns and `y` rows apart are one thing."""
    whole: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: -piece.area)[:64]:
        grown = piece
        while near := [other for other in whole if other.near(grown, x, y)]:
            whole = [other for other in whole if other not in near]
            for other in near:
                grown = grown.with_(other)
        whole.append(grown)
    return whole


def _possible(plane: _Plane) -> _Plane:
    """As a camera could show it."""
    return cv2.max(cv2.min(plane, 255.0), 0.0)  # type: ignore[call-overload, no-any-return]


def _far(plane: _Plane) -> _Plane:
    """Without anything small, in blocks.  The kernel's spectrum is nowhere negative: what is corrected by it again and
    again does not swing."""
    size = max(2, plane.shape[1] // FAR[0]), max(2, plane.shape[0] // FAR[0])
    blocks = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(blocks, (0, 0), FAR[1])  # type: ignore[return-value]


def coarse(luma: Luma) -> Luma:
    """The means of blocks, uint8[h, w] of at most COARSE_WIDTH columns; luma: uint8[h, w]."""
    while luma.shape[1] > COARSE_WIDTH:
        # to halve again and again is six times faster than to do it at once
        size = (max(1, luma.shape[1] // 2), max(1, luma.shape[0] // 2))
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return luma


def difference(now: Luma, before: Luma) -> float:
    """By how many grey levels the third most different block differs, brighter or darker as a whole counting nothing;
    both as of `coarse`."""
    if now.shape != before.shape:
        return 255.0
    light = round(cv2.mean(now)[0] - cv2.mean(before)[0])
    if light:
        before = (cv2.add if light > 0 else cv2.subtract)(before, float(abs(light)))  # type: ignore[call-overload]
    apart = cv2.absdiff(now, before).ravel()
    return float(np.partition(apart, apart.size - 3)[-3]) if apart.size >= 3 else 0.0


def drift(one: Luma, other: Luma) -> float:
    """The part of the picture in which two decodings of it differ as a thing could, by 3 grey levels and more.

    uint8[h, w] both, of one size.
    """
    size = min(MAX_WIDTH, one.shape[1]), max(1, round(one.shape[0] * min(1.0, MAX_WIDTH / one.shape[1])))
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (one, other)]
    apart = cv2.blur(cv2.absdiff(*small), (7, 7))
    return cv2.countNonZero(cv2.compare(apart, 3.0, cv2.CMP_GE)) / apart.size  # type: ignore[call-overload]


def _heads(mask: Luma) -> int:
    """How many people side by side a blob looks like from above: peaks of its upper edge with a gap between them.

    mask: uint8[h, w], not 0 where the blob is.
    """
    height, width = mask.shape
    if height < HEADS_FROM or not 0.35 * height <= width <= 1.5 * height:
        return 1
    high = np.where(mask.any(axis=0), height - mask.argmax(axis=0), 0) / height
    peaks: list[int] = []
    lowest = 0.0
    for column, level in enumerate(high.tolist()):
        lowest = min(lowest, level)
        if level < HEAD_LEVEL:
            continue
        if not peaks or (min(level, high[peaks[-1]]) - lowest >= HEAD_GAP and column - peaks[-1] >= APART * height):
            peaks.append(column)
            lowest = level
        elif level > high[peaks[-1]]:
            peaks[-1], lowest = column, level
    return max(1, len(peaks))


def _floored(plane: _Plane, factor: float = 1.0) -> Luma:
    """Whole grey levels: what is itself whole exceeds these where it exceeds the plane, which is nowhere below 0."""
    return cv2.convertScaleAbs(plane, alpha=factor, beta=-0.5)  # type: ignore[return-value]


def _middle(values: _Plane) -> float:
    """The median, or its neighbour: several times cheaper than numpy's.  The values are in another order afterwards."""
    flat = values.ravel()
    flat.partition(flat.size // 2)
    return float(flat[flat.size // 2])


def _alike(a: Box, b: Box) -> bool:
    """Whether two boxes share most of what they cover."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    common = max(0.0, width) * max(0.0, height)
    return common > 0.5 * (a.width * a.height + b.width * b.height - common)


_GREEN, _WHITE, _BLACK, _AMBER = (60, 220, 60), (255, 255, 255), (0, 0, 0), (0, 190, 255)


def render(
    picture: Bgr, caption: str, box: Box | None, others: Sequence[Box] = (), path: Sequence[tuple[float, float]] = ()
) -> bytes:
    """The alarm's JPEG, about PICTURE_BYTES: `box` and, thinner, `others`, the path as an arrow, a caption at the foot.

    picture: uint8[h, w, 3], BGR; it may be drawn on.  path: places in parts of the picture, oldest first.
    caption: ASCII.
    """
    picture = reduced(picture)
    height, width = picture.shape[:2]

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * (width - 1)), round(y * (height - 1))

    for one, thick in [(other, 1) for other in others] + ([(box, 2)] if box else []):
        cv2.rectangle(picture, at(one.x, one.y), at(one.x + one.width, one.y + one.height), _GREEN, thick)
    points = [at(x, y) for x, y in path]
    for start, end in itertools.pairwise(points[:-1]):
        cv2.line(picture, start, end, _AMBER, 2, cv2.LINE_AA)
    if len(points) > 1:
        length = math.dist(points[-2], points[-1])
        tip = min(1.0, 10 / max(length, 1))
        cv2.arrowedLine(picture, points[-2], points[-1], _AMBER, 2, cv2.LINE_AA, tipLength=tip)
    (text_width, text_height), below = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    cv2.rectangle(picture, (0, height - text_height - below - 8), (text_width + 12, height), _BLACK, -1)
    foot = (6, height - below - 4)
    cv2.putText(picture, caption, foot, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _WHITE, 1, cv2.LINE_AA)
    return _compressed(picture)


def reduced(picture: Bgr) -> Bgr:
    """At most PICTURE_WIDTH wide; the same array where it is already."""
    height, width = picture.shape[:2]
    if width <= PICTURE_WIDTH:
        return picture
    size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
    # within half the width bilinear is as good as the mean of areas, at a tenth of its cost
    how = cv2.INTER_LINEAR if width <= 2 * PICTURE_WIDTH else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)


def _compressed(picture: Bgr) -> bytes:
    at = first = AGAINST_FIRST.index(1.0)
    data = tried = _jpeg(picture, QUALITIES[first])
    fitting = (n for n, part in enumerate(AGAINST_FIRST) if part * len(tried) <= PICTURE_BYTES)
    wanted = next(fitting, len(QUALITIES) - 1)
    while at != wanted:
        at = wanted
        data = tried if at == first else _jpeg(picture, QUALITIES[at])
        if len(data) > PICTURE_BYTES:
            wanted = min(at + 1, len(QUALITIES) - 1)
    return data


def _jpeg(picture: Bgr, quality: int) -> bytes:
    # of this size progressive ones are no smaller, and cost three times as much
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return bytes(cv2.imencode(".jpg", picture, settings)[1].tobytes())
