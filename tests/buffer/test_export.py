"""Clips against what ffmpeg decodes of the footage they were cut from."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer.export import ClipReport, plan_clip, write_clip
from edge_agent.buffer.mp4 import TrackKind
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust.age import AgeReader, AgeWriter
from edge_agent.trust.age_keys import Identity
from tests.buffer.test_mp4_read import FRAGMENTED, X264, encode, ffmpeg, read

BEGIN_US = 1_795_000_000 * US
FRAME_US = 40_000
CODECS = {
    "H.264": X264,
    "B-frames": (*X264, "-preset", "veryfast", "-bf", "3"),
    "HEVC": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
             "log-level=none:keyint=25:min-keyint=25:open-gop=0", "-tag:v", "hvc1"),
    "HEVC, open GOP": ("-c:v", "libx265", "-preset", "fast", "-x265-params",
                       "log-level=none:keyint=25:min-keyint=25:open-gop=1:bframes=3", "-tag:v", "hvc1"),
    "audio": X264,
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """A segment in memory."""

    segment: Segment
    data: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


@cache
def recorded(codec: str, movflags: str = FRAGMENTED) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """12 s of footage: the digest of each frame, and three segments of 4 s."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        whole = encode(folder / "whole.mkv", 12, *CODECS[codec])
        sound: tuple[str, ...] = ()
        if codec == "audio":  # without an edit list, which would begin the sound, and so the picture, at AAC's delay
            tone = ("-f", "lavfi", "-i", "sine=440:sample_rate=48000:duration=12")
            ffmpeg(*tone, "-c:a", "aac", "-use_editlist", "0", str(folder / "tone.m4a"))
            sound = ("-i", str(folder / "tone.m4a"), "-map", "1")
        ffmpeg("-i", str(whole), *sound, "-map", "0", "-c", "copy", "-f", "segment", "-segment_time", "4",
               "-reset_timestamps", "1", *(("-tag:v", "hvc1") if "HEVC" in codec else ()),
               "-segment_format_options", f"movflags={movflags}", str(folder / "part%d.mp4"))  # fmt: skip
        return frames(whole), tuple((folder / f"part{n}.mp4").read_bytes() for n in range(3))


def frames(path: Path) -> tuple[str, ...]:
    """Digest of each picture that a player shows, edit lists honoured."""
    lines = ffmpeg("-i", str(path), "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-").splitlines()
    return tuple(line.split(",")[-1].strip() for line in lines if not line.startswith("#"))


def times_us(path: Path) -> list[int]:
    """When each picture that a player shows is shown."""
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "frame=pts_time",
        "-of",
        "json",
        str(path),
    ]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["frames"]
    return [round(float(frame["pts_time"]) * US) for frame in found]


def held(data: bytes, start_s: float, seconds: float = 4, name: str = "a") -> Held:
    start_us = BEGIN_US + round(start_s * US)
    path = f"gate/2026-11-18/{name}.mp4.age"
    return Held(Segment(CameraId("gate"), path, start_us, start_us + round(seconds * US), len(data), None, None), data)


def in_a_row(parts: tuple[bytes, ...], gap_s: float = 0) -> list[Held]:
    return [held(part, n * (4 + gap_s), name=f"part{n}") for n, part in enumerate(parts)]


def seconds(start: float, end: float) -> Interval:
    return Interval(BEGIN_US + round(start * US), BEGIN_US + round(end * US))


