"""Whose turn it is: a few threads read, decode and look for all cameras, each camera when its turn has come.

In one go that needs no queue between threads, no lock that anybody waits for, and one wake-up for all cameras that are
due: these cost more than looking at an idle camera does.  What comes meanwhile gathers in the kernel.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence

from edge_agent.capture.feed import AT_ONCE_BYTES, Feed, reported
from edge_agent.capture.source import PolledSource
from edge_agent.clock import Clock

LEAST_S = 0.02
"""Others get the processor between two rounds, however much there is to do."""
TOGETHER_S = 0.1
"""Turns that are due so soon are taken at once."""


class Turn:
    """One camera's connections, and the steps of the worker that takes from them (`CameraWorker.run`)."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.due_s = 0.0
        self.steps: Generator[float, None, None] | None = None
        self._clock = clock
        self._new: deque[tuple[str, PolledSource, Feed]] = deque()
        self._open: list[tuple[str, PolledSource, Feed]] = []

    def add(self, name: str, source: PolledSource, feed: Feed) -> None:
        """Take over a source that is open; from any thread."""
        self._new.append((name, source, feed))

    def take(self) -> None:
        """Read what has come and do what there is to do with it."""
        while self._new:
            self._open.append(self._new.popleft())
        before = {id(feed): feed.bytes for _, _, feed in self._open}
        self._open = [each for each in self._open if _goes_on(*each)]
        most = max((feed.bytes - before[id(feed)] for _, _, feed in self._open), default=0)
        if self.steps is not None:
            pause_s = next(self.steps)
            # a camera that sends much would fill its socket
            self.due_s = self._clock.monotonic() + pause_s * min(1.0, AT_ONCE_BYTES / max(most, 1))

    def close(self) -> None:
        if self.steps is not None:
            self.steps.close()
        for _, source, _ in (*self._open, *self._new):
            source.close()


def _goes_on(name: str, source: PolledSource, feed: Feed) -> bool:
    with reported(name, feed):
        if feed.put(source.poll()):
            return True
    source.close()
    return False


class Turns(threading.Thread):
    """One thread for `turns`, until `stop` is set; then it closes them."""

    def __init__(self, name: str, clock: Clock, stop: threading.Event, turns: Sequence[Turn]) -> None:
        super().__init__(name=name, daemon=True)
        self._clock = clock
        self._stop_event = stop
        self._turns = turns
        self.at: str | None = None
        """Whose turn it is now."""

    def run(self) -> None:
        pause_s = 0.0
        while not self._clock.wait(self._stop_event, pause_s):
            until_s = self._clock.monotonic() + TOGETHER_S
            for turn in self._turns:
                if turn.due_s <= until_s:
                    self.at = turn.name
                    turn.take()
            self.at = None
            pause_s = max(LEAST_S, min(turn.due_s for turn in self._turns) - self._clock.monotonic())
        for turn in self._turns:
            turn.close()
