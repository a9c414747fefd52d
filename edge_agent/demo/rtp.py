"""H.264 in RTP: packets, sender reports and the session description.  Pure; bytes in, bytes out.

Sources: RFC 3550 §5.1, §6.4.1 (RTP, sender report), RFC 6184 §5.6-5.8 (H.264 payload), RFC 4566 (SDP).
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.clock import US

CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
MAX_PAYLOAD_BYTES = 1400
"""Fits an Ethernet frame with room for tunnels, though TCP would carry more."""

_NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970
_STAP_A, _FU_A = 24, 28
_IDR, _SPS, _PPS, _DELIMITER = 5, 7, 8, 9
_START_CODE = re.compile(rb"\x00\x00\x01")


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One access unit: its NAL units in order, when it was taken by both clocks."""

    units: tuple[bytes, ...]
    timestamp: int
    """Ticks of 1/90000 s; grows without wrapping, the wire takes its lower 32 bits."""
    utc_us: int

    @property
    def keyframe(self) -> bool:
        return any(unit[0] & 0x1F == _IDR for unit in self.units)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a client must know before the first picture."""

    sps: bytes
    pps: bytes
    fps: float


def split_annex_b(access_unit: bytes) -> tuple[bytes, ...]:
    """The NAL units of an encoder's byte stream, without start codes and access unit delimiters."""
    starts = [match.end() for match in _START_CODE.finditer(access_unit)]
    ends = [start - 3 for start in starts[1:]] + [len(access_unit)]
    units = (access_unit[start:end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=False))
    return tuple(unit for unit in units if unit and unit[0] & 0x1F != _DELIMITER)


def format_of(picture: CodedPicture, fps: float) -> VideoFormat:
    """The format that a keyframe's own parameter sets tell; ValueError when it carries none."""
    found = {unit[0] & 0x1F: unit for unit in picture.units}
    if _SPS not in found or _PPS not in found:
        raise ValueError("a first picture without parameter sets: the encoder must repeat them at keyframes")
    return VideoFormat(found[_SPS], found[_PPS], fps)


def packetise(picture: CodedPicture, sequence: int, ssrc: int) -> list[bytes]:
    """The RTP packets of one picture; `sequence` is the first one's number, the last one carries the marker."""
    payloads: list[bytes] = []
    small: list[bytes] = []
    for unit in picture.units:
        if unit[0] & 0x1F in {_SPS, _PPS}:
            small.append(unit)
            continue
        payloads += _aggregated(small)
        small = []
        payloads += [unit] if len(unit) <= MAX_PAYLOAD_BYTES else _fragmented(unit)
    payloads += _aggregated(small)
    last = len(payloads) - 1
    return [
        struct.pack(
            ">BBHII",
            0x80,
            PAYLOAD_TYPE | (0x80 if number == last else 0),
            (sequence + number) & 0xFFFF,
            picture.timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + payload
        for number, payload in enumerate(payloads)
    ]


def _aggregated(units: Sequence[bytes]) -> list[bytes]:
    """Parameter sets in one STAP-A, or each alone when there is one, or they are too long for that."""
    if len(units) < 2 or sum(len(unit) + 2 for unit in units) + 1 > MAX_PAYLOAD_BYTES:
        return [part for unit in units for part in ([unit] if len(unit) <= MAX_PAYLOAD_BYTES else _fragmented(unit))]
    importance = max(unit[0] & 0x60 for unit in units)
    return [bytes([importance | _STAP_A]) + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)]


def _fragmented(unit: bytes) -> list[bytes]:
    """FU-A packets of a NAL unit that is too long for one."""
    indicator, kind = unit[0] & 0x60 | _FU_A, unit[0] & 0x1F
    room = MAX_PAYLOAD_BYTES - 2
    parts: list[bytes] = []
    for at in range(1, len(unit), room):
        first = 0x80 if at == 1 else 0
        last = 0x40 if at + room >= len(unit) else 0
        parts.append(bytes([indicator, first | last | kind]) + unit[at : at + room])
    return parts


def sender_report(ssrc: int, utc_us: int, timestamp: int, packets: int, octets: int) -> bytes:
    """An RTCP sender report: the instant `utc_us` is `timestamp` on the media clock."""
    seconds, rest_us = divmod(utc_us, US)
    return struct.pack(
        ">BBHIIIIII",
        0x80,
        200,
        6,
        ssrc,
        (seconds + _NTP_EPOCH_S) & 0xFFFFFFFF,
        (rest_us << 32) // US,
        timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )


def describe(video: VideoFormat, session: int) -> bytes:
    """The SDP of one H.264 track whose control is `trackID=0`."""
    sets = ",".join(base64.b64encode(part).decode() for part in (video.sps, video.pps))
    lines = (
        "v=0",
        f"o=- {session} 1 IN IP4 127.0.0.1",
        "s=edge-agent demo camera",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={video.sps[1:4].hex().upper()};"
        f"sprop-parameter-sets={sets}",
        f"a=framerate:{video.fps:g}",
        "a=control:trackID=0",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()