def clip(path: Path, segments: list[Held], interval: Interval) -> ClipReport:
    with path.open("wb") as sink:
        report = write_clip(plan_clip(segments, interval), sink)
    data = path.read_bytes()
    assert report.size_bytes == len(data)
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert data.index(b"moov") < data.index(b"mdat")
    return report


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("start", "end"), [(0, 12), (4, 8), (2.52, 9.28), (5.0, 5.04), (3.96, 4.04), (1.2, 1.8)])
def test_a_clip_shows_exactly_the_frames_of_its_interval(codec: str, start: float, end: float, tmp_path: Path) -> None:
    whole, parts = recorded(codec)
    report = clip(tmp_path / "clip.mp4", in_a_row(parts), seconds(start, end))
    assert frames(tmp_path / "clip.mp4") == whole[round(start * 25) : round(end * 25)]
    assert report.covered == seconds(start, end)
    assert report.footage_s == pytest.approx(end - start)
    assert report.gaps == ()
    shown = times_us(tmp_path / "clip.mp4")
    assert shown == pytest.approx([n * FRAME_US for n in range(round((end - start) * 25))], abs=100)


@pytest.mark.parametrize(
    "movflags", ["empty_moov+frag_keyframe", FRAGMENTED + "+negative_cts_offsets", FRAGMENTED + "+delay_moov"]
)
def test_how_the_fragments_were_written_makes_no_difference(movflags: str, tmp_path: Path) -> None:
    whole, parts = recorded("B-frames", movflags)
    clip(tmp_path / "clip.mp4", in_a_row(parts), seconds(2, 10))
    assert frames(tmp_path / "clip.mp4") == whole[50:250]


def test_an_interval_between_frames_begins_with_the_one_on_view(tmp_path: Path) -> None:
    whole, parts = recorded("H.264")
    report = clip(tmp_path / "clip.mp4", in_a_row(parts), seconds(1.51, 2.51))
    assert report.covered == seconds(1.48, 2.51)
    assert frames(tmp_path / "clip.mp4") == whole[37:63]


def test_a_gap_keeps_the_players_time_true(tmp_path: Path) -> None:
    whole, parts = recorded("B-frames")
    report = clip(tmp_path / "clip.mp4", in_a_row(parts, gap_s=10), seconds(2, 30))
    assert frames(tmp_path / "clip.mp4") == whole[50:250]
    shown = times_us(tmp_path / "clip.mp4")
    assert shown[49:51] == pytest.approx([1_960_000, 12_000_000], abs=100)
    assert shown[150] == pytest.approx(26_000_000, abs=100)
    assert [gap.interval for gap in report.gaps] == [seconds(4, 14), seconds(18, 28)]
    assert report.footage_s == pytest.approx(8)


def test_an_interval_that_begins_and_ends_in_gaps_is_shown_where_there_is_footage(tmp_path: Path) -> None:
    whole, parts = recorded("H.264")
    report = clip(tmp_path / "clip.mp4", in_a_row(parts, gap_s=10)[:2], seconds(10, 40))
    assert frames(tmp_path / "clip.mp4") == whole[100:200]
    assert report.covered == seconds(14, 18)
    assert [gap.interval for gap in report.gaps] == [seconds(10, 14), seconds(18, 40)]


def test_clocks_a_little_off_lose_no_frame(tmp_path: Path) -> None:
    whole, parts = recorded("B-frames")
    early = [held(parts[0], 0), held(parts[1], 3.988), held(parts[2], 8.013)]
    report = clip(tmp_path / "clip.mp4", early, seconds(0, 13))
    assert frames(tmp_path / "clip.mp4") == whole
    assert report.notes == ()


def test_a_clock_set_back_shows_each_moment_once(tmp_path: Path) -> None:
    whole, parts = recorded("B-frames")
    report = clip(tmp_path / "clip.mp4", [held(parts[0], 0), held(parts[1], 2, name="later")], seconds(0, 6))
    shown = frames(tmp_path / "clip.mp4")
    assert shown[-100:] == whole[100:200]
    assert 45 <= len(shown) - 100 <= 50
    assert shown[:45] == whole[:45]
    assert "overlap gate/2026-11-18/later.mp4.age" in report.notes[0]
    assert times_us(tmp_path / "clip.mp4") == sorted(set(times_us(tmp_path / "clip.mp4")))


