"""RTP packets carry every NAL unit whole, in order, within their size; reports and descriptions say the truth."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.demo.rtp import (
    MAX_PAYLOAD_BYTES,
    CodedPicture,
    VideoFormat,
    describe,
    format_of,
    packetise,
    sender_report,
    split_annex_b,
)

SPS, PPS, IDR = b"\x67\x42\xc0\x1f\xd9\x00\x50", b"\x68\xcb\x83", b"\x65" + bytes(range(1, 200))

headers = st.sampled_from([0x67, 0x68, 0x06, 0x65, 0x41, 0x01])
units = st.builds(
    lambda header, size, fill: bytes([header]) + bytes([fill]) * size,
    headers,
    st.integers(1, 3 * MAX_PAYLOAD_BYTES + 5) | st.sampled_from([MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES]),
    st.integers(1, 255),
)


@given(st.lists(units, min_size=1, max_size=6), st.integers(0, 0xFFFF), st.integers(0, 2**40))
def test_what_is_packetised_can_be_put_together_again(parts: list[bytes], sequence: int, timestamp: int) -> None:
    packets = packetise(CodedPicture(tuple(parts), timestamp, 0), sequence, 0xCAFE)
    heads = [struct.unpack(">BBHII", packet[:12]) for packet in packets]
    assert all(len(packet) <= 12 + MAX_PAYLOAD_BYTES for packet in packets)
    assert [head[2] for head in heads] == [(sequence + number) & 0xFFFF for number in range(len(packets))]
    assert [head[1] >> 7 for head in heads] == [0] * (len(packets) - 1) + [1]
    assert {(head[0], head[1] & 0x7F, head[3], head[4]) for head in heads} == {(0x80, 96, timestamp % 2**32, 0xCAFE)}
    assert depacketised(packets) == parts


def test_parameter_sets_travel_together() -> None:
    packets = packetise(CodedPicture((SPS, PPS, IDR), 0, 0), 0, 1)
    assert [packet[12] & 0x1F for packet in packets] == [24, 5]


def test_an_encoders_stream_is_split_without_delimiters() -> None:
    stream = b"\x00\x00\x00\x01\x09\xf0" + b"\x00\x00\x00\x01" + SPS + b"\x00\x00\x01" + PPS + b"\x00\x00\x01" + IDR
    assert split_annex_b(stream) == (SPS, PPS, IDR)
    assert split_annex_b(b"") == ()


def test_a_keyframe_tells_the_format_and_another_picture_does_not() -> None:
    keyframe = CodedPicture((SPS, PPS, IDR), 0, 0)
    assert keyframe.keyframe
    assert format_of(keyframe, 15) == VideoFormat(SPS, PPS, 15)
    with pytest.raises(ValueError, match="parameter sets"):
        format_of(CodedPicture((IDR,), 0, 0), 15)


def test_the_description_names_profile_sets_and_frame_rate() -> None:
    text = describe(VideoFormat(SPS, PPS, 12.5), 7).decode()
    assert "a=framerate:12.5\r\n" in text
    assert "profile-level-id=42C01F;sprop-parameter-sets=Z0LAH9kAUA==,aMuD\r\n" in text
    assert text.endswith("\r\n")


def test_a_sender_report_maps_utc_to_the_media_clock() -> None:
    report = sender_report(9, 1_500_000, 2**32 + 5, 3, 400)
    _, kind, words, ssrc, seconds, fraction, timestamp, packets, octets = struct.unpack(">BBHIIIIII", report)
    assert (kind, len(report), ssrc, packets, octets) == (200, (words + 1) * 4, 9, 3, 400)
    assert (seconds, fraction, timestamp) == (2_208_988_801, 2**31, 5)


def depacketised(packets: list[bytes]) -> list[bytes]:
    """RFC 6184 read from the receiver's side."""
    found: list[bytes] = []
    for payload in (packet[12:] for packet in packets):
        match payload[0] & 0x1F:
            case 24:
                at = 1
                while at < len(payload):
                    size = int.from_bytes(payload[at : at + 2], "big")
                    found.append(payload[at + 2 : at + 2 + size])
                    at += 2 + size
            case 28:
                if payload[1] & 0x80:
                    found.append(bytes([payload[0] & 0xE0 | payload[1] & 0x1F]))
                found[-1] += payload[2:]
            case _:
                found.append(payload)
    return found
