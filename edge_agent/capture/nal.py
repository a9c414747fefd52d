"""The few things a recorder must know of H.264 and H.265: NAL units, parameter sets, and the size of the picture.

Pure functions over bytes from the network: garbage raises ValueError and nothing else.  Sources: ITU-T H.264 §7.3.1,
§7.3.2.1, annex B; ITU-T H.265 §7.3.1, §7.3.2.2, annex B.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.capture.source import VideoCodec

H264_SPS, H264_PPS = 7, 8
HEVC_VPS, HEVC_SPS, HEVC_PPS = 32, 33, 34
_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_BASELINE = 66
_MAX_PICTURE = 16384
MAX_SET_BYTES = 0xFFFF
"""MP4 tells a set's length in 16 bits (ISO/IEC 14496-15 §5.3.3); sets are some ten bytes long."""
MAX_SETS = 256
"""Of one kind: there are no more numbers for them (H.264 §7.4.2.2)."""


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """What a decoder needs before the first picture; in the order of arrival, without doubles."""

    codec: VideoCodec
    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]

    @property
    def complete(self) -> bool:
        return bool(self.sps and self.pps and (self.vps or self.codec == "h264"))


@dataclass(frozen=True, slots=True)
class Picture:
    """What a sequence parameter set says of the picture: its size in pixels as shown, and how samples are coded."""

    width: int
    height: int
    chroma_format: int
    luma_bits: int
    chroma_bits: int


