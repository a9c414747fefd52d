"""From who reads a camera to who writes it: a queue bounded in bytes that loses whole groups of pictures only.

Threads: one puts, one takes.  libav may sit in a read for long after a camera went silent, so a reader can't be stopped
but only be abandoned: what it still brings goes nowhere, and it ends by itself.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from edge_agent.capture.source import VIDEO, CameraFailed, Packet, PolledSource, Source, StreamInfo
from edge_agent.clock import Clock
from edge_agent.model import CameraFault

_log = logging.getLogger(__name__)

QUEUE_BYTES = 16 << 20
_PACKET_BYTES = 500
"""What a packet costs beside its data."""
QUICK_S = 0.05
"""The shortest time between two rounds."""
AT_ONCE_BYTES = 512 << 10
"""So much of one camera may gather: a 4 Mb/s camera sends it in a second."""


class Feed:
    """The queue, what was learned of the stream, and how the connection ended."""

    def __init__(self, limit_bytes: int = QUEUE_BYTES) -> None:
        self._limit = limit_bytes
        self._changed = threading.Condition()
        self._packets: list[tuple[Packet, int]] = []
        self._bytes = 0
        self._dropped = 0
        self._dropping = False
        self._info: StreamInfo | None = None
        self._failure: CameraFailed | None = None
        self._abandoned = False
        self.frames = 0
        """Pictures that arrived."""
        self.bytes = 0
        self.last_picture: Packet | None = None

    # ---- the reader's side

    def opened(self, info: StreamInfo) -> None:
        with self._changed:
            self._info = info
            self._changed.notify_all()

    def put(self, packets: Iterable[Packet]) -> bool:
        """Never waits; false when nobody takes any more."""
        with self._changed:
            for packet in packets:
                if not self._abandoned:
                    self._put(packet)
            if self._packets:
                self._changed.notify_all()
            return not self._abandoned

    def _put(self, packet: Packet) -> None:
        size = len(packet.data)
        self.bytes += size
        if packet.track == VIDEO:
            self.frames += 1
            self.last_picture = packet
        full = self._bytes + size + _PACKET_BYTES > self._limit
        if self._dropping and packet.track == VIDEO and packet.keyframe and self._bytes <= self._limit // 2:
            self._dropping = full = False
        if self._dropping or full:
            # what follows in this group cannot be decoded without it
            self._dropping = True
            self._dropped += packet.track == VIDEO
        else:
            self._packets.append((packet, self._dropped))
            self._dropped = 0
            self._bytes += size + _PACKET_BYTES

    def fail(self, failure: CameraFailed) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    # ---- the writer's side

    def info(self) -> StreamInfo | None:
        """What the camera sends, None while that is not known; raises what the reader failed with."""
        with self._changed:
            if self._info is None and self._failure is not None:
                raise self._failure
            return self._info

    def take(self, seconds: float) -> list[tuple[Packet, int]]:
        """Everything that waits, each with the number of pictures lost before it; empty when nothing came in time.

        Raises what the reader failed with once all that came before is taken.
        """
        with self._changed:
            if seconds > 0 and not self._packets and self._failure is None:
                self._changed.wait(seconds)
            if not self._packets and self._failure is not None:
                raise self._failure
            taken, self._packets = self._packets, []
            self._bytes = 0
            return taken

    def abandon(self) -> None:
        """Nothing more is wanted."""
        with self._changed:
            self._abandoned = True
            self._packets.clear()
            self._bytes = 0
            self._changed.notify_all()

    @property
    def abandoned(self) -> bool:
        return self._abandoned


class Adopter(Protocol):
    """Who reads sources that are open and can be polled."""

    def add(self, name: str, source: PolledSource, feed: Feed) -> None:
        """From any thread."""
        ...


class Reader(threading.Thread):
    """Opens one connection, and then owns it for its life, or gives it to `rounds` where its source can be polled."""

    def __init__(self, name: str, make: Callable[[], Source], feed: Feed, rounds: Adopter) -> None:
        super().__init__(name=f"read-{name}", daemon=True)
        self._make = make
        self._feed = feed
        self._rounds = rounds

    def run(self) -> None:
        with reported(self.name, self._feed), contextlib.ExitStack() as stack:
            source = self._make()
            stack.callback(source.close)
            self._feed.opened(source.open())
            if isinstance(source, PolledSource):
                stack.pop_all()
                self._rounds.add(self.name, source, self._feed)
                return
            for packet in source.packets():
                if not self._feed.put([packet]):
                    return


class Rounds(threading.Thread):
    """One thread that reads all cameras which can be polled, in rounds; it calls `after` when it has.

    Packets gather in the sockets meanwhile: a few large reads cost far less than a wake-up for each packet.  Rounds are
    `every_s` apart, closer where a camera sends so much that its socket could fill up, and while one is new: the
    kernel grants a connection more room only once it has seen how much is taken at once.
    """

    def __init__(self, clock: Clock, every_s: float, after: Callable[[], None]) -> None:
        super().__init__(name="read", daemon=True)
        self._clock = clock
        self._every_s = every_s
        self._after = after
        self._new: deque[tuple[str, PolledSource, Feed]] = deque()
        self._ended = False
        self._wake = threading.Event()
        self._most = 0
        """Bytes that the largest poll of this round gave."""
        self.over = False
        """There will be no more rounds."""

    def add(self, name: str, source: PolledSource, feed: Feed) -> None:
        """Take over a source that is open; from any thread."""
        self._new.append((name, source, feed))
        self._wake.set()

    def end(self) -> None:
        """Make one more round, and close what is read."""
        self._ended = True
        self._wake.set()

    def run(self) -> None:
        reading: list[tuple[str, PolledSource, Feed]] = []
        wait_s = self._every_s
        ended = False
        while not ended:
            self._clock.wait(self._wake, wait_s)
            self._wake.clear()
            ended = self._ended
            wait_s = min(2 * wait_s, self._every_s)
            while self._new:
                reading.append(self._new.popleft())
                wait_s = QUICK_S
            self._most = 0
            reading = [each for each in reading if self._goes_on(*each)]
            self._after()
            wait_s = max(QUICK_S, wait_s * min(1.0, AT_ONCE_BYTES / max(self._most, 1)))
        for _, source, _ in reading:
            source.close()
        self.over = True
        self._after()

    def _goes_on(self, name: str, source: PolledSource, feed: Feed) -> bool:
        with reported(name, feed):
            before = feed.bytes
            goes_on = feed.put(source.poll())
            self._most = max(self._most, feed.bytes - before)
            if goes_on:
                return True
        source.close()
        return False


@contextlib.contextmanager
def reported(name: str, feed: Feed) -> Iterator[None]:
    """What a source fails with is told to its feed."""
    try:
        yield
    except CameraFailed as failure:
        feed.fail(failure)
    except Exception as error:  # noqa: BLE001 - a reader that dies silently would look like a stall
        # by its class only: its words may hold the URL with the login
        _log.error("%s ended by %s", name, type(error).__name__)
        feed.fail(CameraFailed(CameraFault.BROKEN, f"reading failed ({type(error).__name__})"))
