"""Records one camera for as long as the recorder lives.  `stats` may be called from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_agent.capture.camera_clock import CameraClock
from edge_agent.capture.camera_times import CameraTimes
from edge_agent.capture.feed import Feed, Rounds
from edge_agent.capture.job import CameraJob
from edge_agent.capture.node_time import NodeTime
from edge_agent.capture.opening import Opening
from edge_agent.capture.segment_writer import ArchivePlace, Loss, SegmentWriter
from edge_agent.capture.segmenter import Segmenter
from edge_agent.capture.source import Source
from edge_agent.capture.worker import TAKE_S, CameraWorker, StallWatch
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.messages import CameraStats, Message
from edge_agent.model import CameraFault, CameraState

JUMP_TOLD_S = 3600.0
"""So long a jump of the camera's clock is told."""
OPENING_S = 0.5
"""So long the first packets are gathered, for they tell together where the first one belongs."""


class CameraRecorder(CameraWorker):
    """One camera into its files."""

    def __init__(
        self,
        camera: CameraJob,
        place: ArchivePlace,
        clock: Clock,
        rounds: Rounds,
        make_source: Callable[[], Source],
        tell: Callable[[Message], None],
    ) -> None:
        super().__init__(camera.id, clock, rounds, make_source, tell)
        self._place = place
        self._writer = SegmentWriter(camera.id, place, clock, tell, self._disk, self._rest)
        self._times = CameraTimes(NodeTime(clock.synchronised), CameraClock())
        self._floor_us = 0
        self._note = ""
        self._feed = Feed()
        self._frames_before = 0
        self._bytes_before = 0
        self._told = (0, 0, clock.monotonic())

    def failed(self, fault: CameraFault, words: str) -> None:
        super().failed(fault, words)
        self._writer.lost(Loss(fault.gap_cause, words))

    def run_once(self) -> Iterator[float]:
        feed = self._fresh_feed()
        self._connect(feed)
        segmenter: Segmenter | None = None
        try:
            info = yield from self._wait_for_info(feed)
            self._note = info.note
            yield from self._pause(OPENING_S)
            opening = Opening.of(feed.take(0), info.video.time_base)
            segmenter = Segmenter(
                info, self._writer, self._place.segment_s, self._times, self._floor_us, opening.early_us
            )
            for packet, lost_before in opening.packets:
                segmenter.put(packet, lost_before)
            stall = StallWatch(self._clock)
            while True:
                segmenter.rest()
                self._writer.sync_if_due()
                yield TAKE_S
                for packet, lost_before in feed.take(0):
                    segmenter.put(packet, lost_before)
                stall.check(feed)
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
        told = self._times.camera.state
        return CameraStats(
            self._id,
            self._clock.utc_us(),
            fps=round((frames - frames_told) / passed, 2),
            bitrate_bps=round((size - bytes_told) * 8 / passed),
            last_frame_us=feed.last_picture.arrival_us if feed.last_picture else None,
            frames_total=frames,
            clock_offset_s=told.offset_s,
            clock_drift_ppm=told.drift_ppm,
            clock_jump_s=told.jump_s if now - told.jumped_at < JUMP_TOLD_S else None,
        )

    def _fresh_feed(self) -> Feed:
        """For a new connection; what the one before brought stays counted."""
        before, self._feed = self._feed, Feed()
        self._frames_before += before.frames
        self._bytes_before += before.bytes
        return self._feed

    def _rest(self, why: str) -> None:
        """Pictures come, and are not to be recorded now."""
        self._change(CameraState.RESTING, None, why)

    def _disk(self, error: ArchiveError | None) -> None:
        """The disk failed, or bytes of a new file are written."""
        if error is None:
            self._change(CameraState.RECORDING, None, self._note)
        else:
            self._change(CameraState.LOST, CameraFault.DISK, str(error))
