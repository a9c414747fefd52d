"""RTP packets to pictures: whole, cut, aggregated, marked wrongly, lost, and made of garbage."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import nal, rtp
from edge_agent.capture.decode_order import DecodeTimes
from edge_agent.capture.depacketize import (
    MAX_UNIT_BYTES,
    AccessUnit,
    Arrival,
    PictureAssembler,
    SoundAssembler,
)
from edge_agent.capture.rtsp_track import Pictures, Track
from edge_agent.capture.rtsp_wire import Interleaved, Wire
from edge_agent.capture.source import VIDEO, VideoCodec
from edge_agent.clock import US
from edge_agent.demo.rtp import CodedPicture, packetise, sender_report
from tests.capture.test_rtsp_sdp import PPS, SPS

HERE = Arrival(1_000_000, 1.0)
IDR, SLICE, SECOND_SLICE = b"\x65\x88\x01", b"\x41\x9a\x02", b"\x41\x1a\x03"


def parse(data: bytes) -> rtp.RtpPacket | None:
    """Out of the middle of other bytes."""
    return rtp.parse(b"before" + data + b"behind", 6, 6 + len(data))


class Line:
    """From packets to access units."""

    def __init__(self, codec: VideoCodec = "h264") -> None:
        self.reception = rtp.Reception()
        self.assembler = PictureAssembler(codec)

    def take(self, packets: Sequence[bytes]) -> list[AccessUnit]:
        found = []
        for data in packets:
            packet = parse(data)
            lost = self.reception.take(packet) if packet else None
            if packet is not None and lost is not None:
                found += self.assembler.put(packet, self.reception.ticks(packet.timestamp), lost, HERE)
        return found


def packet(sequence: int, timestamp: int, payload: bytes, marker: bool = False, ssrc: int = 7) -> bytes:
    head = struct.pack(">BBHII", 0x80, 96 | marker << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return head + payload


def pictures(count: int, size: int = 3000, start: int = 0) -> list[tuple[bytes, ...]]:
    """H.264 access units, the first a keyframe; no NAL unit ends in a zero."""
    return [
        (SPS, PPS, IDR + b"\x11" * size) if number % 10 == 0 else (SLICE + bytes([number % 250 + 1]) * size,)
        for number in range(start, start + count)
    ]


def sent(units: Sequence[tuple[bytes, ...]], first: int = 0, timestamp: int = 0) -> list[list[bytes]]:
    """Packets of each picture, as the demonstration's camera cuts them."""
    made, sequence = [], first
    for number, picture in enumerate(units):
        made.append(packetise(CodedPicture(picture, timestamp + 3600 * number, 0), sequence & 0xFFFF, 7))
        sequence += len(made[-1])
    return made


def flat(packets: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [one for several in packets for one in several]


def split(unit: AccessUnit) -> tuple[bytes, ...]:
    return tuple(nal.units(unit.data))


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(1, 4000))
def test_pictures_come_out_as_they_went_in_over_every_wrap(first: int, timestamp: int, size: int) -> None:
    line, units = Line(), pictures(12, size)
    found = line.take(flat(sent(units, first, timestamp))) + line.assembler.finish()
    assert [split(unit) for unit in found] == units
    assert [unit.ticks for unit in found] == [3600 * number for number in range(12)]
    assert [unit.keyframe for unit in found] == [number % 10 == 0 for number in range(12)]
    assert (line.reception.lost, line.assembler.damaged) == (0, 0)


def with_marker(packets: Sequence[bytes], marker: bool) -> list[bytes]:
    return [one[:1] + bytes([one[1] & 0x7F | marker << 7]) + one[2:] for one in packets]


@pytest.mark.parametrize("marker", [True, False])
def test_markers_that_are_always_or_never_set_mislead_nobody(marker: bool) -> None:
    line, units = Line(), pictures(12)
    found = line.take(with_marker(flat(sent(units)), marker))
    assert [split(unit) for unit in found] == units[:11]


