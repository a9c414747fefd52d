"""What recording and watching a camera have in common: connect, notice, and connect again, for ever.

Threads: `run` is the camera's own; each connection has a reader thread besides (`feed.Reader`).
"""

from __future__ import annotations

import logging
import random
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable

from edge_agent.capture.backoff import Backoff
from edge_agent.capture.feed import Feed, Reader
from edge_agent.capture.source import CameraFailed, Source, StreamInfo
from edge_agent.clock import Clock
from edge_agent.messages import CameraChanged, Message
from edge_agent.model import CameraFault, CameraId, CameraState

_log = logging.getLogger(__name__)

STALL_S = 4.0
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
        stop: threading.Event,
        make_source: Callable[[], Source],
        tell: Callable[[Message], None],
    ) -> None:
        self._id = camera
        self._clock = clock
        self._stop = stop
        self._tell = tell
        self._make_source = make_source
        self._backoff = Backoff(random.uniform)
        self._hanging: list[Reader] = []
        self._state: tuple[CameraState, CameraFault | None, str] | None = None
        self.beat = clock.monotonic()
        """When `run` last showed that it lives."""

    @abstractmethod
    def run_once(self) -> None:
        """One connection, from opening to its end; CameraFailed says why it ended, a return that `stop` was set."""

    def failed(self, fault: CameraFault, words: str) -> None:
        """A connection ended before its time."""
        _log.warning("camera %s: %s: %s", self._id, fault, words)

    def run(self) -> None:
        """Go on until `stop` is set; nothing that goes wrong ends this earlier."""
        self._change(CameraState.CONNECTING)
        while not self._stop.is_set():
            began = self.beat = self._clock.monotonic()
            try:
                self.run_once()
                continue
            except CameraFailed as failure:
                fault, words = failure.fault, str(failure)
            except Exception as error:  # noqa: BLE001 - one camera's surprise must not end its work for ever
                last = traceback.extract_tb(error.__traceback__)[-1]
                fault, words = CameraFault.BROKEN, f"{type(error).__name__} in {last.name}, line {last.lineno}"
            self.failed(fault, words)
            self._change(CameraState.LOST, fault, words)
            if self._clock.monotonic() - began >= STEADY_S:
                self._backoff.reset()
            self._pause(self._backoff.next())

    def _connect(self, feed: Feed) -> None:
        """Have a new reader fill `feed`."""
        self._hanging = [reader for reader in self._hanging if reader.is_alive()]
        if len(self._hanging) >= MAX_HANGING:
            raise CameraFailed(CameraFault.STALLED, f"{MAX_HANGING} earlier connections still hang")
        reader = Reader(self._id, self._make_source, feed)
        self._hanging.append(reader)
        reader.start()

    def _wait_for_info(self, feed: Feed) -> StreamInfo | None:
        """What the camera sends; None when `stop` was set meanwhile."""
        deadline = self._clock.monotonic() + OPEN_S
        while not self._stop.is_set():
            info = feed.info(TAKE_S)
            self.beat = self._clock.monotonic()
            if info is not None:
                return info
            if self.beat > deadline:
                raise CameraFailed(CameraFault.UNREACHABLE, f"the camera did not answer within {OPEN_S:.0f} s")
        return None

    def _pause(self, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0 and not self._clock.wait(self._stop, min(left, 1.0)):
            self.beat = self._clock.monotonic()

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
            raise CameraFailed(CameraFault.STALLED, f"no picture for {STALL_S:.0f} s")
