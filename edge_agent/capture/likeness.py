"""What followed things look like, so that each is found again while several are one blob: small grey patches, compared
around the place where a thing should be.  Nothing of them is kept once the thing is gone.

Of each thing its latest patch from a time when it was a blob of its own is remembered, with those of its pixels that
were strange.  A patch fits where these look the same *and* are strange now; what a nearer thing hides does not count.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.model import Box

Luma = NDArray[np.uint8]
"""uint8[h, w]"""

MOST_PIXELS = 800
"""Of a larger patch every second, third … row and column is compared."""
ACROSS, DOWN = 0.4, 0.1
"""It is looked for so far around, in its own widths and heights (`LEAST_REACH` pixels at least)."""
LEAST_REACH = 3
VISIBLE = 0.45
"""Where less of it is to be seen, its looks tell nothing."""
UNLIKE = 60
"""A pixel is no stranger than this many grey levels, and as strange as this where nothing is."""
NOTHING = 1000
"""Stands for such a pixel."""
ASTRAY = 5.0
"""Found at the end of its reach it must look so many grey levels more alike than where it was expected."""


@dataclass(frozen=True, slots=True)
class _Patch:
    pixels: Luma
    strange: NDArray[np.bool_]


class Likeness:
    """Patches by the numbers of things; one camera, one thread.  Pictures are those of the motion detector."""

    def __init__(self) -> None:
        self._patches: dict[int, _Patch] = {}
        self._picture: Luma | None = None
        self._strange: NDArray[np.bool_] | None = None
        self._hidden: NDArray[np.bool_] | None = None
        """What nearer things hide; None before the first thing is looked for in a picture."""
        self._looks: NDArray[np.int16] | None = None
        """The picture, NOTHING where it is as usual."""
        self.compared = 0
        """How often a thing was looked for."""

    def see(self, picture: Luma | None, mask: Luma | None) -> None:
        """The picture that things are looked for in from now on, and where it differs from the usual one (not 0)."""
        self._picture = picture if mask is not None else None
        self._strange = None if mask is None else mask > 0
        self._hidden = self._looks = None

    def remember(self, number: int, box: Box) -> None:
        """The thing is there, all by itself."""
        if self._picture is None or self._strange is None:
            return
        left, top, right, bottom = self._pixels(box)
        rows, columns = slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))
        strange = self._strange[rows, columns]
        if strange.size >= 9 and strange.any():
            self._patches[number] = _Patch(self._picture[rows, columns].copy(), strange.copy())

    def forget_all_but(self, numbers: Collection[int]) -> None:
        for number in [number for number in self._patches if number not in numbers]:
            del self._patches[number]

    def find(self, number: int, expected: Box) -> Box | None:
        """Where the thing is, near its expected place; None when too little of it is to be seen.

        Those that are nearer to the camera must be asked for first: each hides what is behind it.
        """
        patch = self._patches.get(number)
        if patch is None or self._picture is None or self._strange is None:
            return None
        if self._hidden is None or self._looks is None:
            self._hidden = np.zeros_like(self._strange)
            self._looks = self._picture.astype(np.int16)
            self._looks[~self._strange] = NOTHING
        self.compared += 1
        height, width = patch.pixels.shape
        left, _, right, foot = self._pixels(expected)
        # its foot is where it is expected, though the box has had another size
        left, top = round((left + right - width) / 2), foot - height
        step = max(1, math.ceil(math.sqrt(height * width / MOST_PIXELS)))
        down, across = _shifts(DOWN * height, step), _shifts(ACROSS * width, step)
        cost = self._costs(patch, self._looks, self._hidden, (top + down, left + across), step)
        cost += ASTRAY * (down / down[-1])[:, None] ** 2 + ASTRAY * (across / across[-1])[None, :] ** 2
        best = int(np.argmin(cost))
        if not np.isfinite(cost.flat[best]):
            return None
        top, left = top + int(down[best // across.size]), left + int(across[best % across.size])
        self._hide(patch, left, top)
        rows, columns = self._picture.shape
        return Box(left / columns, top / rows, width / columns, height / rows)

    @staticmethod
    def _costs(
        patch: _Patch,
        looks: NDArray[np.int16],
        hidden: NDArray[np.bool_],
        places: tuple[NDArray[np.int_], NDArray[np.int_]],
        step: int,
    ) -> NDArray[np.float64]:
        """float[tops, lefts]: by how many grey levels it looks different there; infinite where too little is seen.

        places: the tops and lefts to try, in pixels; step: every so many rows and columns are compared.
        """
        height, width = patch.pixels.shape
        tops, lefts = places
        rows, columns = slice(int(tops[0]), int(tops[-1]) + height), slice(int(lefts[0]), int(lefts[-1]) + width)
        across = columns.stop - columns.start
        y, x = np.nonzero(patch.strange[::step, ::step])
        own = patch.pixels[::step, ::step][y, x].astype(np.int16)
        corners = ((tops - tops[0])[:, None] * across + (lefts - lefts[0])[None, :]).ravel()
        where = corners[:, None] + (y * across + x)[None, :] * step  # [place, pixel] in the cut out part
        unlike = _cut(looks, rows, columns, NOTHING).ravel().take(where)
        unlike -= own
        np.abs(unlike, out=unlike)
        np.minimum(unlike, UNLIKE, out=unlike)
        visible = np.full(corners.size, own.size)
        covered = _cut(hidden, rows, columns, True)
        if covered.any():
            seen = ~covered.ravel().take(where)
            visible = np.count_nonzero(seen, axis=1)
            unlike *= seen
        cost: NDArray[np.float64] = unlike.sum(axis=1, dtype=np.int32) / np.maximum(visible, 1)
        cost[visible < VISIBLE * max(1, own.size)] = np.inf
        return cost.reshape(tops.size, lefts.size)

    def _hide(self, patch: _Patch, left: int, top: int) -> None:
        assert self._hidden is not None
        height, width = patch.strange.shape
        y, x = max(0, top), max(0, left)
        place = self._hidden[y : max(0, top + height), x : max(0, left + width)]
        place |= patch.strange[y - top : y - top + place.shape[0], x - left : x - left + place.shape[1]]

    def _pixels(self, box: Box) -> tuple[int, int, int, int]:
        assert self._picture is not None
        height, width = self._picture.shape
        return (
            round(box.x * width),
            round(box.y * height),
            round((box.x + box.width) * width),
            round((box.y + box.height) * height),
        )


def _shifts(reach: float, step: int) -> NDArray[np.int_]:
    """Whole pixels to both sides, LEAST_REACH at least."""
    most = max(step, max(LEAST_REACH, round(reach)) // step * step)
    return np.arange(-most, most + 1, step)


def _cut(plane: NDArray[Any], rows: slice, columns: slice, beyond: int) -> NDArray[Any]:
    """A part of a plane that may reach beyond its edges, where all is `beyond`."""
    (top, foot), (left, right) = (rows.start, rows.stop), (columns.start, columns.stop)
    inside = plane[max(0, top) : max(0, foot), max(0, left) : max(0, right)]
    if inside.shape == (foot - top, right - left):
        return inside
    whole = np.full((foot - top, right - left), beyond, plane.dtype)
    if inside.size:
        y, x = max(0, -top), max(0, -left)
        whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return whole
