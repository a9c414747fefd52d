"""Which track of a description is taken, and what is known of it."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import nal, sdp

SPS = bytes.fromhex("6742c016da0280bfe58400000300040000030078") + bytes.fromhex("3c58ba80")
"""640x360, as x264 writes it; nothing is reordered."""
PPS = bytes.fromhex("68ce0fc8")

SETS = ",".join(base64.b64encode(part).decode() for part in (SPS, PPS))
CAMERA = f"""v=0
o=- 1 1 IN IP4 10.0.0.1
s=Media
a=control:*
m=application 0 RTP/AVP 107
a=rtpmap:107 vnd.onvif.metadata/90000
a=control:trackID=3
m=video 0 RTP/AVP 26
a=control:trackID=9
m=video 0 RTP/AVP 97 96
a=rtpmap:97 H264-SVC/90000
a=rtpmap:96 h264/90000
a=fmtp:96 packetization-mode=1;Sprop-Parameter-Sets="{SETS}"; profile-level-id=42c01e
a=control:trackID=0
m=audio 0 RTP/AVP 0
a=control:trackID=1
m=audio 0 RTP/AVP 104
a=rtpmap:104 mpeg4-generic/16000/2
a=fmtp:104 streamtype=5; mode=AAC-hbr; config=1410; SizeLength=13; IndexLength=3; IndexDeltaLength=3
a=control:trackID=2
"""


def test_sizes_and_reordering_are_read_from_parameter_sets() -> None:
    assert (nal.picture("h264", SPS).width, nal.picture("h264", SPS).height) == (640, 360)
    assert nal.reorder_depth("h264", SPS) == 0
    reordered = bytes.fromhex(
        "674d4016eca05017fcb08000000300800000000f078b16cb".replace("0300800000000f", "03008000000f")
    )
    assert nal.reorder_depth("h264", reordered) == 2
    assert nal.reorder_depth("h264", reordered[:6]) is None


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_picture_and_sound_are_found_among_other_tracks(newline: str) -> None:
    description = sdp.parse(CAMERA.replace("\n", newline).encode())
    assert description.control == "*"
    video, audio = description.video, description.audio
    assert video is not None
    assert audio is not None
    assert (video.codec, video.payload_type, video.clock_hz, video.control) == ("h264", 96, 90_000, "trackID=0")
    assert nal.split(video.parameter_sets) == [SPS, PPS]
    assert (audio.audio_config, audio.clock_hz, audio.channels) == (bytes.fromhex("1410"), 16_000, 2)
    assert audio.control == "trackID=2"


def test_a_picture_in_another_codec_is_named() -> None:
    found = sdp.parse(b"m=video 0 RTP/AVP 26\n").video
    assert found is not None
    assert (found.codec, found.encoding) == (None, "JPEG")
    assert sdp.parse(b"m=audio 0 RTP/AVP 8\n").video is None


@pytest.mark.parametrize("sets", ["", "%%%", "AAAA", SETS.split(",")[0], "Z0IA," + SETS.split(",")[1]])
def test_parameter_sets_that_are_none_are_left_to_the_stream(sets: str) -> None:
    found = sdp.parse(f"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets={sets}\n".encode())
    assert found.video is not None
    assert found.video.parameter_sets == b""


@given(st.binary(max_size=400) | st.text(alphabet="amvpt=:rtpmap 0123456789/H26\n", max_size=300).map(str.encode))
def test_garbage_is_a_description_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        description = sdp.parse(body)
        for media in description.media:
            assert isinstance(media.parameter_sets + media.audio_config, bytes)


@pytest.mark.parametrize("body", [b"", b"hello", b"m=video\n" * 100, b"a=x\n" * 3000])
def test_what_is_no_description_or_too_large_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="description"):
        sdp.parse(body)
