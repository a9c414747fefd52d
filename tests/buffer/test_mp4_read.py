"""The reader against libavformat's own idea of the same files, and against damage of every kind."""

from __future__ import annotations

import io
import json
import struct
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer.mp4 import Movie, TrackKind
from edge_agent.buffer.mp4_boxes import box, full_box
from edge_agent.buffer.mp4_read import MAX_SAMPLES, read_fragments
from edge_agent.errors import ArchiveError

FRAGMENTED = "empty_moov+default_base_moof+frag_keyframe"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p")
VARIANTS = {
    "as recorded": (*X264, "-movflags", FRAGMENTED),
    "short fragments": (*X264, "-movflags", FRAGMENTED, "-frag_duration", "200000"),
    "a fragment a frame": (*X264, "-movflags", "empty_moov+default_base_moof+frag_every_frame"),
    "B-frames": (*X264, "-bf", "3", "-movflags", FRAGMENTED),
    "negative offsets": (*X264, "-bf", "3", "-movflags", FRAGMENTED + "+negative_cts_offsets"),
    "edit list": (*X264, "-bf", "3", "-movflags", FRAGMENTED + "+delay_moov"),
    "explicit base offset": (*X264, "-movflags", "empty_moov+frag_keyframe"),
    "no base offset": (*X264, "-movflags", "empty_moov+frag_keyframe+omit_tfhd_offset"),
    "separate moofs": (*X264, "-c:a", "aac", "-movflags", FRAGMENTED + "+separate_moof"),
    "audio": (*X264, "-c:a", "aac", "-movflags", FRAGMENTED),
    "audio, explicit base": (*X264, "-c:a", "aac", "-movflags", "empty_moov+frag_keyframe"),
    "audio, no base": (*X264, "-c:a", "aac", "-movflags", "empty_moov+frag_keyframe+omit_tfhd_offset"),
    "dash": (*X264, "-c:a", "aac", "-movflags", FRAGMENTED + "+dash+cmaf+global_sidx"),
    "HEVC": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25", "-tag:v", "hvc1",
             "-movflags", FRAGMENTED),
}  # fmt: skip


def ffmpeg(*arguments: str) -> str:
    """Standard output of an ffmpeg run that must succeed."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def encode(path: Path, seconds: float, *options: str) -> Path:
    """A moving test picture, with a tone where `options` name an audio codec."""
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=192x108:rate=25:duration={seconds}")
    tone = ("-f", "lavfi", "-i", f"sine=440:sample_rate=48000:duration={seconds}") if "-c:a" in options else ()
    ffmpeg(*picture, *tone, "-fflags", "+bitexact", *options, str(path))
    return path


@cache
def variant(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        return encode(Path(folder) / "made.mp4", 3, *VARIANTS[name]).read_bytes()


def read(data: bytes) -> Movie:
    return read_fragments(io.BytesIO(data))


def packets(path: Path, stream: str) -> list[tuple[int, ...]]:
    """(offset, size, dts, pts, sync) of each packet as libavformat sees it, edit lists not applied."""
    command = ["ffprobe", "-v", "error", "-ignore_editlist", "1", "-select_streams", stream, "-show_packets",
               "-of", "json", str(path)]  # fmt: skip
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["packets"]
    return [
        (int(p["pos"]), int(p["size"]), int(p["dts"]), int(p["pts"]), int(p["flags"].startswith("K"))) for p in found
    ]


def rows(movie: Movie, kind: TrackKind) -> list[tuple[int, ...]]:
    track = movie.first(kind)
    assert track is not None
    s = track.samples
    return [(s.offset[i], s.size[i], s.dts[i], s.pts(i), s.sync[i]) for i in range(len(s))]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_sample_is_where_libavformat_finds_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(variant(name))
    movie = read(path.read_bytes())
    assert not movie.torn
    found = packets(path, "v:0")
    # libavformat shows files with negative offsets later, by the largest of them
    shift = found[0][3] - rows(movie, TrackKind.VIDEO)[0][3]
    assert shift == 0 or name == "negative offsets"
    assert rows(movie, TrackKind.VIDEO) == [(at, size, dts, pts - shift, sync) for at, size, dts, pts, sync in found]
    assert len(rows(movie, TrackKind.VIDEO)) == 75
    if "-c:a" in VARIANTS[name]:
        assert rows(movie, TrackKind.AUDIO) == packets(path, "a:0")


def test_tracks_say_what_they_hold() -> None:
    movie = read(variant("audio"))
    video, audio = movie.first(TrackKind.VIDEO), movie.first(TrackKind.AUDIO)
    assert video is not None
    assert audio is not None
    assert (video.width, video.height, audio.timescale) == (192, 108, 48000)
    assert [entry[4:8] for entry in video.entries + audio.entries] == [b"avc1", b"mp4a"]
    assert b"avcC" in video.entries[0]


def test_an_edit_list_shifts_the_presentation_to_zero() -> None:
    video = read(variant("edit list")).first(TrackKind.VIDEO)
    assert video is not None
    assert video.shift_ticks > 0
    assert min(video.samples.pts(i) for i in range(len(video.samples))) == video.shift_ticks


def test_pyav_writes_what_is_read_here() -> None:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof+frag_every_frame"}) as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        out.mux(stream.encode(None))
    movie = read(sink.getvalue())
    assert len(rows(movie, TrackKind.VIDEO)) == 10


# -- torn, damaged, hostile --------------------------------------------------------------------------------------------


class Halting(io.BytesIO):
    """Gives at most seven bytes a call, as a raw stream may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size) if size is not None and size >= 0 else 7)


