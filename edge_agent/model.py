"""The words everybody shares: ids, intervals, segments, gaps, states, alarms.

Frozen values without I/O.  Integers `_us` are UTC microseconds since 1970; a half-open interval [start, end) is meant
wherever two of them stand together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from edge_agent.clock import US

CameraId = NewType("CameraId", str)
"""Lower-case letters, digits, '-' and '_', at most 32, starting with a letter or digit: also a folder and a topic."""

PersonId = NewType("PersonId", str)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """[start_us, end_us) in UTC microseconds; never negative."""

    start_us: int
    end_us: int

    def __post_init__(self) -> None:
        if self.end_us < self.start_us:
            raise ValueError(f"an interval ends before it starts: {self.start_us} … {self.end_us}")

    @property
    def seconds(self) -> float:
        return (self.end_us - self.start_us) / US

    @property
    def empty(self) -> bool:
        return self.end_us == self.start_us

    def overlaps(self, other: Interval) -> bool:
        return self.start_us < other.end_us and other.start_us < self.end_us

    def clipped(self, other: Interval) -> Interval:
        """The part of this interval inside `other`; empty at the nearer edge when they do not meet."""
        start = min(max(self.start_us, other.start_us), other.end_us)
        return Interval(start, max(start, min(self.end_us, other.end_us)))


def uncovered(whole: Interval, parts: Iterable[Interval], tolerance_us: int = 0) -> list[Interval]:
    """What of `whole` no part covers, in order; pieces of `tolerance_us` or less are taken as covered."""
    holes: list[Interval] = []
    reached = whole.start_us
    for part in sorted(parts):
        if part.start_us - reached > tolerance_us:
            holes.append(Interval(reached, min(part.start_us, whole.end_us)))
        reached = max(reached, part.end_us)
        if reached >= whole.end_us:
            break
    if whole.end_us - reached > tolerance_us:
        holes.append(Interval(reached, whole.end_us))
    return [hole for hole in holes if not hole.empty]


class GapCause(StrEnum):
    """Why a second of a camera is not in the archive."""

    CAMERA = "camera"
    NETWORK = "network"
    NODE_OFF = "node_off"
    PROCESS = "process"
    DISK = "disk"
    CLOCK = "clock"
    MODE = "mode"


class ClockTrust(StrEnum):
    """How far the times of a segment can be believed (`docs/time.md`)."""

    SYNCED = "synced"
    """The node's clock followed a time server when the segment began."""
    FREE = "free"
    """The node's clock ran by itself: no time server was heard since it booted or was set, or for 9 hours."""
    CARRIED = "carried"
    """A clock jumped: the times were carried over the jump, and are only known to follow one another."""


class CameraState(StrEnum):
    CONNECTING = "connecting"
    RECORDING = "recording"
    RESTING = "resting"
    """It gives pictures, and its mode lets nothing be recorded (`docs/modes.md`)."""
    LOST = "lost"


class CameraFault(StrEnum):
    """What is wrong with a camera, as far as the network tells."""

    UNREACHABLE = "unreachable"
    LOGIN = "login"
    NOT_FOUND = "not_found"
    NO_VIDEO = "no_video"
    STALLED = "stalled"
    CLOSED = "closed"
    BROKEN = "broken"
    DISK = "disk"

    @property
    def gap_cause(self) -> GapCause:
        match self:
            case CameraFault.UNREACHABLE:
                return GapCause.NETWORK
            case CameraFault.DISK:
                return GapCause.DISK
            case _:
                return GapCause.CAMERA


@dataclass(frozen=True, slots=True)
class Segment:
    """One closed file of the archive (`docs/archive.md`)."""

    camera: CameraId
    path: str
    """Relative to the folder of the archive on its disk; no two disks have the same."""
    start_us: int
    end_us: int
    size_bytes: int
    frames: int | None
    """Video frames; None when only the file's outside was looked at (index rebuilt)."""
    sha256: str | None
    """Hex digest of the sealed file; None until it has been computed."""
    torn: bool = False
    damaged: int | None = None
    """Pictures that were recorded although something of them was lost on their way; None when that is not known."""
    clock: ClockTrust | None = None
    """None when that is not known."""
    disk: str = ""
    """The id of the disk that it is on; empty: the archive's first."""

    @property
    def interval(self) -> Interval:
        return Interval(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True)
class Hold:
    """Recordings that nothing deletes until the hold is ended (M5); kept by interval, not by file."""

    hold_id: str
    cameras: tuple[CameraId, ...]
    """Empty means all of the node's cameras, those of the future included."""
    start_us: int
    end_us: int | None
    """None: until it is ended."""
    order_number: str
    reason: str
    ordered_by: str
    """Surname, name and patronymic of the official who ordered it."""
    carried_out_by: str
    since_us: int
    """When it was entered."""
    ended_us: int | None = None
    ended_by: str = ""
    """Who carried out the order to end it."""
    end_order_number: str = ""
    end_ordered_by: str = ""

    def covers(self, camera: CameraId, interval: Interval) -> bool:
        """Whether it keeps anything of `interval`."""
        ends = self.end_us is None or interval.start_us < self.end_us
        mine = not self.cameras or camera in self.cameras
        return self.ended_us is None and mine and ends and self.start_us < interval.end_us


