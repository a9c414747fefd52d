"""RTP and RTCP as cameras send them inside RTSP (RFC 3550): headers, lost packets, 64-bit time, reports.  Pure.

Over TCP packets keep their order, so a hole in the numbers is a loss upstream and nothing is waited for.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.clock import US

PLAIN = 0x80
"""The first byte of a packet without padding, extension and contributing sources."""
_HEADER = struct.Struct(">BBHII")
_NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970
_SENDER_REPORT, _RECEIVER_REPORT, _DESCRIPTION, _BYE = 200, 201, 202, 203
_RESTART = 512
"""A step back by more packets than this is a new beginning, a smaller one a packet that came twice or late."""


class RtpPacket(NamedTuple):
    """`data[start:end]` is the payload; not cut out, for most of it is cut again."""

    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    data: bytes
    start: int
    end: int


def parse(data: bytes, start: int, end: int) -> RtpPacket | None:
    """From `data[start:end]`; None for what is no RTP packet (RFC 3550 §5.1, §5.3.1)."""
    if end - start < 12:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data, start)
    start += 12
    if first != PLAIN:
        if first >> 6 != 2:
            return None
        start += 4 * (first & 0x0F)
        if first & 0x10:
            if start + 4 > end:
                return None
            start += 4 + 4 * (data[start + 2] << 8 | data[start + 3])
        if first & 0x20:
            end -= data[end - 1]
        if start > end:
            return None
    return RtpPacket(second > 127, sequence, timestamp, ssrc, data, start, end)


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The camera's own clock: it was `utc_us` at `ticks` (of `Reception`), told at `arrival_us` of the node's clock."""

    utc_us: int
    ticks: int
    arrival_us: int
    arrival_monotonic: float

    @property
    def offset_us(self) -> int:
        """The camera's clock less the node's, the way between them included."""
        return self.utc_us - self.arrival_us


class Reception:
    """One track's packets as they come: what is lost of them, and their time without the wrap after 2**32 ticks."""

    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.received = 0
        self.lost = 0
        self.report: SenderReport | None = None
        self.expected = 0
        """The sequence number that comes next when nothing is lost."""
        self._cycles = 0
        self._ticks: int | None = None
        self._origin = 0
        self._unplaced: tuple[int, int, int, int, float] | None = None
        """A report that came before the first packet: source, UTC, timestamp, arrival by both clocks."""
        self._told = (0, 0)
        self._middle_ntp = 0
        self._report_monotonic = 0.0

    def take(self, packet: RtpPacket) -> int | None:
        """How many packets are missing before this one; None when it came before and is to be passed over."""
        sequence = packet.sequence
        if packet.ssrc != self.ssrc:
            self.ssrc = packet.ssrc
            self.expected = sequence
        missing = (sequence - self.expected) & 0xFFFF
        if missing:
            if missing > 0x10000 - _RESTART:
                return None
            if missing >= 0x8000:
                missing = 0
            self.lost += missing
        if sequence == 0xFFFF:
            self._cycles += 1
        self.expected = (sequence + 1) & 0xFFFF
        self.received += 1
        return missing

    def took(self, count: int) -> None:
        """So many packets came after the last one, in order."""
        self._cycles += (self.expected + count) >> 16
        self.expected = (self.expected + count) & 0xFFFF
        self.received += count

    def ticks(self, timestamp: int) -> int:
        """A timestamp as a number that goes on growing; the first one is 0."""
        if self._ticks is None:
            self._ticks, self._origin = timestamp, timestamp
            if self._unplaced is not None:
                self._place(*self._unplaced)
        else:
            self._ticks += ((timestamp - self._ticks + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        return self._ticks - self._origin

    def hear(self, data: bytes, arrival_us: int, monotonic: float) -> None:
        """Take an RTCP packet (RFC 3550 §6.4.1); what is no sender report of this track is passed over."""
        at = 0
        while at + 8 <= len(data) and data[at] >> 6 == 2:
            size = 4 + 4 * (data[at + 2] << 8 | data[at + 3])
            if data[at + 1] == _SENDER_REPORT and size >= 28 and at + size <= len(data):
                ssrc, seconds, fraction, timestamp = struct.unpack_from(">IIII", data, at + 4)
                if seconds and self.ssrc in (None, ssrc):
                    # the 32 bits of seconds wrap in 2036
                    utc_us = ((seconds - _NTP_EPOCH_S) % 2**32) * US + (fraction * US >> 32)
                    self._unplaced = ssrc, utc_us, timestamp, arrival_us, monotonic
                    if self._ticks is not None:
                        self._place(*self._unplaced)
                    self._middle_ntp = (seconds & 0xFFFF) << 16 | fraction >> 16
                    self._report_monotonic = monotonic
            at += size

    def _place(self, ssrc: int, utc_us: int, timestamp: int, arrival_us: int, monotonic: float) -> None:
        assert self._ticks is not None
        if ssrc == self.ssrc:
            away = ((timestamp - self._ticks + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            self.report = SenderReport(utc_us, self._ticks - self._origin + away, arrival_us, monotonic)

    def receiver_report(self, own_ssrc: int, monotonic: float) -> bytes:
        """What to tell the camera now and then, lest it thinks nobody listens (RFC 3550 §6.4.2, §6.5)."""
        blocks = b""
        if self.ssrc is not None:
            lost_before, received_before = self._told
            lost, received = self.lost - lost_before, self.received - received_before
            self._told = (self.lost, self.received)
            delay = int((monotonic - self._report_monotonic) * 65536) if self._middle_ntp else 0
            blocks = struct.pack(
                ">IIIIII",
                self.ssrc,
                (255 * lost // max(1, lost + received)) << 24 | min(self.lost, 0x7FFFFF),
                (self._cycles & 0xFFFF) << 16 | (self.expected - 1) & 0xFFFF,
                0,
                self._middle_ntp,
                delay & 0xFFFFFFFF,
            )
        count = 1 if blocks else 0
        report = struct.pack(">BBHI", 0x80 | count, _RECEIVER_REPORT, 1 + 6 * count, own_ssrc) + blocks
        name = b"\x01\x0aedge-agent"
        name += b"\0" * (4 - len(name) % 4)
        return report + struct.pack(">BBHI", 0x81, _DESCRIPTION, 1 + len(name) // 4, own_ssrc) + name
