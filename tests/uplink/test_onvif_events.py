"""Alarms in ONVIF's words: topics and payloads as the specifications have them, through a real broker."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from edge_agent.buffer.outbox import Outbox
from edge_agent.clock import SystemClock
from edge_agent.config import Config
from edge_agent.model import AlarmNature, AlarmPhase
from edge_agent.trust.age import Identity
from edge_agent.uplink.chosen_companions import companions_of
from edge_agent.uplink.companions import Publication
from edge_agent.uplink.link import LinkState, Phase, Received
from edge_agent.uplink.node import NodeLink
from edge_agent.uplink.onvif_events import OnvifEvents
from edge_agent.uplink.payloads import AlarmMessage, Words
from edge_agent.uplink.topics import Topics
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.simulators.clock import HandClock
from tests.uplink.ends import RecordingLink, plain

TOPICS = Topics("s", "n")
PAYLOAD: dict[str, Any] = {
    "$comment": "Core Specification 26.06, 'JSON Event Payload': MESSAGE, TIMEINFO, SOURCE, DATA, ITEM",
    "type": "object",
    "required": ["UtcTime", "Source"],
    "additionalProperties": False,
    "properties": {
        "UtcTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
        "Source": {"type": "object", "additionalProperties": {"$ref": "#/$defs/simple"}},
        "Data": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"$ref": "#/$defs/simple"}, {"$ref": "#/$defs/element"}]},
        },
    },
    "$defs": {
        "simple": {"type": ["string", "number", "boolean"]},
        "element": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"$ref": "#/$defs/simple"}, {"$ref": "#/$defs/element"}]},
        },
    },
}
SOURCES = r"(?P<source>[^/&+#]+(/[^/&+#]+)*)"
TOPIC = re.compile(rf"(?P<prefix>[^&+#]+)/onvif-ej/(?P<local>[A-Za-z:]+(/[A-Za-z:]+)*)(/&{SOURCES})?")
"""Core Specification, 'Topic Structure'."""

RULE = ["VideoSource", "AnalyticsConfiguration", "Rule"]
VIDEO: tuple[list[str], dict[str, type]] = (["Source"], {"State": bool})
EVENTS: dict[str, tuple[list[str], dict[str, type]]] = {
    # Analytics Service Specification, annex A
    "RuleEngine/LineDetector/Crossed": (RULE, {"ObjectId": str}),
    "RuleEngine/FieldDetector/ObjectsInside": (RULE, {"IsInside": bool}),
    "RuleEngine/LoiteringDetector/ObjectIsLoitering": (RULE, {"ObjectId": str, "Since": str}),
    "RuleEngine/ObjectAbandoned": (RULE, {"ObjectId": str}),
    "RuleEngine/ObjectRemoved": (RULE, {"ObjectId": str}),
    "RuleEngine/CellMotionDetector/Motion": (
        ["VideoSourceConfigurationToken", "VideoAnalyticsConfigurationToken", "Rule"],
        {"IsMotion": bool},
    ),
    # Imaging Service Specification, "Events"
    "VideoSource/MotionAlarm": VIDEO,
    "VideoSource/SignalLoss": VIDEO,
    "VideoSource/ImageTooDark/AnalyticsService": VIDEO,
    "VideoSource/ImageTooBright/AnalyticsService": VIDEO,
    "VideoSource/ImageTooBlurry/AnalyticsService": VIDEO,
    "VideoSource/GlobalSceneChange/AnalyticsService": VIDEO,
    # our own namespace
    "VideoSource/edge:ImageFrozen": VIDEO,
    "VideoSource/edge:Unwatched": VIDEO,
}


def checked(topic: str, payload: bytes) -> tuple[str, dict[str, Any]]:
    """The local topic and the payload, once they are what the specifications say."""
    found = TOPIC.fullmatch(topic)
    assert found, topic
    message = json.loads(payload)
    jsonschema.validate(message, PAYLOAD)
    source, data = EVENTS[found["local"]]
    assert list(message["Source"]) == source
    assert {name: type(value) for name, value in message["Data"].items()} == data
    assert found["source"] == "/".join(message["Source"].values())
    return found["local"], message


def step(
    nature: AlarmNature, phase: AlarmPhase, alarm_id: str = "a-1", zone: str | None = None, at_us: int = 5_000_000
) -> AlarmMessage:
    return AlarmMessage(
        at_us=at_us,
        message_id=f"{alarm_id}.{phase}",
        alarm_id=alarm_id,
        site="s",
        node="n",
        phase=phase,
        started_us=at_us,
        text=Words(uk="", en=""),
        camera="gate",
        camera_name="",
        nature=nature,
        zone=zone,
    )


def said(found: list[Publication]) -> list[tuple[str, dict[str, Any]]]:
    return [(local, message["Data"]) for local, message in (checked(one.topic, one.payload) for one in found)]


def events() -> OnvifEvents:
    return OnvifEvents(TOPICS.base, {"gate": ["door", "yard"]}, HandClock())


@pytest.mark.parametrize("nature", list(AlarmNature))
def test_every_nature_says_something_that_the_specification_knows(nature: AlarmNature) -> None:
    mine = events()
    started = said(list(mine.alarm(step(nature, AlarmPhase.START, zone="door"))))
    assert started
    rules = [local for local, _ in started if local.startswith("RuleEngine/")]
    assert bool(rules) == (not nature.of_the_camera and nature is not AlarmNature.LEFT)
    ended = said(list(mine.alarm(step(nature, AlarmPhase.END, zone="door"))))
    properties = {local for local, data in started if True in data.values()}
    assert properties == {local for local, data in ended if False in data.values()}, "what became true is false again"


def test_a_zone_holds_objects_until_its_last_alarm_ends() -> None:
    mine = events()
    both = ("RuleEngine/CellMotionDetector/Motion", "RuleEngine/FieldDetector/ObjectsInside")
    start, end = AlarmPhase.START, AlarmPhase.END
    first = said(list(mine.alarm(step(AlarmNature.MOTION, start, "1", "door"))))
    assert first == [
        ("VideoSource/MotionAlarm", {"State": True}),
        (both[0], {"IsMotion": True}),
        (both[1], {"IsInside": True}),
    ]
    assert said(list(mine.alarm(step(AlarmNature.MOTION, start, "2", "door")))) == []
    assert said(list(mine.alarm(step(AlarmNature.MOTION, AlarmPhase.UPDATE, "2", "door")))) == []
    other = list(mine.alarm(step(AlarmNature.MOTION, start, "3", "yard")))
    assert [one.topic for one in other] == ["edge/s/n/onvif-ej/RuleEngine/FieldDetector/ObjectsInside/&gate/gate/yard"]
    assert said(list(mine.alarm(step(AlarmNature.MOTION, end, "1", "door")))) == []
    assert said(list(mine.alarm(step(AlarmNature.MOTION, end, "2", "door")))) == [(both[1], {"IsInside": False})]


def test_each_crossing_of_a_line_is_an_event_and_nothing_else_is() -> None:
    mine = events()
    steps = [(AlarmPhase.START, 1), (AlarmPhase.UPDATE, 1), (AlarmPhase.UPDATE, 3), (AlarmPhase.END, 3)]
    found = [
        one
        for phase, count in steps
        for one in mine.alarm(step(AlarmNature.LINE, phase, zone="fence").model_copy(update={"count": count}))
        if one.kept
    ]
    assert said(found) == [("RuleEngine/LineDetector/Crossed", {"ObjectId": "a-1"})] * 2
    assert {one.topic for one in found} == {"edge/s/n/onvif-ej/RuleEngine/LineDetector/Crossed/&gate/gate/fence"}


def test_the_example_of_the_specification_is_what_we_would_accept() -> None:
    topic = "MyDevice/onvif-ej/RuleEngine/LineDetector/Crossed/&1/2/MyImportantFence1"
    source = {"VideoSource": "1", "AnalyticsConfiguration": "2", "Rule": "MyImportantFence1"}
    payload = {"UtcTime": "2008-10-10T12:24:57.321Z", "Source": source, "Data": {"ObjectId": "15"}}
    assert checked(topic, json.dumps(payload).encode())[0] == "RuleEngine/LineDetector/Crossed"
    for wrong in ({**payload, "UtcTime": "yesterday"}, {**payload, "More": 1}, {"UtcTime": payload["UtcTime"]}):
        with pytest.raises(jsonschema.ValidationError):
            checked(topic, json.dumps(wrong).encode())


def test_who_comes_later_is_told_what_is_so_by_the_broker(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        config = Config.model_validate(
            {
                "site": "s",
                "node": "n",
                "data": str(tmp_path),
                "camera": ({"id": "gate", "url": "rtsp://192.0.2.1/", "watch": {"zone": (ZONE,)}},),
                "mqtt": {"host": "127.0.0.1", "port": broker.port, "tls": False, "onvif": {"prefix": "city/17"}},
            }
        )
        assert config.mqtt is not None
        clock = SystemClock()

        def state(found: LinkState) -> None:
            if found.phase is Phase.ONLINE:
                node.online()

        def ignore(_message: Received) -> None: ...

        outbox = Outbox(tmp_path / "outbox.sqlite", clock=clock)
        companions = companions_of(config, TOPICS, clock)
        node = NodeLink(config.mqtt, TOPICS, outbox, clock, ignore, state, companions=companions)
        node.start()
        wait_until(lambda: node.protocol, 30, "the node online")
        with RecordingLink(plain(broker.port, "vms")) as vms:
            vms.hears("city/17/onvif-ej/#")
            vms.received(10, 30)
            found = [checked(one.topic, one.payload) for one in vms.messages]
            assert all(list(message["Data"].values()) == [False] for _, message in found)
            assert sorted(local for local, _ in found) == sorted(
                set(EVENTS)
                - {
                    "RuleEngine/LineDetector/Crossed",
                    "RuleEngine/LoiteringDetector/ObjectIsLoitering",
                    "RuleEngine/ObjectAbandoned",
                    "RuleEngine/ObjectRemoved",
                }
            )
        node.stop()


ZONE = {"id": "door", "polygon": ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))}


def test_companions_are_off_unless_asked_for_and_none_shows_sealed_pictures() -> None:
    given = {
        "site": "s",
        "node": "n",
        "data": "/nowhere",
        "camera": ({"id": "gate", "url": "rtsp://192.0.2.1/"},),
        "mqtt": {"host": "127.0.0.1", "tls": False},
    }
    config = Config.model_validate(given)
    assert companions_of(config, TOPICS, HandClock()) == []
    sealing = {"alarm": {"seal_pictures_to": (str(Identity.generate().recipient),)}}
    asked = {"mqtt": {"host": "127.0.0.1", "tls": False, "home_assistant": {}}}
    for more, image in (({}, True), (sealing, False)):
        [home] = companions_of(Config.model_validate({**given, **asked, **more}), TOPICS, HandClock())
        assert any("/image/" in one.topic for one in home.online()) == image