@dataclass(frozen=True, slots=True)
class Gap:
    """Time of a camera that no segment covers, with its cause and what is known about it."""

    camera: CameraId
    start_us: int
    end_us: int
    cause: GapCause
    evidence: str

    @property
    def interval(self) -> Interval:
        return Interval(self.start_us, self.end_us)


class AlarmPhase(StrEnum):
    START = "start"
    UPDATE = "update"
    END = "end"


class AlarmCut(StrEnum):
    """Why an alarm was ended although nobody saw what raised it end (`docs/incidents.md`)."""

    RESTART = "restart"
    """The node was killed or lost its power; found when it was back."""
    STOP = "stop"
    """The node was stopped in order."""
    WATCHER = "watcher"
    """The process that watched ended."""


class Moment(StrEnum):
    """What an alarm's picture shows (`docs/incidents.md`, "Pictures")."""

    START = "start"
    UPDATE = "update"
    """The frame that this message is about."""
    BEST = "best"
    """When the thing was seen large and whole."""
    END = "end"
    """When the thing was last seen; of a camera's trouble, when it was over."""


class AlarmNature(StrEnum):
    """What an alarm of a camera is about (`docs/watching.md`, "Natures")."""

    MOTION = "motion"
    LINE = "line_crossed"
    ENTERED = "zone_entered"
    LEFT = "zone_left"
    LOITERING = "loitering"
    RUNNING = "running"
    CROWD = "crowd"
    OBJECT_LEFT = "object_left"
    OBJECT_TAKEN = "object_taken"
    LOST = "lost"
    COVERED = "covered"
    BLINDED = "blinded"
    DEFOCUSED = "defocused"
    TURNED = "turned"
    FROZEN = "frozen"
    UNWATCHED = "unwatched"
    """Its pictures come, but nobody looks at them: the agent's word about its watcher."""

    @property
    def of_the_camera(self) -> bool:
        """The camera itself is lost, tampered with or not watched: no mode silences that."""
        return self in {"lost", "covered", "blinded", "defocused", "turned", "frozen", "unwatched"}


class Side(StrEnum):
    """A side of a line, as seen along it from its first point to its last."""

    LEFT = "left"
    RIGHT = "right"


class Kind(StrEnum):
    """What a thing may be: `…_like` by its size and shape alone, the others by a detector that the city supplies."""

    PERSON_LIKE = "person_like"
    VEHICLE_LIKE = "vehicle_like"
    SMALL = "small"
    PERSON = "person"
    VEHICLE = "vehicle"
    ANIMAL = "animal"


class Pace(StrEnum):
    """How fast a thing goes: up to half a metre a second, as walkers, as runners, as vehicles."""

    SLOW = "slow"
    WALK = "walk"
    RUN = "run"
    VEHICLE = "vehicle"


class Approach(StrEnum):
    """Whether a thing comes nearer to the camera."""

    APPROACHING = "approaching"
    LEAVING = "leaving"


class Severity(StrEnum):
    """How loudly an alarm is told (`docs/modes.md`)."""

    SILENT = "silent"
    """Counted, not told."""
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Higher is louder."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in parts of the picture: 0 … 1 from its left and top edges."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """One message of an alarm's life; all messages of one alarm share `alarm_id`."""

    alarm_id: str
    camera: CameraId
    nature: AlarmNature
    phase: AlarmPhase
    at_us: int
    started_us: int
    zone: str | None = None
    box: Box | None = None
    direction_deg: float | None = None
    """Movement in the picture: 0 = up, 90 = right, 180 = down, 270 = left; None while it is not known."""
    picture: bytes | None = None
    """JPEG with the box drawn."""
    moment: Moment | None = None
    """What the picture shows."""
    merged: int = 0
    """Further alarms of this camera, zone and nature that it stands for since its START (`edge_agent/storms.py`)."""
    cut: AlarmCut | None = None
    """Of an END: nobody saw what raised it end; `seen_us` is when it was last known to go on."""
    seen_us: int | None = None
    severity: Severity = Severity.WARNING
    """The agent's word by the mode; children leave it alone."""
    bearing_deg: float | None = None
    """The same on the compass, 0 = north, 90 = east; None where the camera's own bearing is not configured."""
    approach: Approach | None = None
    speed_mps: float | None = None
    pace: Pace | None = None
    kind: Kind | None = None
    count: int = 1
    """How many things, or crossings of a line, this alarm is about so far."""
    side: Side | None = None
    """The side of the line that was gone to last."""
    path: tuple[tuple[float, float], ...] = ()
    """The thing's way, oldest first, in parts of the picture."""


@dataclass(frozen=True, slots=True)
class NodeAlarm:
    """One message of the life of an alarm of the node itself, not of one of its cameras."""

    alarm_id: str
    code: str
    """For programs: lower-case letters, digits and `_`, the same whatever the words."""
    phase: AlarmPhase
    at_us: int
    started_us: int
    uk: str
    en: str
