"""Records one camera for as long as the recorder lives: connect, write, notice, reconnect.

Threads: `run` is the camera's writer thread; each connection has a reader thread of its own (`feed.Reader`).  `stats`
may be called from any thread.
"""

from __future__ import annotations

import logging
import random
import threading
import traceback
from collections.abc import Callable

from edge_agent.capture.backoff import Backoff
from edge_agent.capture.feed import Feed, Reader
from edge_agent.capture.job import CameraJob
from edge_agent.capture.opening import Opening
from edge_agent.capture.segment_writer import ArchivePlace, Loss, SegmentWriter
from edge_agent.capture.segmenter import Segmenter
from edge_agent.capture.source import CameraFailed, Source, StreamInfo
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.messages import CameraChanged, CameraStats, Message
from edge_agent.model import CameraFault, CameraState

_log = logging.getLogger(__name__)

STALL_S = 4.0
OPEN_S = 12.0
TAKE_S = 0.2
OPENING_S = 0.5
"""So long the first packets are gathered, for they tell together where the first one belongs."""
STEADY_S = 30.0
"""After so much recording the next reconnection begins with the shortest wait."""
MAX_HANGING = 4
"""Connections given up that may still sit in a read, each with a thread and a socket."""


class CameraRecorder:
    """One camera.  `make_source` builds a fresh source for each connection; `tell` must not wait."""

    def __init__(
        self,
        camera: CameraJob,
        place: ArchivePlace,
        clock: Clock,
        stop: threading.Event,
        make_source: Callable[[], Source],
        tell: Callable[[Message], None],
    ) -> None:
        self._camera = camera
        self._place = place
        self._clock = clock
        self._stop = stop
        self._make_source = make_source
        self._tell = tell
        self._writer = SegmentWriter(camera.id, place, clock, tell, self._disk)
        self._backoff = Backoff(random.uniform)
        self._floor_us = 0
        self._hanging: list[Reader] = []
        self._state: tuple[CameraState, CameraFault | None, str] | None = None
        self._note = ""
        self._feed = Feed()
        self._frames_before = 0
        self._bytes_before = 0
        self._told = (0, 0, clock.monotonic())

    def run(self) -> None:
        """Record until `stop` is set; nothing that goes wrong ends this earlier."""
        self._change(CameraState.CONNECTING)
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                self.run_once()
                continue
            except CameraFailed as failure:
                fault, words = failure.fault, str(failure)
            except Exception as error:  # noqa: BLE001 - one camera's surprise must not end its recording for ever
                last = traceback.extract_tb(error.__traceback__)[-1]
                fault, words = CameraFault.BROKEN, f"{type(error).__name__} in {last.name}, line {last.lineno}"
            _log.warning("camera %s: %s: %s", self._camera.id, fault, words)
            self._writer.lost(Loss(fault.gap_cause, words))
            self._change(CameraState.LOST, fault, words)
            if self._clock.monotonic() - began >= STEADY_S:
                self._backoff.reset()
            self._clock.wait(self._stop, self._backoff.next())

    def run_once(self) -> None:
        """One connection, from opening to its end; CameraFailed says why it ended, a return that `stop` was set."""
        feed = self._connect()
        segmenter: Segmenter | None = None
        try:
            info = self._wait_for_info(feed)
            if info is None:
                return
            self._note = info.note
            self._clock.wait(self._stop, OPENING_S)
            opening = Opening.of(feed.take(OPENING_S), info.video.time_base)
            segmenter = Segmenter(info, self._writer, self._place.segment_s, self._floor_us, opening.early_us)
            for packet, lost_before in opening.packets:
                segmenter.put(packet, lost_before)
            last_at = self._clock.monotonic()
            while not self._stop.is_set():
                for packet, lost_before in feed.take(TAKE_S):
                    segmenter.put(packet, lost_before)
                self._writer.sync_if_due()
                last_at = feed.last_picture.arrival_monotonic if feed.last_picture else last_at
                if self._clock.monotonic() - last_at > STALL_S:
                    raise CameraFailed(CameraFault.STALLED, f"no picture for {STALL_S:.0f} s")
        finally:
            feed.abandon()
            if segmenter is not None:
                segmenter.end()
                self._floor_us = segmenter.floor_us

    def stats(self) -> CameraStats:
        """What came since the last call."""
        feed, now = self._feed, self._clock.monotonic()
        frames, size = self._frames_before + feed.frames, self._bytes_before + feed.bytes
        frames_told, bytes_told, told_at = self._told
        self._told = (frames, size, now)
        passed = max(now - told_at, 1e-3)
        return CameraStats(
            self._camera.id,
            self._clock.utc_us(),
            fps=round((frames - frames_told) / passed, 2),
            bitrate_bps=round((size - bytes_told) * 8 / passed),
            last_frame_us=feed.last_picture.arrival_us if feed.last_picture else None,
            frames_total=frames,
        )

    def _connect(self) -> Feed:
        self._hanging = [reader for reader in self._hanging if reader.is_alive()]
        if len(self._hanging) >= MAX_HANGING:
            raise CameraFailed(CameraFault.STALLED, f"{MAX_HANGING} earlier connections still hang")
        before, feed = self._feed, Feed()
        feed.last_picture = None
        self._frames_before += before.frames
        self._bytes_before += before.bytes
        self._feed = feed
        reader = Reader(self._camera.id, self._make_source, feed)
        self._hanging.append(reader)
        reader.start()
        return feed

    def _wait_for_info(self, feed: Feed) -> StreamInfo | None:
        deadline = self._clock.monotonic() + OPEN_S
        while not self._stop.is_set():
            info = feed.info(TAKE_S)
            if info is not None:
                return info
            if self._clock.monotonic() > deadline:
                raise CameraFailed(CameraFault.UNREACHABLE, f"the camera did not answer within {OPEN_S:.0f} s")
        return None

    def _disk(self, error: ArchiveError | None) -> None:
        """The disk failed, or bytes of a new file are written."""
        if error is None:
            self._change(CameraState.RECORDING, None, self._note)
        else:
            self._change(CameraState.LOST, CameraFault.DISK, str(error))

    def _change(self, state: CameraState, fault: CameraFault | None = None, detail: str = "") -> None:
        if self._state != (state, fault, detail):
            self._state = (state, fault, detail)
            self._tell(CameraChanged(self._camera.id, state, self._clock.utc_us(), fault, detail))
