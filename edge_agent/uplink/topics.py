"""Names of MQTT topics: built from checked ids, parsed back into them (`docs/mqtt.md`).

Ids can't hold `/`, `+`, `#` or anything outside ASCII, so no name can reach into another node's topics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ROOT = "edge"
MAX_TOPIC_CHARS = 300

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class TopicKind(StrEnum):
    STATUS = "status"
    HEALTH = "health"
    CAMERA = "camera"
    ALARM = "alarm"
    NODE_ALARM = "node_alarm"
    PICTURE = "picture"
    INCIDENT = "incident"
    INCIDENTS = "incidents"
    COMMAND = "command"
    REPLY = "reply"
    MODE = "mode"
    CHECKPOINT = "checkpoint"
    COSIGNED = "cosigned"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed topic; what its kind does not have is ""."""

    kind: TopicKind
    site: str
    node: str
    camera: str = ""
    alarm_id: str = ""
    request_id: str = ""
    witness: str = ""
    """The id of its key, in hex."""


def roster_topic(site: str) -> str:
    """Where a site's nodes hear of their roster; ValueError for an id that could not be one."""
    return f"{ROOT}/{_slug('site', site)}/roster"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one node; ValueError for an id that could not be one."""

    site: str
    node: str

    def __post_init__(self) -> None:
        _slug("site", self.site)
        _slug("node", self.node)

    @property
    def base(self) -> str:
        return f"{ROOT}/{self.site}/{self.node}"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def health(self) -> str:
        return f"{self.base}/health"

    @property
    def command(self) -> str:
        return f"{self.base}/command"

    @property
    def node_alarm(self) -> str:
        return f"{self.base}/alarm"

    @property
    def incident(self) -> str:
        return f"{self.base}/incident"

    @property
    def incidents(self) -> str:
        return f"{self.base}/incidents"

    def camera(self, camera: str) -> str:
        return f"{self.base}/camera/{_slug('camera', camera)}"

    def alarm(self, camera: str) -> str:
        return f"{self.base}/alarm/{_slug('camera', camera)}"

    def mode(self, camera: str | None = None) -> str:
        """Of a camera, or of the node."""
        return f"{self.base}/mode" if camera is None else f"{self.base}/mode/{_slug('camera', camera)}"

    def picture(self, camera: str, alarm_id: str) -> str:
        return f"{self.alarm(camera)}/{_id('alarm', alarm_id)}/picture"

    def reply(self, request_id: str) -> str:
        return f"{self.base}/reply/{_id('request', request_id)}"

    def checkpoint(self, witness: str) -> str:
        return f"{self.base}/checkpoint/{_slug('witness', witness)}"

    def cosigned(self, witness: str) -> str:
        return f"{self.base}/cosigned/{_slug('witness', witness)}"


def parse(topic: str) -> Address:
    """The address a topic names; ValueError for anything that `Topics` does not build."""
    if len(topic) > MAX_TOPIC_CHARS:
        raise ValueError(f"a topic of {len(topic)} characters is none of ours")
    parts = topic.split("/")
    if len(parts) < 4 or parts[0] != ROOT:
        raise ValueError(f"not a topic of ours: {topic!r}")
    node = Topics(parts[1], parts[2])
    match parts[3:]:
        case ["status" | "health" | "incident" | "incidents" | "command" | "mode" as name]:
            return Address(TopicKind(name), node.site, node.node)
        case ["alarm"]:
            return Address(TopicKind.NODE_ALARM, node.site, node.node)
        case ["camera" | "alarm" | "mode" as name, camera]:
            return Address(TopicKind(name), node.site, node.node, camera=_slug("camera", camera))
        case ["alarm", camera, alarm_id, "picture"]:
            address = _slug("camera", camera), _id("alarm", alarm_id)
            return Address(TopicKind.PICTURE, node.site, node.node, camera=address[0], alarm_id=address[1])
        case ["reply", request_id]:
            return Address(TopicKind.REPLY, node.site, node.node, request_id=_id("request", request_id))
        case ["checkpoint" | "cosigned" as name, witness]:
            return Address(TopicKind(name), node.site, node.node, witness=_slug("witness", witness))
    raise ValueError(f"not a topic of ours: {topic!r}")


def subscription(kind: TopicKind, site: str | None = None, node: str | None = None) -> str:
    """The filter for one kind of message; of every site or node where none is named."""
    base = f"{ROOT}/{_slug('site', site) if site else '+'}/{_slug('node', node) if node else '+'}"
    match kind:
        case TopicKind.STATUS | TopicKind.HEALTH | TopicKind.INCIDENT | TopicKind.INCIDENTS | TopicKind.COMMAND:
            return f"{base}/{kind}"
        case TopicKind.NODE_ALARM:
            return f"{base}/alarm"
        case TopicKind.MODE:
            return f"{base}/mode/#"  # the node's own, too
        case TopicKind.CAMERA | TopicKind.ALARM | TopicKind.REPLY | TopicKind.CHECKPOINT | TopicKind.COSIGNED:
            return f"{base}/{kind}/+"
        case TopicKind.PICTURE:
            return f"{base}/alarm/+/+/picture"


def to_witness(witness: str, site: str | None = None) -> str:
    """The filter for what nodes ask one witness."""
    return subscription(TopicKind.CHECKPOINT, site).removesuffix("+") + _slug("witness", witness)


def _slug(what: str, text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise ValueError(f"not the name of a {what}: {text[:80]!r} (a-z, 0-9, '-', '_', at most 32)")
    return text


def _id(what: str, text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(f"not the id of a {what}: {text[:80]!r} (letters, digits, '-', '_', at most 64)")
    return text
