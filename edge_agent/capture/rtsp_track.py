"""One track of an RTSP connection: from its packets to access units with their decode times.  Pure."""

from __future__ import annotations

import struct
from functools import lru_cache

from edge_agent.capture import nal, rtp, rtsp_wire
from edge_agent.capture.decode_order import DecodeTimes
from edge_agent.capture.depacketize import AccessUnit, Arrival, PictureAssembler, SoundAssembler
from edge_agent.capture.rtsp_wire import Interleaved
from edge_agent.capture.source import VideoCodec

_PACKET = struct.Struct(">HHBBHII")
"""The start of an RTP packet inside RTSP: `$` and channel, length, its first two bytes, sequence number, timestamp,
source."""
_HEAD = struct.Struct(">Q")
"""The same up to the sequence number, all of it as one number; in it are: """
_LENGTH, _MARKER, _SEQUENCE = 0xFFFF << 32, 0x80 << 16, 0xFFFF


@lru_cache(maxsize=64)
def _fragments(front: int, length: int) -> struct.Struct:
    """Of packets of `length` bytes with a fragment of a NAL unit: `_HEAD`, the rest of the first `front` bytes, which
    all but the last have in common."""
    return struct.Struct(f">Q{front - _HEAD.size}s{length - front}x")


REORDERED_S = 2
"""Presentation times further apart than this are no reordering but a jump of the camera's clock."""


class Pictures(PictureAssembler):
    """A picture track with the decode times of its pictures."""

    def __init__(self, codec: VideoCodec, sets: bytes, clock_hz: int) -> None:
        super().__init__(codec)
        self._codec: VideoCodec = codec
        self._times = DecodeTimes(0, REORDERED_S * clock_hz)
        self._known_sps: bytes | None = None
        for sps in nal.parameter_sets(codec, nal.split(sets)).sps[-1:]:
            self._learn(sps)

    def decode_time(self, unit: AccessUnit) -> int | None:
        if unit.sps is not None and unit.sps != self._known_sps:
            self._learn(unit.sps)
        return self._times.next(unit.ticks)

    def _learn(self, sps: bytes) -> None:
        self._known_sps = sps
        self._times.set_depth(nal.reorder_depth(self._codec, sps) or 0)


class Sound(SoundAssembler):
    def decode_time(self, unit: AccessUnit) -> int | None:
        return unit.ticks


class Track:
    """One track of the connection."""

    def __init__(self, kind: int, clock_hz: int, assembler: Pictures | Sound) -> None:
        self.kind = kind
        self.clock_hz = clock_hz
        self.assembler = assembler
        self.reception = rtp.Reception()
        self._lost_told = 0
        self._report_told: rtp.SenderReport | None = None

    def lost_since(self) -> int:
        """Packets lost since the last call."""
        lost, self._lost_told = self.reception.lost - self._lost_told, self.reception.lost
        return lost

    def report_since(self) -> rtp.SenderReport | None:
        """The camera's word of its clock, where a new one came since the last call."""
        report = self.reception.report
        fresh = report is not self._report_told
        self._report_told = report
        return report if fresh else None

    def put(self, came: Interleaved, now: Arrival) -> tuple[bool, list[AccessUnit]]:
        """(it is a packet of this track, what it completes)"""
        packet = rtp.parse(came.data, came.start, came.end)
        lost = self.reception.take(packet) if packet is not None else None
        if packet is None or lost is None:
            return False, []
        return True, self.assembler.put(packet, self.reception.ticks(packet.timestamp), lost, now)

    def carry_on(self, after: Interleaved, now: Arrival, done: list[AccessUnit]) -> int:
        """Take the plain packets of this track that stand in order right behind one; gives where they end, and adds to
        `done` what they complete.

        That is nearly all that a camera sends, so it goes without an object for each packet.
        """
        data, at, size = after.data, after.end, len(after.data)
        reception, assembler, beginning = self.reception, self.assembler, rtsp_wire.DOLLAR << 8 | after.channel
        if not isinstance(assembler, Pictures):
            return at
        time = ticks = -1
        expected = begun = reception.expected
        while at + _PACKET.size <= size:
            begins, length, first, second, sequence, timestamp, source = _PACKET.unpack_from(data, at)
            end = at + 4 + length
            if (
                begins != beginning
                or first != rtp.PLAIN
                or sequence != expected & 0xFFFF
                or source != reception.ssrc
                or not at + _PACKET.size <= end <= size
            ):
                break
            expected += 1
            if timestamp != time:
                time, ticks = timestamp, reception.ticks(timestamp)
            assembler.take(data, at + _PACKET.size, end, second > 127, ticks, 0, now, done)
            before, at = at, end
            if assembler.middle:
                at, count = _carry_on_unit(assembler, data, before, at, done)
                expected += count
        reception.took(expected - begun)
        return at


def _carry_on_unit(pictures: Pictures, data: bytes, before: int, at: int, done: list[AccessUnit]) -> tuple[int, int]:
    """Take the packets from `at` that only carry on the NAL unit of the one at `before`, and the one that ends it;
    gives where they end, and how many they are.

    Comparing is all there is to do, for most are as long as the one before and differ from it in their sequence number
    only.
    """
    begun, size, view = at, len(data), memoryview(data)
    same = data[before + _HEAD.size : before + _PACKET.size] + pictures.middle
    last = same[:-1] + bytes((same[-1] | 0x40,))
    front = _HEAD.size + len(same)
    (head,) = _HEAD.unpack_from(data, before)
    pieces, ended = list[memoryview](), False
    if head & _MARKER or before + front >= at:
        return at, 0
    while not ended:
        length = at - before
        count = min((size - at) // length, ~head & _SEQUENCE)
        for its_head, its_same in _fragments(front, length).iter_unpack(view[at : at + count * length]):
            if its_head != head + 1 or its_same != same:
                break
            head = its_head
            pieces.append(view[at + front : at + length])
            at += length
        if at + front >= size:
            break
        (its_head,) = _HEAD.unpack_from(data, at)
        end = at + 4 + (its_head >> 32 & 0xFFFF)
        its_same = data[at + _HEAD.size : at + front]
        ended = its_same == last
        differs = (its_head ^ (head & ~_SEQUENCE | head + 1 & _SEQUENCE)) & ~_LENGTH
        if differs & ~(_MARKER if ended else 0) or not (ended or its_same == same) or not at + front < end <= size:
            ended = False
            break
        pieces.append(view[at + front : end])
        before, at, head = at, end, its_head
    pictures.carry_on(pieces, at - begun - len(pieces) * front)
    if ended:
        pictures.end_unit(head & _MARKER > 0, done)
    return at, len(pieces)
