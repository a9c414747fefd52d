"""The node and its cameras as devices of Home Assistant, by its MQTT discovery (`docs/mqtt.md`, "Home Assistant").

One retained configuration per entity, on `<prefix>/<component>/<device>/<entity>/config`: this form is understood by
all versions, the newer one for whole devices is not.  States come from the node's own topics; what alarms go on at a
camera is told on a topic of its own, retained, since alarms themselves are events.  Announced at every connect and
whenever Home Assistant says that it was born; entities that the node no longer has are withdrawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent import __version__
from edge_agent.uplink.companions import OpenAlarms, Publication
from edge_agent.uplink.link import Received
from edge_agent.uplink.payloads import AlarmMessage, iso
from edge_agent.uplink.topics import Topics

BORN = b"online"
_OLDEST = (
    "{{ ((value_json.at_us - value_json.oldest_footage_us) / 86400000000) | round(2)"
    " if value_json.oldest_footage_us else None }}"
)


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: its kind, its name in both languages, and what its configuration has beside what all have."""

    component: str
    key: str
    uk: str
    en: str
    config: Mapping[str, Any]
    always: bool = False
    """Shown while the node is away, too."""


class HomeAssistant:
    """A companion that announces the node; `cameras` are ids and names.

    `pictures`: those of alarms are plain JPEG; sealed ones Home Assistant could not show.
    """

    def __init__(
        self, topics: Topics, cameras: Mapping[str, str], prefix: str, language: str, *, pictures: bool = True
    ) -> None:
        self._topics, self._cameras, self._prefix, self._language = topics, cameras, prefix, language
        self._pictures = pictures
        self._device = f"edge-{topics.site}-{topics.node}"
        self._open = OpenAlarms()
        self._born = f"{prefix}/status"
        self.filters: tuple[str, ...] = (self._born, f"{prefix}/+/{self._device}/+/config")
        self._announced = {one.topic: one for one in self._announcements()}

    def online(self) -> Iterator[Publication]:
        """Every entity, and the state of every camera."""
        yield from self._announced.values()
        yield from (self._state(camera) for camera in self._cameras)

    def alarm(self, message: AlarmMessage) -> Iterator[Publication]:
        """The camera's state, when this changes it."""
        before = self._state(message.camera)
        self._open.hear(message)
        after = self._state(message.camera)
        if after != before:
            yield after

    def heard(self, message: Received) -> Iterable[Publication] | None:
        """All anew for a Home Assistant that was started; nothing more of what the node no longer has."""
        if message.topic == self._born:
            return self.online() if message.payload == BORN and not message.retain else ()
        place = f"{re.escape(self._prefix)}/[a-z_]+/{re.escape(self._device)}/[a-z0-9_-]+/config"
        if not re.fullmatch(place, message.topic, re.ASCII):
            return None
        stale = message.payload and message.topic not in self._announced
        return (Publication(message.topic, b"", retain=True),) if stale else ()

    def _state(self, camera: str) -> Publication:
        alarms = self._open.of(camera)
        newest = alarms[-1] if alarms else None
        state = {
            "motion": _on(any(not one.nature.of_the_camera for one in alarms)),
            "tamper": _on(any(one.nature.of_the_camera for one in alarms)),
            "alarms": len(alarms),
            "nature": newest.nature.value if newest else "none",
            "zone": newest.zone if newest else None,
            "since": iso(newest.started_us) if newest else None,
            "text": self._say(newest.text.uk, newest.text.en)[:255] if newest else "",
        }
        return Publication(self._state_topic(camera), _json(state), retain=True)

    def _state_topic(self, camera: str) -> str:
        return f"{self._topics.base}/home_assistant/{camera}"

    def _announcements(self) -> Iterator[Publication]:
        node = {
            "identifiers": [self._device],
            "name": f"{self._topics.site} {self._topics.node}",
            "manufacturer": "edge-agent",
            "model": "node",
            "sw_version": __version__,
        }
        for entity in node_entities(self._topics):
            yield self._announcement(entity, node, entity.key)
        for camera, name in self._cameras.items():
            device = {
                "identifiers": [f"{self._device}-{camera}"],
                "name": name or camera,
                "manufacturer": "edge-agent",
                "model": "camera",
                "via_device": self._device,
            }
            entities = camera_entities(self._topics, camera, self._state_topic(camera))
            for entity in [*(picture_entities(self._topics, camera) if self._pictures else ()), *entities]:
                yield self._announcement(entity, device, f"{camera}-{entity.key}")

    def _announcement(self, entity: Entity, device: Mapping[str, Any], object_id: str) -> Publication:
        available = {
            "availability_topic": self._topics.status,
            "availability_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
        }
        config = {
            "name": self._say(entity.uk, entity.en),
            "unique_id": f"{self._device}-{object_id}",
            "qos": 1,
            "device": device,
            "origin": {"name": "edge-agent", "sw_version": __version__},
            **entity.config,
            **({} if entity.always else available),
        }
        return Publication(
            f"{self._prefix}/{entity.component}/{self._device}/{object_id}/config", _json(config), retain=True
        )

    def _say(self, uk: str, en: str) -> str:
        return uk if self._language == "uk" else en


