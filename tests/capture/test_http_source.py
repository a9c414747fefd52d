"""Cameras over HTTP, devices and odd files: taken through libav, with logins and deadlines of our own."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer.export import plan_clip, write_clip
from edge_agent.buffer.mp4_read import read_fragments
from edge_agent.capture import http_stream, jpeg, pyav_source
from edge_agent.capture.decoder import Decoder
from edge_agent.capture.job import CameraJob
from edge_agent.capture.pyav_source import PyAvSource
from edge_agent.capture.source import CameraFailed, Packet, StreamInfo
from edge_agent.clock import SystemClock
from edge_agent.messages import CameraChanged, SegmentClosed, SegmentOpened
from edge_agent.model import CameraFault, CameraId, CameraState, GapCause, Interval, Segment
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints, frame_digests
from tests.capture.test_rtsp_source import certificate
from tests.peers.cameras import make_clip
from tests.peers.http_camera import FfmpegCamera, HttpCamera, street_jpegs
from tests.peers.support import free_port

CLOCK = SystemClock()
LOGIN = ("op er", 'p@ss:"w\\rd')


def source(
    url: str, login: tuple[str, str] | None = None, *, basic: bool = False, ca: Path | None = None
) -> PyAvSource:
    name, password = login or (None, None)
    return PyAvSource(
        CameraJob(CameraId("gate"), url, name, password, basic=basic, ca_file=str(ca) if ca else None), CLOCK
    )


def taken(client: PyAvSource, count: int) -> tuple[StreamInfo, list[Packet]]:
    try:
        return client.open(), list(itertools.islice(client.packets(), count))
    finally:
        client.close()


def failure(client: PyAvSource) -> CameraFailed:
    def read() -> None:
        client.open()
        for _ in client.packets():
            pass

    with pytest.raises(CameraFailed) as failed:
        read()
    client.close()
    return failed.value


@dataclass(frozen=True, slots=True)
class OpenedSegment:
    """A segment and its plain MP4, as a clip is cut from it."""

    segment: Segment
    plain: Path

    def open(self) -> BinaryIO:
        return self.plain.open("rb")


@pytest.fixture(scope="module")
def street() -> list[bytes]:
    return street_jpegs()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., FfmpegCamera]]:
    """Starts an ffmpeg that serves a clip over HTTP."""
    with contextlib.ExitStack() as ends:

        def start(clip: Path, form: str, sound: bool = False) -> FfmpegCamera:
            made = FfmpegCamera(clip, free_port(), form, tmp_path, sound)  # type: ignore[arg-type]
            ends.callback(made.end)
            made.start()
            return made

        yield start


# ---- recorded


def test_a_camera_that_sends_mpeg_ts_over_http_is_recorded_and_again_after_its_restart(
    lab: Lab, clips: Path, serving: Callable[..., FfmpegCamera]
) -> None:
    clip = make_clip(clips / "http-ts.mp4", seconds=6, bframes=2)
    sent = frame_digests(clip)
    served = serving(clip, "mpegts")
    with RecorderProcess(lab.job(camera("gate", served.url), segment_s=2), lab.folder) as recorder:
        recorder.wait_for(SegmentClosed, 20, count=2)
        served.end()
        recorder.wait_for(CameraChanged, 8, state=CameraState.LOST)
        before = len(lab.segments("gate"))
        served.start()
        again = recorder.wait_for(SegmentOpened, 25, lost=GapCause.CAMERA)
        assert "closed the connection" in again[0].evidence
        recorder.wait_for(SegmentClosed, 15, count=before + 1)
        assert recorder.stop() == 0
    segments = lab.segments("gate")
    for part in (segments[:before], segments[before:]):
        recorded = [digest for found in part for digest in frame_digests(lab.opened(found))]
        start = sent.index(recorded[0])
        assert recorded == [sent[(start + number) % len(sent)] for number in range(len(recorded))]
        assert all(one.end_us == other.start_us for one, other in pairwise(part))
    for found in segments:
        assert found.closed
        assert ffprobe_complaints(lab.opened(found)) == ""


def test_a_camera_that_sends_jpeg_pictures_is_recorded_as_it_comes(lab: Lab, street: list[bytes]) -> None:
    with HttpCamera(street, login=LOGIN) as served:
        job = camera("gate", served.url, username=LOGIN[0], password=LOGIN[1])
        with RecorderProcess(lab.job(job, segment_s=2), lab.folder) as recorder:
            recorder.wait_for(SegmentClosed, 20, count=2)
            assert recorder.stop() == 0
    recorded = []
    for found in lab.segments("gate"):
        opened = lab.opened(found)
        assert ffprobe_complaints(opened) == ""
        with opened.open("rb") as file:
            (track,) = read_fragments(file).tracks
        assert all(track.samples.sync)
        with av.open(str(opened)) as movie:
            assert (movie.streams.video[0].codec_context.name, movie.streams.video[0].width) == ("mjpeg", 320)
            recorded += [bytes(packet) for packet in movie.demux(video=0) if packet.size]
    told = [message.segment for message in recorder.closed]
    sources = [OpenedSegment(segment, lab.folder / f"{Path(segment.path).name}.mp4") for segment in told]
    clip = lab.folder / "clip.mp4"
    with clip.open("wb") as sink:
        write_clip(plan_clip(sources, Interval(told[0].start_us, told[1].end_us)), sink)
    assert ffprobe_complaints(clip) == ""
    assert len(recorded) > 55
    assert recorded == served.sent[: len(recorded)]
    assert all(one.end_us == other.start_us for one, other in pairwise(lab.segments("gate")))


def test_the_sound_of_mpeg_ts_is_recorded_beside_its_picture(
    lab: Lab, clips: Path, serving: Callable[..., FfmpegCamera]
) -> None:
    served = serving(make_clip(clips / "http-ts.mp4", seconds=6, bframes=2), "mpegts", sound=True)
    with RecorderProcess(lab.job(camera("gate", served.url, audio=True), segment_s=2), lab.folder) as recorder:
        recorder.wait_for(SegmentClosed, 20, count=2)
        assert recorder.stop() == 0
    opened = lab.opened(lab.segments("gate")[1])
    assert ffprobe_complaints(opened) == ""
    with av.open(str(opened)) as movie:
        sound = movie.streams.audio[0]
        assert (sound.codec_context.sample_rate, sound.codec_context.channels) == (48_000, 2)
        seconds = sum(frame.samples for frame in movie.decode(sound)) / 48_000
    assert abs(seconds - 2) < 0.3


def test_jpeg_pictures_of_another_size_begin_a_new_file(lab: Lab, street: list[bytes]) -> None:
    with HttpCamera([*street[:20], *street_jpegs(20, (160, 120))]) as served:
        with RecorderProcess(lab.job(camera("gate", served.url), segment_s=60), lab.folder) as recorder:
            recorder.wait_for(SegmentOpened, 20, count=3)
            assert recorder.stop() == 0
        sizes = []
        for found in lab.segments("gate"):
            with av.open(str(lab.opened(found))) as movie:
                sizes.append(movie.streams.video[0].width)
    assert sizes[:3] == [320, 160, 320]


# ---- taken


@pytest.mark.parametrize("form", ["mpegts", "mp4", "mpjpeg"])
def test_what_ffmpeg_serves_is_taken_picture_by_picture(
    form: str, clips: Path, serving: Callable[..., FfmpegCamera]
) -> None:
    clip = make_clip(clips / f"http-{form}.mp4", "h265" if form == "mp4" else "h264", seconds=2)
    info, packets = taken(source(serving(clip, form).url), 20)
    assert info.video.codec == {"mpegts": "h264", "mp4": "hevc", "mpjpeg": "mjpeg"}[form]
    assert (info.video.width, info.video.height) == (640, 360)
    assert packets[0].keyframe
    decoder = Decoder(info.video.codec, info.video.extradata)
    shown = sum(len(decoder.decode(packet)) for packet in packets)
    assert (shown >= 15, decoder.errors) == (True, 0)


@pytest.mark.parametrize("lengths", [True, False], ids=["sized", "unsized"])
def test_each_jpeg_picture_comes_whole_and_at_its_time(street: list[bytes], lengths: bool) -> None:
    with HttpCamera(street, lengths=lengths) as served:
        info, packets = taken(source(served.url), 20)
        assert [packet.data for packet in packets] == served.sent[:20]
    assert (info.video.width, info.video.height) == (320, 240)
    assert all(packet.keyframe for packet in packets)
    steps = [(after.pts or 0) - (before.pts or 0) for before, after in pairwise(packets)]
    assert min(steps) > 0
    assert abs(sum(steps) / len(steps) / 90_000 - 1 / 15) < 0.03


@pytest.mark.parametrize("kind", ["MD5", "SHA-256"])
def test_a_digest_login_is_answered_and_the_password_never_sent(kind: str, street: list[bytes]) -> None:
    with HttpCamera(street, login=LOGIN, kinds=["basic", kind]) as served:  # type: ignore[list-item]
        client = source(served.url, LOGIN)
        taken(client, 2)
        assert failure(source(served.url, ("op er", "wr0ng"))).fault is CameraFault.LOGIN
        assert failure(source(served.url)).fault is CameraFault.LOGIN
        assert all(header.startswith("Digest ") for header in served.heard)
    assert (client.told.logins, client.told.server) == (("Basic", f"Digest {kind}"), "StreetCam/2.1")


def test_a_readable_login_is_given_only_over_tls_or_when_it_is_allowed(street: list[bytes], tmp_path: Path) -> None:
    with HttpCamera(street, login=LOGIN, kinds=["basic"]) as served:
        failed = failure(source(served.url, LOGIN))
        assert (failed.fault, served.heard) == (CameraFault.LOGIN, [])
        assert "https://" in str(failed)
        taken(source(served.url, LOGIN, basic=True), 2)
    tls = certificate(tmp_path)
    with HttpCamera(street, login=LOGIN, kinds=["basic"], tls=tls) as served:
        failed = failure(source(served.url, LOGIN))
        assert "certificate that is not trusted" in str(failed)
        assert served.heard == []
        taken(source(served.url, LOGIN, ca=tls[0]), 2)


# ---- refused


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("answer", "fault", "words"),
    [
        (answering(403), CameraFault.LOGIN, "check username and password"),
        (answering(404), CameraFault.NOT_FOUND, "check the URL's path"),
        (answering(302, Location="https://me:s3cret@192.0.2.9/s3cret"), CameraFault.BROKEN, "https://192.0.2.9:"),
        (answering(302, Location="/s3cret"), CameraFault.BROKEN, "another path"),
        (answering(503), CameraFault.BROKEN, "too many viewers"),
        (answering(500), CameraFault.BROKEN, "restart the camera"),
        (answering(204), CameraFault.BROKEN, "status 204"),
        (answering(200, b"<html>", Content_Type="text/html"), CameraFault.NO_VIDEO, "a page"),
        (answering(200, b"\xff\xd8", Content_Type="image/jpeg"), CameraFault.NO_VIDEO, "a single picture"),
        (answering(200, b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n"), CameraFault.BROKEN, ""),
        (answering(200, b"x" * 999, Content_Type="video/mp2t"), CameraFault.CLOSED, "closed the connection"),
        (answering(200, b"x" * 999, Content_Type="video/mp4"), CameraFault.BROKEN, "no camera stream"),
        (answering(200, b"garbage\r\n", Content_Type="multipart/x-mixed-replace"), CameraFault.BROKEN, ""),
        (lambda handler: handler.wfile.write(b"RTSP/1.0 200 OK\r\n\r\n") and None, CameraFault.BROKEN, "speak HTTP"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_stream_has_its_words_and_shows_no_secret(
    answer: Callable[[BaseHTTPRequestHandler], None], fault: CameraFault, words: str
) -> None:
    with HttpCamera(answer=answer) as served:
        failed = failure(source(served.url.replace("video.cgi", "s3cret"), ("a", "s3cret")))
    assert failed.fault is fault, str(failed)
    assert words in str(failed)
    assert "s3cret" not in str(failed)


def test_pictures_in_another_codec_are_refused_with_the_remedy(tmp_path: Path) -> None:
    clip = tmp_path / "old.ts"
    made = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=160x120", "-c:v", "mpeg2video", str(clip)]
    subprocess.run(made, check=True)
    with HttpCamera(answer=answering(200, clip.read_bytes(), Content_Type="video/mp2t")) as served:
        failed = failure(source(served.url))
    assert "sends mpeg2video: set the camera to H.264, H.265 or MJPEG" in str(failed)


def test_a_camera_that_stands_still_is_given_up(street: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav_source, "READ_S", 0.7)
    with HttpCamera(street) as served:
        client = source(served.url)
        client.open()
        packets = client.packets()
        next(packets)
        served.running.clear()
        with pytest.raises(CameraFailed) as failed:
            list(packets)
        client.close()
    assert failed.value.fault is CameraFault.STALLED


def trickle(handler: BaseHTTPRequestHandler) -> None:
    answering(200, Content_Type="multipart/x-mixed-replace")(handler)
    while True:
        handler.wfile.write(b"-")
        time.sleep(0.05)


def trickle_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
    while True:
        handler.wfile.write(b"-")
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [trickle, trickle_head])
def test_a_camera_that_only_dribbles_is_given_up(
    answer: Callable[[BaseHTTPRequestHandler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyav_source, "OPEN_S", 1.0)
    with HttpCamera(answer=answer) as served:
        began = time.monotonic()
        failed = failure(source(served.url))
        assert time.monotonic() - began < 3
    assert failed.fault in (CameraFault.STALLED, CameraFault.UNREACHABLE, CameraFault.BROKEN)


def test_a_picture_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def flood(handler: BaseHTTPRequestHandler) -> None:
        answering(200, Content_Type="multipart/x-mixed-replace")(handler)
        handler.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8")
        while True:
            handler.wfile.write(bytes(1 << 16))

    monkeypatch.setattr(http_stream, "MAX_WAIT_BYTES", 4 << 20)
    with HttpCamera(answer=flood) as served:
        failed = failure(source(served.url))
    assert "very much" in str(failed)


@pytest.mark.parametrize(
    ("url", "fault", "words"),
    [
        ("v4l2:/dev/video77", CameraFault.NOT_FOUND, "/dev/video77 does not exist"),
        ("file:///dev/video77", CameraFault.NOT_FOUND, "/dev/video77 does not exist"),
        ("v4l2:/dev/null", CameraFault.NOT_FOUND, "no video device"),
        ("v4l2:/etc/hostname", CameraFault.NOT_FOUND, "no video device"),
        ("file:///etc/hostname", CameraFault.BROKEN, "no camera stream"),
        ("file:///nowhere.mp4", CameraFault.NOT_FOUND, "does not exist"),
        ("ftp://127.0.0.1/", CameraFault.BROKEN, "check it"),
        ("http://127.0.0.1:1/", CameraFault.UNREACHABLE, "connection refused"),
    ],
)
def test_what_cannot_be_had_says_why(url: str, fault: CameraFault, words: str) -> None:
    failed = failure(source(url))
    assert failed.fault is fault
    assert words in str(failed)


# ---- JPEG


def test_the_size_of_a_jpeg_picture_is_read_as_its_encoder_meant_it() -> None:
    assert jpeg.size(street_jpegs(1, (336, 192))[0]) == jpeg.JpegSize(336, 192)


@given(st.binary(max_size=200), st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_garbage_is_no_jpeg_picture(garbage: bytes, cut: int) -> None:
    picture = _PICTURE[:cut] + garbage
    try:
        found = jpeg.size(picture)
    except ValueError:
        return
    assert found.complete


_PICTURE = street_jpegs(1, (64, 48))[0]
