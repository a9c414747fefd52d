"""The node's side of the broker: its topics, its outbox, its retained state; commands come in, facts go out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from edge_agent import __version__
from edge_agent.buffer.outbox import Keep, Losses, Outbox
from edge_agent.clock import Clock
from edge_agent.config import Mqtt
from edge_agent.errors import ArchiveError
from edge_agent.model import Alarm, CameraId, NodeAlarm
from edge_agent.uplink.companions import Companion, Publication
from edge_agent.uplink.incident_payloads import IncidentMessage, RegisterMessage
from edge_agent.uplink.link import LinkSettings, LinkState, Phase, Received, Will, settings_of
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import (
    CameraMessage,
    CameraReport,
    Health,
    ModeMessage,
    NodeState,
    Reply,
    Status,
    Undelivered,
    alarm_message,
    encode,
    node_alarm_message,
)
from edge_agent.uplink.sender import Sender
from edge_agent.uplink.topics import Topics, roster_topic

_log = logging.getLogger(__name__)
SESSION_S = 300
"""The broker keeps commands for a node that is briefly away: as long as a command may live."""


class NodeLink:
    """Everything the agent says to and hears from the broker; `on_message` and `on_state` only enqueue."""

    def __init__(
        self,
        mqtt: Mqtt,
        topics: Topics,
        outbox: Outbox,
        clock: Clock,
        on_message: Callable[[Received], None],
        on_state: Callable[[LinkState], None],
        *,
        rosters: bool = False,
        witnesses: Iterable[str] = (),
        companions: Sequence[Companion] = (),
    ) -> None:
        """`rosters`: hear the site's roster, too; `witnesses`: the ids of their keys, whom to hear."""
        self._topics = topics
        self._outbox = outbox
        self._clock = clock
        self._told_state = on_state
        self._link = Link(self._settings(mqtt), clock, on_message, self._on_state)
        self._link.subscribe(topics.command)
        if rosters:
            self._link.subscribe(roster_topic(topics.site))
        for witness in witnesses:
            self._link.subscribe(topics.cosigned(witness))
        self._companions = companions
        for topic_filter in (one for companion in companions for one in companion.filters):
            self._link.subscribe(topic_filter)
        self._sender = Sender(outbox, self._link, clock)
        self._losses = Losses()

    def start(self) -> None:
        self._link.start()
        self._sender.start()

    def stop(self) -> None:
        """Say that the node stops in order, send what can be sent in a few seconds, and leave."""
        self._sender.close()
        self._publish_status(NodeState.STOPPED)
        self._link.stop()

    @property
    def protocol(self) -> str | None:
        return self._link.state.protocol

    def undelivered(self) -> Undelivered:
        """As the outbox last could tell: a failing disk must not silence the health message that tells of it."""
        try:
            self._losses = self._outbox.losses()
        except ArchiveError as error:
            _log.error("%s", error)
        losses = self._losses
        return Undelivered(
            waiting=self._outbox.depth(),
            dropped_pictures=losses.pictures,
            dropped_alarms=losses.alarms,
            dropped_answers=losses.answers,
            rejected=losses.rejected,
        )

    def online(self) -> None:
        """To be called after every connect: the retained status is the will's until then."""
        self._publish_status(NodeState.ONLINE)
        for companion in self._companions:
            self._publish_all(companion.online())

    def heard(self, message: Received) -> bool:
        """Whether the message was one of a companion's; it is answered then."""
        answers = [companion.heard(message) for companion in self._companions]
        for answer in answers:
            self._publish_all(answer or ())
        return any(answer is not None for answer in answers)

    def alarm(self, alarm: Alarm, camera_name: str, zone_name: str) -> None:
        """Keep an alarm and its picture until the broker has them."""
        message = alarm_message(alarm, self._topics, camera_name, zone_name, self._waiting(alarm.camera))
        mine = {"lane": alarm.camera, "thread": alarm.alarm_id}
        self._keep(self._topics.alarm(alarm.camera), encode(message), Keep.ALARM, **mine)
        if alarm.picture:
            self._keep(self._topics.picture(alarm.camera, alarm.alarm_id), alarm.picture, Keep.PICTURE, **mine)
        for companion in self._companions:
            self._publish_all(companion.alarm(message))

    def node_alarm(self, alarm: NodeAlarm) -> None:
        """Keep an alarm of the node itself until the broker has it."""
        message = node_alarm_message(alarm, self._topics)
        self._keep(self._topics.node_alarm, encode(message), Keep.ALARM, thread=alarm.alarm_id)

    def incident(self, message: IncidentMessage) -> None:
        """Keep what people made of an alarm until the broker has it."""
        self._keep(self._topics.incident, encode(message), Keep.ALARM)

    def incidents(self, message: RegisterMessage) -> None:
        self._link.publish(self._topics.incidents, encode(message), retain=True)

    def health(self, health: Health) -> None:
        self._link.publish(self._topics.health, encode(health), retain=True)

    def camera(self, camera: CameraId, report: CameraReport) -> None:
        message = CameraMessage(at_us=self._clock.utc_us(), camera=camera, report=report)
        self._link.publish(self._topics.camera(camera), encode(message), retain=True)

    def mode(self, message: ModeMessage) -> None:
        self._link.publish(self._topics.mode(message.camera), encode(message), retain=True)

    def ask_witness(self, witness: str, request: bytes) -> None:
        self._link.publish(self._topics.checkpoint(witness), request, retain=True)

    def reply(self, reply: Reply, payload: bytes) -> None:
        """`payload`: the same, signed.  A final reply is kept until the broker has it; progress is told to whoever
        listens now."""
        topic = self._topics.reply(reply.request_id)
        if not reply.state.final:
            self._link.publish(topic, payload, qos=0)
            return
        self._keep(topic, payload, Keep.ANSWER, thread=reply.request_id)

    def _publish_all(self, publications: Iterable[Publication]) -> None:
        for one in publications:
            if one.kept:
                self._keep(one.topic, one.payload, Keep.ALARM, lane=one.lane)
            else:
                self._link.publish(one.topic, one.payload, retain=one.retain)

    def _waiting(self, camera: CameraId) -> int:
        try:
            return self._outbox.waiting(camera)
        except ArchiveError:
            return 0

    def _keep(self, topic: str, payload: bytes, keep: Keep, *, lane: str = "", thread: str = "") -> None:
        """Into the outbox; what a failing disk does not take, the alarm that it fails above all, is sent once."""
        try:
            self._outbox.put(topic, payload, keep=keep, lane=lane, thread=thread)
        except ArchiveError as error:
            _log.error("a message for %s can't be kept, it is sent once: %s", topic, error)
            self._link.publish(topic, payload)

    def _on_state(self, state: LinkState) -> None:
        self._sender.link_changed(state)
        self._told_state(state)

    def _publish_status(self, state: NodeState) -> None:
        self._link.publish(self._topics.status, encode(self._status(state)), retain=True)

    def _status(self, state: NodeState) -> Status:
        return Status(at_us=self._clock.utc_us(), state=state, version=__version__)

    def _settings(self, mqtt: Mqtt) -> LinkSettings:
        return settings_of(
            mqtt,
            f"edge-{self._topics.site}-{self._topics.node}",
            will=Will(self._topics.status, encode(self._status(NodeState.OFFLINE))),
            session_s=SESSION_S,
        )


def is_online(state: LinkState) -> bool:
    return state.phase is Phase.ONLINE