def test_markers_are_believed_once_they_agree_and_no_more_after_a_wrong_one() -> None:
    line = Line()
    units = [(SLICE + bytes([number + 1]) * 700, SECOND_SLICE + b"\x22" * 700) for number in range(30)]
    packets = sent(units)
    given_at = [len(line.take(several)) for several in packets[:10]]
    assert given_at == [0, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    line.take(with_marker(packets[11], True))
    found = line.take(flat(packets[12:]))
    assert split(found[-1]) == units[28]
    assert [split(unit) for unit in found[-17:]] == units[12:29]
    assert line.assembler.damaged == 1


def test_several_slices_of_one_time_are_one_picture_and_pictures_of_one_time_are_several() -> None:
    line = Line()
    stream = [(0, IDR), (0, b"\x65\x1a\x03"), (9, SLICE), (9, SECOND_SLICE), (9, PPS), (9, SLICE), (18, SLICE)]
    found = line.take([packet(number, time, payload) for number, (time, payload) in enumerate(stream)])
    assert [split(unit) for unit in found] == [
        (IDR, b"\x65\x1a\x03"),
        (SLICE, SECOND_SLICE),
        (PPS, SLICE),
    ]


def test_parameter_sets_with_a_time_of_their_own_go_with_the_next_picture() -> None:
    line = Line()
    found = line.take([packet(0, 0, SPS, True), packet(1, 5, PPS, True), packet(2, 9, IDR, True), packet(3, 18, SLICE)])
    assert [(split(unit), unit.ticks, unit.sps) for unit in found] == [((SPS, PPS, IDR), 9, SPS)]


@given(st.sets(st.integers(0, 59), max_size=30))
def test_after_a_loss_all_that_came_before_the_hole_is_given_out_and_marked(missing: set[int]) -> None:
    units = pictures(20, 3500)
    numbered = flat(sent(units))[:60]
    line = Line()
    found = line.take([one for number, one in enumerate(numbered) if number not in missing]) + line.assembler.finish()
    survivors = [number for number in range(60) if number not in missing]
    holes = sum(after - before - 1 for before, after in pairwise(survivors))
    assert line.reception.lost == holes
    by_ticks = {3600 * number: picture for number, picture in enumerate(units)}
    first = parse(numbered[survivors[0]])
    offset = first.timestamp if first else 0
    for unit in found:
        original = by_ticks[unit.ticks + offset]
        # parameter sets whose own picture was lost go with the next one
        (piece,) = (piece for piece in split(unit) if piece not in (SPS, PPS))
        assert original[-1].startswith(piece)
        assert unit.damaged or piece == original[-1]


@given(st.lists(st.tuples(st.sampled_from(["h264", "hevc"]), st.binary(max_size=40)), max_size=30))
def test_garbage_in_packets_never_breaks_the_assembler(payloads: list[tuple[VideoCodec, bytes]]) -> None:
    lines: dict[VideoCodec, Line] = {"h264": Line("h264"), "hevc": Line("hevc")}
    sound = SoundAssembler()
    for number, (codec, payload) in enumerate(payloads):
        raw = packet(number, number // 3, payload, marker=number % 3 == 0)
        lines[codec].take([raw, payload])
        whole = parse(raw)
        assert whole is not None
        for frame in sound.put(whole, number, 0, HERE):
            assert frame.data


def test_a_picture_without_end_is_dropped_before_it_fills_the_memory() -> None:
    line = Line()
    line.take([packet(0, 0, b"\x7c\x85" + b"\x88" * 60_000)])
    size = 0
    for number in range(1, 400):
        line.take([packet(number, 0, b"\x7c\x05" + b"\x11" * 60_000)])
        size = max(size, line.assembler._bytes)
    assert size <= MAX_UNIT_BYTES + 60_000
    assert line.assembler.damaged == 1
    found = line.take([packet(400, 9, IDR, True), packet(401, 18, SLICE, True)])
    assert [split(unit) for unit in found] == [(IDR,)]


def test_h265_is_put_together_from_single_aggregated_and_cut_units() -> None:
    vps, sps, pps = b"\x40\x01\x0c\x01", b"\x42\x01\x01\x01\x02", b"\x44\x01\xc1"
    idr = b"\x26\x01\xaf" + bytes(range(1, 200))
    other = b"\x02\x01\xd0\x11"
    together = b"\x60\x01" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (vps, sps, pps))
    cut = [b"\x62\x01\x93" + idr[2:90], b"\x62\x01\x13" + idr[90:150], b"\x62\x01\x53" + idr[150:]]
    line = Line("hevc")
    payloads = [(0, together), *((0, part) for part in cut), (9, other), (18, other)]
    found = line.take([packet(number, time, payload) for number, (time, payload) in enumerate(payloads)])
    assert [split(unit) for unit in found] == [(vps, sps, pps, idr), (other,)]
    assert [(unit.keyframe, unit.sps) for unit in found] == [(True, sps), (False, None)]


def test_a_recovery_point_is_a_keyframe_where_a_camera_has_no_other() -> None:
    line = Line()
    at_once, later = b"\x06\x06\x01\xc4\x80", b"\x06\x06\x01\x24\x80"
    stream = [(0, at_once), (0, SLICE), (9, later), (9, SLICE), (18, SLICE)]
    found = line.take([packet(number, time, payload) for number, (time, payload) in enumerate(stream)])
    assert [unit.keyframe for unit in found] == [True, False]


def test_headers_with_padding_extension_and_sources_are_read_and_false_ones_refused() -> None:
    head = struct.pack(">BBHII", 0xB2, 0xE0, 1, 2, 3)
    parsed = parse(head + b"\0" * 8 + b"\xbe\xde\0\1" + b"\0" * 4 + b"payload" + b"\0\0\3")
    assert parsed is not None
    assert parsed.data[parsed.start : parsed.end] == b"payload"
    assert parsed.marker
    for false in (b"", head[:11], b"\x40" + head[1:], head, b"\xa0" + head[1:] + b"\xff"):
        assert parse(false) is None


def test_packets_that_come_twice_are_passed_over_and_a_camera_that_starts_anew_is_followed() -> None:
    reception = rtp.Reception()

    def take(sequence: int, ssrc: int = 7) -> int | None:
        parsed = parse(packet(sequence, 0, b"x", ssrc=ssrc))
        assert parsed is not None
        return reception.take(parsed)

    assert [take(n) for n in (65_534, 65_535, 0, 0, 65_535, 3, 40_000, 39_999)] == [*(0, 0, 0, None, None, 2, 0, None)]
    assert take(5, ssrc=8) == 0
    assert reception.lost == 2


def test_a_sender_report_tells_the_cameras_clock_and_reports_go_back() -> None:
    reception = rtp.Reception()
    parsed = parse(packet(1, 0xFFFFFF00, b"x"))
    assert parsed is not None
    reception.take(parsed)
    reception.ticks(parsed.timestamp)
    reception.hear(sender_report(8, 1, 1, 1, 1), 0, 0.0)
    assert reception.report is None
    reception.hear(sender_report(7, 1_800_000_000 * US, 0x100 + 90_000, 1, 1), 1_799_999_999 * US, 5.0)
    assert reception.report is not None
    assert (reception.report.ticks, reception.report.offset_us) == (0x200 + 90_000, US)
    report = reception.receiver_report(99, 6.0)
    kind, size, own, about = struct.unpack_from(">xBHII", report)
    assert (kind, own, about) == (201, 99, 7)
    assert struct.unpack_from(">I", report, 28)[0] == 65_536
    assert report[4 * (size + 1) + 1] == 202
    assert len(report) % 4 == 0


@given(st.binary(max_size=200))
def test_no_report_breaks_the_reader(data: bytes) -> None:
    rtp.Reception().hear(data, 0, 0.0)
    parse(data)


def test_sound_comes_one_by_one_several_at_once_and_in_parts() -> None:
    def header(*sizes: int) -> bytes:
        return (16 * len(sizes)).to_bytes(2, "big") + b"".join((size << 3).to_bytes(2, "big") for size in sizes)

    sound = SoundAssembler()
    found: list[AccessUnit] = []
    stream = [
        (0, header(3, 2) + b"abcde"),
        (2048, header(6) + b"abc"),
        (2048, header(6) + b"def"),
        (3072, header(6) + b"abc"),
        (4096, header(1) + b"x"),
        (5120, header(9, 9) + b"short"),
        (6144, b""),
    ]
    for number, (time, payload) in enumerate(stream):
        parsed = parse(packet(number, time, payload))
        assert parsed is not None
        found += sound.put(parsed, time, 0, HERE)
    assert [(unit.data, unit.ticks) for unit in found] == [(b"abc", 0), (b"de", 1024), (b"abcdef", 2048), (b"x", 4096)]
    assert sound.damaged == 3


@given(st.integers(0, 3), st.integers(5, 40), st.integers(0, 3))
def test_decode_times_grow_and_never_pass_the_pictures_own(bframes: int, groups: int, told: int) -> None:
    """P pictures each before the `bframes` that are shown before it; `told` is what the stream says of itself."""
    shown = [0]
    for group in range(groups):
        base = group * (bframes + 1)
        shown += [base + bframes + 1, *range(base + 1, base + bframes + 1)]
    enough = told >= min(bframes, 1)
    times = DecodeTimes(told, 180_000)
    made = [(3600 * number, times.next(3600 * number)) for number in shown]
    known = [decode for _, decode in made if decode is not None]
    assert all(after > before for before, after in pairwise(known))
    assert len(made) - len(known) <= told
    late = [pts for pts, decode in made if decode is not None and decode > pts]
    assert len(late) <= (0 if enough else bframes)


CHANGES = (
    "lost",
    "twice",
    "marked",
    "other source",
    "other time",
    "other channel",
    "padded",
    "ended",
    "begun",
    "short",
    "longer",
)


def changed(one: bytes, how: str) -> list[bytes]:
    """A packet to which something has happened, as packets inside RTSP."""
    channel = b"\0"
    match how:
        case "lost":
            return []
        case "twice":
            return changed(one, "") * 2
        case "marked":
            one = one[:1] + bytes([one[1] ^ 0x80]) + one[2:]
        case "other source":
            one = one[:8] + b"else" + one[12:]
        case "other time":
            one = one[:4] + bytes([one[4] ^ 1]) + one[5:]
        case "other channel":
            channel = b"\2"
        case "padded":
            one = bytes([one[0] | 0x20]) + one[1:] + b"\0\0\3"
        case "ended" | "begun":
            one = one[:13] + bytes([one[13] ^ (0x40 if how == "ended" else 0x80)]) + one[14:]
        case "short":
            one = one[:12]
        case "longer":
            one += b"more"
    return [b"$" + channel + len(one).to_bytes(2, "big") + one]


@given(st.dictionaries(st.integers(0, 119), st.sampled_from(CHANGES), max_size=12), st.integers(1, 3000), st.booleans())
def test_packets_that_follow_in_order_are_taken_at_once_as_if_they_were_taken_one_by_one(
    changes: dict[int, str], cut: int, hevc: bool
) -> None:
    codec: VideoCodec = "hevc" if hevc else "h264"
    packets = flat(sent(pictures(12, 14_000), 65_500))
    if hevc:
        # a fragment has two more bytes in front there, what is in it does not matter here
        packets = [
            one[:12] + b"\x62\x01" + bytes([one[13] & 0xC0 | 1]) + one[14:] for one in packets if one[12] == 0x7C
        ]
    stream = b"".join(flat([changed(one, changes.get(number, "")) for number, one in enumerate(packets)]))
    seen: list[tuple[list[AccessUnit], int, int]] = []
    for at_once in (True, False):
        wire, track = Wire(), Track(VIDEO, 90_000, Pictures(codec, b"", 90_000))
        found: list[AccessUnit] = []
        for start in range(0, len(stream), 4096 + cut):
            for message in wire.receive(stream[start : start + 4096 + cut]):
                if isinstance(message, Interleaved) and message.channel == 0:
                    heard, units = track.put(message, HERE)
                    if at_once and heard:
                        wire.pass_over(track.carry_on(message, HERE, units))
                    found += units
        seen.append((found, track.reception.lost, track.reception.received))
    assert seen[0] == seen[1]
    assert seen[0][2] > 0


def test_a_jump_of_the_cameras_clock_begins_decode_times_anew() -> None:
    times = DecodeTimes(1, 180_000)
    made = [times.next(pts) for pts in (0, 3600, 7200, -900_000, -896_400, 9_000_000, 9_003_600)]
    assert made == [None, 0, 3600, None, -900_000, None, 9_000_000]
