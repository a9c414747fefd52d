"""From a camera's reader thread to its writer: a queue bounded in bytes that loses whole groups of pictures only.

Threads: one reader puts, one writer takes.  libav may sit in a read for long after a camera went silent, so a reader
can't be stopped but only be abandoned: what it still brings goes nowhere, and it ends by itself.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from edge_agent.capture.source import VIDEO, CameraFailed, Packet, Source, StreamInfo
from edge_agent.model import CameraFault

_log = logging.getLogger(__name__)

QUEUE_BYTES = 16 << 20
_PACKET_BYTES = 500
"""What a packet costs beside its data."""


class Feed:
    """The queue, what was learned of the stream, and how the connection ended."""

    def __init__(self, limit_bytes: int = QUEUE_BYTES) -> None:
        self._limit = limit_bytes
        self._changed = threading.Condition()
        self._packets: deque[tuple[Packet, int]] = deque()
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

    def put(self, packet: Packet) -> bool:
        """Never waits; false when nobody takes any more."""
        cost = len(packet.data) + _PACKET_BYTES
        with self._changed:
            if self._abandoned:
                return False
            self.bytes += len(packet.data)
            if packet.track == VIDEO:
                self.frames += 1
                self.last_picture = packet
            full = self._bytes + cost > self._limit
            if self._dropping and packet.track == VIDEO and packet.keyframe and self._bytes <= self._limit // 2:
                self._dropping = full = False
            if self._dropping or full:
                # what follows in this group cannot be decoded without it
                self._dropping = True
                self._dropped += packet.track == VIDEO
            else:
                self._packets.append((packet, self._dropped))
                self._dropped = 0
                self._bytes += cost
                self._changed.notify_all()
            return True

    def fail(self, failure: CameraFailed) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    # ---- the writer's side

    def info(self, seconds: float) -> StreamInfo | None:
        """What the camera sends, None when that is not known in time; raises what the reader failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._info or self._failure or self._abandoned, seconds)
            if self._info is None and self._failure is not None:
                raise self._failure
            return self._info

    def take(self, seconds: float) -> list[tuple[Packet, int]]:
        """Everything that waits, each with the number of pictures lost before it; empty when nothing came in time.

        Raises what the reader failed with once all that came before is taken.
        """
        with self._changed:
            if not self._packets and self._failure is None:
                self._changed.wait(seconds)
            if not self._packets and self._failure is not None:
                raise self._failure
            taken = list(self._packets)
            self._packets.clear()
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


class Reader(threading.Thread):
    """Owns one source for the life of one connection."""

    def __init__(self, name: str, make: Callable[[], Source], feed: Feed) -> None:
        super().__init__(name=f"read-{name}", daemon=True)
        self._make = make
        self._feed = feed

    def run(self) -> None:
        source = self._make()
        try:
            self._feed.opened(source.open())
            for packet in source.packets():
                if not self._feed.put(packet):
                    return
        except CameraFailed as failure:
            self._feed.fail(failure)
        except Exception as error:  # noqa: BLE001 - a reader that dies silently would look like a stall
            # by its class only: its words may hold the URL with the login
            _log.error("%s ended by %s", self.name, type(error).__name__)
            self._feed.fail(CameraFailed(CameraFault.BROKEN, f"reading failed ({type(error).__name__})"))
        finally:
            source.close()
