"""What the agent's children tell it: one JSON object a line on the child's standard output.

The agent hands a child its job as one JSON line on standard input and keeps that pipe open; its end tells the child
to stop.  A child never waits for the agent: what its bounded queue can't take is dropped and counted, for the archive's
files themselves say what was recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from edge_agent.model import Alarm, CameraFault, CameraId, CameraState, GapCause, Segment


def finite(value: Any) -> Any:
    """JSON in which all numbers are such; ValueError for NaN and infinity, which readers take but JSON can't say."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is none")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            finite(inner)
    return value


@dataclass(frozen=True, slots=True)
class CameraChanged:
    """A camera's connection changed (`process` says whose: the recorder's or the watcher's)."""

    camera: CameraId
    state: CameraState
    at_us: int
    fault: CameraFault | None = None
    detail: str = ""
    kind: Literal["camera"] = "camera"


@dataclass(frozen=True, slots=True)
class SegmentOpened:
    """A file of the archive was begun; `lost` tells why the time before it is missing, when the child knows."""

    camera: CameraId
    path: str
    start_us: int
    lost: GapCause | None = None
    evidence: str = ""
    kind: Literal["opened"] = "opened"


@dataclass(frozen=True, slots=True)
class SegmentClosed:
    segment: Segment
    kind: Literal["closed"] = "closed"


@dataclass(frozen=True, slots=True)
class DiskChanged:
    """A disk of an archive with several is set aside because it failed; or, without words, it is used again."""

    disk: str
    words: str
    kind: Literal["disk"] = "disk"


@dataclass(frozen=True, slots=True)
class CameraStats:
    """What came from a camera since the last such message."""

    camera: CameraId
    at_us: int
    fps: float
    bitrate_bps: float
    last_frame_us: int | None
    frames_total: int
    clock_offset_s: float | None = None
    """The camera's own clock less the node's; None where the camera does not tell its time."""
    clock_drift_ppm: float | None = None
    """By how much it is faster than the node's; None for the first half hour."""
    clock_jump_s: float | None = None
    """How far it was set within the last hour."""
    kind: Literal["stats"] = "stats"


@dataclass(frozen=True, slots=True)
class WatchStats:
    """What the watcher saw of a camera since the last such message, or since its connection."""

    camera: CameraId
    seconds: float
    watched_s: float
    """So much of it was really looked at: in time, and not passed over because the analysis fell behind."""
    kind: Literal["watch"] = "watch"


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    alarm: Alarm
    kind: Literal["alarm"] = "alarm"


@dataclass(frozen=True, slots=True)
class Progress:
    """The child's main loop is alive; `dropped` counts messages that did not fit the queue."""

    at_us: int
    dropped: int = 0
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class ExportStep:
    """How far an export is; `state` is the last word when it is not "running"."""

    job_id: str
    state: Literal["running", "done", "failed"]
    stage: Literal["cut", "upload", ""] = ""
    part: float = 0.0
    """0 … 1 of the stage."""
    result: Annotated[dict[str, Any] | None, AfterValidator(finite)] = None
    error: str = ""
    again: bool = False
    """A failure that may pass: another try may succeed."""
    kind: Literal["export"] = "export"


Message = (
    CameraChanged
    | SegmentOpened
    | SegmentClosed
    | DiskChanged
    | CameraStats
    | WatchStats
    | AlarmRaised
    | Progress
    | ExportStep
)


@cache
def _adapter() -> TypeAdapter[Message]:
    return TypeAdapter(
        Annotated[Message, Field(discriminator="kind")],
        config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", allow_inf_nan=False),
    )


def encode(message: Message) -> bytes:
    """One line, newline included."""
    return _adapter().dump_json(message) + b"\n"


def decode(line: bytes) -> Message:
    """Parse one line; ValueError says what is wrong with it."""
    try:
        return _adapter().validate_json(line)
    except ValidationError as error:
        raise ValueError(f"not a message of a child process: {error}") from error
