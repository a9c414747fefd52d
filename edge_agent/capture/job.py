"""What the agent tells the recorder to do: one JSON line on its standard input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from edge_agent.jobs import JobForm
from edge_agent.model import CameraId


@dataclass(frozen=True, slots=True)
class CameraJob:
    """One camera; the login stands apart from the URL."""

    id: Annotated[CameraId, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    audio: bool = False
    basic: bool = False
    """The login may be sent so that a listener can read it."""
    ca_file: str | None = None
    """rtsps: the camera's own certificate or its authority's (PEM); the system's authorities when None."""


@dataclass(frozen=True, slots=True)
class RecorderJob:
    archive_dir: str
    """Of the first disk.  It must exist: a disk that is not mounted must not be recorded beside."""
    recipients: Annotated[tuple[str, ...], Field(min_length=1)]
    """age public keys, `age1…`."""
    cameras: tuple[CameraJob, ...]
    segment_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    flush_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    wait: str = ""
    """Why nothing may be recorded at first; empty: record (`capture/gate.py`)."""
    rest: tuple[tuple[str, str], ...] = ()
    """Cameras that are not to be recorded at first, each with why (`capture/gate.py`)."""
    more_disks: tuple[tuple[str, str], ...] = ()
    """Ids and folders of the archive's disks but the first."""
    disks: tuple[str, ...] = ()
    """In the order in which they are to be used (`capture/gate.py`)."""


RECORDER_JOB = JobForm(RecorderJob, "recorder")
