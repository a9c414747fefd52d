"""What the node tells of itself: its health, each camera's state, alarms, and to whom (`docs/mqtt.md`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from edge_agent import __version__
from edge_agent.archive_disks import disks_of
from edge_agent.buffer.index import Index
from edge_agent.cameras import Cameras
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.forecaster import Forecaster
from edge_agent.health import ArchiveProbe, NodeProbe
from edge_agent.model import Alarm, CameraId, NodeAlarm
from edge_agent.modes.standing import Modes
from edge_agent.node_alarms import NodeAlarms
from edge_agent.outbox_alarm import OutboxAlarm
from edge_agent.trust.age import Recipient
from edge_agent.uplink.alarm_pictures import marked, seal
from edge_agent.uplink.forecast_words import kept_report, promise_report
from edge_agent.uplink.incident_payloads import IncidentMessage, RegisterMessage
from edge_agent.uplink.mode_reports import mode_message, mode_report
from edge_agent.uplink.node import NodeLink
from edge_agent.uplink.payloads import CameraReport, Health, Kept, Undelivered, VisitReport, shown, trouble
from edge_agent.visits import Visits

_log = logging.getLogger(__name__)


class Reports:
    """Owned by the agent's main thread; without a broker (`node` None) nothing is sent."""

    def __init__(
        self,
        config: Config,
        index: Index,
        cameras: Cameras,
        forecaster: Forecaster,
        node_alarms: NodeAlarms,
        visits: Visits,
        modes: Modes,
        silent: Callable[[CameraId], int],
        node: NodeLink | None,
        clock: Clock,
    ) -> None:
        """`silent`: how many alarms of a camera were (`docs/modes.md`)."""
        self._modes, self._silent = modes, silent
        self._config, self._cameras, self._forecaster = config, cameras, forecaster
        self._node_alarms, self._visits, self._node, self._clock = node_alarms, visits, node, clock
        self._seal_to = [Recipient.parse(text) for text in config.alarm.seal_pictures_to]
        self.checkpoint: str | None = None
        """The journal's newest, as the agent signed it."""
        self._outbox_alarm = OutboxAlarm(node_alarms)
        self._probe = NodeProbe(disks_of(config), clock)
        self._archive_probe = ArchiveProbe(index, clock)

    def health(self) -> Health:
        """What the health message says now."""
        node, holdings, ahead = self._probe.look(), self._archive_probe.holdings(), self._forecaster.latest
        return Health(
            at_us=self._clock.utc_us(),
            version=__version__,
            uptime_s=node.uptime_s,
            cpu_percent=node.cpu_percent,
            load_1m=node.load_1m,
            memory_used_bytes=node.memory_used_bytes,
            memory_total_bytes=node.memory_total_bytes,
            temperature_c=node.temperature_c,
            disk_total_bytes=node.disk_total_bytes,
            disk_free_bytes=node.disk_free_bytes,
            archive_bytes=holdings.size_bytes,
            oldest_footage_us=holdings.first_us,
            promise=promise_report(ahead, self._config.zone) if ahead else None,
            mqtt_protocol=self._node.protocol if self._node else None,
            outbox=self._node.undelivered() if self._node else Undelivered(),
            troubles=tuple(trouble(alarm) for alarm in self._node_alarms.open),
            visits=tuple(
                VisitReport(who=shown(visit.who), why=shown(visit.why), since_us=visit.since_us)
                for visit in self._visits.open()
            ),
            clock_synchronised=self._clock.synchronised(),
            checkpoint=self.checkpoint,
            mode=mode_report(self._modes.standing(None)),
            cameras={
                name: self._in_mode(CameraId(name), report)
                for name, report in self._cameras.reports(self._archive_probe.gaps_of_a_day, self._kept).items()
            },
        )

    def tell_health(self) -> None:
        if self._node:
            self._outbox_alarm.look(self._node.undelivered())
            self._node.health(self.health())

    def tell_camera(self, camera: CameraId) -> None:
        if self._node:
            self._node.camera(camera, self._report(camera))

    def tell_all(self) -> None:
        """To a broker that is there again."""
        if self._node:
            self._node.online()
            self.tell_health()
            for camera in self._config.camera:
                self.tell_camera(camera.camera_id)
            self.tell_modes()

    def tell_modes(self) -> None:
        if self._node:
            now_us = self._clock.utc_us()
            for scope in self._modes.scopes:
                self._node.mode(mode_message(scope, self._modes.standing(scope), now_us, self._config.zone))

    def tell_alarm(self, alarm: Alarm) -> None:
        _log.info("alarm %s %s %s (%s) on %s", alarm.alarm_id, alarm.nature, alarm.phase, alarm.severity, alarm.camera)
        if self._node:
            if alarm.picture:
                picture = marked(alarm.picture, alarm.alarm_id, alarm.moment) if alarm.moment else alarm.picture
                alarm = replace(alarm, picture=seal(picture, self._seal_to))
            self._node.alarm(alarm, *self.alarm_names(alarm))

    def tell_node_alarm(self, alarm: NodeAlarm) -> None:
        if self._node:
            self._node.node_alarm(alarm)

    def tell_incident(self, message: IncidentMessage) -> None:
        if self._node:
            self._node.incident(message)

    def tell_incidents(self, message: RegisterMessage) -> None:
        if self._node:
            self._node.incidents(message)

    def alarm_names(self, alarm: Alarm) -> tuple[str, str]:
        return self._cameras.name(alarm.camera), self._cameras.zone_name(alarm.camera, alarm.zone)

    def _report(self, camera: CameraId) -> CameraReport:
        report = self._cameras.report(camera, self._archive_probe.gaps_of_a_day(camera), self._kept(camera))
        return self._in_mode(camera, report)

    def _in_mode(self, camera: CameraId, report: CameraReport) -> CameraReport:
        mode = mode_report(self._modes.standing(camera))
        return report.model_copy(update={"mode": mode, "silent_alarms": self._silent(camera)})

    def _kept(self, camera: CameraId) -> Kept | None:
        ahead = self._forecaster.latest
        found = ahead.camera(camera) if ahead else None
        return kept_report(found) if found else None
