"""What the agent tells the watcher to do: one JSON line on its standard input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from edge_agent.capture.calibration import Measure
from edge_agent.capture.job import CameraJob
from edge_agent.capture.regions import PICTURE, Line, Region
from edge_agent.jobs import JobForm
from edge_agent.model import AlarmNature, CameraId, Kind


def _zone_name(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("not a time zone of the tz database") from error
    return name


@dataclass(frozen=True, slots=True)
class WatchedCamera:
    """One camera; the login stands apart from the URL."""

    id: Annotated[CameraId, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    url: str
    """The sub-stream, or the main stream where there is none."""
    keyframes_only: bool = False
    """Of a main stream only the keyframes are decoded."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    basic: bool = False
    ca_file: str | None = None
    fps: Annotated[float, Field(gt=0, le=30)] = 5.0
    """At most so many pictures a second are looked at."""
    min_area: Annotated[float, Field(gt=0, lt=1)] = 0.002
    """Smallest thing that counts, as a part of the picture."""
    zones: tuple[Region, ...] = ()
    whole: tuple[AlarmNature, ...] | None = None
    """What is watched for in the whole picture; None: motion where there are no zones."""
    lines: tuple[Line, ...] = ()
    tampering: tuple[AlarmNature, ...] = ()
    """What is noticed about the camera itself."""
    bearing_deg: float | None = None
    view_deg: float = 80.0
    measures: tuple[Measure, ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """The zones, and the whole picture where something is watched for in it."""
        whole = self.whole
        if whole is None:
            whole = () if self.zones else (AlarmNature.MOTION,)
        return (Region(None, PICTURE, whole), *self.zones) if whole else self.zones

    @property
    def stream(self) -> CameraJob:
        """What a `Source` needs."""
        return CameraJob(self.id, self.url, self.username, self.password, basic=self.basic, ca_file=self.ca_file)


DetectorLayout = Literal["yolov8", "yolov5", "boxes", "ssd"]
Pixels = Literal["0..1", "0..255", "-1..1"]


@dataclass(frozen=True, slots=True)
class DetectorJob:
    """The city's model: what to load, and how to read what it says (`capture/detector.py`)."""

    model: str
    kinds: tuple[tuple[Kind, tuple[int, ...]], ...]
    """Class numbers as the model gives them."""
    size: tuple[Annotated[int, Field(ge=32, le=2048)], Annotated[int, Field(ge=32, le=2048)]] = (640, 640)
    """(width, height) of what it is given."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    layout: DetectorLayout | None = None
    """None: told by the shape of what comes out."""
    pixels: Pixels = "0..1"
    rgb: bool = True


@dataclass(frozen=True, slots=True)
class WatcherJob:
    cameras: tuple[WatchedCamera, ...]
    timezone: Annotated[str, AfterValidator(_zone_name)] = "Europe/Kyiv"
    """Of the time that is drawn into pictures."""
    language: Literal["uk", "en"] = "uk"
    """How that date is written."""
    detector: DetectorJob | None = None


WATCHER_JOB = JobForm(WatcherJob, "watcher")
