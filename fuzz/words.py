"""What people, brokers and child processes write: configuration, messages, topics, times."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from edge_agent import config, messages, when
from edge_agent.clock import US
from edge_agent.errors import ConfigError, UsageError
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Box, CameraFault, CameraId, CameraState, Segment
from edge_agent.uplink import payloads, topics
from edge_agent.uplink.payloads import Reply, ReplyState, Words
from edge_agent.uplink.topics import Address, TopicKind, Topics
from fuzz.mutate import json_with_prefix
from fuzz.target import Check, Target, pure, require

NOW_US = 1_790_000_000 * US
_EXAMPLE = Path(__file__).parent.parent / "edge-agent.example.toml"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _config(folder: Path) -> Check:
    path = folder / "edge-agent.toml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = config.load(path)
        except ConfigError as error:
            require(bool(str(error)), "no reason")
            return
        require(found.data_dir.is_absolute() and found.camera[0].camera_id != "", "a configuration without its parts")
        require(config.Config.model_validate(found.model_dump()) == found, "it reads differently when written")

    return check


CONFIG = Target(
    "config",
    _config,
    lambda: [
        _EXAMPLE.read_bytes(),
        b'site="a"\nnode="b"\ndata="d"\n[[camera]]\nid="c"\nurl="rtsp://1.2.3.4/x"\n',
        b'site="a"\nnode="b"\ndata="d"\n[retention]\nmax_size="2.5 GB"\ndays=1e3\n[[camera]]\nid="c"\nurl="file:///x"\n',
        b'site="a"\nnode="b"\ndata="~x/d"\n[[camera]]\nid="c"\nurl="rtsp://1.2.3.4/x"\nca_file="~nobody/x"\n',
        b'site="a"\nnode="b"\ndata="d"\n[[camera]]\nid="c"\nurl="file:///x"\n[retention]\nmin_free="%s"' % (b"9" * 400),
        b'site="a"\nnode="b"\ndata="d"\nhealth_every_s=%s\n[[camera]]\nid="c"\nurl="file:///x"\n' % (b"9" * 5000),
        b'site="a"\nnode="b"\ndata="d"\n[mqtt]\nhost="localhost"\ntls=false\n[[camera]]\nid="c"\nurl="file:///x"\n',
    ],
    tuple(
        word.encode()
        for word in (
            "[archive]\n", "[retention]\n", "[[camera]]\n", "[[target]]\n", "[[person]]\n", "[mqtt]\n", 'kind = "s3"\n',
            'kind = "folder"\n', "[camera.watch]\n", "[[camera.watch.zone]]\n", "polygon = [[0.0, 0.0]]\n", "_file = ",
            'max_size = "', "true", "1e400", "inf", "nan", "1979-05-27", "0x", '"""', "'''", "\\u0000", "\\U0010FFFF",
        )
    ),
    max_bytes=8000,
)  # fmt: skip


def _message(data: bytes) -> None:
    try:
        message = messages.decode(data)
    except ValueError as error:
        require(bool(str(error)), "no reason")
        return
    line = messages.encode(message)
    require(line.count(b"\n") == 1 and line.endswith(b"\n"), "not one line")
    require(messages.decode(line) == message, "it reads differently when written")


def _messages() -> list[bytes]:
    gate = CameraId("gate")
    segment = Segment(gate, "gate/2026-11-22/1_000001.mp4.age", 1, 2, 3, 4, "ab", True)
    alarm = Alarm(
        "a1", gate, AlarmNature.MOTION, AlarmPhase.START, 5, 4, "z", Box(0.1, 0.2, 0.3, 0.4), 90.0, b"\xff\xd8"
    )
    made: list[messages.Message] = [
        messages.CameraChanged(gate, CameraState.LOST, 5, CameraFault.LOGIN, "why"),
        messages.SegmentOpened(gate, segment.path, 5),
        messages.SegmentClosed(segment),
        messages.CameraStats(gate, 5, 25.0, 4e6, 4, 99),
        messages.AlarmRaised(alarm),
        messages.Progress(5, 1),
        messages.ExportStep("j", "done", "upload", 1.0, {"location": "x", "seconds": 1.5}),
    ]
    return [messages.encode(message) for message in made]


MESSAGES = Target(
    "messages",
    pure(_message),
    _messages,
    (b'"kind":"', b"NaN", b"Infinity", b"1e400", b"null", b"\\ud800", b"9" * 30),
    mutate=json_with_prefix(0),
)

_KINDS = tuple(payloads.TYPES.values())


def _payload(data: bytes) -> None:
    kind = _KINDS[data[0] % len(_KINDS)] if data else _KINDS[0]
    try:
        found = payloads.decode(kind, data[1:])
    except ValueError as error:
        require(0 < len(str(error)) < 2000 and str(error).isprintable(), "words that are unfit to be shown")
        return
    _is_clean(found)
    again = payloads.decode(kind, payloads.encode(found))
    require(again == found, "it reads differently when written")


