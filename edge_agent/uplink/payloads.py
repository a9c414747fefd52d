"""What the messages say: one type per topic, each with its version, published as JSON Schema (`docs/mqtt.md`).

Written by nodes, read by desks from whatever broker they are pointed at: a reader takes nothing on trust.  Everything
is bounded, texts hold no control characters (a terminal must not be steered from afar), keys that a reader does not
know are passed over, and whatever is wrong is one ValueError in plain words.

Times are UTC: `…_us` in microseconds since 1970 is the fact; the ISO 8601 text beside it is for people and derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, computed_field

from edge_agent.messages import finite
from edge_agent.model import (
    Alarm,
    AlarmCut,
    AlarmNature,
    AlarmPhase,
    Approach,
    CameraFault,
    CameraState,
    Kind,
    Moment,
    NodeAlarm,
    Pace,
    Severity,
    Side,
)
from edge_agent.trust.reply import signed
from edge_agent.uplink.alarm_words import alarm_sentence
from edge_agent.uplink.topics import Topics

MAX_JSON_BYTES = 256 * 1024
MAX_CAMERAS = 64
PROMISE_ALARM = "promise_breaks"
"""The code of the node's alarm that the forecast raises (`docs/forecast.md`)."""

AROUND_US = 10_000_000
"""What of the archive belongs to an alarm: so much before its start and after its end."""
CLOCK_OFF_S = 5.0
"""A camera's clock that is further off is worth a warning."""
_LAST_US = 253_402_300_799_999_999  # 9999-12-31, as far as ISO texts go
_CLEAN = r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"
_CLEAN_LINES = _CLEAN.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f")

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Text = Annotated[str, Field(max_length=500, pattern=_CLEAN)]
Us = Annotated[int, Field(ge=0, le=_LAST_US)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Signed = Annotated[float, Field(ge=-1e15, le=1e15)]
Part = Annotated[float, Field(ge=0, le=1)]


def iso(at_us: int) -> str:
    """`2026-11-22T14:05:09.123456Z`."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Payload(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", allow_inf_nan=False)


class _Message(_Payload):
    """What every message has."""

    v: Literal[1] = 1
    at_us: Us

    @computed_field  # type: ignore[prop-decorator]
    @property
    def at(self) -> str:
        return iso(self.at_us)


Payload = _Payload
Message = _Message


class Words(_Payload):
    """The same sentence in the languages of the people who read it."""

    uk: Text
    en: Text


class NodeState(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    STOPPED = "stopped"


class Status(_Message):
    """Whether the node is there: `online` at every connect, `stopped` when ended in order, `offline` by last will.

    For `offline` the time is that of the connect: the will was left with the broker then.
    """

    state: NodeState
    version: Text = ""


class Gaps(_Payload):
    """What of the last 24 hours is missing."""

    count: Count = 0
    seconds: Amount = 0.0


class Kept(_Payload):
    """For how long a camera's recordings are kept, in days; the forecast's figures (`docs/forecast.md`)."""

    days: Amount
    """So far back nothing is gone."""
    promised_days: Amount
    will_keep_days: Amount
    """Once the promise's time has passed from now."""


class Promise(_Payload):
    """Whether recordings will be kept as long as promised (`docs/forecast.md`)."""

    at_us: Us
    breaks_us: Us | None
    """From when something must go before its time; None when that is not in sight."""
    room_bytes: Count
    need_bytes: Count
    held_bytes: Count
    bytes_per_day: Count
    add_bytes: Count
    """Disk that is missing, rounded up."""
    lower_percent: Annotated[int, Field(ge=0, le=100)] | None
    """By how much all bitrates would have to fall instead; None when that is not needed or does not help."""
    text: Words


class ModeReport(_Payload):
    """Which mode there is (`docs/modes.md`)."""

    mode: Slug
    name: Text = ""
    severity: Severity
    """Of alarms that no rule of the mode excepts."""
    record: bool = True
    since_us: Us
    until_us: Us | None = None
    """The next change; None when none is in sight."""
    set_by: Text = ""
    """Who set it; empty when the programme did."""
    reason: Text = ""


class CameraReport(_Payload):
    """One camera, as far as the node knows."""

    state: CameraState
    fault: CameraFault | None = None
    detail: Text = ""
    name: Text = ""
    fps: Amount = 0.0
    bitrate_bps: Amount = 0.0
    last_frame_us: Us | None = None
    gaps_24h: Gaps = Gaps()
    watcher: CameraState | None = None
    """None where nobody watches the picture."""
    unwatched_since_us: Us | None = None
    """While the alarm `unwatched` lasts: since when nobody, or too little, looks at its pictures."""
    kept: Kept | None = None
    """None until there is a forecast."""
    clock_offset_s: Signed | None = None
    """The camera's own clock less the node's (`docs/time.md`); None where the camera does not tell."""
    clock_drift_ppm: Signed | None = None
    clock_warning: Words | None = None
    """What is wrong with the camera's clock, when something is."""
    mode: ModeReport | None = None
    """None from nodes that know no modes."""
    silent_alarms: Count = 0
    """Since the mode began or the agent started."""


class CameraMessage(_Message):
    """A camera's state, sent at every change (its figures are in the health message)."""

    camera: Slug
    report: CameraReport


class ModeMessage(_Message):
    """A mode of the node, or of one of its cameras, sent at every change."""

    camera: Slug | None = None
    report: ModeReport
    text: Words


class Undelivered(_Payload):
    """The outbox: what waits, and what will never be sent (`docs/mqtt.md`, "The outbox")."""

    waiting: Count = 0
    dropped_pictures: Count = 0
    dropped_alarms: Count = 0
    dropped_answers: Count = 0
    rejected: Count = 0


class Trouble(_Payload):
    """An alarm of the node that lasts, with the figures of now."""

    code: Code
    since_us: Us
    text: Words


class VisitReport(_Payload):
    """Somebody is at the node, as they said themselves."""

    who: Text
    why: Text
    since_us: Us


class Health(_Message):
    """The node and all its cameras; sent every few seconds."""

    version: Text
    uptime_s: Amount
    cpu_percent: Annotated[float, Field(ge=0, le=100)]
    load_1m: Amount
    memory_used_bytes: Count
    memory_total_bytes: Count
    temperature_c: Annotated[float, Field(ge=-100, le=300)] | None = None
    disk_total_bytes: Count
    disk_free_bytes: Count
    archive_bytes: Count
    oldest_footage_us: Us | None = None
    promise: Promise | None = None
    """None until there is a forecast."""
    mqtt_protocol: Literal["5", "3.1.1"] | None = None
    outbox: Undelivered = Undelivered()
    troubles: Annotated[tuple[Trouble, ...], Field(max_length=32)] = ()
    visits: Annotated[tuple[VisitReport, ...], Field(max_length=32)] = ()
    clock_synchronised: bool | None = None
    """Whether the node's clock follows a time server; None from nodes that do not tell."""
    checkpoint: Annotated[str, Field(max_length=8192, pattern=_CLEAN_LINES)] | None = None
    """The newest signed root of the node's journal (`docs/journal.md`), to be kept; None when there is none."""
    mode: ModeReport | None = None
    """The node's; each camera has its own beside it."""
    cameras: Annotated[dict[Slug, CameraReport], Field(max_length=MAX_CAMERAS)]


Degrees = Annotated[float, Field(ge=0, le=360)]


class BoxPart(_Payload):
    """A rectangle in parts of the picture: 0 … 1 from its left and top edges."""

    x: Part
    y: Part
    width: Part
    height: Part


class Footage(_Payload):
    """The part of the archive that shows an alarm, ready to be asked for."""

    camera: Slug
    start_us: Us
    end_us: Us


class AnyAlarm(_Message):
    """One message of an alarm's life; `message_id` is the same whenever this message is sent again."""

    message_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    alarm_id: Id
    site: Slug
    node: Slug
    phase: AlarmPhase
    started_us: Us
    cut: AlarmCut | None = None
    """Of an END: why it was ended although nobody saw what raised it end; …"""
    seen_us: Us | None = None
    """… and when it was last known to go on."""
    merged: Count = 0
    """Further alarms of the same camera, zone and nature that it stands for (`docs/incidents.md`, "Storms")."""
    text: Words


class AlarmMessage(AnyAlarm):
    """Of a camera."""

    camera: Slug
    camera_name: Text
    nature: AlarmNature
    severity: Severity = Severity.WARNING
    zone: Text | None = None
    box: BoxPart | None = None
    direction_deg: Degrees | None = None
    bearing_deg: Degrees | None = None
    """On the compass: 0 = north, 90 = east."""
    approach: Approach | None = None
    speed_mps: Annotated[float, Field(ge=0, le=1000)] | None = None
    pace: Pace | None = None
    kind: Kind | None = None
    count: Annotated[int, Field(ge=1)] = 1
    """How many things, or crossings of a line, the alarm is about so far."""
    side: Side | None = None
    path: Annotated[tuple[tuple[Part, Part], ...], Field(max_length=64)] = ()
    """The thing's way in parts of the picture, oldest first."""
    picture_topic: Annotated[str, Field(max_length=300, pattern=_CLEAN)] | None = None
    picture_moment: Moment | None = None
    """What that picture shows, as its own comment says when it is open (`docs/incidents.md`, "Pictures")."""
    footage: Footage | None = None
    behind: Count = 0
    """So many earlier messages of this camera were still waiting when this one was made: they may come after it."""


class NodeAlarmMessage(AnyAlarm):
    """Of the node itself."""

    code: Code


class ReplyState(StrEnum):
    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def final(self) -> bool:
        return self in (ReplyState.DONE, ReplyState.FAILED, ReplyState.REFUSED)


class Reply(_Message):
    """How a command fares; the last one has a final state."""

    request_id: Id
    node: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}/[a-z0-9][a-z0-9_-]{0,31}$")] | None = None
    """`<site>/<node>` that answers."""
    command_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of a refusal: what was refused, byte for byte; anybody can send a node rubbish under another's request id."""
    state: ReplyState
    code: Code
    """For programs: the same whatever the words."""
    words: Words
    progress: Part | None = None
    result: Annotated[dict[str, JsonValue], Field(max_length=64), AfterValidator(finite)] | None = None
    signature: Annotated[str, Field(max_length=400, pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """The node's own, over all bytes before it (`trust/reply.py`); the last member of the object."""


P = TypeVar("P", bound=_Payload)

TYPES: dict[str, type[_Message]] = {
    "status": Status,
    "health": Health,
    "camera": CameraMessage,
    "alarm": AlarmMessage,
    "node_alarm": NodeAlarmMessage,
    "reply": Reply,
    "mode": ModeMessage,
}


def encode(payload: BaseModel) -> bytes:
    """Compact UTF-8 JSON."""
    return payload.model_dump_json().encode()


def encode_reply(reply: Reply, key: Ed25519PrivateKey | None) -> bytes:
    """With the node's signature; without `key`, a node that has lost it, unsigned."""
    body = reply.model_dump_json(exclude={"signature"}).encode()
    return signed(body, key) if key else body


def decode(kind: type[P], payload: bytes) -> P:
    """Parse what a broker sent; ValueError says what is wrong, in one bounded line."""
    if len(payload) > MAX_JSON_BYTES:
        raise ValueError(f"{kind.__name__}: {len(payload)} bytes, more than the {MAX_JSON_BYTES} that are read")
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        places = [f"{'.'.join(str(step) for step in one['loc']) or 'payload'}: {one['msg']}"[:160] for one in found[:3]]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(f"{kind.__name__}: {_printable('; '.join(places))}{more}") from None


def schema(types: Mapping[str, type[_Message]] = TYPES) -> dict[str, Any]:
    """JSON Schema of each payload, by the word in its topic."""
    return {name: kind.model_json_schema(mode="serialization") for name, kind in types.items()}


def alarm_message(alarm: Alarm, topics: Topics, camera_name: str, zone_name: str = "", behind: int = 0) -> AlarmMessage:
    """The message for one step of an alarm; its id is made of the step alone, so a repeat has the same."""
    name = camera_name or alarm.camera
    zone = zone_name or alarm.zone or ""
    box = alarm.box
    return AlarmMessage(
        at_us=alarm.at_us,
        message_id=f"{alarm.alarm_id}.{alarm.phase}.{alarm.at_us}",
        alarm_id=alarm.alarm_id,
        site=topics.site,
        node=topics.node,
        camera=alarm.camera,
        camera_name=shown(name),
        nature=alarm.nature,
        severity=alarm.severity,
        phase=alarm.phase,
        started_us=alarm.started_us,
        zone=alarm.zone,
        box=BoxPart(x=_part(box.x), y=_part(box.y), width=_part(box.width), height=_part(box.height)) if box else None,
        direction_deg=None if alarm.direction_deg is None else alarm.direction_deg % 360,
        bearing_deg=None if alarm.bearing_deg is None else alarm.bearing_deg % 360,
        approach=alarm.approach,
        speed_mps=alarm.speed_mps,
        pace=alarm.pace,
        kind=alarm.kind,
        count=alarm.count,
        side=alarm.side,
        path=tuple((_part(x), _part(y)) for x, y in alarm.path),
        text=alarm_words(alarm, name, zone),
        picture_topic=topics.picture(alarm.camera, alarm.alarm_id) if alarm.picture else None,
        picture_moment=alarm.moment if alarm.picture else None,
        cut=alarm.cut,
        seen_us=alarm.seen_us,
        merged=alarm.merged,
        footage=footage_of(alarm.camera, alarm.started_us, alarm.at_us if alarm.seen_us is None else alarm.seen_us),
        behind=behind,
    )


def footage_of(camera: str, started_us: int, until_us: int) -> Footage:
    """What of the archive shows an alarm, with what was before and after it."""
    return Footage(camera=camera, start_us=max(0, started_us - AROUND_US), end_us=until_us + AROUND_US)


def node_alarm_message(alarm: NodeAlarm, topics: Topics) -> NodeAlarmMessage:
    """The message for the start or the end of an alarm of the node."""
    return NodeAlarmMessage(
        at_us=alarm.at_us,
        message_id=f"{alarm.alarm_id}.{alarm.phase}.{alarm.at_us}",
        alarm_id=alarm.alarm_id,
        site=topics.site,
        node=topics.node,
        phase=alarm.phase,
        started_us=alarm.started_us,
        text=Words(uk=shown(alarm.uk), en=shown(alarm.en)),
        code=alarm.code,
    )


def trouble(alarm: NodeAlarm) -> Trouble:
    return Trouble(code=alarm.code, since_us=alarm.started_us, text=Words(uk=shown(alarm.uk), en=shown(alarm.en)))


def alarm_words(alarm: Alarm, camera_name: str, zone_name: str) -> Words:
    """What an operator reads."""
    uk, en = alarm_sentence(alarm, camera_name, zone_name)
    return Words(uk=shown(uk), en=shown(en))


def camera_clock_words(offset_s: float | None, jump_s: float | None) -> Words | None:
    """What a contractor should know of a camera's clock: how far it is off, or was just set; None when all is well."""
    if offset_s is not None and abs(offset_s) > CLOCK_OFF_S:
        uk_way, en_way = ("поспішає", "ahead of") if offset_s > 0 else ("відстає", "behind")
        uk, en = _length(abs(offset_s))
        return Words(
            uk=f"Годинник камери {uk_way} на {uk} проти вузла: час у кадрі не той, що в записі",
            en=f"The camera's clock is {en} {en_way} the node's: the time in its picture is not the recording's",
        )
    if jump_s is not None:
        uk_way, en_way = ("вперед", "forward") if jump_s > 0 else ("назад", "back")
        uk, en = _length(abs(jump_s))
        return Words(
            uk=f"Годинник камери щойно переведено {uk_way} на {uk}",
            en=f"The camera's clock was just set {en_way} by {en}",
        )
    return None


def _length(seconds: float) -> tuple[str, str]:
    """A length of time in its largest fitting unit, in Ukrainian and English."""
    for size, uk, en in ((2 * 86_400, "дн.", "days"), (2 * 3600, "год", "hours"), (120, "хв", "minutes")):
        if seconds >= size:
            count = round(seconds / (size / 2))
            return f"{count} {uk}", f"{count} {en}"
    return f"{seconds:.0f} с", f"{seconds:.0f} seconds"


def _part(value: float) -> float:
    """Rounding must not push a box at the picture's edge out of bounds, and with it the alarm."""
    return round(min(max(value, 0.0), 1.0), 6)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def shown(text: str) -> str:
    """Any text as a payload may hold it: printable, at most 500 characters."""
    clean = _printable(text)
    return clean if len(clean) <= 500 else f"{clean[:499]}…"
