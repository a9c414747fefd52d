"""H.264 slices with another frame number, so that a decoder takes a picture although those before it were left out.

A decoder that misses pictures knows it by their numbers (H.264 §7.4.3, frame_num) and puts others in their place, or
gives nothing out.  With numbers in a row it decodes what it gets onto the picture it has: what the pictures between
changed is then missing, which is little while nothing goes on (`skim`).  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.capture import nal

_HEAD = 24
"""Bytes of a slice that surely hold its number, escapes included: it stands within the first 12."""
_SLICE, _IDR = 1, 5


@dataclass(frozen=True, slots=True)
class FrameNumbers:
    """How the pictures of a stream are numbered."""

    bits: int
    """log2_max_frame_num, 4 … 16."""

    @classmethod
    def of(cls, units: list[bytes]) -> FrameNumbers | None:
        """By the sequence parameter set among `units`; None where there is none or none that can be followed."""
        for unit in units:
            if nal.kind("h264", unit) == nal.H264_SPS:
                try:
                    return cls(nal.frame_number_bits(unit))
                except ValueError:
                    return None
        return None

    def renumbered(self, unit: bytes, number: int) -> bytes:
        """A slice with `number` for its own; ValueError when it can't be read."""
        cut = min(_HEAD, len(unit))
        while cut < len(unit) and not unit[cut - 1]:
            cut += 1  # an escape may not be cut
        head = nal.unescaped(unit[:cut])
        size = 8 * len(head)
        value = int.from_bytes(head, "big")
        at = 8
        for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
            zeros = 0
            while at < size and not value >> (size - 1 - at) & 1:
                at, zeros = at + 1, zeros + 1
            at += zeros + 1
        shift = size - at - self.bits
        if shift < 0:
            raise ValueError("a slice is too short for its head")
        mask = (1 << self.bits) - 1
        value = value & ~(mask << shift) | (number & mask) << shift
        return nal.escaped(value.to_bytes(len(head), "big")) + unit[cut:]


def begins_anew(units: list[bytes]) -> bool:
    """Whether the picture of these NAL units refers to none before it, nor does any after it."""
    return any(nal.kind("h264", unit) == _IDR for unit in units)


def is_referred_to(units: list[bytes]) -> bool:
    """Whether another picture may refer to the one of these NAL units."""
    return any(nal.kind("h264", unit) == _SLICE and unit[0] & 0x60 for unit in units)


def numbered(units: list[bytes], numbers: FrameNumbers, number: int) -> list[bytes]:
    """The NAL units of a picture, its slices with another number; ValueError when they can't be read."""
    return [numbers.renumbered(unit, number) if nal.kind("h264", unit) == _SLICE else unit for unit in units]
