"""Alarms of cameras as ONVIF events on MQTT (`docs/mqtt.md`, "ONVIF events").

ONVIF Core Specification, "Event broker": `<prefix>/onvif-ej/<topic without namespace>/&<source values>` with a JSON
object of `UtcTime`, `Source` and `Data`.  Topics and items: Analytics Service Specification, annex A (rule engine), and
Imaging Service Specification, "Events".

A *property* (motion, objects inside, tampering) is retained and says what is so now, at every connect, too.  An *event*
(line crossed, loitering, object left or taken) happens once and waits in the outbox until it has arrived.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from edge_agent.clock import Clock
from edge_agent.model import AlarmNature, AlarmPhase
from edge_agent.uplink.companions import OpenAlarms, Publication
from edge_agent.uplink.link import Received
from edge_agent.uplink.payloads import AlarmMessage, iso

Items = Mapping[str, str | bool]

WHOLE_PICTURE = "picture"
"""The rule of a camera without zones."""

_INSIDE = frozenset(
    {AlarmNature.MOTION, AlarmNature.ENTERED, AlarmNature.LOITERING, AlarmNature.RUNNING, AlarmNature.CROWD}
)
_TAMPERING = {
    AlarmNature.LOST: "VideoSource/SignalLoss",
    AlarmNature.COVERED: "VideoSource/ImageTooDark/AnalyticsService",
    AlarmNature.BLINDED: "VideoSource/ImageTooBright/AnalyticsService",
    AlarmNature.DEFOCUSED: "VideoSource/ImageTooBlurry/AnalyticsService",
    AlarmNature.TURNED: "VideoSource/GlobalSceneChange/AnalyticsService",
    # ONVIF has no such topics; the specification lets a vendor's own namespace be named.
    AlarmNature.FROZEN: "VideoSource/edge:ImageFrozen",
    AlarmNature.UNWATCHED: "VideoSource/edge:Unwatched",
}
_EVENTS = {
    AlarmNature.LINE: "RuleEngine/LineDetector/Crossed",
    AlarmNature.LOITERING: "RuleEngine/LoiteringDetector/ObjectIsLoitering",
    AlarmNature.OBJECT_LEFT: "RuleEngine/ObjectAbandoned",
    AlarmNature.OBJECT_TAKEN: "RuleEngine/ObjectRemoved",
}


@dataclass(frozen=True, slots=True)
class Property:
    """Something that is so or not: where it is told, and of which alarms it is true."""

    topic: str
    source: Items
    name: str
    of: Callable[[AlarmMessage], bool]


def properties_of(camera: str, zones: Iterable[str]) -> Iterator[Property]:
    """All that can be so at a camera with these zones."""
    source = {"Source": camera}
    yield Property("VideoSource/MotionAlarm", source, "State", _of_the_scene)
    for nature, topic in _TAMPERING.items():
        yield Property(topic, source, "State", partial(_of_nature, nature))
    cells = {"VideoSourceConfigurationToken": camera, "VideoAnalyticsConfigurationToken": camera, "Rule": WHOLE_PICTURE}
    yield Property("RuleEngine/CellMotionDetector/Motion", cells, "IsMotion", partial(_of_nature, AlarmNature.MOTION))
    for zone in zones:
        inside = partial(_inside, zone)
        yield Property("RuleEngine/FieldDetector/ObjectsInside", _rule(camera, zone), "IsInside", inside)


def _of_the_scene(alarm: AlarmMessage) -> bool:
    return not alarm.nature.of_the_camera


def _of_nature(nature: AlarmNature, alarm: AlarmMessage) -> bool:
    return alarm.nature is nature


def _inside(zone: str, alarm: AlarmMessage) -> bool:
    return alarm.zone == zone and alarm.nature in _INSIDE


class OnvifEvents:
    """A companion that says what alarms mean in ONVIF's words; `cameras` are ids and their zones' ids."""

    filters: tuple[str, ...] = ()

    def __init__(self, prefix: str, cameras: Mapping[str, Iterable[str]], clock: Clock) -> None:
        self._prefix, self._clock = prefix, clock
        self._properties = {camera: list(properties_of(camera, zones)) for camera, zones in cameras.items()}
        self._open = OpenAlarms()

    def online(self) -> Iterator[Publication]:
        """Every property as it is."""
        for camera, known in self._properties.items():
            alarms = self._open.of(camera)
            for one in known:
                yield self._told(one, self._clock.utc_us(), any(map(one.of, alarms)))

    def alarm(self, message: AlarmMessage) -> Iterator[Publication]:
        """The properties that this step changes, and the event that its beginning is."""
        known = self._properties.get(message.camera, [])
        before = [any(map(one.of, self._open.of(message.camera))) for one in known]
        counted = next((one.count for one in self._open.of(message.camera) if one.alarm_id == message.alarm_id), 0)
        self._open.hear(message)
        after = [any(map(one.of, self._open.of(message.camera))) for one in known]
        for one, was, now in zip(known, before, after, strict=True):
            if was != now:
                yield self._told(one, message.at_us, now)
        topic = _EVENTS.get(message.nature)
        # each crossing of a line is an event of its own
        again = message.nature is AlarmNature.LINE and message.phase is AlarmPhase.UPDATE and message.count > counted
        if topic and (message.phase is AlarmPhase.START or again):
            source = _rule(message.camera, message.zone or WHOLE_PICTURE)
            data: dict[str, str | bool] = {"ObjectId": message.alarm_id}
            if message.nature is AlarmNature.LOITERING:
                data["Since"] = iso(message.started_us)
            yield self._publication(topic, source, message.at_us, data, kept=True, lane=message.camera)

    def heard(self, message: Received) -> None:  # noqa: ARG002 - it listens to nothing
        return None

    def _told(self, one: Property, at_us: int, state: bool) -> Publication:
        return self._publication(one.topic, one.source, at_us, {one.name: state}, retain=True)

    def _publication(
        self,
        topic: str,
        source: Items,
        at_us: int,
        data: Items,
        *,
        retain: bool = False,
        kept: bool = False,
        lane: str = "",
    ) -> Publication:
        where = "/".join(str(value) for value in source.values())
        payload = {"UtcTime": iso(at_us), "Source": source, "Data": data}
        return Publication(
            f"{self._prefix}/onvif-ej/{topic}/&{where}", json.dumps(payload).encode(), retain, kept, lane
        )


def _rule(camera: str, rule: str) -> dict[str, str]:
    return {"VideoSource": camera, "AnalyticsConfiguration": camera, "Rule": rule}
