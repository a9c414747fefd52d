"""Whether somebody meddles with a camera: covered, blinded, out of focus, turned away.  Pure.

What is usual is learnt from the camera itself, and kept over lost connections: who cuts the cable, turns the camera and
plugs it in again is still noticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(slots=True)
class TamperWatch:
    """One camera's judge; one thread.  `update` takes a look about every second."""

    nature: AlarmNature | None = None
    """What is wrong with the view now."""
    _looks: int = 0
    _at_s: float | None = None
    _lost_s: float = 0.0
    _found_s: float = 0.0
    _last: AlarmNature | None = None
    _wrong_s: float = 0.0

    @property
    def troubles(self) -> frozenset[AlarmNature]:
        """All that is wrong now."""
        return frozenset({self.nature} if self.nature else ())

    def update(self, at_s: float, look: Look) -> float:
        """Judge a look; how far, 0 … 1, it is to be learnt as the usual view (1: the view is a new one)."""
        elapsed_s = min(max(at_s - self._at_s, 0.0), 5.0) if self._at_s is not None else 0.0
        self._at_s = at_s
        if self._looks < LEARN_LOOKS:
            self._looks += 1
            return 1 / self._looks
        wrong = _judged(look, self.nature is not None)
        if wrong is None:
            self._lost_s, self._found_s = 0.0, self._found_s + elapsed_s
            if self._found_s >= BACK_S:
                self.nature, self._wrong_s = None, 0.0
            return 1 - math.exp(-elapsed_s / LEARN_S) if self.nature is None else 0.0
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
        """How long it was cut off says nothing about how long something was wrong."""
        self._at_s = None


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
