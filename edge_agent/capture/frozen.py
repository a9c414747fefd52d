"""Whether a camera's picture is frozen, judged by its keyframes only.  Pure.

Between keyframes a good encoder repeats what has not changed, so a live calm picture stands as still as a frozen one.
A keyframe is coded anew, and with it the sensor's noise: two of a live camera differ everywhere, two of the same
picture nowhere.  How far they differ is learnt from the camera itself; where that is next to nothing (an encoder that
takes all noise away), nothing is ever called frozen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
WIDTH, BLOCK = 320, 10
"""Keyframes are compared at about so many columns, in blocks of so many of them."""
CALM_PART, LIVELY_PART = 0.25, 0.9
"""A calm block changes less than all but this part of them; a lively one more than so many.  What a camera writes into
its picture, a clock, is in the rest."""
APART_S = 1.0
"""Keyframes that come sooner are left out."""
FROZEN_S = 75.0
"""Of so long, four fifths of the keyframes must have been the same."""
LEAST_PAIRS, MOST_STILL = 5, 0.8
LEAST_STILLS = 2
"""Movement among so many same keyframes proves that they can be had of a live picture."""
GAP_S = 30.0
"""Keyframes further apart say nothing about the time between: a stream that paused is not frozen."""
STILL, STILL_LIVELY = 0.1, 0.35
"""Calm blocks change by less than this part of what they always did, and even lively ones by less than that."""
LEAST_CALM = 0.3
"""Where calm blocks change by fewer grey levels, live and frozen can't be told apart."""
LEARN_PAIRS, LEARN_EVERY_S, REMEMBER_S = 12, 4.0, 1800.0
"""What calm blocks do is known from so many pairs, …"""
MATURE_S = 120.0
"""… of which what is younger is no measure yet: a picture that has just frozen settles in the encoder's hands."""
SAME_LIGHT = 0.15
"""What was learnt in light that differs by more says nothing: a darker picture has less noise to show."""
SWITCHED = 6.0
"""Calm blocks change by so many times more than ever: the light was switched, or the camera's settings were."""


class Pair(NamedTuple):
    """How far a keyframe differs from the one before, in grey levels."""

    calm: float
    lively: float
    level: float
    """Mean brightness of the later one."""


@dataclass(slots=True)
class FreezeWatch:
    """One camera's judge; one thread.  Times are monotonic seconds."""

    frozen: bool = False
    _known: deque[tuple[float, Pair]] = field(default_factory=deque)
    _bar: float = 0.0
    _run: deque[tuple[float, bool]] = field(default_factory=deque)
    _began_s: float = 0.0

    def update(self, at_s: float, pair: Pair, *, first: bool = False) -> None:
        """Two keyframes in a row; `first`: the later one is a new connection's."""
        if not self.frozen:
            self._bar = self._usual(at_s, pair.level)
        still = self._bar >= LEAST_CALM and pair.calm <= STILL * self._bar and pair.lively <= STILL_LIVELY * self._bar
        if not still:
            self._learn(at_s, pair, first=first)
        if not self._run:
            self._began_s = at_s
        self._run.append((at_s, still))
        while at_s - self._run[0][0] > FROZEN_S:
            self._run.popleft()
        stills = sum(still for _, still in self._run)
        if self.frozen:
            if not any(still for _, still in list(self._run)[-4:]):
                self._over()
        elif at_s - self._began_s >= FROZEN_S:
            self.frozen = len(self._run) >= LEAST_PAIRS and stills >= MOST_STILL * len(self._run)

    def disturbed(self) -> None:
        """Something moves, or the view is gone: the picture lives, however much its keyframes are the same."""
        if self.frozen or sum(still for _, still in self._run) >= LEAST_STILLS:
            self._known.clear()  # so still are this camera's live pictures
        self._over()

    def reconnected(self) -> None:
        self._over()

    def _over(self) -> None:
        if self.frozen:
            self._known.clear()
        self.frozen = False
        self._run.clear()

    def _usual(self, at_s: float, level: float) -> float:
        """By how much calm blocks changed at the least, in this light; 0 when it isn't known."""
        known = sorted(
            pair.calm
            for learnt_s, pair in self._known
            if at_s - learnt_s >= MATURE_S and abs(pair.level - level) <= SAME_LIGHT * level
        )
        return known[len(known) // 20] if len(known) >= LEARN_PAIRS else 0.0

    def _learn(self, at_s: float, pair: Pair, *, first: bool) -> None:
        if first or (self._bar and pair.calm > SWITCHED * self._bar):
            self._known.clear()
        elif not self._known or at_s - self._known[-1][0] >= LEARN_EVERY_S:
            self._known.append((at_s, pair))
        while self._known and at_s - self._known[0][0] > REMEMBER_S:
            self._known.popleft()


class Keyframes:
    """A camera's keyframes compared, one by one; kept for its life."""

    def __init__(self) -> None:
        self.watch = FreezeWatch()
        self._before: Luma | None = None
        self._at_s = 0.0
        self._first = True

    def see(self, luma: Luma, at_s: float) -> None:
        """A keyframe, uint8[h, w]."""
        if not self._first and at_s - self._at_s < APART_S:
            return
        step = max(1, luma.shape[1] // WIDTH)
        now = luma[::step, ::step].copy()
        if self._before is not None:
            if not self._first and at_s - self._at_s > GAP_S:
                self.watch.reconnected()
            if self._before.shape == now.shape and min(now.shape) >= BLOCK:
                self.watch.update(at_s, compared(self._before, now), first=self._first)
            else:
                self.watch = FreezeWatch()
        self._before, self._at_s, self._first = now, at_s, False

    def reconnected(self) -> None:
        """What was learnt holds on only if the next keyframe is the same as the last one was."""
        self.watch.reconnected()
        self._first = True


def compared(before: Luma, now: Luma) -> Pair:
    """Two pictures of one size, uint8[h, w] and at least a block each way."""
    height, width = (side // BLOCK * BLOCK for side in now.shape)
    apart = np.abs(now[:height, :width].astype(np.int16) - before[:height, :width])
    blocks = apart.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3))
    calm, lively = np.quantile(blocks, (CALM_PART, LIVELY_PART))
    return Pair(float(calm), float(lively), float(now.mean()))
