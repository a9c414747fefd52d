"""What the recorder and the watcher tell, brought to whom it concerns: ledger, cameras, upkeep, reports."""

from __future__ import annotations

import logging

from edge_agent.buffer.index_facts import Loss
from edge_agent.buffer.ledger import Ledger
from edge_agent.cameras import LIVE, Cameras
from edge_agent.children import Heard
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import EdgeError
from edge_agent.journal_notes import GapNotes
from edge_agent.messages import (
    AlarmRaised,
    CameraChanged,
    CameraStats,
    DiskChanged,
    Progress,
    SegmentClosed,
    SegmentOpened,
    WatchStats,
)
from edge_agent.model import CameraFault, CameraState, GapCause
from edge_agent.modes.loudness import Loudness
from edge_agent.reports import Reports
from edge_agent.upkeep import Upkeep
from edge_agent.vigil import Vigil
from edge_agent.workers import RECORDER, WATCHER

_log = logging.getLogger(__name__)


class Hearing:
    """Owned by the agent's main thread; EdgeError when a disk refuses what has to be written down."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        cameras: Cameras,
        upkeep: Upkeep,
        reports: Reports,
        loudness: Loudness,
        gap_notes: GapNotes,
        clock: Clock,
    ) -> None:
        watched = (camera.camera_id for camera in config.camera if camera.watch.enabled)
        self._vigil = Vigil(watched, config.alarm.unwatched_after_s)
        self._config, self._ledger, self._cameras = config, ledger, cameras
        self._upkeep, self._reports, self._clock = upkeep, reports, clock
        self._loudness, self._gap_notes = loudness, gap_notes

    def hear_recorder(self, message: object) -> None:
        """Files that begin and end, and how the cameras are."""
        match message:
            case SegmentOpened():
                for gap in self._ledger.opened(message):
                    self._gap_notes.add(gap)
                    _log.warning(
                        "camera %s: %.1f s are missing (%s: %s)",
                        gap.camera,
                        gap.interval.seconds,
                        gap.cause,
                        gap.evidence,
                    )
            case SegmentClosed(segment=segment):
                self._ledger.closed(segment)
                self._upkeep.more_to_sweep = True
                _log.info("sealed %s, %.1f s", segment.path, segment.interval.seconds)
            case CameraChanged(camera=camera):
                self._upkeep.more_to_sweep |= message.fault is CameraFault.DISK
                _log.info("camera %s: %s %s", camera, message.state, message.detail)
                if message.state is CameraState.LOST:
                    cause = message.fault.gap_cause if message.fault else GapCause.CAMERA
                    self._ledger.lost(camera, Loss(cause, message.detail))
                self._vigil.expect(camera, message.state in LIVE, self._clock.monotonic())
                for alarm in self._cameras.recorder_says(message):
                    self._loudness.hear(alarm)
                self._reports.tell_camera(camera)
            case DiskChanged(disk=disk, words=words):
                self._upkeep.disk_changed(disk, words)
            case CameraStats():
                self._cameras.recorder_counts(message)
            case Progress(dropped=dropped) if dropped:
                _log.warning("the recorder had to drop %d messages", dropped)

    def hear_watcher(self, message: object) -> None:
        """Alarms, and how the cameras are watched."""
        match message:
            case AlarmRaised(alarm=alarm):
                self._cameras.watcher_alarms(alarm)
                self._loudness.hear(alarm)
            case CameraChanged():
                self._cameras.watcher_says(message)
            case WatchStats():
                self._vigil.hear(message, self._clock.monotonic())

    def look_at_the_watch(self) -> None:
        """To be called every second: the alarms about cameras that are not watched."""
        for alarm in self._vigil.look(self._clock.monotonic(), self._clock.utc_us()):
            _log.warning("camera %s: %s: %s", alarm.camera, alarm.nature, alarm.phase)
            self._cameras.unwatched(alarm)
            self._loudness.hear(alarm)
            self._reports.tell_camera(alarm.camera)

    def recorder_ended(self, code: int) -> None:
        """Nothing is recorded until its successor speaks; what it left is entered."""
        self._cameras.recorder_died()
        self._upkeep.recorder_ended()
        self._ledger.recover_open()
        for camera in self._config.camera:
            self._ledger.lost(camera.camera_id, Loss(GapCause.PROCESS, f"the recorder ended ({code})"))

    def watcher_ended(self) -> None:
        """The alarms that it can no longer end are ended."""
        for alarm in self._cameras.watcher_died(self._clock.utc_us()):
            self._loudness.hear(alarm)

    def last_words(self, heard: Heard) -> None:
        """While the children stop: the ends of the recorder's files and of the watcher's alarms."""
        try:
            match heard:
                case Heard(child=child, message=SegmentOpened() | SegmentClosed() as message) if child == RECORDER:
                    self.hear_recorder(message)
                case Heard(child=child, message=AlarmRaised() as message) if child == WATCHER:
                    self.hear_watcher(message)
        except EdgeError as error:
            _log.error("while stopping: %s", error)
