"""How much of a stream needs decoding while nothing goes on, from the sizes of its encoded pictures.  Pure.

An encoder of constant quality spends little on a picture that is as the one before, and more as soon as something
moves.  One of constant bitrate tells nothing.  Which kind a camera has is not asked but measured, against what was then
found in its pictures; a single movement that the sizes did not tell of ends the trust in them (`docs/watching.md`,
"Idle scenes").  While they are trusted and nothing stirs, the first quarter of a second of each group of pictures is
still looked at, and no more than `BLIND_S` goes by unseen.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

LEAN = 0.06
"""Pictures smaller than this part of their keyframe are those of an encoder that saves where it can."""
HISTORY = 80
LEAST_HISTORY = 40
LEAST_GROUPS = 3
STIR_S = 1.5
"""Two large pictures within this time, or a very large one, are a stir."""
AWAKE_S = 4.0
"""After a stir, or when anything was seen, everything is decoded for so long."""
GLANCE_S = 0.25
"""So much of each group of pictures is decoded in any case, …"""
BLIND_S = 2.5
"""… and all of a group that is longer than this."""
EVENT_S = 5.0
"""Movement after so much rest is an event that the sizes must have told of, …"""
EARLY_S = 2.5
"""… at most so long before it was found."""
PROVEN = 5
"""Events in a row that were told of; as good as being lean."""


@dataclass(slots=True)
class Thrift:
    """One connection's judge; one thread.  Times are monotonic seconds of arrival."""

    _sizes: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _usual: float = 0.0
    _large: float = float("inf")
    _keyframe_bytes: float = 0.0
    _group_s: float = float("-inf")
    _groups: int = 0
    _large_at: deque[float] = field(default_factory=lambda: deque(maxlen=2))
    _stirred_s: float = float("-inf")
    _awake_until_s: float = float("-inf")
    _moved_s: float = float("-inf")
    _told: int = 0
    _failed: bool = False
    _new: int = 0

    @property
    def trusted(self) -> bool:
        """Whether the sizes have earned it that less is decoded."""
        if len(self._sizes) < LEAST_HISTORY or self._groups <= LEAST_GROUPS:
            return False
        lean = not self._failed and self._usual <= LEAN * self._keyframe_bytes
        return lean or self._told >= PROVEN

    @property
    def saves(self) -> bool:
        """Whether only a part of each group of pictures is wanted now."""
        return self.trusted and self._group_s >= self._awake_until_s

    def wants(self, at_s: float, size: int, keyframe: bool) -> bool:
        """Whether this picture, and all of its group before it, is to be decoded now."""
        if keyframe:
            weight = 0.2 if self._keyframe_bytes else 1.0
            self._keyframe_bytes += weight * (size - self._keyframe_bytes)
            self._group_s = at_s
            self._groups += 1
            return True
        self._weigh(at_s, size)
        if not self.trusted or at_s < self._awake_until_s:
            return True
        return at_s - self._group_s <= GLANCE_S or at_s - self._group_s > BLIND_S

    def seen(self, at_s: float, anything: bool, moving: bool) -> None:
        """What a picture that was looked at showed."""
        if anything:
            self._awake_until_s = max(self._awake_until_s, at_s + AWAKE_S)
        if moving:
            if at_s - self._moved_s > EVENT_S and len(self._sizes) >= LEAST_HISTORY:
                told = self._stirred_s >= at_s - EARLY_S
                self._told = self._told + 1 if told else 0
                self._failed = self._failed or not told
            self._moved_s = at_s

    def _weigh(self, at_s: float, size: int) -> None:
        if size > self._large:
            self._large_at.append(at_s)
            both = len(self._large_at) == 2 and at_s - self._large_at[0] <= STIR_S
            if both or size > 2 * self._large:
                self._stirred_s = at_s
                self._awake_until_s = max(self._awake_until_s, at_s + AWAKE_S)
        # What moves must not become the usual, or it would be so only for a while.
        if size <= self._large or at_s - self._moved_s > EVENT_S:
            self._sizes.append(size)
            self._new += 1
        if self._new >= 10:
            self._new = 0
            self._usual = statistics.median(self._sizes)
            spread = statistics.median(abs(one - self._usual) for one in self._sizes)
            if len(self._sizes) >= LEAST_HISTORY:
                self._large = self._usual + max(4 * spread, 0.3 * self._usual, 40)
