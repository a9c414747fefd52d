"""Whether somebody meddles with a camera: covered, blinded, out of focus, turned away, its picture frozen.  Pure.

What is usual is learnt from the camera itself, and kept over lost connections: who cuts the cable, turns the camera and
plugs it in again is still noticed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from edge_agent.capture.look import Look
from edge_agent.model import AlarmNature

LOOK_S = 1.0
"""Looks are this far apart."""
LEARN_LOOKS = 10
"""The usual view is made of so many looks at first, …"""
LEARN_S = 120.0
"""… and then follows the light with this time constant."""
LEAST_BLOCKS = 8
"""With fewer blocks that have structure a view says too little."""
LOST, FOUND = 0.57, 0.72
"""The view is lost when less of it is there, and found again when more is."""
BLURRED, SHARP = 0.35, 0.55
"""It is out of focus when less of its fine structure is left, and in focus again when more is."""
HOLD_S = 4.0
"""For so long it must be lost, …"""
BACK_S = 3.0
"""… and for so long be found again."""
ACCEPT_S = 1800.0
"""A new view that stayed for so long is the usual one from then on."""
FROZEN_S = 20.0
STILL = 0.15
"""A picture that changes by less than this part of what is usual stands still."""
LIVELY = 0.12
"""A picture that usually changes by fewer grey levels from one to the next can't be told from a frozen one."""


@dataclass(slots=True)
class TamperWatch:
    """One camera's judge; one thread.  `update` takes a look about every second."""

    nature: AlarmNature | None = None
    """What is wrong with the view now."""
    frozen: bool = False
    _looks: int = 0
    _at_s: float | None = None
    _lost_s: float = 0.0
    _found_s: float = 0.0
    _last: AlarmNature | None = None
    _wrong_s: float = 0.0
    _change: float = 0.0
    _recent: deque[tuple[float, bool]] = field(default_factory=deque)

    @property
    def troubles(self) -> frozenset[AlarmNature]:
        """All that is wrong now."""
        found = {self.nature} if self.nature else set[AlarmNature]()
        return frozenset(found | {AlarmNature.FROZEN} if self.frozen else found)

    def update(self, at_s: float, look: Look) -> float:
        """Judge a look; how far, 0 … 1, it is to be learnt as the usual view (1: the view is a new one)."""
        elapsed_s = min(max(at_s - self._at_s, 0.0), 5.0) if self._at_s is not None else 0.0
        self._at_s = at_s
        self._watch_change(at_s, look)
        if self._looks < LEARN_LOOKS:
            self._looks += 1
            return 1 / self._looks
        wrong = _judged(look, self.nature is not None)
        if wrong is None:
            self._lost_s, self._found_s = 0.0, self._found_s + elapsed_s
            if self._found_s >= BACK_S:
                self.nature, self._wrong_s = None, 0.0
            return 1 - math.exp(-elapsed_s / LEARN_S) if self.nature is None else 0.0
        self._recent.clear()
        self._found_s = 0.0
        self._lost_s = self._lost_s + elapsed_s if wrong is self._last or self._lost_s == 0 else elapsed_s
        self._last = wrong
        if self._lost_s >= HOLD_S and self.nature is None:
            self.nature = wrong
        self._wrong_s = self._wrong_s + elapsed_s if self.nature else 0.0
        if self._wrong_s >= ACCEPT_S:
            self.nature, self._wrong_s, self._lost_s, self._looks = None, 0.0, 0.0, 1
            return 1.0
        return 0.0

    def reconnected(self) -> None:
        """A new connection: the picture before is no measure of the next one's change."""
        self._recent.clear()
        self.frozen = False
        self._at_s = None

    def _watch_change(self, at_s: float, look: Look) -> None:
        """A live picture is never twice the same: the sensor's noise gets through.  Even a frozen one is, now and then,
        when it is coded anew; so most looks decide."""
        # a darker picture has less noise to show
        still = look.change <= STILL * self._change * min(1.0, max(0.0, look.contrast))
        if not still:
            weight = 0.02 if self._looks >= LEARN_LOOKS else 0.3
            self._change += weight * (look.change - self._change)
        self._recent.append((at_s, still))
        while at_s - self._recent[0][0] > FROZEN_S:
            self._recent.popleft()
        stills = sum(still for _, still in self._recent)
        if self.frozen:
            self.frozen = any(still for _, still in list(self._recent)[-4:])
            if not self.frozen:
                self._recent.clear()
        elif self._change >= LIVELY and at_s - self._recent[0][0] >= FROZEN_S - 2 * LOOK_S:
            self.frozen = stills >= 0.7 * len(self._recent) and self.nature is None


def _judged(look: Look, lost: bool) -> AlarmNature | None:
    """What a single look says; `lost`: something was wrong before, so more is asked for all to be well again."""
    if look.blocks < LEAST_BLOCKS:
        return None
    if look.white >= 0.3 and (look.kept < 0.85 or lost):
        return AlarmNature.BLINDED
    if look.textured < 0.25 and look.sharp < 0.3:
        return AlarmNature.COVERED
    blurred = look.sharp < (SHARP if lost else BLURRED) and look.contrast >= 0.6
    if blurred and look.alike >= 0.93 and look.kept >= 0.5:
        return AlarmNature.DEFOCUSED
    return AlarmNature.TURNED if look.kept < (FOUND if lost else LOST) else None
