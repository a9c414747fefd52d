"""The configuration: one TOML file, parsed once into frozen values, every mistake told at once.

Secrets are never in it: it names the files that hold them.  A path may begin with `$CREDENTIALS_DIRECTORY/`, where
systemd puts a unit's credentials; other relative paths are meant from the configuration's own folder.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from edge_agent.errors import EdgeError
from edge_agent.model import CameraId, PersonId
from edge_agent.modes.sections import ModeEntry, ProgrammeEntry, mistakes_of, plan_of
from edge_agent.modes.severity import Plan
from edge_agent.toml_file import Mistake, PathSection, Section, load_toml, resolve_path
from edge_agent.trust.age import Recipient
from edge_agent.trust.keys import parse_public_key
from edge_agent.trust.note import NoteKey, SignatureKind, parse_note_key
from edge_agent.trust.policy import Person, Role
from edge_agent.trust.witnessed import MAX_WITNESSES

MAX_SOCKET_PATH = 100
WRITE_ONLY = (
    "this node can't open its recordings (node_reads = false): copy the files that `archive list CAMERA --json` names,"
    " they open with the city's key: age -d -i KEY FILE"
)
_UNITS = {
    "": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def parse_size(text: Any) -> int:
    """Bytes from `"500 GB"`, `"2 GiB"` or a plain integer; ValueError says what is allowed."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text) if isinstance(text, str) else None
    size = float(found[1]) * _UNITS.get(found[2].lower(), math.inf) if found else math.inf
    if not math.isfinite(size):
        raise ValueError('a size such as "500 GB", "2 GiB" or a number of bytes')
    return int(size)


def _zone_name(name: str) -> str:
    if name not in available_timezones():
        raise ValueError('a time zone of the tz database, such as "Europe/Kyiv"')
    return name


def _recipient(text: str) -> str:
    try:
        return str(Recipient.parse(text))
    except EdgeError as error:
        raise ValueError(f'an age public key, "age1…" ({error})') from error


def _public_key(text: str) -> str:
    try:
        parse_public_key(text)
    except EdgeError as error:
        raise ValueError(f"an Ed25519 public key as `edge-desk keys new` prints it ({error})") from error
    return text


def witness_key(text: str) -> str:
    """A witness's C2SP verifier key as it is; ValueError says what it must be."""
    try:
        key = parse_note_key(text)
    except EdgeError as error:
        raise ValueError(f"a witness's verifier key as `edge-desk witness key` prints it ({error})") from error
    if key.kind is not SignatureKind.COSIGNATURE:
        raise ValueError("the verifier key of a witness, not of a node's journal")
    return text


def camera_url(url: str) -> str:
    """A camera's URL as it is; ValueError says what is allowed, without repeating what was given."""
    allowed = "rtsp(s)://host[:port]/path, http(s)://…, v4l2:/dev/videoN or file:///path, without a login in it"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        # the reason would repeat a piece of the URL, and that may be one of a password
        raise ValueError(allowed) from None
    if parts.username or parts.password:
        raise ValueError(f"{allowed}: name the user in `username` and the file with the password in `password_file`")
    if parts.scheme in ("rtsp", "rtsps", "http", "https") and parts.hostname:
        return url
    if re.fullmatch(r"v4l2:/dev/[\w./:-]+", url, re.ASCII) and ".." not in url:
        return url
    if parts.scheme == "file" and parts.path:
        return url
    raise ValueError(allowed)


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="a-z, 0-9, '-' and '_', at most 32")]
Size = Annotated[int, BeforeValidator(parse_size), Field(json_schema_extra={"type": ["string", "integer"]})]
AgeRecipient = Annotated[str, AfterValidator(_recipient)]
CameraUrl = Annotated[str, AfterValidator(camera_url)]
ZoneName = Annotated[str, AfterValidator(_zone_name)]
Language = Literal["uk", "en"]
Unit = Annotated[float, Field(ge=0, le=1)]


