"""How long to wait before the next attempt: doubling, with jitter so that a rack of cameras does not come at once."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """0.5 s doubling to 30 s, each spread by a quarter to both sides; `uniform(a, b)` is the source of chance."""

    def __init__(self, uniform: Callable[[float, float], float], first_s: float = 0.5, longest_s: float = 30.0) -> None:
        self._uniform = uniform
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next(self) -> float:
        """Seconds to wait before the coming attempt."""
        wait_s = self._next_s
        self._next_s = min(self._next_s * 2, self._longest_s)
        return min(wait_s * self._uniform(0.75, 1.25), self._longest_s)

    def reset(self) -> None:
        """The last attempt went well: begin with the shortest wait again."""
        self._next_s = self._first_s
