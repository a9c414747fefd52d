"""A digest of what a camera's picture really is: the coded slices of one access unit, however they are wrapped.

Imported by the tests and, under the system's Python, by the GStreamer camera, so it needs the standard library only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

_START_CODE = re.compile(rb"\x00\x00\x01")


def vcl_digest(access_unit: bytes, codec: str) -> str:
    """SHA-256 (hex) over the VCL NAL units of an access unit; parameter sets, SEI and delimiters do not count.

    Takes Annex B (RTSP, byte streams) and 4-byte length-prefixed units (MP4's avcC/hvcC) alike: the same picture has
    the same digest in both.  ValueError when there is no picture in it or the codec is neither "h264" nor "h265".
    """
    digest = hashlib.sha256()
    found = False
    for unit in nal_units(access_unit):
        if is_vcl(unit, codec):
            found = True
            digest.update(len(unit).to_bytes(4, "big") + unit)
    if not found:
        raise ValueError(f"no coded slice in an access unit of {len(access_unit)} bytes ({access_unit[:16].hex()} …)")
    return digest.hexdigest()


def is_vcl(unit: bytes, codec: str) -> bool:
    """H.264 types 1 … 5 (H.264 table 7-1), H.265 types 0 … 31 (H.265 table 7-1)."""
    match codec:
        case "h264":
            return 1 <= unit[0] & 0x1F <= 5
        case "h265" | "hevc":
            return (unit[0] >> 1) & 0x3F < 32
        case _:
            raise ValueError(f"codec {codec!r}: h264 or h265 expected")


def is_keyframe(access_unit: bytes, codec: str) -> bool:
    """True when a slice is an IDR (H.264 type 5) or any other IRAP picture (H.265 types 16 … 23)."""
    for unit in nal_units(access_unit):
        if codec == "h264" and unit[0] & 0x1F == 5:
            return True
        if codec in {"h265", "hevc"} and 16 <= (unit[0] >> 1) & 0x3F <= 23:
            return True
    return False


def nal_units(access_unit: bytes) -> list[bytes]:
    """The NAL units in order, without start codes, lengths and trailing zeros."""
    # Lengths first: a length of 256 … 511 looks like a start code, but a start code's "lengths" never fill the unit.
    # Four bytes of 1 are always a start code: no NAL unit has one byte.
    if not access_unit.startswith(b"\x00\x00\x00\x01"):
        prefixed = _length_prefixed(access_unit)
        if prefixed is not None:
            return prefixed
    return [unit for unit in _annex_b(access_unit) if unit]


def _length_prefixed(access_unit: bytes) -> list[bytes] | None:
    units: list[bytes] = []
    at = 0
    while at < len(access_unit):
        size = int.from_bytes(access_unit[at : at + 4], "big")
        unit = access_unit[at + 4 : at + 4 + size]
        if size == 0 or len(unit) != size or unit[0] & 0x80:
            return None
        units.append(unit.rstrip(b"\x00"))
        at += 4 + size
    return units


def _annex_b(access_unit: bytes) -> Iterator[bytes]:
    starts = [match.end() for match in _START_CODE.finditer(access_unit)]
    ends = [start - 3 for start in starts[1:]] + [len(access_unit)]
    for start, end in zip(starts, ends, strict=False):
        yield access_unit[start:end].rstrip(b"\x00")
