"""Where a camera that is not RTSP is: a clip, a device of this machine, or a stream over HTTP.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit


class PlaceKind(StrEnum):
    FILE = "file"
    DEVICE = "device"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Place:
    """One address; `path` is empty for HTTP."""

    kind: PlaceKind
    path: str
    where: str
    """For messages: paths and queries of cameras' URLs may hold secrets."""

    @classmethod
    def parse(cls, url: str) -> Place:
        """ValueError when it is none of them: `file:///clip.mp4`, `v4l2:/dev/video0`, `http(s)://host[:port]/path`."""
        parts = urlsplit(url)
        scheme, path = parts.scheme.lower(), unquote(parts.path)
        if scheme in ("http", "https") and parts.hostname:
            port = parts.port or (443 if scheme == "https" else 80)
            return cls(PlaceKind.HTTP, "", f"{parts.hostname}:{port}")
        if scheme in ("v4l2", "file") and path.startswith("/") and "\0" not in path and not parts.hostname:
            if scheme == "v4l2" or path.startswith(("/dev/video", "/dev/v4l/")):
                return cls(PlaceKind.DEVICE, path, path)
            return cls(PlaceKind.FILE, path, "the file")
        raise ValueError("neither a file nor a device nor a stream over HTTP")
