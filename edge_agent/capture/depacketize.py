"""RTP payloads to access units: H.264 (RFC 6184), H.265 (RFC 7798) and AAC (RFC 3640).  Pure.

What came of a damaged picture is given out all the same, marked: a recording keeps what there is.  Of a slice with a
hole the part before it stays; of other NAL units nothing, and of none what is behind the hole.

Where a picture ends is told by the marker bit, but not all cameras set it rightly: until it has agreed a few times with
the change of the timestamp, and after it once was wrong, only that change counts, which costs one picture's delay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edge_agent.capture.rtp import RtpPacket
from edge_agent.capture.source import VideoCodec

MAX_UNIT_BYTES = 8 << 20
"""An access unit beyond this is no picture of a camera."""
MAX_PARTS = 20_000
Buffer = bytes | memoryview
_AGREEMENTS = 4
_SOUND_SAMPLES = 1024

_H264_STAP_A, _H264_FU_A = 24, 28
_HEVC_AP, _HEVC_FU = 48, 49
_SLICE, _KEY, _SPS, _SEI, _SUFFIX = 1, 2, 4, 8, 16
"""What matters of a NAL unit: a slice; one of a keyframe; a sequence parameter set; what may say that decoding can
begin here; what belongs to the picture before it (ends of sequence and stream, filler, suffix SEI and the like)."""


def _meanings(of: dict[int, Iterable[int]]) -> tuple[int, ...]:
    """For each nal_unit_type, those meanings together."""
    return tuple(sum(meaning for meaning, kinds in of.items() if kind in kinds) for kind in range(64))


_H264 = _meanings({_SLICE: range(1, 6), _KEY: (5,), _SPS: (7,), _SEI: (6,), _SUFFIX: (10, 11, 12)})
_HEVC = _meanings({_SLICE: range(32), _KEY: range(16, 24), _SPS: (33,), _SUFFIX: (36, 37, 38, 40, 45, 46, 47)})
_RECOVERY_POINT = 6


class Arrival(NamedTuple):
    """When something came, by both clocks."""

    utc_us: int
    monotonic: float


class AccessUnit(NamedTuple):
    data: bytes
    """Of pictures each NAL unit behind four bytes of its length, of AAC a raw frame."""
    ticks: int
    keyframe: bool
    damaged: bool
    """Something of it is known to be missing."""
    arrival: Arrival
    """Of its last packet."""
    sps: bytes | None = None
    """The last sequence parameter set in it."""


class PictureAssembler:
    """One picture track."""

    def __init__(self, codec: VideoCodec) -> None:
        self._hevc = codec == "hevc"
        self._header = 2 if self._hevc else 1
        """Bytes before the contents of a NAL unit."""
        self._parts: list[Buffer] = []
        """Of each NAL unit its length, then the pieces that it came in."""
        self._starts: list[int] = []
        """Where in `_parts` the NAL units begin."""
        self._bytes = 0
        self._fragment_at: int | None = None
        """Where in `_parts` the NAL unit begins that is being put together."""
        self._fragment_bytes = 0
        """What was gathered before it."""
        self._fragment_means = 0
        self.middle = b""
        """How the payload begins of a packet that only carries on the NAL unit being put together; b"" when none is."""
        self._picture_end = 0
        """Where in `_parts` the last slice ends; 0 when there is none."""
        self._ticks = 0
        self._keyframe = self._damaged = self._marked = self._complete_start = False
        self._sps: bytes | None = None
        self._arrival = Arrival(0, 0.0)
        self._agreements = 0
        self._given: int | None = None
        """Ticks of the last picture that was given out on account of its marker."""
        self._skip: int | None = None
        """Ticks of a picture that was too large."""
        self.damaged = 0
        """Pictures given out damaged, or not at all."""

    def put(self, packet: RtpPacket, ticks: int, lost: int, arrival: Arrival) -> list[AccessUnit]:
        """Take the next packet, before which `lost` are missing; gives the access units that this completes."""
        done: list[AccessUnit] = []
        self.take(packet.data, packet.start, packet.end, packet.marker, ticks, lost, arrival, done)
        return done

    def take(
        self,
        data: bytes,
        start: int,
        end: int,
        marker: bool,
        ticks: int,
        lost: int,
        arrival: Arrival,
        done: list[AccessUnit],
    ) -> None:
        """As `put`, of a packet whose payload is `data[start:end]`; what is complete is added to `done`."""
        if lost:
            self._drop_fragment()
            if self._parts and not self._marked:
                self._damaged = True
            if not self._picture_end:
                self._keyframe = False  # it was said of a picture that is lost
        if ticks != self._ticks:
            if self._parts:
                self._learn_marker(self._marked)
                self._give(done)
            elif self._damaged:
                # nothing is left of that picture, and the next one has no part in it
                self.damaged += 1
                self._clear()
            self._ticks = ticks
            self._skip = None
        elif self._marked or self._given == ticks:
            self._learn_marker(False)
        if self._skip == ticks:
            return
        self._arrival = arrival
        if end - start > self._header:
            if self._hevc:
                self._take_hevc(data, start, end, done)
            else:
                self._take_h264(data, start, end, done)
        elif end > start:
            self._damaged = True
        self._after_packet(marker, done)

    def carry_on(self, pieces: list[memoryview], size: int) -> None:
        """Take payloads of such packets, less their beginnings; `size` is their sum in bytes."""
        self._parts += pieces
        self._bytes += size

    def end_unit(self, marker: bool, done: list[AccessUnit]) -> None:
        """What was carried on last is the end of the NAL unit."""
        assert self._fragment_at is not None
        self._end_fragment(self._fragment_at)
        self._after_packet(marker, done)

    def _after_packet(self, marker: bool, done: list[AccessUnit]) -> None:
        self._marked = marker
        if self._bytes > MAX_UNIT_BYTES or len(self._parts) > MAX_PARTS:
            self._skip = self._ticks
            self.damaged += 1
            self._clear()
        elif marker and self._picture_end and self._agreements >= _AGREEMENTS:
            self._given = self._ticks
            self._give(done)

    def finish(self) -> list[AccessUnit]:
        """The connection is over: the last picture, if its marker came."""
        done: list[AccessUnit] = []
        if self._marked:
            self._give(done)
        return done

    # ---- payloads

    def _take_h264(self, data: bytes, start: int, end: int, done: list[AccessUnit]) -> None:
        kind = data[start] & 0x1F
        if kind == _H264_FU_A:
            head = data[start + 1]
            if head & 0x80:
                unit = bytes((data[start] & 0xE0 | head & 0x1F,)) + data[start + 2 : start + 3]
                self._begin_fragment(_H264[head & 0x1F], unit, bytes((data[start], head & 0x1F)), done)
            self._add_fragment(memoryview(data)[start + 2 : end], last=bool(head & 0x40))
        elif kind == _H264_STAP_A:
            self._take_several(data, start + 1, end, done)
        elif 1 <= kind <= 23:
            self._unit(data[start:end], done)
        else:
            self._damaged = True  # interleaved modes, which no camera was asked for

    def _take_hevc(self, data: bytes, start: int, end: int, done: list[AccessUnit]) -> None:
        kind = data[start] >> 1 & 0x3F
        if kind == _HEVC_FU:
            head = data[start + 2]
            if head & 0x80:
                unit = bytes((data[start] & 0x81 | (head & 0x3F) << 1, data[start + 1])) + data[start + 3 : start + 4]
                middle = bytes((data[start], data[start + 1], head & 0x3F))
                self._begin_fragment(_HEVC[head & 0x3F], unit, middle, done)
            self._add_fragment(memoryview(data)[start + 3 : end], last=bool(head & 0x40))
        elif kind == _HEVC_AP:
            self._take_several(data, start + 2, end, done)
        elif kind < _HEVC_AP:
            self._unit(data[start:end], done)
        else:
            self._damaged = True

    def _take_several(self, data: bytes, at: int, end: int, done: list[AccessUnit]) -> None:
        while at + 2 <= end:
            size = data[at] << 8 | data[at + 1]
            at += 2
            if not size or at + size > end:
                self._damaged = True
                return
            self._unit(data[at : at + size], done)
            at += size

    def _begin_fragment(self, means: int, begins: bytes, middle: bytes, done: list[AccessUnit]) -> None:
        """`begins` is the NAL unit's header and the first byte of its contents, if that is there."""
        self._drop_fragment()
        if means & _SLICE:
            self._before_slice(begins, done)
        self._fragment_at, self._fragment_bytes, self._fragment_means = len(self._parts), self._bytes, means
        self.middle = middle
        self._parts += (b"", begins[: self._header])
        self._bytes += 4 + self._header

    def _add_fragment(self, data: memoryview, *, last: bool) -> None:
        at = self._fragment_at
        if at is None:
            self._damaged = True  # its beginning was lost
            return
        self._parts.append(data)
        self._bytes += len(data)
        if last:
            self._end_fragment(at)

    def _end_fragment(self, at: int) -> None:
        self._parts[at] = (self._bytes - self._fragment_bytes - 4).to_bytes(4, "big")
        self._starts.append(at)
        self._fragment_at, self.middle = None, b""
        self._after_unit(self._fragment_means, self._parts[at + 1])

    def _drop_fragment(self) -> None:
        """There is a hole in the NAL unit: of a slice the front stays, for decoders show it, of others nothing."""
        at = self._fragment_at
        if at is None:
            return
        self._damaged = True
        if self._fragment_means & _SLICE:
            self._end_fragment(at)
        else:
            del self._parts[at:]
            self._bytes = self._fragment_bytes
            self._fragment_at, self.middle = None, b""

    # ---- units

    def _means(self, unit: Buffer) -> int:
        return _HEVC[unit[0] >> 1 & 0x3F] if self._hevc else _H264[unit[0] & 0x1F]

    def _unit(self, unit: bytes, done: list[AccessUnit]) -> None:
        self._drop_fragment()
        means = self._means(unit)
        if means & _SLICE:
            self._before_slice(unit, done)
        self._starts.append(len(self._parts))
        self._parts += (len(unit).to_bytes(4, "big"), unit)
        self._bytes += 4 + len(unit)
        if means:
            self._after_unit(means, unit)

    def _before_slice(self, unit: bytes, done: list[AccessUnit]) -> None:
        """Does a picture begin with it?"""
        if len(unit) <= self._header:
            return
        first = unit[self._header] > 127  # first_slice_segment_in_pic_flag; first_mb_in_slice = 0
        if first and self._picture_end:
            self._give(done)
        if first:
            self._complete_start = True
        elif not self._picture_end and not self._complete_start:
            self._damaged = True

    def _after_unit(self, means: int, unit: Buffer) -> None:
        """A NAL unit is whole; of one that came in fragments only the header is given here."""
        if means & _SLICE:
            self._picture_end = len(self._parts)
            if means & _KEY:
                self._keyframe = True
        elif means == _SEI:
            self._keyframe |= _recovers_at_once(bytes(unit))
        elif means == _SPS and len(unit) > 4:
            self._sps = bytes(unit)

    def _learn_marker(self, agrees: bool) -> None:
        # once wrong it must be right for long before it is believed again
        self._agreements = min(self._agreements + 1, _AGREEMENTS) if agrees else -100

    def _give(self, done: list[AccessUnit]) -> None:
        """What is gathered, up to the last slice's end; units behind that belong to the next picture, as do parameter
        sets that came with a timestamp of their own."""
        self._drop_fragment()
        if not self._picture_end:
            if self._damaged and self._complete_start:
                self.damaged += 1
                self._clear()
            self._marked = False
            return
        parts, rest, starts = self._parts, list[Buffer](), list[int]()
        if (end := self._end_of_picture()) < len(parts):
            parts, rest = parts[:end], parts[end:]
            starts = [start - end for start in self._starts if start >= end]
        unit = AccessUnit(
            b"".join(parts),
            self._ticks,
            self._keyframe,
            self._damaged,
            self._arrival,
            self._sps,
        )
        self.damaged += self._damaged
        self._clear()
        done.append(unit)
        if rest:
            self._parts, self._starts = rest, starts
            self._bytes = sum(map(len, rest))
            for start in starts:
                self._after_unit(self._means(rest[start + 1]), rest[start + 1])

    def _end_of_picture(self) -> int:
        """Behind the last slice, and what may only follow one."""
        if self._picture_end == len(self._parts):
            return self._picture_end
        following = (start for start in self._starts if start >= self._picture_end)
        return next((start for start in following if self._means(self._parts[start + 1]) != _SUFFIX), len(self._parts))

    def _clear(self) -> None:
        self._parts, self._starts = [], []
        self._bytes = self._picture_end = 0
        self._fragment_at, self.middle = None, b""
        self._keyframe = self._damaged = self._marked = self._complete_start = False
        self._sps = None


