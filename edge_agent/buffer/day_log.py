"""The day log: what the outsides of a day's files can't say, one JSON line for each closed file (`docs/archive.md`).

The recorder and the agent may both append, each line in one write; neither waits for the other.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.model import ClockTrust

_log = logging.getLogger(__name__)

NAME = "segments.jsonl"
MAX_BYTES = 32 << 20
"""More is not read: a camera cut every second for a whole day makes less."""
_MODE = 0o640
_FILE = re.compile(r"[0-9]{1,18}_[0-9]{6,12}\.mp4\.age", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CLOCKS = {str(clock): clock for clock in ClockTrust}


@dataclass(frozen=True, slots=True)
class Line:
    """One closed file."""

    name: str
    """Inside the day's folder."""
    end_us: int
    size_bytes: int
    frames: int | None = None
    sha256: str | None = None
    torn: bool = False
    damaged: int | None = None
    clock: ClockTrust | None = None


def encode(line: Line) -> bytes:
    """With its line feed."""
    values = {
        "name": line.name,
        "end_us": line.end_us,
        "size": line.size_bytes,
        "frames": line.frames,
        "sha256": line.sha256,
        "torn": line.torn,
        "damaged": line.damaged,
        "clock": line.clock,
    }
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def parse(data: bytes) -> dict[str, Line]:
    """By file name, the last line of a name; what is no line is passed over, an unended last one too."""
    lines: dict[str, Line] = {}
    for raw in data.split(b"\n")[:-1]:
        line = _line(raw)
        if line is not None:
            lines[line.name] = line
    return lines


def read(folder: Path) -> dict[str, Line]:
    """Of a day's folder; empty when there is no log, or none that can be read (which is logged)."""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(0, "it is no file")
            data = file.read(MAX_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        _log.warning("%s cannot be read, its files are taken from outside: %s", folder / NAME, error.strerror)
        return {}
    return parse(data)


def append(folder: Path, line: Line) -> None:
    """Add a line; it is on the disk at return.  ArchiveError when the disk refuses."""
    path = folder / NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
        try:
            size = os.fstat(fd).st_size
            unended = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            data = b"\n" * unended + encode(line)
            if os.write(fd, data) != len(data):
                raise OSError(0, "the disk is full")
            os.fsync(fd)
        finally:
            os.close(fd)
        if size == 0:
            fsync_folder(folder)
    except OSError as error:
        raise ArchiveError(f"{line.name} cannot be entered into {path}: {error.strerror}") from error


def remove_with_folder(folder: Path) -> bool:
    """Remove a day's folder in which nothing but its log is left; false when it stays."""
    with suppress(OSError):
        with os.scandir(folder) as entries:
            if any(entry.name != NAME for entry in entries):
                return False
        # a file that the recorder begins just now keeps its folder; it loses at most its line
        (folder / NAME).unlink(missing_ok=True)
        folder.rmdir()
        return True
    return False


def _line(raw: bytes) -> Line | None:
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    name, digest, torn = values.get("name"), values.get("sha256"), values.get("torn", False)
    end_us, size = _count(values.get("end_us")), _count(values.get("size"))
    if not isinstance(name, str) or not _FILE.fullmatch(name) or end_us is None or size is None:
        return None
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        return None
    clock = values.get("clock")
    return Line(
        name,
        end_us,
        size,
        _count(values.get("frames")),
        digest,
        torn is True,
        _count(values.get("damaged")),
        _CLOCKS.get(clock) if isinstance(clock, str) else None,
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 62 else None
