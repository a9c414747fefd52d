"""How much a skimmed picture may differ from its keyframe before all is decoded.  Pure.

To skim is to decode one picture of several straight onto the one that was decoded before (`renumber`).  Where nothing
goes on, it shows what all of them would; where something moves, it shows that something is otherwise, though not what
(`docs/watching.md`, "Idle scenes").  How restless a camera's calm pictures are is learnt: one that strays too far to
tell a thing from noise is not skimmed.
"""

from __future__ import annotations

from dataclasses import dataclass

SKIM_S = 0.7
"""Between two pictures that are decoded while nothing goes on."""
GROUP_S = 4.0
"""Groups of pictures longer than this are not skimmed: what is missing adds up, and their keyframes are too rare."""
GROUP_BYTES = 4 << 20
LEAST = 6.0
"""Grey levels by which three blocks must differ (`motion.difference`), at least, …"""
MARGIN, FACTOR = 2.0, 1.5
"""… and by how much, and how many times, more than they did without cause."""
MOST = 10.0
"""Where they had to differ by more, skimming would tell too little."""
FORGETS_S = 90.0
"""Half of the unrest is forgotten in this time."""
CONFIRMED_S = 1.0
"""What stirs is seen by the model within so long, or it was without cause."""
FAILURES = 3
"""Pictures in a row that could not be skimmed: this stream is not to be skimmed."""


@dataclass(slots=True)
class Skim:
    """One connection's judge; times are monotonic seconds of arrival."""

    _unrest: float = 0.0
    _unrest_s: float = 0.0
    _asked: tuple[float, float] | None = None
    """When something stirred, and by how much, until it is known whether anything was there."""
    _failures: int = 0

    def worth(self, at_s: float) -> bool:
        """Whether the next group of pictures may be skimmed."""
        return self._failures < FAILURES and self._limit(at_s) <= MOST

    def stirs(self, at_s: float, difference: float) -> bool:
        """Whether a picture that differs so from its keyframe asks for all of them."""
        self._failures = 0
        if difference > self._limit(at_s):
            self._asked = at_s, difference
            return True
        self.learn(at_s, difference)
        return False

    def learn(self, at_s: float, difference: float) -> None:
        """Calm pictures differ by so much."""
        self._unrest, self._unrest_s = max(self._now(at_s), difference), at_s

    def failed(self) -> None:
        """A picture could not be skimmed."""
        self._failures += 1

    def seen(self, at_s: float, anything: bool) -> None:
        """Whether a whole picture showed anything unusual."""
        if self._asked is None:
            return
        asked_s, difference = self._asked
        if anything:
            self._asked = None
        elif at_s - asked_s > CONFIRMED_S:
            self.learn(at_s, difference)
            self._asked = None

    def _limit(self, at_s: float) -> float:
        return max(LEAST, MARGIN + FACTOR * self._now(at_s))

    def _now(self, at_s: float) -> float:
        return float(self._unrest * 0.5 ** (max(0.0, at_s - self._unrest_s) / FORGETS_S))
