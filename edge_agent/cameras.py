"""What is known of each camera now: the recorder's and the watcher's words, put together for health and alarms."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_agent.config import Camera
from edge_agent.messages import CameraChanged, CameraStats
from edge_agent.model import Alarm, AlarmCut, AlarmNature, AlarmPhase, CameraId, CameraState
from edge_agent.uplink.payloads import CameraReport, Gaps, Kept, camera_clock_words, shown

LIVE = frozenset({CameraState.RECORDING, CameraState.RESTING})
"""Pictures come."""


@dataclass(slots=True)
class _Known:
    camera: Camera
    recording: CameraChanged | None = None
    stats: CameraStats | None = None
    watching: CameraChanged | None = None
    unwatched_since_us: int | None = None
    lost: Alarm | None = None
    open_alarms: dict[str, Alarm] = field(default_factory=dict)


class Cameras:
    """Owned by the agent's main thread."""

    def __init__(self, cameras: Iterable[Camera], new_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._known = {camera.camera_id: _Known(camera) for camera in cameras}
        self._new_id = new_id

    def name(self, camera: CameraId) -> str:
        """Of a camera that is no longer configured, its id."""
        known = self._known.get(camera)
        return (known.camera.name if known else "") or camera

    def zone_name(self, camera: CameraId, zone: str | None) -> str:
        """Of a zone or a line, as the configuration calls it."""
        known = self._known.get(camera)
        if known is None:
            return zone or ""
        watch = known.camera.watch
        names = {one.id: one.name for one in watch.zone} | {one.id: one.name for one in watch.line}
        return names.get(zone or "") or zone or ""

    def recorder_says(self, change: CameraChanged) -> list[Alarm]:
        """Take a change of the recorder's connection; the alarms that it starts or ends."""
        known = self._known[change.camera]
        known.recording = change
        if change.state is CameraState.LOST and known.lost is None:
            known.lost = Alarm(
                self._new_id(), change.camera, AlarmNature.LOST, AlarmPhase.START, change.at_us, change.at_us
            )
            return [known.lost]
        if change.state in LIVE and known.lost is not None:
            lost, known.lost = known.lost, None
            return [_ended(lost, change.at_us)]
        return []

    def recorder_counts(self, stats: CameraStats) -> None:
        self._known[stats.camera].stats = stats

    def recorder_died(self) -> None:
        """Until its successor speaks, nothing comes from the cameras."""
        for known in self._known.values():
            known.stats = None

    def watcher_says(self, change: CameraChanged) -> None:
        self._known[change.camera].watching = change

    def unwatched(self, alarm: Alarm) -> None:
        """The vigil's alarm begins or ends."""
        ends = alarm.phase is AlarmPhase.END
        self._known[alarm.camera].unwatched_since_us = None if ends else alarm.started_us

    def watcher_alarms(self, alarm: Alarm) -> None:
        """Remember which alarms are open."""
        open_alarms = self._known[alarm.camera].open_alarms
        if alarm.phase is AlarmPhase.END:
            open_alarms.pop(alarm.alarm_id, None)
        else:
            open_alarms[alarm.alarm_id] = dataclasses.replace(alarm, picture=None)

    def watcher_died(self, at_us: int) -> list[Alarm]:
        """The ends of the alarms that it can no longer end."""
        ends = []
        for known in self._known.values():
            ends += [_ended(alarm, at_us, AlarmCut.WATCHER) for alarm in known.open_alarms.values()]
            known.open_alarms.clear()
            known.watching = None
        return ends

    def reports(
        self, gaps: Callable[[CameraId], Gaps], kept: Callable[[CameraId], Kept | None]
    ) -> dict[str, CameraReport]:
        """What the health message says of every camera."""
        return {camera: self.report(camera, gaps(camera), kept(camera)) for camera in self._known}

    def report(self, camera: CameraId, gaps: Gaps, kept: Kept | None = None) -> CameraReport:
        known = self._known[camera]
        recording, stats = known.recording, known.stats
        live = stats is not None and recording is not None and recording.state in LIVE
        return CameraReport(
            state=recording.state if recording else CameraState.CONNECTING,
            fault=recording.fault if recording else None,
            detail=shown(recording.detail) if recording else "",
            name=shown(known.camera.name),
            fps=round(stats.fps, 2) if stats and live else 0.0,
            bitrate_bps=round(stats.bitrate_bps) if stats and live else 0.0,
            last_frame_us=stats.last_frame_us if stats else None,
            gaps_24h=gaps,
            watcher=known.watching.state if known.watching else None,
            unwatched_since_us=known.unwatched_since_us,
            kept=kept,
            clock_offset_s=stats.clock_offset_s if stats else None,
            clock_drift_ppm=stats.clock_drift_ppm if stats else None,
            clock_warning=camera_clock_words(stats.clock_offset_s, stats.clock_jump_s) if stats else None,
        )


def _ended(alarm: Alarm, at_us: int, cut: AlarmCut | None = None) -> Alarm:
    return dataclasses.replace(
        alarm,
        phase=AlarmPhase.END,
        at_us=max(at_us, alarm.at_us),
        box=None,
        direction_deg=None,
        picture=None,
        cut=cut,
        seen_us=alarm.at_us if cut else None,
    )
