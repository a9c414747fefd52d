"""What a camera says of its tracks: a bounded reader of session descriptions (RFC 4566, RFC 6184 §8, RFC 7798 §7).

Pure; garbage raises ValueError and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.capture import nal
from edge_agent.capture.source import VideoCodec

MAX_LINES = 2000
MAX_MEDIA = 32
MAX_FORMATS = 32
START_CODE = b"\0\0\0\1"

_CODECS: dict[str, VideoCodec] = {"H264": "h264", "H265": "hevc"}
_STATIC = {0: "PCMU", 8: "PCMA", 14: "MPA", 26: "JPEG", 32: "MPV", 33: "MP2T"}
_RTPMAP = re.compile(r"(\d{1,3})\s+([^/\s]{1,64})/(\d{1,9})(?:/(\d{1,2}))?\s*")
_SETS = {"h264": ("sprop-parameter-sets",), "hevc": ("sprop-vps", "sprop-sps", "sprop-pps")}


@dataclass(frozen=True, slots=True)
class Media:
    """One track and the one of its formats that is taken."""

    kind: str
    """`video`, `audio`, `application` …"""
    payload_type: int
    encoding: str
    """In capitals; empty when the camera does not tell."""
    clock_hz: int
    channels: int
    parameters: Mapping[str, str]
    """Of its `fmtp` line; names in lower case."""
    control: str

    @property
    def codec(self) -> VideoCodec | None:
        return _CODECS.get(self.encoding)

    @property
    def parameter_sets(self) -> bytes:
        """Those of the description as Annex B; b"" when they are not there, not complete or not readable."""
        if self.codec is None:
            return b""
        units = [unit for name in _SETS[self.codec] for unit in _decoded(self.parameters.get(name, ""))]
        sets = nal.parameter_sets(self.codec, units)
        try:
            if not sets.complete or not [nal.picture(self.codec, sps) for sps in sets.sps]:
                return b""
        except ValueError:
            return b""
        return b"".join(START_CODE + unit for unit in (*sets.vps, *sets.sps, *sets.pps))

    @property
    def audio_config(self) -> bytes:
        """The AudioSpecificConfig of AAC in its usual packing (RFC 3640 §3.3.6); b"" for any other sound."""
        wanted = {"sizelength": "13", "indexlength": "3", "indexdeltalength": "3"}
        if self.encoding != "MPEG4-GENERIC" or self.parameters.get("mode", "").lower() != "aac-hbr":
            return b""
        if any(self.parameters.get(name) != value for name, value in wanted.items()):
            return b""
        try:
            return bytes.fromhex(self.parameters.get("config", ""))[:64]
        except ValueError:
            return b""


@dataclass(frozen=True, slots=True)
class Description:
    control: str
    """Of the whole session; empty when it has none."""
    media: tuple[Media, ...]

    @property
    def video(self) -> Media | None:
        """The first track in a codec that can be recorded; otherwise the first picture track there is."""
        videos = [media for media in self.media if media.kind == "video"]
        return next((media for media in videos if media.codec), videos[0] if videos else None)

    @property
    def audio(self) -> Media | None:
        """The first AAC track; otherwise the first sound there is."""
        sounds = [media for media in self.media if media.kind == "audio"]
        return next((media for media in sounds if media.audio_config), sounds[0] if sounds else None)


@dataclass(slots=True)
class _Draft:
    """A track while its lines are read."""

    kind: str
    formats: list[int]
    control: str = ""
    maps: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    parameters: dict[int, dict[str, str]] = field(default_factory=dict)

    def attribute(self, name: str, value: str) -> None:
        match name:
            case "control":
                self.control = self.control or value
            case "rtpmap" if (found := _RTPMAP.fullmatch(value)) and len(self.maps) < MAX_FORMATS:
                self.maps[int(found[1])] = (found[2].upper(), int(found[3]), int(found[4] or 1))
            case "fmtp" if len(self.parameters) < MAX_FORMATS:
                number, _, rest = value.partition(" ")
                if number.isascii() and number.isdigit() and len(number) <= 3:
                    self.parameters[int(number)] = _parameters(rest)

    def media(self) -> Media:
        known = [number for number in self.formats if self.maps.get(number, ("",))[0] in _CODECS]
        number = (known or self.formats or [0])[0]
        encoding, clock_hz, channels = self.maps.get(number, (_STATIC.get(number, ""), 90_000, 1))
        parameters = self.parameters.get(number, {})
        return Media(self.kind, number, encoding, clock_hz or 90_000, channels, parameters, self.control)


def parse(body: bytes) -> Description:
    """Read a description of at most MAX_LINES lines; what is not understood in it is passed over."""
    lines = body.decode("utf-8", "replace").replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise ValueError(f"a description of more than {MAX_LINES} lines")
    session = _Draft("", [])
    drafts: list[_Draft] = []
    for line in lines:
        key, _, value = line.strip().partition("=")
        if key == "m":
            if len(drafts) >= MAX_MEDIA:
                raise ValueError(f"a description of more than {MAX_MEDIA} tracks")
            words = value.split()
            numbers = [int(word) for word in words[3 : 3 + MAX_FORMATS] if re.fullmatch("[0-9]{1,3}", word)]
            drafts.append(_Draft(words[0].lower() if words else "", numbers))
        elif key == "a":
            name, _, rest = value.partition(":")
            (drafts[-1] if drafts else session).attribute(name.strip().lower(), rest.strip())
    if not drafts:
        raise ValueError("a description without tracks")
    return Description(session.control, tuple(draft.media() for draft in drafts))


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";", 64)[:64])
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs if name.strip()}


def _decoded(text: str) -> list[bytes]:
    """NAL units from base64, comma-separated; some cameras put start codes before them, or drop the padding."""
    units = []
    for part in text.split(",", 32)[:32]:
        try:
            unit = base64.b64decode(part + "=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            continue
        unit = unit.removeprefix(START_CODE).removeprefix(START_CODE[1:]).rstrip(b"\0")
        if len(unit) > 2:
            units.append(unit)
    return units
