"""What the recorder knows of H.264, H.265 and MP4, checked against encoders and readers of others."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.mp4 import TrackKind
from edge_agent.buffer.mp4_read import read_fragments
from edge_agent.capture import nal
from edge_agent.capture.fmp4 import aac_format, header, video_format
from edge_agent.capture.fragments import Fragment, Fragments
from edge_agent.capture.source import AUDIO, VIDEO, VideoCodec
from tests.capture.support import ffprobe_complaints

START_US = 1_795_366_379_920_531


def encoded(codec: str, size: tuple[int, int], options: dict[str, str], pix_fmt: str = "yuv420p") -> list[av.Packet]:  # type: ignore[type-arg]
    """A second of noise as Annex B."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = size  # type: ignore[attr-defined]
    context.pix_fmt = pix_fmt  # type: ignore[attr-defined]
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)  # type: ignore[attr-defined]
    context.options = options
    random = np.random.default_rng(1)
    packets = []
    for number in range(25):
        picture = av.VideoFrame.from_ndarray(
            random.integers(0, 50, (size[1], size[0], 3), dtype=np.uint8), format="rgb24"
        )
        picture.pts = number
        packets += context.encode(picture.reformat(format=pix_fmt))  # type: ignore[attr-defined]
    return [*packets, *context.encode(None)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(320, 180), (162, 122)])
@pytest.mark.parametrize(
    ("encoder", "codec", "options", "pix_fmt"),
    [
        ("libx264", "h264", {"preset": "ultrafast", "profile": "baseline"}, "yuv420p"),
        ("libx264", "h264", {"preset": "ultrafast", "profile": "high", "x264-params": "cqm=jvt"}, "yuv420p"),
        ("libx264", "h264", {"preset": "ultrafast"}, "yuv444p"),
        ("libx265", "hevc", {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}, "yuv420p"),
        ("libx265", "hevc", {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:temporal-layers=3"},
         "yuv420p"),
        ("libx265", "hevc", {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}, "yuv422p10le"),
    ],
)  # fmt: skip
def test_the_size_of_the_picture_is_read_from_its_parameter_set(
    tmp_path: Path, encoder: str, codec: VideoCodec, options: dict[str, str], pix_fmt: str, size: tuple[int, int]
) -> None:
    packets = encoded(encoder, size, options, pix_fmt)
    sets = nal.parameter_sets(codec, nal.split(bytes(packets[0])))
    assert sets.complete
    picture = nal.picture(codec, sets.sps[0])
    assert (picture.width, picture.height) == size
    assert picture.luma_bits == (10 if "10" in pix_fmt else 8)
    assert picture.chroma_format == {"yuv420p": 1, "yuv422p10le": 2, "yuv444p": 3}[pix_fmt]
    path = tmp_path / "out.mp4"
    fragments = Fragments([video_format(sets, 25, 0, 0)], START_US)
    first = packets[0].dts or 0
    with path.open("wb") as file:
        file.write(header([video_format(sets, 25, 0, 0)], START_US))
        for packet in packets:
            unit = nal.length_prefixed(nal.split(bytes(packet)))
            done = fragments.add(VIDEO, unit, (packet.dts or 0) - first, packet.pts or 0, packet.is_keyframe)
            file.writelines(done.pieces if done else ())
        last = fragments.finish(1)
        assert last is not None
        file.writelines(last.pieces)
    assert ffprobe_complaints(path) == ""


@given(st.binary(max_size=80), st.sampled_from(["h264", "hevc"]))
def test_garbage_instead_of_a_parameter_set_is_a_value_error(garbage: bytes, codec: VideoCodec) -> None:
    try:
        picture = nal.picture(codec, garbage)
    except ValueError:
        return
    assert picture.width > 0


@given(st.binary(max_size=80), st.sampled_from(["h264", "hevc"]))
def test_a_file_can_be_begun_with_any_parameter_sets(garbage: bytes, codec: VideoCodec) -> None:
    sets = nal.ParameterSets(codec, (b"\x40\x01",), (garbage or b"\x67",), (b"\x68",))
    movie = read_fragments(io.BytesIO(header([video_format(sets, 90_000, 640, 360)], START_US)))
    assert [track.kind for track in movie.tracks] == [TrackKind.VIDEO]


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda unit: unit.replace(b"\0", b"\1"))))
def test_units_are_split_as_they_were_joined(units: list[bytes]) -> None:
    stream = b"".join((b"\0\0\0\1" if number % 2 else b"\0\0\1") + unit for number, unit in enumerate(units))
    assert nal.split(stream) == units