def _is_clean(value: object) -> None:
    """No text that a broker sent can steer a terminal; what a reply's `result` holds is for programs only, and
    a checkpoint has lines."""
    if isinstance(value, str):
        require(_CONTROL.search(value) is None, f"a control character: {value[:80]!r}")
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if name == "checkpoint":
                _is_clean((getattr(value, name) or "").replace("\n", ""))
            elif name != "result":
                _is_clean(getattr(value, name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            _is_clean(key)
            _is_clean(inner)


def _payloads() -> list[bytes]:
    alarm = Alarm(
        "a1", CameraId("gate"), AlarmNature.MOTION, AlarmPhase.START, NOW_US, NOW_US, "z", Box(0.1, 0.2, 0.3, 0.4), 90.0
    )  # fmt: skip
    report = payloads.CameraReport(state=CameraState.RECORDING, fps=25, name="Вхід", last_frame_us=5)
    health = payloads.Health(
        at_us=NOW_US, version="1", uptime_s=5, cpu_percent=3, load_1m=1, memory_used_bytes=1, memory_total_bytes=2,
        disk_total_bytes=3, disk_free_bytes=2, archive_bytes=1, cameras={"gate": report},
    )  # fmt: skip
    words = Words(uk="так", en="yes")
    made: list[tuple[str, BaseModel]] = [
        ("status", payloads.Status(at_us=NOW_US, state=payloads.NodeState.ONLINE, version="1")),
        ("health", health),
        ("camera", payloads.CameraMessage(at_us=NOW_US, camera="gate", report=report)),
        ("alarm", payloads.alarm_message(alarm, Topics("a", "b"), "Вхід")),
        (
            "reply",
            Reply(at_us=1, request_id="r", state=ReplyState.DONE, code="x", words=words, result={"a": [1, None]}),
        ),
    ]
    return [bytes([list(payloads.TYPES).index(name)]) + payloads.encode(message) for name, message in made]


PAYLOADS = Target(
    "payloads",
    pure(_payload),
    _payloads,
    (b'"v":1', b"NaN", b"1e999", b"null", b"\\u001b", b"\\u202e", b"\\ud800"),
    mutate=json_with_prefix(1),
)


def _topic(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = topics.parse(text)
    except ValueError as error:
        require(str(error).isprintable() and len(str(error)) < 2500, "words that are unfit to be shown")
        return
    require(_built(found) == text, "it is built differently than it was read")


def _built(address: Address) -> str:
    node = Topics(address.site, address.node)
    match address.kind:
        case TopicKind.CAMERA:
            return node.camera(address.camera)
        case TopicKind.ALARM:
            return node.alarm(address.camera)
        case TopicKind.PICTURE:
            return node.picture(address.camera, address.alarm_id)
        case TopicKind.REPLY:
            return node.reply(address.request_id)
        case _:
            return f"{node.base}/{address.kind}"


TOPICS = Target(
    "topics",
    pure(_topic),
    lambda: [b"edge/a/b/status", b"edge/a/b/alarm/gate/x1/picture", b"edge/a/b/reply/R-1", b"edge/a/b/camera/gate"],
    (b"edge/", b"/status", b"/health", b"/command", b"/alarm/", b"/picture", b"/reply/", b"#", b"+"),
    max_bytes=400,
)

_KYIV = ZoneInfo("Europe/Kyiv")


def _when(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        length = when.parse_duration(text)
        require(0 < length <= 10 * 366 * 86400 * US, "no length of time")
    except UsageError as error:
        require(bool(str(error)), "no reason")
    try:
        at = when.parse_when(text, _KYIV, NOW_US)
    except UsageError as error:
        require(bool(str(error)), "no reason")
        return
    require(when.parse_when(when.iso_utc(at), _KYIV, NOW_US) == at, "its own words say another time")
    require(abs(when.parse_when(when.spoken(at, _KYIV), _KYIV, NOW_US) - at) < US, "its spoken words say another time")


WHEN = Target(
    "when",
    pure(_when),
    lambda: [
        word.encode()
        for word in (
            "2026-11-22 10:15", "22.11.2026 10:15:03.25", "yesterday 22:30", "вчора 5:00", "10:15", "now", "15m ago",
            "2026-11-22T08:15:00Z", "2026-10-25 03:30", "1h30m", "2д тому", "-5m", "1.5h", "today",
            "0001-01-01 00:00 Z", "9999-12-31 23:59:59.999999 -23:59", "9" * 400 + "d",
        )
    ],
    (b"ago", b"today", "сьогодні".encode(), "тому".encode(), b"UTC", b"+02:00", b"T", b"Z", b"9999-12-31"),
    max_bytes=600,
)  # fmt: skip

TARGETS = (CONFIG, MESSAGES, PAYLOADS, TOPICS, WHEN)
