"""What happens to a real camera's stream on its way: packets lost before TCP, clocks that jump, halves that end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av

from edge_agent.messages import CameraChanged, SegmentOpened
from edge_agent.model import CameraFault, CameraState, GapCause
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints, fragment_seconds
from tests.peers.cameras import CameraServer, SentFrame, compare, make_clip
from tests.peers.support import wait_until
from tests.simulators.rtsp_proxy import RtspProxy

HOUR_TICKS = 3600 * 90_000


def url(proxy: RtspProxy, mount: str = "/main") -> str:
    return f"rtsp://127.0.0.1:{proxy.port}{mount}"


def between_whole_ones(sent: Sequence[SentFrame], recorded: list[str]) -> list[str]:
    """Without the damaged pictures before the first and after the last one that is as it was sent."""
    known = {frame.sha256 for frame in sent}
    whole = [place for place, digest in enumerate(recorded) if digest in known]
    return recorded[whole[0] : whole[-1] + 1]


def decoded(movie: Path) -> int:
    """Pictures that ffmpeg makes of it, concealing what it must; it must not give up."""
    command = ["ffprobe", "-v", "quiet", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    done = subprocess.run([*command, movie], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout.strip().rstrip(","))


def times(movie: Path) -> list[tuple[int, int]]:
    """Decode and presentation time of each picture."""
    with av.open(str(movie)) as container:
        return [(packet.dts or 0, packet.pts or 0) for packet in container.demux(video=0) if packet.size]


def test_one_packet_of_twenty_lost_damages_the_pictures_it_belonged_to_and_no_other(
    lab: Lab, clips: Path, street_h264: Path, street_h265: Path
) -> None:
    mounts = {
        "/h264": street_h264,
        "/h265": street_h265,
        "/reordered": make_clip(clips / "lossy-reordered.mp4", bframes=3, slices=4),
    }
    with CameraServer(mounts, folder=lab.folder) as server, RtspProxy(server.port) as proxy:
        proxy.lose(0.05)
        jobs = [camera(mount[1:], url(proxy, mount)) for mount in mounts]
        with RecorderProcess(lab.job(*jobs, segment_s=4), lab.folder) as recorder:
            for job in jobs:
                recorder.wait_for(CameraChanged, 15, camera=job.id, state=CameraState.RECORDING)
            wait_until(lambda: min(len(server.sent(mount)) for mount in mounts) > 110, 20, "seven seconds were sent")
            assert recorder.stop() == 0
        assert proxy.viewers_seen == len(jobs)
    assert [change for change in recorder.of(CameraChanged) if change.fault] == []
    spoiled, touched = len(proxy.losses.lost), 0
    for job in jobs:
        sent, recorded = server.sent(f"/{job.id}"), lab.digests(job.id)
        result = compare(sent, between_whole_ones(sent, recorded))
        assert result.first is not None
        assert result.last is not None
        assert len(result.foreign) <= len(result.missing), "what is there was sent, whole or in part"
        assert len(recorded) > 0.85 * (result.last - result.first + 1), "of most damaged pictures something is kept"
        touched += len(result.missing)
        told = [message.segment for message in recorder.closed if message.segment.camera == job.id]
        assert sum(segment.damaged or 0 for segment in told) >= len(result.foreign)
        for found in lab.segments(job.id):
            movie = lab.opened(found)
            assert decoded(movie) > 0.9 * len(times(movie))
            assert all(before[0] < after[0] for before, after in pairwise(times(movie)))
            assert all(dts <= pts for dts, pts in times(movie))
    assert 10 < touched <= spoiled


def test_cameras_whose_clocks_jump_by_an_hour_are_recorded_without_a_hole(
    lab: Lab, camera_server: CameraServer
) -> None:
    shifts, mounts = {"ahead": HOUR_TICKS, "back": -HOUR_TICKS}, {"ahead": "/main", "back": "/hevc"}
    with RtspProxy(camera_server.port) as ahead, RtspProxy(camera_server.port) as back:
        proxies = {"ahead": ahead, "back": back}
        jobs = [camera(name, url(proxy, mounts[name])) for name, proxy in proxies.items()]
        with RecorderProcess(lab.job(*jobs, segment_s=60), lab.folder) as recorder:
            for name, proxy in proxies.items():
                recorder.wait_for(SegmentOpened, 15, camera=name)
                proxy.shift_time(shifts[name])
            for name in proxies:
                recorder.wait_for(SegmentOpened, 10, camera=name, count=2)
            count = len(camera_server.sent("/main"))
            wait_until(lambda: len(camera_server.sent("/main")) > count + 15, 10, "a second more")
            assert recorder.stop() == 0
        assert (ahead.viewers_seen, back.viewers_seen) == (1, 1)
    for name in proxies:
        _, opened = (message for message in recorder.of(SegmentOpened) if message.camera == name)
        assert opened.lost is GapCause.CLOCK
        told = re.fullmatch(r"the camera's clock jumped by ([+-][0-9.]+) s", opened.evidence)
        assert told
        assert abs(float(told[1]) - shifts[name] / 90_000) < 3
        first, second = lab.segments(name)
        assert first.end_us is not None
        assert first.end_us <= second.start_us < first.end_us + 500_000
        for found in (first, second):
            assert ffprobe_complaints(lab.opened(found)) == ""
            assert max(fragment_seconds(lab.opened(found))) < 1.1
        result = compare(camera_server.sent(mounts[name]), lab.digests(name))
        assert (result.missing, result.foreign) == ([], [])


def test_either_half_of_a_connection_that_ends_makes_a_new_one_and_only_one(
    lab: Lab, camera_server: CameraServer
) -> None:
    with RtspProxy(camera_server.port) as mute, RtspProxy(camera_server.port) as deaf:
        proxies = {"mute": mute, "deaf": deaf}
        jobs = [camera(name, url(proxy)) for name, proxy in proxies.items()]
        with RecorderProcess(lab.job(*jobs, segment_s=60), lab.folder) as recorder:
            for name in proxies:
                recorder.wait_for(CameraChanged, 15, camera=name, state=CameraState.RECORDING)
            mute.end_sending()
            deaf.end_listening()
            for name in proxies:
                recorder.wait_for(CameraChanged, 10, camera=name, fault=CameraFault.CLOSED)
                recorder.wait_for(CameraChanged, 15, camera=name, state=CameraState.RECORDING, count=2)
            wait_until(lambda: camera_server.clients == 2, 10, "the old connections are gone")
            assert (mute.viewers_seen, deaf.viewers_seen) == (2, 2)
            assert recorder.stop() == 0
    for name in proxies:
        told = [message.lost for message in recorder.of(SegmentOpened) if message.camera == name]
        assert told == [None, GapCause.CAMERA]
        segments = lab.segments(name)
        assert all(found.closed and not found.torn for found in segments)
        assert all((before.end_us or 0) <= after.start_us for before, after in pairwise(segments))
        assert [ffprobe_complaints(lab.opened(found)) for found in segments] == ["", ""]