class Archive(PathSection):
    """Where and how recordings are kept."""

    path: str | None = Field(None, description="folder of the archive; <data>/archive when not given")
    segment_s: int = Field(60, ge=1, le=600, description="length of a file; it is cut at the next keyframe")
    flush_s: float = Field(5, ge=0.5, le=60, description="at most this much is lost at a power cut")
    recipients: tuple[AgeRecipient, ...] = Field((), description="age public keys that can open every recording")
    node_reads: bool = Field(True, description="false: only `recipients` can open recordings, the node itself cannot")

    @model_validator(mode="after")
    def _somebody_reads(self) -> Archive:
        if not self.node_reads and not self.recipients:
            raise ValueError("recipients: at least one age public key when node_reads = false")
        return self


Days = Annotated[float, Field(gt=0, le=3650)]


class Retention(Section):
    """How long recordings are kept, and what gives way when there is no room (`docs/retention.md`)."""

    days: Days = Field(10, description="the city's order asks for at least 10")
    on_full: Literal["overwrite", "stop"] = Field(
        "overwrite", description="no room: the oldest recordings go, or nothing more is recorded"
    )
    min_free: Size = Field(10**9, description="the reserve: free space left on the archive's disk")
    max_size: Size | None = Field(None, description="the quota: the archive never grows beyond this")
    min_size: Size = Field(0, description="others who fill the disk never push the archive below this")
    others_a_day: float = Field(0.1, ge=0, le=1, description="at most this part of the archive goes for them in a day")
    warn_days: float = Field(7, ge=0, le=365, description="so long before the promise breaks an alarm is raised")

    @model_validator(mode="after")
    def _consistent(self) -> Retention:
        if self.max_size is not None and self.min_size > self.max_size:
            raise ValueError("min_size: at most max_size, the archive can't be kept above its own limit")
        if self.on_full == "stop" and not self.min_free and self.max_size is None:
            raise ValueError(
                'min_free: more than 0 (or a max_size) with on_full = "stop", or the disk fills to its end'
            )
        return self


class ArchiveDisk(PathSection):
    """A further disk of the archive (`docs/archive.md`, «Several disks»)."""

    id: Slug
    path: str = Field(description="folder of the archive on it, marked by `edge-agent archive add-disk`")
    min_free: Size | None = Field(None, description="its reserve; [retention] min_free")
    max_size: Size | None = Field(None, description="its quota; [retention] max_size")


Point = tuple[Unit, Unit]
ZoneNature = Literal[
    "motion", "zone_entered", "zone_left", "loitering", "running", "crowd", "object_left", "object_taken"
]
Tampering = Literal["covered", "blinded", "defocused", "turned", "frozen"]


DetectedKind = Literal["person", "vehicle", "animal"]


class Zone(Section):
    """A part of the picture that matters, as a polygon in parts of its width and height."""

    id: Slug
    name: str = ""
    polygon: tuple[Point, ...] = Field(min_length=3, max_length=64, description="[[x, y], …], 0 … 1 from the top left")
    watch: tuple[ZoneNature, ...] = Field(("motion",), description="what is watched for (`docs/watching.md`)")
    loiter_s: float = Field(60, ge=5, le=3600, description="who stays so long loiters")
    object_s: float = Field(20, ge=5, le=240, description="what stands or is missing for so long was left or taken")
    crowd_part: float = Field(0.3, gt=0, le=1, description="a crowd covers this part of the zone")
    only: tuple[DetectedKind, ...] = Field(
        (), description="only what the detector calls so is told; crowds and objects in any case"
    )


class Line(Section):
    """A line in the picture whose crossing is told of; its direction is from the first point to the last."""

    id: Slug
    name: str = ""
    points: tuple[Point, ...] = Field(min_length=2, max_length=16, description="[[x, y], …]")
    side: Literal["left", "right"] | None = Field(
        None, description="only crossings to this side count, as seen along the line"
    )


class Measured(Section):
    """A length known on the spot, upright or across the view, between two points of the picture."""

    start: Point
    end: Point
    metres: float = Field(gt=0, le=1000)


