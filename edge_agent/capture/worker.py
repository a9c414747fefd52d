"""What recording and watching a camera have in common: connect, notice, and connect again, for ever.

A worker is driven by whoever resumes `run`; its connections are opened and read by other threads (`feed`).
"""

from __future__ import annotations

import logging
import random
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator

from edge_agent.capture.backoff import Backoff
from edge_agent.capture.feed import Feed, Reader, Rounds
from edge_agent.capture.source import CameraFailed, Source, StreamInfo
from edge_agent.clock import Clock
from edge_agent.messages import CameraChanged, Message
from edge_agent.model import CameraFault, CameraId, CameraState

_log = logging.getLogger(__name__)

STALL_S = 3.5
OPEN_S = 12.0
TAKE_S = 0.2
STEADY_S = 30.0
"""After a connection of so long the next one is tried with the shortest wait."""
MAX_HANGING = 4
"""Connections given up that may still sit in a read, each with a thread and a socket."""


class CameraWorker(ABC):
    """One camera.  `make_source` builds a fresh source for each connection; `tell` must not wait."""

    def __init__(
        self,
        camera: CameraId,
        clock: Clock,
        rounds: Rounds,
        make_source: Callable[[], Source],
        tell: Callable[[Message], None],
    ) -> None:
        self._id = camera
        self._clock = clock
        self._rounds = rounds
        self._tell = tell
        self._make_source = make_source
        self._backoff = Backoff(random.uniform)
        self._hanging: list[Reader] = []
        self._state: tuple[CameraState, CameraFault | None, str] | None = None
        self.beat = clock.monotonic()
        """When `run` last showed that it lives."""

    @abstractmethod
    def run_once(self) -> Iterator[float]:
        """One connection, step by step as `run`; CameraFailed says why it ended."""

    def failed(self, fault: CameraFault, words: str) -> None:
        """A connection ended before its time."""
        _log.warning("camera %s: %s: %s", self._id, fault, words)

    def run(self) -> Generator[float, None, None]:
        """Go on for ever, a step each time this is resumed; each step says how many seconds may pass before the next.

        Nothing that goes wrong ends it; to close it ends its connection.
        """
        self._change(CameraState.CONNECTING)
        while True:
            began = self.beat = self._clock.monotonic()
            try:
                yield from self.run_once()
            except CameraFailed as failure:
                fault, words = failure.fault, str(failure)
            except Exception as error:  # noqa: BLE001 - one camera's surprise must not end its work for ever
                last = traceback.extract_tb(error.__traceback__)[-1]
                fault, words = CameraFault.BROKEN, f"{type(error).__name__} in {last.name}, line {last.lineno}"
            self.failed(fault, words)
            self._change(CameraState.LOST, fault, words)
            if self._clock.monotonic() - began >= STEADY_S:
                self._backoff.reset()
            yield from self._pause(self._backoff.next())

    def _connect(self, feed: Feed) -> None:
        """Have a new reader fill `feed`."""
        self._hanging = [reader for reader in self._hanging if reader.is_alive()]
        if len(self._hanging) >= MAX_HANGING:
            raise CameraFailed(CameraFault.STALLED, f"{MAX_HANGING} earlier connections still hang")
        reader = Reader(self._id, self._make_source, feed, self._rounds)
        self._hanging.append(reader)
        reader.start()

    def _wait_for_info(self, feed: Feed) -> Generator[float, None, StreamInfo]:
        """What the camera sends."""
        deadline = self._clock.monotonic() + OPEN_S
        while (info := feed.info()) is None:
            self.beat = self._clock.monotonic()
            if self.beat > deadline:
                raise CameraFailed(CameraFault.UNREACHABLE, f"the camera did not answer within {OPEN_S:.0f} s")
            yield TAKE_S
        return info

    def _pause(self, seconds: float) -> Iterator[float]:
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            self.beat = self._clock.monotonic()
            yield min(left, 1.0)

    def _change(self, state: CameraState, fault: CameraFault | None = None, detail: str = "") -> None:
        if self._state != (state, fault, detail):
            self._state = (state, fault, detail)
            self._tell(CameraChanged(self._id, state, self._clock.utc_us(), fault, detail))


class StallWatch:
    """Notices that no picture comes any more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_at = clock.monotonic()

    def check(self, feed: Feed) -> None:
        """CameraFailed when the last picture of the connection is too long ago."""
        if feed.last_picture:
            self._last_at = feed.last_picture.arrival_monotonic
        if self._clock.monotonic() - self._last_at > STALL_S:
            raise CameraFailed(CameraFault.STALLED, f"no picture for {STALL_S:g} s")
