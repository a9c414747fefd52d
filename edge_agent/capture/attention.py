"""How much of a camera's time the watcher really watched: what it tells the agent's vigil (`edge_agent/vigil.py`).

Pure: instants are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

AWAY_S = 1.5
"""A turn of the camera's thread that took longer was no watching: the process was stopped, starved or stuck."""


@dataclass(slots=True)
class Attention:
    """One connection's span from `since_s` on; `turned_s`: when the thread last came round."""

    since_s: float
    turned_s: float
    taken: int = 0
    """Pictures that were handed on to be decoded, or rightly left for later, …"""
    passed: int = 0
    """… and those that were too old for that."""
    seen: int = 0
    stale: int = 0
    """The same of those that were decoded to be looked at."""
    away_s: float = 0.0

    def turn(self, now_s: float) -> None:
        """The thread comes round."""
        if now_s - self.turned_s > AWAY_S:
            self.away_s += now_s - self.turned_s
        self.turned_s = now_s

    def watched_s(self, now_s: float) -> float:
        """Of the seconds since `since_s`; nothing when nothing was taken."""
        there_s = max(0.0, now_s - self.since_s - self.away_s)
        return there_s * _part(self.taken, self.passed, none=0.0) * _part(self.seen, self.stale, none=1.0)


def _part(good: int, bad: int, none: float) -> float:
    return good / (good + bad) if good + bad else none