class Watch(Section):
    """What the watcher does with a camera's picture."""

    enabled: bool = True
    fps: float = Field(5, gt=0, le=30)
    min_area: float = Field(0.002, gt=0, lt=1, description="smallest thing that counts, as a part of the picture")
    whole: tuple[ZoneNature, ...] | None = Field(
        None, description='what is watched for in the whole picture; ["motion"] where there are no zones'
    )
    zone: tuple[Zone, ...] = ()
    line: tuple[Line, ...] = ()
    tampering: tuple[Tampering, ...] = Field(
        ("covered", "blinded", "defocused", "turned", "frozen"), description="what is noticed about the camera itself"
    )
    bearing_deg: float | None = Field(None, ge=0, le=360, description="where the camera looks: 0 = north, 90 = east")
    view_deg: float = Field(80, ge=5, le=150, description="its angle of view, from left to right")
    measure: tuple[Measured, ...] = Field((), description="two or more known lengths, nearer and farther away")

    @property
    def places(self) -> list[str]:
        """The ids of its zones and lines, of which alarms speak."""
        return [zone.id for zone in self.zone] + [line.id for line in self.line]

    @model_validator(mode="after")
    def _consistent(self) -> Watch:
        if len(self.places) != len(set(self.places)):
            raise ValueError("zone, line: each needs an id of its own")
        rows = [max(one.start[1], one.end[1]) for one in self.measure]
        if rows and (len(rows) < 2 or max(rows) - min(rows) < 0.05):
            raise ValueError("measure: at least two, whose lower ends are at heights at least 0.05 apart")
        return self


class Camera(PathSection):
    """One camera."""

    id: Slug
    name: str = ""
    url: CameraUrl = Field(description="the main stream, recorded as it comes")
    sub_url: CameraUrl | None = Field(None, description="a small stream for the watcher")
    username: str | None = None
    password_file: str | None = None
    basic_login: bool = Field(False, description="allow a login that a listener can read (Basic without TLS)")
    ca_file: str | None = Field(None, description="rtsps, https: the camera's certificate or its authority's, PEM")
    audio: bool = Field(False, description="sound is recorded only when asked for")
    keep_days: Days | None = Field(None, description="how long this camera's recordings are kept; [retention] days")
    watch: Watch = Watch()
    programme: ProgrammeEntry | None = Field(None, description="its own; the node's when not given")

    @property
    def camera_id(self) -> CameraId:
        return CameraId(self.id)


TopicPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=100)]


class HomeAssistantEntry(Section):
    """The node and its cameras as devices of a Home Assistant on the same broker (`docs/mqtt.md`)."""

    prefix: TopicPrefix = Field("homeassistant", description="its discovery prefix")


class OnvifEntry(Section):
    """Alarms also as ONVIF events (`docs/mqtt.md`)."""

    prefix: TopicPrefix | None = Field(None, description="before /onvif-ej/…; edge/<site>/<node> when not given")


class Mqtt(PathSection):
    """The dispatcher's broker."""

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(8883, ge=1, le=65535)
    tls: bool = True
    ca_file: str | None = Field(None, description="certificate of the broker's authority; the system's when not given")
    cert_file: str | None = Field(None, description="this node's certificate")
    key_file: str | None = Field(None, description="this node's TLS key")
    username: str | None = None
    password_file: str | None = None
    keepalive_s: int = Field(30, ge=5, le=600)
    outbox_max: Size = Field(2 * 10**9, ge=10**6, description="what may wait on disk for the broker")
    home_assistant: HomeAssistantEntry | None = None
    onvif: OnvifEntry | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Mqtt:
        if not self.tls and self.host not in _LOOPBACK:
            raise ValueError("tls: true unless the broker is on this machine (127.0.0.1)")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file: both or neither")
        return self


class FolderTarget(PathSection):
    """A mounted disk that clips are released to."""

    kind: Literal["folder"]
    name: Slug
    path: str


class S3Target(PathSection):
    """A bucket that clips are released to."""

    kind: Literal["s3"]
    name: Slug
    endpoint: str = Field(pattern=r"^https?://[^/@\s]+(/\S*)?$", description="https://host[:port]")
    bucket: str = Field(min_length=3, max_length=63)
    region: str = "us-east-1"
    prefix: str = ""
    access_key_file: str
    secret_key_file: str

    @model_validator(mode="after")
    def _encrypted(self) -> S3Target:
        if self.endpoint.startswith("http://") and urlsplit(self.endpoint).hostname not in _LOOPBACK:
            raise ValueError("endpoint: https://… unless the store is on this machine")
        return self


Target = Annotated[FolderTarget | S3Target, Field(discriminator="kind")]


