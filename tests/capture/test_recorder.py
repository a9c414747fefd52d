"""The recorder process against real cameras: what is recorded, and what their failures cost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av

from edge_agent.capture.recorder import ROUND_S
from edge_agent.clock import US, SystemClock
from edge_agent.demo.rtp import CodedPicture, VideoFormat
from edge_agent.demo.rtsp_server import RtspServer
from edge_agent.messages import CameraChanged, CameraStats, SegmentClosed, SegmentOpened
from edge_agent.model import CameraFault, CameraState, ClockTrust, GapCause
from tests.capture.support import (
    Lab,
    RecorderProcess,
    WallClock,
    camera,
    ffprobe_complaints,
    fragment_seconds,
    frame_digests,
)
from tests.capture.test_rtsp_packets import pictures
from tests.capture.test_rtsp_sdp import PPS, SPS
from tests.peers.cameras import CameraServer, compare, make_clip
from tests.peers.support import free_port, wait_until


def assert_nothing_missing(lab: Lab, server: CameraServer, name: str, mount: str) -> int:
    """Every picture sent between the first and the last recorded one is there, in order; how many."""
    recorded = lab.digests(name)
    result = compare(server.sent(mount), recorded)
    assert (result.missing, result.foreign) == ([], []), name
    assert recorded
    return len(recorded)


def test_every_picture_sent_while_connected_is_recorded_in_both_codecs_with_reordered_pictures_too(
    lab: Lab, clips: Path, street_h264: Path, street_h265: Path
) -> None:
    reordered = {
        "/b264": make_clip(clips / "reordered-h264.mp4", bframes=2),
        "/b265": make_clip(clips / "reordered-h265.mp4", "h265", bframes=2),
    }
    mounts = {"/h264": street_h264, "/h265": street_h265, **reordered}
    with CameraServer(mounts, folder=lab.folder) as server:
        jobs = [camera(mount[1:], server.url(mount)) for mount in mounts]
        with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
            recorder.wait_for(SegmentClosed, 30, count=12)
            sent_at_the_end = {mount: len(server.sent(mount)) for mount in mounts}
            assert recorder.stop() == 0
        for job, mount in zip(jobs, mounts, strict=True):
            count = assert_nothing_missing(lab, server, job.id, mount)
            assert sent_at_the_end[mount] - count <= 16, "at most the pictures before the first keyframe and in flight"
    told = {message.segment.path: message.segment for message in recorder.closed}
    for job in jobs:
        segments = lab.segments(job.id)
        for found in segments:
            segment, content = told[found.path], (lab.archive / found.path).read_bytes()
            assert (found.closed, found.torn, found.end_us) == (True, False, segment.end_us)
            assert (segment.size_bytes, segment.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            opened = lab.opened(found)
            assert ffprobe_complaints(opened) == ""
            assert max(fragment_seconds(opened)) < 1.1
            with av.open(str(opened)) as movie:
                assert sum(1 for packet in movie.demux(video=0) if packet.size) == segment.frames
        assert all(before.end_us == after.start_us for before, after in pairwise(segments))
        assert all(abs((found.end_us or 0) - found.start_us - 3_000_000) < 20_000 for found in segments[:-1])


def test_a_picture_is_placed_at_the_time_it_was_sent(lab: Lab, camera_server: CameraServer) -> None:
    with RecorderProcess(lab.job(camera("gate", camera_server.url("/main"))), lab.folder) as recorder:
        recorder.wait_for(SegmentClosed, 20)
    first = compare(camera_server.sent("/main"), lab.digests("gate")).first
    assert first is not None
    sent = next(frame for frame in camera_server.sent("/main") if frame.index == first)
    assert abs(lab.segments("gate")[0].start_us - sent.utc_us_pushed) < 300_000


class ThreeHoursAhead(SystemClock):
    def utc_us(self) -> int:
        return super().utc_us() + 3 * 3600 * US


@contextlib.contextmanager
def lying_camera() -> Iterator[str]:
    """Sends 25 pictures a second and says in its reports that it is three hours later; gives its URL."""
    clock, address, done = ThreeHoursAhead(), list[str](), threading.Event()

    async def play() -> None:
        async with RtspServer({"/main": VideoFormat(SPS, PPS, 25)}, clock=clock) as server:
            address.append(server.url("/main"))
            number, units = 0, pictures(50)
            while not done.is_set():
                server.publish("/main", CodedPicture(units[number % 50], 3600 * number, clock.utc_us()))
                number += 1
                await asyncio.sleep(0.04)

    thread = threading.Thread(target=lambda: asyncio.run(play()))
    thread.start()
    try:
        yield wait_until(lambda: address[0] if address else "", 10, "the camera")
    finally:
        done.set()
        thread.join(10)


def test_a_cameras_clock_is_measured_and_never_displaces_its_recordings(lab: Lab, camera_server: CameraServer) -> None:
    started_us = time.time_ns() // 1000
    with lying_camera() as url:
        jobs = [camera("right", camera_server.url("/main")), camera("liar", url)]
        with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:

            def offset(name: str) -> float | None:
                told = [m.clock_offset_s for m in recorder.of(CameraStats) if m.camera == name]
                return told[-1] if told else None

            wait_until(
                lambda: None not in (offset("right"), offset("liar")), 20, "what both cameras say of their clocks"
            )
            recorder.wait_for(SegmentClosed, 10, count=2)
            assert recorder.stop() == 0
    # after so short a time little is known but one report, and that is read up to a round late
    late_s = ROUND_S + 0.75
    assert abs(offset("right") or 99) < late_s
    assert abs((offset("liar") or 0) - 3 * 3600) < late_s
    now_us = time.time_ns() // 1000
    for found in (*lab.segments("right"), *lab.segments("liar")):
        assert started_us < found.start_us < (found.end_us or 0) < now_us + US
    trust = ClockTrust.SYNCED if SystemClock().synchronised() else ClockTrust.FREE
    assert {(message.segment.clock, message.segment.damaged) for message in recorder.closed} == {(trust, 0)}


def test_a_recorder_a_year_ahead_takes_the_present_at_once_and_loses_no_picture(
    lab: Lab, camera_server: CameraServer
) -> None:
    year_s = 365 * 86_400
    wall_clock = WallClock(lab.folder, year_s)
    job = lab.job(camera("gate", camera_server.url("/main")), segment_s=1)
    with RecorderProcess(job, lab.folder, env=wall_clock.env) as recorder:
        recorder.wait_for(SegmentClosed, 20)
        wall_clock.set(0)
        (opened,) = recorder.wait_for(SegmentOpened, 10, lost=GapCause.CLOCK)
        recorder.wait_for(SegmentClosed, 15, count=len(recorder.closed) + 2)
        assert recorder.stop() == 0
    assert re.fullmatch(r"the node's clock was set by -3153[56]\d{3}\.\d s", opened.evidence)
    now_us = time.time_ns() // 1000
    closed = [message.segment for message in recorder.closed]
    files = {found.path: found for found in lab.segments("gate")}
    recorded = [digest for segment in closed for digest in frame_digests(lab.opened(files[segment.path]))]
    result = compare(camera_server.sent("/main"), recorded)
    assert (result.missing, result.foreign) == ([], [])
    present = [segment for segment in closed if segment.start_us < now_us]
    assert len(present) >= 2
    assert all(segment.end_us < now_us + US for segment in present)
    assert all(segment.start_us > now_us + (year_s - 60) * US for segment in closed if segment not in present)
    assert all(before.end_us == after.start_us for before, after in pairwise(present))
    assert {segment.clock for segment in present} <= {ClockTrust.SYNCED, ClockTrust.FREE}
    assert set(files) == {segment.path for segment in closed}


def test_a_stalled_camera_is_noticed_within_5_s_and_recorded_again_when_it_comes_back(
    lab: Lab, camera_server: CameraServer
) -> None:
    jobs = [camera("gate", camera_server.url("/main")), camera("yard", camera_server.url("/hevc"))]
    with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
        recorder.wait_for(CameraChanged, 15, camera="gate", state=CameraState.RECORDING)
        camera_server.stall("/main")
        stalled_us = time.time_ns() // 1000
        (lost,) = recorder.wait_for(CameraChanged, 6, camera="gate", fault=CameraFault.STALLED)
        assert lost.at_us - stalled_us < 5_000_000
        assert all(found.closed for found in lab.segments("gate"))
        camera_server.resume("/main")
        recorder.wait_for(CameraChanged, 25, count=2, camera="gate", state=CameraState.RECORDING)
        opened = recorder.wait_for(SegmentOpened, 5, camera="gate", lost=GapCause.CAMERA)
        assert opened[0].evidence == "no picture for 3.5 s"
        assert recorder.stop() == 0
    assert not [change for change in recorder.of(CameraChanged) if change.camera == "yard" and change.fault]
    assert all(before.end_us == after.start_us for before, after in pairwise(lab.segments("yard")))
    assert_nothing_missing(lab, camera_server, "yard", "/hevc")


def test_a_camera_that_lost_its_power_is_recorded_again_on_its_return(lab: Lab, camera_server: CameraServer) -> None:
    with RecorderProcess(lab.job(camera("gate", camera_server.url("/main"))), lab.folder) as recorder:
        recorder.wait_for(CameraChanged, 15, state=CameraState.RECORDING)
        camera_server.kill()
        recorder.wait_for(CameraChanged, 6, state=CameraState.LOST)
        recorder.wait_for(CameraChanged, 6, fault=CameraFault.UNREACHABLE)
        camera_server.restart()
        recorder.wait_for(CameraChanged, 15, count=2, state=CameraState.RECORDING)
        again = recorder.of(SegmentOpened)[-1]
        assert again.lost is GapCause.CAMERA
        assert "closed the connection" in again.evidence
        assert recorder.stop() == 0
    segments = lab.segments("gate")
    assert all(found.closed and not found.torn for found in segments)
    assert all((before.end_us or 0) <= after.start_us for before, after in pairwise(segments))


def test_each_way_of_not_getting_a_picture_has_its_own_word_and_no_password_shows(lab: Lab, street_h264: Path) -> None:
    secret = "s3cr3t @:/?#[] pass"
    wrong = "wr0ng @:/?#[] guess"
    with CameraServer({"/main": street_h264}, ("op er", secret), folder=lab.folder) as server:
        url = server.url("/main", with_login=False)
        jobs = [
            camera("good", url, username="op er", password=secret),
            camera("guess", url, username="op er", password=wrong),
            camera("anonymous", url),
            camera("path", url.replace("/main", "/none"), username="op er", password=secret),
            camera("nobody", f"rtsp://127.0.0.1:{free_port()}/main", username="op er", password=secret),
        ]
        with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
            recorder.wait_for(CameraChanged, 15, camera="good", state=CameraState.RECORDING)
            recorder.wait_for(CameraChanged, 5, camera="guess", fault=CameraFault.LOGIN)
            recorder.wait_for(CameraChanged, 5, camera="anonymous", fault=CameraFault.LOGIN)
            recorder.wait_for(CameraChanged, 5, camera="path", fault=CameraFault.NOT_FOUND)
            recorder.wait_for(CameraChanged, 5, camera="nobody", fault=CameraFault.UNREACHABLE)
            command = Path(f"/proc/{recorder.process.pid}/cmdline").read_text()
            assert recorder.stop() == 0
    shown = "\n".join([recorder.log(), command, *map(repr, recorder.heard)])
    for part in ("s3cr3t", "wr0ng", "pass", "guess @", "%40", "op er", "op%20er"):
        assert part not in shown.replace("refuses the login: check username and password", "")


def test_pictures_of_another_size_begin_a_new_file_at_once(lab: Lab, clips: Path, camera_server: CameraServer) -> None:
    small = {
        "/main": make_clip(clips / "small.mp4", size=(320, 240), seconds=4, seed=3),
        "/hevc": make_clip(clips / "small-h265.mp4", "h265", size=(320, 240), seconds=4, seed=3),
    }
    jobs = [camera(mount[1:], camera_server.url(mount)) for mount in small]
    with RecorderProcess(lab.job(*jobs, segment_s=60), lab.folder) as recorder:
        recorder.wait_for(SegmentOpened, 15, count=2)
        for mount, clip in small.items():
            camera_server.switch(mount, clip)
        recorder.wait_for(SegmentOpened, 10, count=4)
        assert recorder.stop() == 0
    for mount in small:
        before, after = lab.segments(mount[1:])
        assert before.end_us == after.start_us
        sizes = []
        for found in (before, after):
            assert ffprobe_complaints(lab.opened(found)) == ""
            with av.open(str(lab.opened(found))) as movie:
                sizes.append((movie.streams.video[0].width, movie.streams.video[0].height))
        assert sizes == [(640, 360), (320, 240)]
        assert_nothing_missing(lab, camera_server, mount[1:], mount)


def test_an_hours_pictures_at_speed_are_all_recorded_and_written_every_second_though_keyframes_are_20_s_apart(
    lab: Lab,
) -> None:
    fps, keyframe_s, count = 4400, 20, 91_000  # more pictures than an hour has at 25 a second
    clip = lab.folder / "hour.mp4"
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=64x64:r={fps} -frames:v {count} -c:v libx264 -preset ultrafast"
    parameters = f"keyint={fps * keyframe_s}:min-keyint={fps * keyframe_s}:scenecut=0"
    subprocess.run([*command.split(), "-x264-params", parameters, clip], check=True, timeout=60)
    with CameraServer({"/fast": clip}, folder=lab.folder) as server:
        with RecorderProcess(lab.job(camera("fast", server.url("/fast"))), lab.folder) as recorder:
            wait_until(lambda: len(server.sent("/fast")) > count - 500, 60, "an hour's pictures are sent")
            told = len(server.sent("/fast"))
            assert recorder.stop() == 0
        sent = [frame.sha256 for frame in server.sent("/fast")]
    recorded = lab.digests("fast")
    assert recorded == sent[: len(recorded)]
    assert len(recorded) > told - fps, "at most what was sent within the last second is still on its way"
    first, second = lab.segments("fast")
    assert first.end_us == second.start_us
    assert abs((second.start_us - first.start_us) / 1e6 - keyframe_s) < 0.05, (
        "a keyframe interval, and some following of clocks"
    )
    lengths = fragment_seconds(lab.opened(first))
    assert len(lengths) >= keyframe_s - 1
    assert max(lengths) < 1.1
    assert ffprobe_complaints(lab.opened(first)) == ""


def test_sound_that_cannot_be_kept_is_said_and_the_picture_recorded(lab: Lab, street_h264: Path) -> None:
    # not one mount for both: GStreamer's server refuses everybody once viewers differ in wanting its sound
    with CameraServer({"/main": street_h264, "/mute": street_h264}, audio=True, folder=lab.folder) as server:
        jobs = [camera("asked", server.url("/main"), audio=True), camera("silent", server.url("/mute"))]
        with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
            recorder.wait_for(CameraChanged, 15, camera="silent", state=CameraState.RECORDING, detail="")
            (heard,) = recorder.wait_for(CameraChanged, 15, camera="asked", state=CameraState.RECORDING)
            assert "only AAC is recorded" in heard.detail
            assert recorder.stop() == 0
        for name, mount in (("asked", "/main"), ("silent", "/mute")):
            assert_nothing_missing(lab, server, name, mount)


def test_a_file_plays_in_a_loop_at_its_own_pace(lab: Lab, clips: Path) -> None:
    clip = make_clip(clips / "two-seconds.mp4", seconds=2, bframes=2)
    jobs = [camera("file", clip.as_uri()), camera("gone", "file:///nowhere/clip.mp4")]
    with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
        recorder.wait_for(SegmentClosed, 15, count=2)
        recorder.wait_for(CameraChanged, 5, camera="gone", fault=CameraFault.NOT_FOUND)
        recorder.wait_for(CameraStats, 8, camera="file")
        assert recorder.stop() == 0
    segments = lab.segments("file")
    assert all(before.end_us == after.start_us for before, after in pairwise(segments))
    assert 3_500_000 < (segments[1].end_us or 0) - segments[0].start_us < 9_000_000
    stats = [message for message in recorder.of(CameraStats) if message.camera == "file"]
    assert 5 < stats[-1].fps < 16.5  # a busy machine may be late, never ahead
    for found in segments:
        assert ffprobe_complaints(lab.opened(found)) == ""