def _recovers_at_once(sei: bytes) -> bool:
    """A recovery point with recovery_frame_cnt 0 (H.264 §D.1.8): cameras without IDR pictures have it."""
    at = 1
    if _RECOVERY_POINT not in sei[1:]:
        return False
    for _ in range(16):
        values = []
        for _ in range(2):
            value = 0
            while at < len(sei) and sei[at] == 0xFF:
                value += 255
                at += 1
            if at >= len(sei):
                return False
            values.append(value + sei[at])
            at += 1
        kind, size = values
        if kind == _RECOVERY_POINT:
            return size > 0 and at < len(sei) and sei[at] > 127
        at += size
    return False


class SoundAssembler:
    """One AAC track, with headers of 13 + 3 bits (RFC 3640 §3.3.6)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._wanted = 0
        self._ticks = 0
        self.damaged = 0

    def put(self, packet: RtpPacket, ticks: int, lost: int, arrival: Arrival) -> list[AccessUnit]:
        """As `PictureAssembler.put`; frames with a hole are left out."""
        data = packet.data[packet.start : packet.end]
        bits = int.from_bytes(data[:2], "big")
        count, at = bits // 16, 2 + (bits + 7) // 8
        if lost or (self._parts and ticks != self._ticks):
            self._drop()
        if not count or bits % 16 or at > len(data):
            self.damaged += 1
            return []
        sizes = [int.from_bytes(data[2 + 2 * n : 4 + 2 * n], "big") >> 3 for n in range(count)]
        if count == 1 and sizes[0] > len(data) - at:
            return self._fragment(data[at:], sizes[0], ticks, arrival)
        self._drop()
        done = []
        for number, size in enumerate(sizes):
            if not size or at + size > len(data):
                self.damaged += 1
                break
            done.append(AccessUnit(data[at : at + size], ticks + number * _SOUND_SAMPLES, True, False, arrival))
            at += size
        return done

    def finish(self) -> list[AccessUnit]:
        return []

    def _fragment(self, data: bytes, size: int, ticks: int, arrival: Arrival) -> list[AccessUnit]:
        if not self._parts:
            self._wanted, self._ticks = size, ticks
        self._parts.append(data)
        if sum(map(len, self._parts)) < self._wanted and len(self._parts) < 16:
            return []
        frame, self._parts = b"".join(self._parts), []
        if len(frame) != self._wanted:
            self.damaged += 1
            return []
        return [AccessUnit(frame, ticks, True, False, arrival)]

    def _drop(self) -> None:
        if self._parts:
            self._parts = []
            self.damaged += 1