class PersonEntry(Section):
    """Somebody whose signed commands this node obeys, within the role."""

    id: Slug
    surname: str = Field(min_length=1)
    name: str = Field(min_length=1)
    patronymic: str = ""
    role: Annotated[Role, Field(strict=False)]
    public_key: Annotated[str, AfterValidator(_public_key)]

    def person(self) -> Person:
        return Person(
            person_id=PersonId(self.id),
            surname=self.surname,
            name=self.name,
            patronymic=self.patronymic,
            roles=(self.role,),
            public_key=parse_public_key(self.public_key),
        )


class WitnessEntry(Section):
    """Somebody who cosigns the journal's checkpoints."""

    key: Annotated[str, AfterValidator(witness_key)] = Field(
        description="C2SP verifier key, as `edge-desk witness key` prints it"
    )


class AlarmSection(Section):
    """What goes out with alarms (`docs/incidents.md`)."""

    unwatched_after_s: float = Field(
        60,
        ge=10,
        le=600,
        description="a camera whose pictures nobody looks at for so long raises the alarm `unwatched`",
    )
    seal_pictures_to: tuple[AgeRecipient, ...] = Field(
        (), max_length=32, description="age public keys that alone can open alarms' pictures; plain JPEG when empty"
    )


class Trust(Section):
    """Whom the node believes about people."""

    authority: Annotated[str, AfterValidator(_public_key)] | None = Field(
        None, description="public key that signs the city's roster; without it the `[[person]]` tables are all"
    )


Classes = tuple[Annotated[int, Field(ge=0, lt=100_000)], ...]
Side = Annotated[int, Field(ge=32, le=2048)]


class DetectorEntry(Section):
    """A model that the city supplies, which names the things of alarms (`docs/watching.md`, «A detector»)."""

    model: str = Field(min_length=1, description="an ONNX file; none comes with the product")
    size: tuple[Side, Side] = Field((640, 640), description="[width, height] of what the model is given")
    threshold: float = Field(0.5, gt=0, lt=1, description="how sure it must be")
    layout: Literal["yolov8", "yolov5", "boxes", "ssd"] | None = Field(
        None, description="how its output is to be read; told by its shape when not given"
    )
    pixels: Literal["0..1", "0..255", "-1..1"] = Field("0..1", description="the range of pixels it was trained with")
    rgb: bool = Field(True, description="false: it wants blue first")
    person: Classes = Field((0,), description="its class numbers of people (these are COCO's, counted from 0)")
    vehicle: Classes = (1, 2, 3, 5, 6, 7)
    animal: Classes = (14, 15, 16, 17, 18, 19, 20, 21, 22, 23)

    @model_validator(mode="after")
    def _consistent(self) -> DetectorEntry:
        numbers = self.person + self.vehicle + self.animal
        if not numbers:
            raise ValueError("person, vehicle, animal: at least one class number")
        if len(numbers) != len(set(numbers)):
            raise ValueError("person, vehicle, animal: each class number in one of them, once")
        return self

    def resolved(self, folder: Path) -> DetectorEntry:
        return self.model_copy(update={"model": resolve_path(self.model, folder)})


class Config(Section):
    """The whole file."""

    site: Slug
    node: Slug
    data: str = Field(description="folder for everything the agent keeps")
    timezone: ZoneName = "Europe/Kyiv"
    language: Language = "uk"
    identity_file: str | None = Field(None, description="the node's age key; <data>/keys/node.age when not given")
    socket: str | None = Field(None, description="local socket; <data>/agent.sock when not given")
    health_every_s: float = Field(10, ge=1, le=3600)
    archive: Archive = Archive()
    disk: tuple[ArchiveDisk, ...] = Field((), description="further disks of the archive")
    retention: Retention = Retention()
    mqtt: Mqtt | None = None
    camera: tuple[Camera, ...] = Field(min_length=1)
    target: tuple[Target, ...] = ()
    person: tuple[PersonEntry, ...] = ()
    trust: Trust = Trust()
    witness: tuple[WitnessEntry, ...] = Field((), max_length=MAX_WITNESSES)
    alarm: AlarmSection = AlarmSection()
    mode: tuple[ModeEntry, ...] = Field((), max_length=64)
    detector: DetectorEntry | None = Field(None, description="names the things of alarms; off when not given")
    programme: ProgrammeEntry = Field(ProgrammeEntry(), description="which mode there is when")

    @property
    def plan(self) -> Plan:
        """The modes and programmes (`docs/modes.md`)."""
        return plan_of(self.mode, self.programme, _programmes(self), self.language)

    @property
    def witnesses(self) -> tuple[NoteKey, ...]:
        return tuple(parse_note_key(entry.key) for entry in self.witness)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def audience(self) -> str:
        """What a signed command must be addressed to."""
        return f"{self.site}/{self.node}"

    @property
    def data_dir(self) -> Path:
        return Path(self.data)

    @property
    def archive_dir(self) -> Path:
        return Path(self.archive.path) if self.archive.path else self.data_dir / "archive"

    @property
    def identity_path(self) -> Path:
        return Path(self.identity_file) if self.identity_file else self.data_dir / "keys" / "node.age"

    @property
    def socket_path(self) -> Path:
        return Path(self.socket) if self.socket else self.data_dir / "agent.sock"

    @property
    def index_path(self) -> Path:
        return self.data_dir / "index.sqlite"

    @property
    def volumes_path(self) -> Path:
        return self.data_dir / "volumes.sqlite"

    @property
    def journal_path(self) -> Path:
        return self.data_dir / "journal.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        return self.data_dir / "journal.checkpoint"

    def camera_named(self, camera_id: str) -> Camera | None:
        return next((camera for camera in self.camera if camera.id == camera_id), None)

    def target_named(self, name: str | None) -> FolderTarget | S3Target | None:
        return next((target for target in self.target if target.name == name), None)