@given(st.binary(max_size=300))
def test_anything_can_be_split_and_what_comes_out_holds_no_start_code(data: bytes) -> None:
    assert all(unit and b"\0\0\1" not in unit for unit in nal.split(data))


def test_parameter_sets_that_are_not_repeated_stay_and_new_ones_take_over() -> None:
    known = nal.parameter_sets("h264", [b"\x67aaa", b"\x68b"])
    assert nal.updated(known, [b"\x65picture"]) is known
    assert nal.updated(known, [b"\x67ccc", b"\x65picture"]) == nal.ParameterSets("h264", (), (b"\x67ccc",), (b"\x68b",))
    assert nal.updated(known, [b"\x67aaa", b"\x68b", b"\x67aaa"]) == known


def test_sound_and_picture_stand_side_by_side_in_a_file(tmp_path: Path) -> None:
    sound = av.CodecContext.create("aac", "w")
    sound.sample_rate, sound.layout, sound.format = 16_000, "mono", "fltp"
    sound.time_base = Fraction(1, 16_000)
    frames = []
    for number in range(40):
        tone = np.sin(np.arange(number * 1024, number * 1024 + 1024) / 8).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, number * 1024
        frames += sound.encode(frame)
    pictures = encoded("libx264", (320, 240), {"preset": "ultrafast", "bf": "0"})
    sets = nal.parameter_sets("h264", nal.split(bytes(pictures[0])))
    tracks = [video_format(sets, 25, 0, 0), aac_format(bytes(sound.extradata or b""), 16_000, 1)]
    fragments = Fragments(tracks, START_US)
    done: list[Fragment | None] = []
    heard = 0
    for number in range(50):
        picture = pictures[number % 25]
        data = nal.length_prefixed(nal.split(bytes(picture)))
        done.append(fragments.add(VIDEO, data, number, number, picture.is_keyframe))
        while heard < len(frames) and heard * 1024 / 16_000 < number / 25:
            done.append(fragments.add(AUDIO, bytes(frames[heard]), heard * 1024, heard * 1024, True))
            heard += 1
    done.append(fragments.finish(1))
    written = [fragment for fragment in done if fragment]
    path = tmp_path / "both.mp4"
    path.write_bytes(header(tracks, START_US) + b"".join(piece for fragment in written for piece in fragment.pieces))
    assert sum(fragment.frames for fragment in written) == 50
    assert written[-1].end_us == START_US + 2_000_000
    with av.open(str(path)) as movie:
        assert len(list(movie.decode(audio=0))) == heard
    assert ffprobe_complaints(path) == ""
    movie_tables = read_fragments(io.BytesIO(path.read_bytes()))
    assert [len(track.samples) for track in movie_tables.tracks] == [50, heard]
    assert not movie_tables.torn


def test_parameter_sets_too_large_or_too_many_for_a_file_are_passed_over_quickly() -> None:
    sps, pps = bytes.fromhex("6742c016da0280bfe584000003000400000300783c58ba80"), bytes.fromhex("68ce0fc8")
    many = [pps + number.to_bytes(3, "big") + b"\1" for number in range(10_000)]
    sets = nal.parameter_sets("h264", [sps + b"\xff" * 70_000, sps, *many, pps + b"\xff" * 70_000])
    assert sets.sps == (sps,)
    assert sets.pps == tuple(many[: nal.MAX_SETS])
    assert not nal.parameter_sets("h264", [sps + b"\xff" * 70_000, pps]).complete
    made = video_format(sets, 90_000, 0, 0)
    assert (made.width, len(made.entry) < 3000) == (640, True)
