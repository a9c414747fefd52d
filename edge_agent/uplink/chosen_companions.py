"""Which companions a configuration asks for."""

from __future__ import annotations

from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.uplink.companions import Companion
from edge_agent.uplink.home_assistant import HomeAssistant
from edge_agent.uplink.onvif_events import OnvifEvents
from edge_agent.uplink.topics import Topics


def companions_of(config: Config, topics: Topics, clock: Clock) -> list[Companion]:
    """None by default."""
    found: list[Companion] = []
    if config.mqtt is None:
        return found
    if config.mqtt.home_assistant is not None:
        names = {camera.id: camera.name for camera in config.camera}
        prefix, plain = config.mqtt.home_assistant.prefix, not config.alarm.seal_pictures_to
        found.append(HomeAssistant(topics, names, prefix, config.language, pictures=plain))
    if config.mqtt.onvif is not None:
        zones = {camera.id: [zone.id for zone in camera.watch.zone] for camera in config.camera}
        found.append(OnvifEvents(config.mqtt.onvif.prefix or topics.base, zones, clock))
    return found