def load(path: Path, *, files: bool = True) -> Config:
    """Read and check a configuration, and whether the files it names are there; ConfigFileError lists all mistakes."""
    return load_toml(Config, path, _resolved, _mistakes, files=files)


def _mistakes(config: Config) -> list[Mistake]:
    return [*_too_long(config), *_nested(config), *_unnamed(config), *_of_modes(config)]


def schema() -> dict[str, Any]:
    """JSON Schema of the configuration."""
    return Config.model_json_schema()


def _resolved(config: Config, folder: Path) -> Config:
    top = {
        name: resolve_path(value, folder)
        for name in ("data", "identity_file", "socket")
        if (value := getattr(config, name)) is not None
    }
    return config.model_copy(
        update={
            **top,
            "archive": config.archive.resolved(folder),
            "disk": tuple(disk.resolved(folder) for disk in config.disk),
            "detector": config.detector.resolved(folder) if config.detector else None,
            "mqtt": config.mqtt.resolved(folder) if config.mqtt else None,
            "camera": tuple(camera.resolved(folder) for camera in config.camera),
            "target": tuple(target.resolved(folder) for target in config.target),
        }
    )


def _too_long(config: Config) -> list[Mistake]:
    if len(os.fsencode(config.socket_path)) <= MAX_SOCKET_PATH:
        return []
    return [Mistake("socket", f'"{config.socket_path}"', f"a path of at most {MAX_SOCKET_PATH} bytes: set `socket`")]


def _programmes(config: Config) -> dict[CameraId, ProgrammeEntry | None]:
    return {camera.camera_id: camera.programme for camera in config.camera}


def _of_modes(config: Config) -> Iterator[Mistake]:
    zones = {camera.camera_id: [zone.id for zone in camera.watch.zone] for camera in config.camera}
    return mistakes_of(config.mode, config.programme, _programmes(config), zones)


def _unnamed(config: Config) -> Iterator[Mistake]:
    """Zones that want a kind that nothing can tell."""
    for number, camera in enumerate(config.camera, 1):
        for zone in camera.watch.zone:
            for kind in zone.only:
                if config.detector is None or not getattr(config.detector, kind):
                    place = f"camera {number} ({camera.id}).watch.zone {zone.id}.only"
                    yield Mistake(place, f'"{kind}"', "a kind that a [detector] of this node tells")


def _nested(config: Config) -> list[Mistake]:
    """Disks of the archive whose folders are the same, or one in the other: one would be taken for two."""
    found = []
    before = [("the archive's first folder", config.archive_dir.resolve())]
    for number, disk in enumerate(config.disk, 1):
        place, folder = f"disk {number} ({disk.id}).path", Path(disk.path).resolve()
        for name, other in before:
            if folder == other or folder in other.parents or other in folder.parents:
                found.append(Mistake(place, f'"{disk.path}"', f"a folder of its own, neither in {name} nor around it"))
        before.append((f"that of disk {number}", folder))
    return found
