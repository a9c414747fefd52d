"""Watches one camera for as long as the watcher lives: connect, decode, look, tell; notice, reconnect.

Threads: `run` is the camera's own; each connection has a reader thread besides (`feed.Reader`).  The reader never waits
for the analysis: what waits is bounded in bytes, and when pictures get stale whole groups of them are passed over.
"""

from __future__ import annotations

import logging
import random
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_agent.capture.analysis import Analysis
from edge_agent.capture.backoff import Backoff
from edge_agent.capture.decoder import Decoder, Picture, Sampler, fresh
from edge_agent.capture.feed import Feed, Reader
from edge_agent.capture.source import CameraFailed, Packet, Source, StreamInfo
from edge_agent.capture.tracks import Instant
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import Clock
from edge_agent.messages import AlarmRaised, CameraChanged, Message
from edge_agent.model import Alarm, CameraFault, CameraState

_log = logging.getLogger(__name__)

QUEUE_BYTES = 8 << 20
STALL_S = 4.0
OPEN_S = 12.0
BLIND_S = 60.0
"""A stream that brings packets but no picture for so long is broken, …"""
BROKEN_S = 10.0
BROKEN_ERRORS = 5
"""… and sooner when so many of them could not be decoded."""
TAKE_S = 0.2
LAG_S = 1.5
"""Pictures older than this are stale: whole groups of pictures are skipped to catch up."""
STEADY_S = 30.0
MAX_HANGING = 4
"""Connections given up that may still sit in a read."""
REPORT_S = 30.0


@dataclass(slots=True)
class Counters:
    """What happened since the watcher's start."""

    seen: int = 0
    """Pictures looked at."""
    skipped: int = 0
    """Pictures passed over because the analysis fell behind."""
    errors: int = 0
    """Packets and pictures that could not be decoded."""