def placed(error: ArchiveError) -> None:
    """A refusal says where."""
    assert "at byte" in str(error)


def whole_before(data: bytes, cut: int, kind: TrackKind) -> list[tuple[int, ...]]:
    """The samples of `data` that a copy torn at `cut` must still give: those whose moof and bytes came before."""
    known, at = 0, 0
    while at + 8 <= cut:
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"moof" and at + size <= cut:
            known = at + size
        at += size
    following = int.from_bytes(data[known : known + 4], "big")
    return [row for row in rows(read(data), kind) if row[0] < known + following and row[0] + row[1] <= cut]


@pytest.mark.parametrize("name", ["as recorded", "audio, no base", "a fragment a frame"])
def test_a_torn_file_gives_every_sample_that_is_wholly_there(name: str) -> None:
    data = variant(name)
    boxes, at = [], 0
    while at < len(data):
        boxes.append(at)
        at += int.from_bytes(data[at : at + 4], "big")
    edges = {edge + step for edge in boxes for step in (-1, 0, 1, 4, 7, 8, 9, 15, 16, 17)}
    edges |= {row[0] + row[1] + step for row in rows(read(data), TrackKind.VIDEO) for step in (-1, 0, 1)}
    edges |= set(range(1500))
    for cut in sorted(edge for edge in edges if 0 <= edge < len(data)):
        movie = read(data[:cut])
        if movie.tracks:
            assert rows(movie, TrackKind.VIDEO) == whole_before(data, cut, TrackKind.VIDEO), cut
        assert movie.torn or cut in boxes, cut


def test_a_source_that_gives_a_little_at_a_time_is_read_the_same() -> None:
    assert read_fragments(Halting(variant("audio"))) == read(variant("audio"))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_torn_and_scribbled_file_is_read_or_refused(data: st.DataObject) -> None:
    original = variant(data.draw(st.sampled_from(["as recorded", "audio, explicit base", "edit list"])))
    made = bytearray(original[: data.draw(st.integers(0, len(original)))])
    headers = min(2000, len(made))
    for _ in range(data.draw(st.integers(0, 6)) if made else 0):
        place = data.draw(st.one_of(st.integers(0, headers - 1), st.integers(0, len(made) - 1)))
        made[place] ^= data.draw(st.integers(1, 255))
    try:
        movie = read(bytes(made))
    except ArchiveError as error:
        placed(error)
    else:
        for track in movie.tracks:
            s = track.samples
            assert all(at + size <= len(made) for at, size in zip(s.offset, s.size, strict=True))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_read_or_refused(noise: bytes, announced: bool) -> None:
    try:
        read((box("ftyp", b"isom") if announced else b"") + noise)
    except ArchiveError as error:
        placed(error)


