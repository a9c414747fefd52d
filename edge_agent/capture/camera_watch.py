"""Watches one camera for as long as the watcher lives: decode, look, tell.

The reader never waits for the analysis: what waits is bounded in bytes, and when pictures get stale whole groups of
them are passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from edge_agent.capture.analysis import Analysis
from edge_agent.capture.attention import Attention
from edge_agent.capture.choice import Choice, choice_for
from edge_agent.capture.decoder import Picture, Sampler, fresh
from edge_agent.capture.feed import Adopter, Feed
from edge_agent.capture.source import VIDEO, CameraFailed, Packet, Source, StreamInfo
from edge_agent.capture.tracks import Instant
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.capture.worker import CameraWorker, StallWatch
from edge_agent.clock import Clock
from edge_agent.messages import AlarmRaised, Message, WatchStats
from edge_agent.model import Alarm, CameraFault, CameraState

_log = logging.getLogger(__name__)

QUEUE_BYTES = 8 << 20
BLIND_S = 60.0
"""A stream that brings packets but no picture for so long is broken, …"""
BROKEN_S = 10.0
BROKEN_ERRORS = 5
"""… and sooner when so many of them could not be decoded."""
LAG_S = 1.5
"""Pictures older than this are stale: whole groups of pictures are skipped to catch up."""
ROUND_S = 0.4
"""Between two turns of a camera: how late a picture is known here, …"""
IDLE_ROUND_S = 0.7
"""… and while nothing new can begin, or stirs."""
REPORT_S = 30.0
STATS_S = 5.0
"""The agent is told so often how much was watched (`edge_agent/vigil.py`)."""


@dataclass(slots=True)
class Counters:
    """What happened since the watcher's start."""

    seen: int = 0
    """Pictures looked at."""
    skipped: int = 0
    """Pictures passed over because the analysis fell behind."""
    errors: int = 0
    """Packets and pictures that could not be decoded."""


class CameraWatch(CameraWorker):
    """One camera.  `make_analysis` builds a model for each connection: the view may have changed meanwhile."""

    def __init__(
        self,
        camera: WatchedCamera,
        clock: Clock,
        rounds: Adopter,
        make_source: Callable[[], Source],
        make_analysis: Callable[[], Analysis],
        tell: Callable[[Message], None],
    ) -> None:
        super().__init__(camera.id, clock, rounds, make_source, tell)
        self._camera = camera
        self._make_analysis = make_analysis
        self.counters = Counters()
        self._reported = Counters()
        self._reported_at = clock.monotonic()
        self._attention = Attention(self._reported_at, self._reported_at)
        self._pictured = False

    def run_once(self) -> Iterator[float]:
        """However the connection ends, the alarms that were open get their END."""
        feed = Feed(QUEUE_BYTES)
        self._connect(feed)
        analysis: Analysis | None = None
        try:
            info = yield from self._wait_for_info(feed)
            analysis = self._make_analysis()
            yield from self._watch(feed, info, analysis)
        finally:
            feed.abandon()
            if analysis is not None:
                self._raise(analysis.close(Instant(self._clock.utc_us(), self._clock.monotonic())))

    def _watch(self, feed: Feed, info: StreamInfo, analysis: Analysis) -> Iterator[float]:
        choice = choice_for(info.video, self._camera.keyframes_only)
        decoder = choice.decoder
        sampler = Sampler(self._camera.fps)
        stall, pictured_at = StallWatch(self._clock), self._clock.monotonic()
        errors = 0
        self._attention, self._pictured = Attention(pictured_at, pictured_at), False
        while True:
            yield IDLE_ROUND_S if analysis.idle or analysis.told else ROUND_S
            batch = feed.take(0.0)
            now_s = self.beat = self._clock.monotonic()
            self._attention.turn(now_s)
            stall.check(feed)
            batch, skipped = fresh(batch, now_s, LAG_S)
            if skipped:
                choice.reset()
                self._pass_over(skipped)
            for picture in self._decoded(choice, batch, sampler):
                pictured_at, errors, self._pictured = self._clock.monotonic(), decoder.errors, True
                self._change(CameraState.RECORDING)
                if picture.keyframe:
                    analysis.keyframe(picture.luma(), picture.arrival_monotonic)
                if sampler.wants(picture.arrival_monotonic):
                    self._look(picture, analysis)
                    choice.seen(picture.arrival_monotonic, analysis)
                    sampler.fewer = analysis.told or (analysis.idle and not choice.saves)
            blind_s = self._clock.monotonic() - pictured_at
            if blind_s > BLIND_S or (blind_s > BROKEN_S and decoder.errors - errors >= BROKEN_ERRORS):
                raise CameraFailed(CameraFault.BROKEN, f"nothing that came for {blind_s:.0f} s could be decoded")
            self._tell_stats(now_s, blind_s)
            self._report()

    def _decoded(self, choice: Choice, batch: list[tuple[Packet, int]], sampler: Sampler) -> Iterable[Picture]:
        newest = next((packet for packet, _ in reversed(batch) if packet.track == VIDEO), None)
        for packet, lost_before in batch:
            if lost_before:
                choice.reset()
                self._pass_over(lost_before)
            errors_before, at_s = choice.decoder.errors, packet.arrival_monotonic
            if packet.track == VIDEO:
                self._attention.taken += 1
                if packet.keyframe:
                    sampler.begin(at_s)
            yield from choice.pictures(packet, packet is newest, sampler.due(at_s))
            self.counters.errors += choice.decoder.errors - errors_before

    def _look(self, picture: Picture, analysis: Analysis) -> None:
        if self._clock.monotonic() - picture.arrival_monotonic > LAG_S:
            self.counters.skipped += 1
            self._attention.stale += 1
            return
        self.counters.seen += 1
        self._attention.seen += 1
        now = Instant(picture.arrival_us, picture.arrival_monotonic)
        self._raise(analysis.see(picture.luma(), picture.bgr, now))

    def _raise(self, alarms: list[Alarm]) -> None:
        for alarm in alarms:
            self._tell(AlarmRaised(alarm))

    def _pass_over(self, pictures: int) -> None:
        self.counters.skipped += pictures
        self._attention.passed += pictures

    def _tell_stats(self, now_s: float, blind_s: float) -> None:
        """Whoever sees no picture watches nothing, however much comes."""
        attention, blind = self._attention, blind_s > (BLIND_S if self._camera.keyframes_only else BROKEN_S)
        if now_s - attention.since_s >= STATS_S:
            watched_s = 0.0 if blind or not self._pictured else attention.watched_s(now_s)
            self._tell(WatchStats(self._camera.id, now_s - attention.since_s, watched_s))
            self._attention = Attention(now_s, attention.turned_s)

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