class CameraWatch:
    """One camera.  `make_source` and `make_analysis` build a source and a model for each connection: the view may have
    changed meanwhile; `tell` must not wait."""

    def __init__(
        self,
        camera: WatchedCamera,
        clock: Clock,
        stop: threading.Event,
        make_source: Callable[[], Source],
        make_analysis: Callable[[], Analysis],
        tell: Callable[[Message], None],
    ) -> None:
        self._camera = camera
        self._clock = clock
        self._stop = stop
        self._make_source = make_source
        self._make_analysis = make_analysis
        self._tell = tell
        self._backoff = Backoff(random.uniform)
        self._hanging: list[Reader] = []
        self._state: tuple[CameraState, CameraFault | None, str] | None = None
        self.counters = Counters()
        self._reported = Counters()
        self._reported_at = clock.monotonic()
        self.beat = clock.monotonic()
        """When `run` last showed that it lives."""

    def run(self) -> None:
        """Watch until `stop` is set; nothing that goes wrong ends this earlier."""
        self._change(CameraState.CONNECTING)
        while not self._stop.is_set():
            began = self.beat = self._clock.monotonic()
            try:
                self.run_once()
                continue
            except CameraFailed as failure:
                fault, words = failure.fault, str(failure)
            except Exception as error:  # noqa: BLE001 - one camera's surprise must not end its watch for ever
                last = traceback.extract_tb(error.__traceback__)[-1]
                fault, words = CameraFault.BROKEN, f"{type(error).__name__} in {last.name}, line {last.lineno}"
            _log.warning("camera %s: %s: %s", self._camera.id, fault, words)
            self._change(CameraState.LOST, fault, words)
            if self._clock.monotonic() - began >= STEADY_S:
                self._backoff.reset()
            self._pause(self._backoff.next())

    def run_once(self) -> None:
        """One connection, from opening to its end; CameraFailed says why it ended, a return that `stop` was set.

        Either way the alarms that were open have got their END.
        """
        feed = self._connect()
        analysis: Analysis | None = None
        try:
            info = self._wait_for_info(feed)
            if info is None:
                return
            analysis = self._make_analysis()
            self._watch(feed, info, analysis)
        finally:
            feed.abandon()
            if analysis is not None:
                self._raise(analysis.close(Instant(self._clock.utc_us(), self._clock.monotonic())))

    def _watch(self, feed: Feed, info: StreamInfo, analysis: Analysis) -> None:
        decoder = Decoder(info.video.codec, info.video.extradata, keyframes_only=self._camera.keyframes_only)
        sampler = Sampler(self._camera.fps)
        last_at = pictured_at = self._clock.monotonic()
        errors = 0
        while not self._stop.is_set():
            batch = feed.take(TAKE_S)
            now_s = self.beat = self._clock.monotonic()
            last_at = feed.last_picture.arrival_monotonic if feed.last_picture else last_at
            if now_s - last_at > STALL_S:
                raise CameraFailed(CameraFault.STALLED, f"no picture for {STALL_S:.0f} s")
            batch, skipped = fresh(batch, now_s, LAG_S)
            if skipped:
                decoder.reset()
                self.counters.skipped += skipped
            for picture in self._decoded(decoder, batch):
                pictured_at, errors = self._clock.monotonic(), decoder.errors
                self._change(CameraState.RECORDING)
                if sampler.wants(picture.arrival_monotonic):
                    self._look(picture, analysis)
            blind_s = self._clock.monotonic() - pictured_at
            if blind_s > BLIND_S or (blind_s > BROKEN_S and decoder.errors - errors >= BROKEN_ERRORS):
                raise CameraFailed(CameraFault.BROKEN, f"nothing that came for {blind_s:.0f} s could be decoded")
            self._report()

    def _decoded(self, decoder: Decoder, batch: list[tuple[Packet, int]]) -> Iterable[Picture]:
        for packet, lost_before in batch:
            if self._stop.is_set():
                return
            if lost_before:
                decoder.reset()
                self.counters.skipped += lost_before
            errors_before = decoder.errors
            yield from decoder.decode(packet)
            self.counters.errors += decoder.errors - errors_before

    def _look(self, picture: Picture, analysis: Analysis) -> None:
        if self._clock.monotonic() - picture.arrival_monotonic > LAG_S:
            self.counters.skipped += 1
            return
        self.counters.seen += 1
        now = Instant(picture.arrival_us, picture.arrival_monotonic)
        self._raise(analysis.see(picture.luma(), picture.bgr, now))

    def _raise(self, alarms: list[Alarm]) -> None:
        for alarm in alarms:
            self._tell(AlarmRaised(alarm))

    def _connect(self) -> Feed:
        self._hanging = [reader for reader in self._hanging if reader.is_alive()]
        if len(self._hanging) >= MAX_HANGING:
            raise CameraFailed(CameraFault.STALLED, f"{MAX_HANGING} earlier connections still hang")
        feed = Feed(QUEUE_BYTES)
        reader = Reader(self._camera.id, self._make_source, feed)
        self._hanging.append(reader)
        reader.start()
        return feed

    def _wait_for_info(self, feed: Feed) -> StreamInfo | None:
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

    def _report(self) -> None:
        """Say in the log what was skipped or damaged, now and then."""
        if self._clock.monotonic() - self._reported_at < REPORT_S:
            return
        now, before = self.counters, self._reported
        skipped, errors = now.skipped - before.skipped, now.errors - before.errors
        if skipped or errors:
            _log.warning(
                "camera %s: %d pictures skipped because the analysis fell behind, %d damaged",
                self._camera.id,
                skipped,
                errors,
            )
        self._reported = Counters(now.seen, now.skipped, now.errors)
        self._reported_at = self._clock.monotonic()

    def _change(self, state: CameraState, fault: CameraFault | None = None, detail: str = "") -> None:
        if self._state != (state, fault, detail):
            self._state = (state, fault, detail)
            self._tell(CameraChanged(self._camera.id, state, self._clock.utc_us(), fault, detail))