def moov_of(data: bytes) -> bytes:
    at = data.index(b"moov") - 4
    return data[: at + int.from_bytes(data[at : at + 4], "big")]


def fragment(base: bytes, trun: bytes, payload: bytes = b"") -> bytes:
    traf = box("traf", full_box("tfhd", 0, 0x2_0000, struct.pack(">I", 1)), trun)
    return base + box("moof", traf) + (box("mdat", payload) if payload else b"")


def test_a_run_of_four_billion_samples_without_bytes_is_refused() -> None:
    bomb = fragment(moov_of(variant("as recorded")), full_box("trun", 0, 0, struct.pack(">I", 0xFFFF_FFFF)))
    with pytest.raises(ArchiveError, match=rf"moof/traf/trun at byte \d+: 4294967295 samples, at most {MAX_SAMPLES}"):
        read(bomb)


def test_samples_that_share_bytes_are_refused() -> None:
    """Else a small file could make an export of any size."""
    head = moov_of(variant("as recorded"))
    size = len(fragment(b"", full_box("trun", 0, 0x201, struct.pack(">IiI", 1, 0, 90)))) + 8
    once = full_box("trun", 0, 0x201, struct.pack(">IiI", 1, size + 32, 90))
    traf = box("traf", full_box("tfhd", 0, 0x2_0000, struct.pack(">I", 1)), once, once)
    data_at = len(box("moof", traf)) + 8
    once = full_box("trun", 0, 0x201, struct.pack(">IiI", 1, data_at, 90))
    traf = box("traf", full_box("tfhd", 0, 0x2_0000, struct.pack(">I", 1)), once, once)
    with pytest.raises(ArchiveError, match="overlap"):
        read(head + box("moof", traf) + box("mdat", bytes(100)))


def test_boxes_nested_without_end_are_no_trouble() -> None:
    nested = b""
    for _ in range(3000):
        nested = struct.pack(">I4s", 8 + len(nested), b"mdia") + nested
    with pytest.raises(ArchiveError):
        read(box("ftyp", b"isom") + box("moov", box("trak", nested)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"RIFF0000WAVEfmt ", "begins with ftyp"),
        (box("ftyp") + box("moof"), "moof at byte 8: a fragment before the moov"),
        (box("ftyp") + box("moov"), "moov at byte 8: no mvex/trex"),
        (box("ftyp") + b"\0\0\0\4free", "free at byte 8: says 4 bytes"),
        (box("ftyp") + bytes(16), "is no box type"),
        (box("ftyp") + struct.pack(">I4sQ", 1, b"mdat", 1 << 63), "mdat at byte 8: says"),
        (box("ftyp") + box("moov", b"\0\0\1\0trak"), "moov/trak at byte 16: says 256 bytes"),
        (moov_of(variant("as recorded")) * 2, "a second ftyp|a second moov"),
        (fragment(moov_of(variant("as recorded")), full_box("trun", 0, 0x200, struct.pack(">I", 9))), "needs 36 more"),
        (fragment(moov_of(variant("as recorded")), full_box("trun", 0, 0x200, struct.pack(">II", 1, 9)), b"x"), "mdat"),
    ],
)
def test_what_is_no_fragmented_mp4_is_refused_with_place_and_reason(data: bytes, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        read(data)


def test_a_failing_disk_is_an_error_of_the_archive() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 5000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(ArchiveError, match=r"at byte \d+: the disk does not give it: .*Input/output error"):
        read_fragments(Failing(variant("as recorded")))
    salvaged = read_fragments(Failing(variant("as recorded")), salvage=True)
    assert "Input/output error" in str(salvaged.damage)


def test_salvage_keeps_what_came_before_the_damage() -> None:
    data = variant("as recorded")
    places = [at for at in range(len(data)) if data[at : at + 4] == b"moof"]
    broken = data[: places[1]] + b"\0\0\0\0" + data[places[1] + 4 :]
    with pytest.raises(ArchiveError):
        read(broken)
    movie = read_fragments(io.BytesIO(broken), salvage=True)
    assert movie.damage is not None
    assert f"at byte {places[1] - 4}" in movie.damage
    assert len(rows(movie, TrackKind.VIDEO)) == 25