def split(access_unit: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, without start codes and trailing zeros."""
    units: list[bytes] = []
    start = access_unit.find(b"\0\0\1")
    while start >= 0:
        following = access_unit.find(b"\0\0\1", start + 3)
        unit = access_unit[start + 3 : following if following >= 0 else None]
        if unit.endswith(b"\0"):
            unit = unit.rstrip(b"\0")
        if unit:
            units.append(unit)
        start = following
    return units


def length_prefixed(units: list[bytes]) -> bytes:
    """The form in which MP4 and this house keep an access unit: 4 bytes of length before each unit (ISO/IEC 14496-15
    §5.3)."""
    parts: list[bytes] = []
    for unit in units:
        parts += (len(unit).to_bytes(4, "big"), unit)
    return b"".join(parts)


def units(access_unit: bytes) -> list[bytes]:
    """The NAL units of the length-prefixed form; ValueError when it is not that."""
    found: list[bytes] = []
    at, size = 0, len(access_unit)
    while at < size:
        end = at + 4 + int.from_bytes(access_unit[at : at + 4], "big")
        if end > size or end == at + 4:
            raise ValueError("an access unit is not made of NAL units behind their lengths")
        found.append(access_unit[at + 4 : end])
        at = end
    return found


def annex_b(access_unit: bytes) -> bytes:
    """The length-prefixed form as a byte stream, which decoders take; ValueError as of `units`."""
    return annex_b_of(units(access_unit))


def annex_b_of(units: list[bytes]) -> bytes:
    """NAL units as a byte stream."""
    return b"".join(part for unit in units for part in (b"\0\0\0\1", unit))


def kind(codec: VideoCodec, unit: bytes) -> int:
    """nal_unit_type."""
    return unit[0] & 0x1F if codec == "h264" else (unit[0] >> 1) & 0x3F


def parameter_sets(codec: VideoCodec, units: list[bytes]) -> ParameterSets:
    """Those among `units`, without such as are too large or too many; empty tuples where there are none."""
    wanted = (-1, H264_SPS, H264_PPS) if codec == "h264" else (HEVC_VPS, HEVC_SPS, HEVC_PPS)
    found: dict[int, list[bytes]] = {number: [] for number in wanted}
    for unit in units:
        of_kind = found.get(kind(codec, unit))
        if of_kind is not None and len(unit) <= MAX_SET_BYTES and len(of_kind) < MAX_SETS and unit not in of_kind:
            of_kind.append(unit)
    vps, sps, pps = (tuple(found[number]) for number in wanted)
    return ParameterSets(codec, vps, sps, pps)


def updated(known: ParameterSets, units: list[bytes]) -> ParameterSets:
    """`known`, or what stands in `units` where a keyframe brings complete sets of its own."""
    new = parameter_sets(known.codec, units)
    if not (new.sps or new.pps or new.vps):
        return known
    # encoders that repeat only some of the sets mean the others to stay
    return ParameterSets(known.codec, new.vps or known.vps, new.sps or known.sps, new.pps or known.pps)


def picture(codec: VideoCodec, sps: bytes) -> Picture:
    """Read a sequence parameter set; ValueError when it is not one."""
    try:
        bits = _Bits(unescaped(sps))
        found = _h264_picture(bits) if codec == "h264" else _hevc_picture(bits)[0]
    except IndexError as error:
        raise ValueError("the sequence parameter set ends early") from error
    if not (0 < found.width <= _MAX_PICTURE and 0 < found.height <= _MAX_PICTURE and found.chroma_format <= 3):
        raise ValueError(f"a picture of {found.width}x{found.height} is not plausible")
    return found


def reorder_depth(codec: VideoCodec, sps: bytes) -> int | None:
    """How many pictures may precede one in decoding order and follow it in output order; None when it is not said."""
    try:
        bits = _Bits(unescaped(sps))
        if codec == "hevc":
            return _hevc_reorder_depth(bits, _hevc_picture(bits)[1])
        _h264_picture(bits)
        return 0 if sps[1] == _BASELINE else _h264_reorder_depth(bits)
    except (IndexError, ValueError):
        return None


def unescaped(unit: bytes) -> bytes:
    """Without emulation prevention bytes (00 00 03 → 00 00)."""
    parts: list[bytes] = []
    at = 0
    while (found := unit.find(b"\0\0\3", at)) >= 0:
        parts.append(unit[at : found + 2])
        at = found + 3
    return b"".join((*parts, unit[at:])) if parts else unit


def escaped(unit: bytes) -> bytes:
    """With emulation prevention bytes where they are needed (H.264 §7.4.1)."""
    if b"\0\0" not in unit:
        return unit
    out, zeros = bytearray(), 0
    for byte in unit:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(out)


def frame_number_bits(sps: bytes) -> int:
    """How long the number of a picture is in H.264's slices; ValueError when `sps` doesn't tell, or planes are coded
    each for itself."""
    try:
        bits = _Bits(unescaped(sps))
        if _h264_samples(bits)[3]:
            raise ValueError("planes are coded each for itself")
        length = bits.ue() + 4
    except IndexError as error:
        raise ValueError("the sequence parameter set ends early") from error
    if length > 16:
        raise ValueError(f"picture numbers of {length} bits are none")
    return length


class _Bits:
    """Reads bits, most significant first; IndexError beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def skip(self, count: int) -> None:
        self._at += count

    def ue(self) -> int:
        """Exp-Golomb, unsigned (H.264 §9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("a number in the sequence parameter set is too large")
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def _h264_samples(bits: _Bits) -> tuple[int, int, int, int]:
    """(chroma_format_idc, bits of luma, of chroma, separate_colour_plane_flag): the beginning of a set."""
    bits.skip(8)
    profile = bits.take(8)
    bits.skip(16)
    bits.ue()
    chroma, luma_bits, chroma_bits, separate = 1, 8, 8, 0
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        if chroma == 3:
            separate = bits.take(1)
        luma_bits, chroma_bits = bits.ue() + 8, bits.ue() + 8
        bits.skip(1)
        if bits.take(1):
            for number in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    return chroma, luma_bits, chroma_bits, separate


def _h264_picture(bits: _Bits) -> Picture:
    chroma, luma_bits, chroma_bits, separate = _h264_samples(bits)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.skip(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 256)):
            bits.se()
    bits.ue()
    bits.skip(1)
    width = (bits.ue() + 1) * 16
    map_units = bits.ue() + 1
    frames_only = bits.take(1)
    height = map_units * 16 * (2 - frames_only)
    if not frames_only:
        bits.skip(1)
    bits.skip(1)
    if bits.take(1):
        across, down = (1, 1) if chroma in (0, 3) or separate else (2, 2 if chroma == 1 else 1)
        down *= 2 - frames_only
        width -= (bits.ue() + bits.ue()) * across
        height -= (bits.ue() + bits.ue()) * down
    return Picture(width, height, chroma, luma_bits, chroma_bits)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _hevc_picture(bits: _Bits) -> tuple[Picture, int]:
    """(the picture, sps_max_sub_layers_minus1)"""
    bits.skip(16 + 4)
    layers = bits.take(3)
    bits.skip(1)
    bits.skip(88 + 8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.skip(2 * (8 - layers))
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        bits.skip(1)
    width, height = bits.ue(), bits.ue()
    if bits.take(1):
        across, down = 2 if chroma in (1, 2) else 1, 2 if chroma == 1 else 1
        width -= (bits.ue() + bits.ue()) * across
        height -= (bits.ue() + bits.ue()) * down
    return Picture(width, height, chroma, bits.ue() + 8, bits.ue() + 8), layers


def _hevc_reorder_depth(bits: _Bits, layers: int) -> int:
    """sps_max_num_reorder_pics of all layers together."""
    bits.ue()
    depth = 0
    for _ in range(layers + 1 if bits.take(1) else 1):
        bits.ue()
        depth = bits.ue()
        bits.ue()
    return depth


def _h264_reorder_depth(bits: _Bits) -> int | None:
    """max_num_reorder_frames of the VUI (H.264 §E.1.1), which follows the picture's size."""
    if not bits.take(1):
        return None
    if bits.take(1) and bits.take(8) == 255:
        bits.skip(32)
    if bits.take(1):
        bits.skip(1)
    if bits.take(1):
        bits.skip(4)
        if bits.take(1):
            bits.skip(24)
    if bits.take(1):
        bits.ue()
        bits.ue()
    if bits.take(1):
        bits.skip(65)
    nal_hrd = bits.take(1)
    if nal_hrd:
        _skip_h264_hrd(bits)
    vcl_hrd = bits.take(1)
    if vcl_hrd:
        _skip_h264_hrd(bits)
    if nal_hrd or vcl_hrd:
        bits.skip(1)
    bits.skip(1)
    if not bits.take(1):
        return None
    bits.skip(1)
    for _ in range(4):
        bits.ue()
    return bits.ue()


def _skip_h264_hrd(bits: _Bits) -> None:
    count = bits.ue() + 1
    bits.skip(8)
    for _ in range(min(count, 32)):
        bits.ue()
        bits.ue()
        bits.skip(1)
    bits.skip(20)