def test_the_same_segment_twice_is_shown_once(tmp_path: Path) -> None:
    whole, parts = recorded("H.264")
    report = clip(tmp_path / "clip.mp4", [*in_a_row(parts), held(parts[1], 4, name="copy")], seconds(0, 12))
    assert frames(tmp_path / "clip.mp4") == whole
    assert "lies inside" in report.notes[0]


def test_a_torn_segment_is_used_up_to_the_tear(tmp_path: Path) -> None:
    whole, parts = recorded("H.264", FRAGMENTED)
    torn = parts[1][: parts[1].rindex(b"moof")]
    report = clip(tmp_path / "clip.mp4", [held(parts[0], 0), held(torn, 4), held(parts[2], 8)], seconds(0, 12))
    assert frames(tmp_path / "clip.mp4") == whole[:175] + whole[200:]
    assert [gap.interval for gap in report.gaps] == [seconds(7, 8)]
    assert "torn" in report.gaps[0].evidence


def test_damage_inside_the_pictures_costs_only_what_needs_them(tmp_path: Path) -> None:
    """Sealed segments: a flipped bit makes one chunk unreadable, found before the first byte of the clip is written."""
    identity = Identity.generate()
    big = big_footage()
    sink = io.BytesIO()
    writer = AgeWriter(sink, [identity.recipient])
    writer.write(big)
    writer.finish()
    sealed = bytearray(sink.getvalue())
    moofs = [at for at in range(len(big)) if big.startswith(b"moof", at)]
    chunk = (moofs[2] + moofs[3]) // 2 // 65_536  # far from both, so that only pictures are hit
    chunks = -(-len(big) // 65_536)
    sealed[len(sealed) - len(big) - 16 * chunks + chunk * 65_552 + 1000] ^= 1

    @dataclass(frozen=True)
    class Sealed:
        segment: Segment

        def open(self) -> BinaryIO:
            return AgeReader(io.BytesIO(bytes(sealed)), [identity])  # type: ignore[return-value]

    path = tmp_path / "clip.mp4"
    with path.open("wb") as out:
        report = write_clip(plan_clip([Sealed(held(b"", 0, 6, "hurt").segment)], seconds(0, 6)), out)
    (gap,) = report.gaps
    assert gap.interval.end_us == seconds(3, 3).end_us
    assert 0.2 < gap.interval.seconds < 0.9
    assert "hurt.mp4.age" in gap.evidence
    assert "damaged from byte" in gap.evidence
    assert len(frames(path)) == 150 - round(gap.interval.seconds * 25)


@cache
def big_footage() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "big.mp4"
        return encode(path, 6, *X264, "-vf", "noise=alls=60:allf=t", "-movflags", FRAGMENTED).read_bytes()


def test_a_segment_that_is_garbage_or_gone_becomes_a_gap(tmp_path: Path) -> None:
    whole, parts = recorded("H.264")

    class Gone(Held):
        def open(self) -> BinaryIO:
            raise FileNotFoundError(2, "No such file", self.segment.path)

    garbage = held(b"\0" * 1000, 4, name="garbage")
    gone = Gone(held(b"", 12, name="gone").segment, b"")
    report = clip(tmp_path / "clip.mp4", [held(parts[0], 0), garbage, held(parts[2], 8), gone], seconds(0, 16))
    assert frames(tmp_path / "clip.mp4") == whole[:100] + whole[200:]
    assert [gap.interval for gap in report.gaps] == [seconds(4, 8), seconds(12, 16)]
    assert "garbage.mp4.age: MP4 box" in report.gaps[0].evidence
    assert "No such file" in report.gaps[1].evidence


def test_nothing_but_garbage_is_an_error_of_the_archive() -> None:
    with pytest.raises(ArchiveError, match=r"nothing from .* can be read: segment .*garbage"):
        plan_clip([held(b"\0" * 1000, 0, name="garbage")], seconds(0, 4))
    with pytest.raises(ArchiveError, match="and 7 more like these"):
        plan_clip([held(b"\0" * 1000, 4 * n, name=f"bad{n}") for n in range(10)], seconds(0, 40))


def test_a_change_of_the_cameras_picture_gets_a_second_sample_entry(tmp_path: Path) -> None:
    _, parts = recorded("H.264")
    other = encode(tmp_path / "other.mp4", 4, *X264, "-vf", "scale=320:240", "-movflags", FRAGMENTED)
    path = tmp_path / "clip.mp4"
    report = clip(path, [held(parts[0], 0), held(other.read_bytes(), 4), held(parts[2], 8)], seconds(0, 12))
    assert report.video_samples == 300
    with av.open(str(path)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(192, 108)] * 100 + [(320, 240)] * 100 + [(192, 108)] * 100


def test_audio_is_carried_and_stays_with_the_picture(tmp_path: Path) -> None:
    _, parts = recorded("audio")
    report = clip(tmp_path / "clip.mp4", in_a_row(parts), seconds(2.52, 9.28))
    assert report.notes == ()
    with av.open(str(tmp_path / "clip.mp4")) as container:
        sound = [frame for frame in container.decode(audio=0) if frame.pts is not None]
    assert sum(frame.samples for frame in sound) / 48_000 == pytest.approx(6.76, abs=0.07)
    assert float(sound[0].time or 0) == pytest.approx(0, abs=0.03)
    assert report.audio_samples == pytest.approx(6.76 * 48_000 / 1024, abs=4)


def test_audio_that_not_every_segment_has_is_left_out_and_said(tmp_path: Path) -> None:
    _, with_audio = recorded("audio")
    _, without = recorded("H.264")
    report = clip(tmp_path / "clip.mp4", [held(with_audio[0], 0), held(without[1], 4)], seconds(0, 8))
    assert report.audio_samples == 0
    assert "audio was left out" in report.notes[0]
    assert len(frames(tmp_path / "clip.mp4")) == 200


def test_no_footage_says_where_the_nearest_is() -> None:
    _, parts = recorded("H.264")
    with pytest.raises(
        NotFoundError, match=r"no footage .*the last before it ends at 2026-11-18 .* the next after it begins"
    ):
        plan_clip(in_a_row(parts, gap_s=10), seconds(5, 9))
    with pytest.raises(NotFoundError):
        plan_clip(in_a_row(parts), seconds(5, 5))
    with pytest.raises(NotFoundError, match="none near it"):
        plan_clip([], seconds(0, 5))


def test_what_makes_no_clip_is_refused() -> None:
    _, parts = recorded("H.264")
    one, two, _ = in_a_row(parts)
    other = replace(two, segment=replace(two.segment, camera=CameraId("yard")))
    with pytest.raises(UsageError, match="one camera"):
        plan_clip([one, other], seconds(0, 8))
    with pytest.raises(UsageError, match="20 at most"):
        plan_clip([one], seconds(0, 86_400 * 30))


def test_segments_deleted_after_the_plan_are_still_written(tmp_path: Path) -> None:
    whole, parts = recorded("H.264")
    sources = on_disk(tmp_path, parts)
    plan = plan_clip(sources, seconds(0, 12))
    for source in sources:
        source.path.unlink()
    with (tmp_path / "clip.mp4").open("wb") as sink:
        write_clip(plan, sink)
    assert frames(tmp_path / "clip.mp4") == whole


def test_more_segments_than_may_be_open_are_opened_again(tmp_path: Path) -> None:
    whole, parts = recorded("H.264")
    sources = on_disk(tmp_path, parts)
    told: list[float] = []
    with (tmp_path / "clip.mp4").open("wb") as sink:
        write_clip(plan_clip(sources, seconds(0, 12), max_open=1), sink, told.append)
    assert frames(tmp_path / "clip.mp4") == whole
    assert told == sorted(told)
    assert told[-1] == 1
    plan = plan_clip(sources, seconds(0, 12), max_open=1)
    sources[2].path.unlink()
    with pytest.raises(ArchiveError, match=r"part2.* was deleted before its turn came; export again"):
        write_clip(plan, io.BytesIO())


@dataclass(frozen=True)
class OnDisk:
    segment: Segment
    path: Path

    def open(self) -> BinaryIO:
        return self.path.open("rb")


def on_disk(folder: Path, parts: tuple[bytes, ...]) -> list[OnDisk]:
    made = []
    for n, source in enumerate(in_a_row(parts)):
        path = folder / f"part{n}.mp4"
        path.write_bytes(source.data)
        made.append(OnDisk(source.segment, path))
    return made


def test_the_clip_tells_when_it_was_recorded(tmp_path: Path) -> None:
    _, parts = recorded("H.264")
    clip(tmp_path / "clip.mp4", in_a_row(parts), seconds(2, 6))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.metadata["creation_time"].startswith("2026-11-18T")
        assert container.duration == pytest.approx(4 * US, abs=1000)


def test_the_worked_example_of_the_documentation(tmp_path: Path) -> None:
    _, parts = recorded("H.264")
    report = clip(tmp_path / "clip.mp4", in_a_row(parts, gap_s=10)[:2], seconds(2.52, 16))
    data = (tmp_path / "clip.mp4").read_bytes()

    def words(name: bytes, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f">{count}I", data, data.index(name) + 8)

    assert words(b"stts", 7) == (3, 49, 512, 1, 128_512, 50, 512)
    assert words(b"stss", 5) == (4, 1, 26, 51, 76)
    assert words(b"elst", 3) == (1, 172_544, 6_656)
    assert report.covered == seconds(2.52, 16)
    assert [(gap.interval, gap.evidence) for gap in report.gaps] == [(seconds(4, 14), "the archive holds no recording")]
    assert report.footage_s == pytest.approx(3.48)


def test_an_interval_that_begins_in_damage_begins_after_it(tmp_path: Path) -> None:
    """A disk that fails inside the pre-roll: nothing stale is shown as the interval's first picture."""
    whole, parts = recorded("H.264")
    hurt = whole_but(parts[0], frame=30)
    report = clip(tmp_path / "clip.mp4", [hurt], seconds(1.4, 4))
    assert frames(tmp_path / "clip.mp4") == whole[50:100]
    assert report.covered == seconds(2, 4)
    assert [gap.interval for gap in report.gaps] == [seconds(1.4, 2)]
    assert "Input/output error" in report.gaps[0].evidence


def whole_but(data: bytes, frame: int) -> Held:
    """A segment of which the disk does not give one picture back."""
    video = read(data).first(TrackKind.VIDEO)
    assert video is not None
    at = video.samples.offset[frame]

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() <= at < self.tell() + (size or 0):
                raise OSError(5, "Input/output error")
            return super().read(size)

    class Hurt(Held):
        def open(self) -> BinaryIO:
            return Failing(self.data)

    return Hurt(held(data, 0, name="hurt").segment, data)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_clips_of_scribbled_segments_are_made_or_refused(drawn: st.DataObject) -> None:
    _, parts = recorded("B-frames")
    made = []
    for source in in_a_row(parts):
        data = bytearray(source.data[: drawn.draw(st.integers(len(source.data) // 2, len(source.data)))])
        tables = [at for at in range(len(data)) if data.startswith((b"trun", b"tfdt", b"tfhd", b"elst", b"mdhd"), at)]
        for _ in range(drawn.draw(st.integers(0, 4))):
            place = drawn.draw(st.sampled_from(tables)) + drawn.draw(st.integers(4, 60))
            if place < len(data):
                data[place] = drawn.draw(st.integers(0, 255))
        made.append(Held(source.segment, bytes(data)))
    sink = io.BytesIO()
    try:
        report = write_clip(plan_clip(made, seconds(1, 11)), sink)
    except (ArchiveError, NotFoundError):
        return
    assert report.size_bytes == len(sink.getvalue())
    assert sum(gap.interval.seconds for gap in report.gaps) <= 10
