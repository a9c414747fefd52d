"""Recordings are accepted by software that no one here wrote: ffprobe, GPAC's MP4Box, Chromium's MediaSource."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from edge_agent.messages import SegmentClosed
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints
from tests.peers.cameras import CameraServer, compare, make_clip, nal_units
from tests.peers.chromium import Chromium
from tests.peers.gpac import mp4box
from tests.peers.vcl import is_vcl

CLIPS: dict[str, dict[str, Any]] = {
    "h264-plain": {},
    "h264-reordered": {"bframes": 3, "slices": 4},
    "h265-plain": {"codec": "h265", "slices": 4},
    "h265-reordered": {"codec": "h265", "bframes": 3},
}


@pytest.fixture(scope="module")
def recordings(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A recording of each clip, opened by `age`."""
    folder = tmp_path_factory.mktemp("players")
    lab = Lab.make(folder)
    mounts = {f"/{name}": make_clip(clips / f"{name}.mp4", seconds=4, **how) for name, how in CLIPS.items()}
    with CameraServer(mounts, folder=folder) as server:
        jobs = [camera(mount[1:], server.url(mount)) for mount in mounts]
        with RecorderProcess(lab.job(*jobs), folder) as recorder:
            recorder.wait_for(SegmentClosed, 20, count=len(jobs))
            assert recorder.stop() == 0
        for name in CLIPS:
            result = compare(server.sent(f"/{name}"), lab.digests(name))
            assert (result.missing, result.foreign) == ([], []), name
    return {name: lab.opened(lab.segments(name)[0]).rename(folder / f"{name}.mp4") for name in CLIPS}


@dataclass(frozen=True, slots=True)
class Sample:
    """`shown_later` is its presentation less its decode time, compared with that of the first sample; ticks."""

    size: int
    shown_later: int
    keyframe: bool


def by_libav(movie: Path) -> tuple[list[Sample], list[bytes]]:
    """The samples of a movie, and their content."""
    with av.open(str(movie)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
    later = [(packet.pts or 0) - (packet.dts or 0) for packet in found]
    samples = [Sample(one.size, by - later[0], one.is_keyframe) for one, by in zip(found, later, strict=True)]
    return samples, [bytes(packet) for packet in found]


def by_gpac(dump: str) -> list[Sample]:
    """The samples in MP4Box's dump of a movie."""
    rows = re.findall(r'<TrackRunEntry Duration="\d+" Size="(\d+)" CTSOffset="(-?\d+)" .*? Sync="([01])"', dump)
    return [Sample(int(size), int(offset) - int(rows[0][1]), sync == "1") for size, offset, sync in rows]


def slices(stream: bytes, codec: str) -> list[bytes]:
    return [unit for unit in nal_units(stream) if is_vcl(unit, codec)]


@pytest.mark.parametrize("name", CLIPS)
def test_ffprobe_and_mp4box_accept_a_recording_and_find_every_slice_in_it(
    name: str, recordings: dict[str, Path], tmp_path: Path
) -> None:
    movie, codec = recordings[name], name[:4]
    assert ffprobe_complaints(movie) == ""
    samples, contents = by_libav(movie)
    assert "reordered" not in name or any(sample.shown_later for sample in samples)
    said = mp4box(tmp_path, "-info", movie)
    counted = re.search(r"Fragmented track: (\d+) samples - Media Duration 00:00:0([\d.]+)", said)
    assert counted
    assert (int(counted[1]), round(float(counted[2]), 1)) == (len(samples), 3.0)
    assert "width=640 height=360" in said
    mp4box(tmp_path, "-diso", movie, "-out", tmp_path / "boxes.xml")
    assert by_gpac((tmp_path / "boxes.xml").read_text()) == samples
    mp4box(tmp_path, "-raw", "1", movie, "-out", tmp_path / "stream")
    found = slices((tmp_path / "stream").read_bytes(), codec)
    assert len(found) == len(samples) * CLIPS[name].get("slices", 1)
    assert found == [one for content in contents for one in slices(content, codec)]
    mp4box(tmp_path, "-add", movie, "-new", tmp_path / "rewritten.mp4")
    assert [slices(content, codec) for content in by_libav(tmp_path / "rewritten.mp4")[1]] == [
        slices(content, codec) for content in contents
    ]


def test_chromium_plays_a_recording_from_its_first_picture_to_its_last(recordings: dict[str, Path]) -> None:
    with Chromium(recordings["h264-plain"].parent) as browser:
        for name in ("h264-plain", "h264-reordered"):
            movie = recordings[name]
            head = movie.read_bytes()[:4096]
            profile = head[head.index(b"avcC") + 5 :][:3].hex()
            played = browser.play(movie, f'video/mp4; codecs="avc1.{profile}"')
            ((start_s, end_s),) = played.buffered
            assert start_s == 0
            assert abs(end_s - 3) < 0.01
            assert (played.width, played.height) == (640, 360)
            assert (played.decoded, played.corrupted) == (len(by_libav(movie)[0]), 0)
            assert 20 < played.brightness < 235
