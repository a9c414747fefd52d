"""Whether a camera still shows its usual view: a few figures a second, for `capture/tamper.py` to judge.

A view is known by its structure at three scales.  What noise adds agrees with nothing, so everything is measured by how
far the usual structure is found again (its projection), not by how much structure there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]
WIDTH = 160
"""Looks are taken at about this many columns."""
BLOCK = 10
"""Size of the blocks that the view is compared in."""
STRUCTURE = 2.5
"""Least deviation within a block, in grey levels, that can be recognised."""
AGREES = 0.55
"""A block shows what it usually does when it correlates by so much."""
SHIFTS = 2
"""A view shifted by so many columns or rows is the same one: masts shake."""
_SHIFTS = [(dy, dx) for dy in range(-SHIFTS, SHIFTS + 1) for dx in range(-SHIFTS, SHIFTS + 1)]
SAME = 0.85
"""Where less of the view is kept, it may have been shifted."""
WHITE = 220
"""As cameras code it: their white is 235, or 255."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look, compared with the usual view."""

    blocks: int
    """Blocks of the usual view with structure; with few of them little can be said."""
    kept: float
    """The part of them that still shows it, 0 … 1."""
    sharp: float
    """How much of the finest structure is left, by how much of the coarse one is; 1: as usual."""
    contrast: float
    """How much of the coarse structure is left; 1: as usual."""
    alike: float
    """How well the coarse picture agrees with the usual one, whatever the light: -1 … 1."""
    textured: float
    """How many blocks have structure, by how many usually do."""
    white: float
    """The part of the picture that is nearly white, beyond what is usual."""


@dataclass(frozen=True, slots=True)
class _Scales:
    fine: _Plane
    middle: _Plane
    coarse: _Plane
    white: float

    @classmethod
    def of(cls, luma: Luma) -> _Scales:
        step = max(1, luma.shape[1] // WIDTH)
        height, width = (max(BLOCK, side // step // BLOCK * BLOCK) * step for side in luma.shape)
        if height > luma.shape[0] or width > luma.shape[1]:
            raise ValueError(f"a picture of {luma.shape[1]}x{luma.shape[0]} is too small")
        small = _means(luma[:height, :width], step)
        blocks = _means(small, BLOCK)
        around = np.repeat(np.repeat(blocks, BLOCK, 0), BLOCK, 1)
        fine: _Plane = np.zeros_like(small)
        fine[1:-1, 1:-1] = 4 * small[1:-1, 1:-1] - small[:-2, 1:-1] - small[2:, 1:-1] - small[1:-1, :-2]
        fine[1:-1, 1:-1] -= small[1:-1, 2:]
        return cls(fine, small - around, blocks, float(np.count_nonzero(small >= WHITE)) / small.size)

    def learnt(self, now: _Scales, weight: float) -> _Scales:
        return _Scales(
            self.fine + weight * (now.fine - self.fine),
            self.middle + weight * (now.middle - self.middle),
            self.coarse + weight * (now.coarse - self.coarse),
            self.white + weight * (now.white - self.white),
        )


class Looker:
    """Keeps a camera's usual view, for its life; one thread."""

    def __init__(self) -> None:
        self._usual: _Scales | None = None
        self._now: _Scales | None = None

    def look(self, luma: Luma) -> Look:
        """Compare a picture, uint8[h, w] and at least 10 each way, with the usual view; the first one is the usual."""
        now = self._now = _Scales.of(luma)
        if self._usual is None or self._usual.middle.shape != now.middle.shape:
            self._usual = now
        usual = self._usual
        energy = _means(usual.middle**2, BLOCK)
        structured = energy >= STRUCTURE**2
        blocks = int(np.count_nonzero(structured))
        kept, fine = _agreeing(now.middle, usual.middle, structured), now.fine
        if kept < SAME:
            kept, shift = max(
                (_agreeing(np.roll(now.middle, shift, (0, 1)), usual.middle, structured), shift) for shift in _SHIFTS
            )
            fine = np.roll(fine, shift, (0, 1))
        coarse, usually = now.coarse - now.coarse.mean(), usual.coarse - usual.coarse.mean()
        contrast = _projected(coarse, usually)
        return Look(
            blocks,
            kept,
            _projected(fine, usual.fine) / max(contrast, 0.05),
            contrast,
            _correlation(coarse, usually),
            float(np.count_nonzero(_means(now.middle**2, BLOCK) >= STRUCTURE**2)) / max(1, blocks),
            now.white - usual.white,
        )

    def learn(self, weight: float) -> None:
        """Take the view of the last look into the usual one, 0 … 1."""
        if self._now is not None and self._usual is not None and weight > 0:
            self._usual = self._usual.learnt(self._now, weight)


def _means(plane: NDArray[np.uint8] | _Plane, size: int) -> _Plane:
    """Of squares of `size`; the sides are multiples of it."""
    height, width = plane.shape
    # rows first: summing along memory is several times faster
    rows = plane.reshape(height // size, size, width).sum(1, dtype=np.float32)
    return np.asarray(rows.reshape(height // size, width // size, size).sum(2) / size**2, np.float32)


def _agreeing(now: _Plane, usual: _Plane, structured: NDArray[np.bool_]) -> float:
    """The part of the structured blocks that correlate well."""
    if not structured.any():
        return 1.0
    common, own, known = _means(now * usual, BLOCK), _means(now**2, BLOCK), _means(usual**2, BLOCK)
    return float(np.mean((common / np.sqrt(own * known + 1e-6))[structured] >= AGREES))


def _projected(now: _Plane, usual: _Plane) -> float:
    energy = float((usual * usual).sum())
    return float((now * usual).sum()) / energy if energy > 1e-6 else 1.0


def _correlation(a: _Plane, b: _Plane) -> float:
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-6 else 0.0