def node_entities(topics: Topics) -> Iterator[Entity]:
    """What a node shows of itself: whether it is there, troubles, figures, and its mode."""
    online = {
        "state_topic": topics.status,
        "device_class": "connectivity",
        "value_template": "{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
        "entity_category": "diagnostic",
    }
    yield Entity("binary_sensor", "online", "На зв'язку", "Online", online, always=True)
    troubles = {
        "state_topic": topics.health,
        "device_class": "problem",
        "value_template": "{{ 'ON' if value_json.troubles else 'OFF' }}",
        "json_attributes_topic": topics.health,
        "json_attributes_template": "{{ {'troubles': value_json.troubles} | tojson }}",
    }
    yield Entity("binary_sensor", "troubles", "Несправності", "Troubles", troubles)
    yield _mode(topics.mode(), "value_json.report")
    for key, uk, en, template, more in (
        ("cpu", "Процесор", "Processor", "{{ value_json.cpu_percent }}", _measured("%")),
        ("temperature", "Температура", "Temperature", "{{ value_json.temperature_c }}", _of("temperature", "°C")),
        ("disk_free", "Вільно на диску", "Free on disk", "{{ value_json.disk_free_bytes }}", _of("data_size", "B")),
        ("archive", "Архів", "Archive", "{{ value_json.archive_bytes }}", _of("data_size", "B")),
        ("oldest", "Вік найдавнішого запису", "Age of the oldest recording", _OLDEST, _of("duration", "d")),
        ("undelivered", "Чекає на зв'язок", "Waiting for the broker", "{{ value_json.outbox.waiting }}", _measured()),
    ):
        config = {"state_topic": topics.health, "value_template": template, "entity_category": "diagnostic", **more}
        yield Entity("sensor", key, uk, en, config)


def picture_entities(topics: Topics, camera: str) -> Iterator[Entity]:
    """The last alarm's picture: as a camera for dashboards, as an image that tells when it came."""
    pictures = f"{topics.alarm(camera)}/+/picture"
    yield Entity("camera", "picture", "Остання тривога", "Last alarm", {"topic": pictures})
    still = {"image_topic": pictures, "content_type": "image/jpeg"}
    yield Entity("image", "still", "Знімок тривоги", "Alarm picture", still)


def camera_entities(topics: Topics, camera: str, state_topic: str) -> Iterator[Entity]:
    """What a camera shows: motion, tampering, whether it is recorded, figures, its mode."""
    for key, uk, en in (("motion", "Рух", "Motion"), ("tamper", "Втручання", "Tampering")):
        config = {
            "state_topic": state_topic,
            "device_class": key,
            "value_template": f"{{{{ value_json.{key} }}}}",
            "json_attributes_topic": state_topic,
        }
        yield Entity("binary_sensor", key, uk, en, config)
    alarm = {"state_topic": state_topic, "value_template": "{{ value_json.text }}"}
    yield Entity("sensor", "alarm", "Тривога", "Alarm", alarm)
    recorded = {
        "state_topic": topics.camera(camera),
        "device_class": "connectivity",
        "value_template": "{{ 'ON' if value_json.report.state == 'recording' else 'OFF' }}",
        "json_attributes_topic": topics.camera(camera),
        "json_attributes_template": "{% set told = value_json.report %}"
        "{{ {'fault': told.fault, 'detail': told.detail} | tojson }}",
        "entity_category": "diagnostic",
    }
    yield Entity("binary_sensor", "recorded", "Записується", "Recorded", recorded)
    mine = f"value_json.cameras['{camera}']"
    yield _mode(topics.health, f"{mine}.mode")
    for key, uk, en, template, more in (
        ("fps", "Кадрів за секунду", "Pictures a second", f"{{{{ {mine}.fps }}}}", _measured("fps")),
        ("bitrate", "Потік", "Bitrate", f"{{{{ {mine}.bitrate_bps }}}}", _of("data_rate", "bit/s")),
        ("kept", "Зберігається", "Kept", f"{{{{ ({mine}.kept or {{}}).get('days') }}}}", _of("duration", "d")),
    ):
        config = {"state_topic": topics.health, "value_template": template, "entity_category": "diagnostic", **more}
        yield Entity("sensor", key, uk, en, config)


def _mode(topic: str, report: str) -> Entity:
    config = {
        "state_topic": topic,
        "value_template": f"{{{{ ({report}.name or {report}.mode) if {report} else None }}}}",
        "json_attributes_topic": topic,
        "json_attributes_template": f"{{{{ ({report} or {{}}) | tojson }}}}",
    }
    return Entity("sensor", "mode", "Режим", "Mode", config)


def _measured(unit: str | None = None) -> dict[str, str]:
    return {"state_class": "measurement"} | ({"unit_of_measurement": unit} if unit else {})


def _of(device_class: str, unit: str) -> dict[str, str]:
    return {"device_class": device_class, **_measured(unit)}


def _on(state: bool) -> str:
    return "ON" if state else "OFF"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
