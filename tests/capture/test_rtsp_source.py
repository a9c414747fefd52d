"""The client against real servers: GStreamer's, the demonstration's, and some that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture.job import CameraJob
from edge_agent.capture.rtsp_source import RtspSource
from edge_agent.capture.source import CameraFailed, Packet, StreamInfo
from edge_agent.capture.sources import make_source
from edge_agent.clock import US, SystemClock
from edge_agent.demo.rtp import CodedPicture, VideoFormat
from edge_agent.demo.rtsp_message import DigestLogin
from edge_agent.demo.rtsp_server import RtspServer
from edge_agent.messages import SegmentClosed
from edge_agent.model import CameraFault, CameraId
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints
from tests.capture.test_rtsp_conversation import PIECES
from tests.capture.test_rtsp_packets import pictures, sent
from tests.capture.test_rtsp_sdp import CAMERA, PPS, SPS
from tests.peers.cameras import CameraServer, compare, make_clip, vcl_digest
from tests.peers.support import free_port, wait_until

CLOCK = SystemClock()
LOGIN = ("op er", 'p@ss:"w\\rd')


def source(url: str, login: tuple[str, str] | None = None, ca_file: Path | None = None) -> RtspSource:
    name, password = login or (None, None)
    return RtspSource(
        CameraJob(CameraId("gate"), url, name, password, ca_file=str(ca_file) if ca_file else None), CLOCK
    )


def taken(client: RtspSource, count: int) -> tuple[StreamInfo, list[Packet]]:
    """What the camera says of itself and its first packets."""
    try:
        return client.open(), list(itertools.islice(client.packets(), count))
    finally:
        client.close()


def failure(client: RtspSource) -> CameraFailed:
    """How the camera fails in the end."""

    def read() -> None:
        client.open()
        for _ in client.packets():
            pass

    with pytest.raises(CameraFailed) as failed:
        read()
    client.close()
    return failed.value


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_each_picture_of_a_real_server_comes_bit_for_bit_and_in_time(
    codec: str, bframes: int, clips: Path, tmp_path: Path
) -> None:
    clip = make_clip(clips / f"native-{codec}-{bframes}.mp4", codec, bframes=bframes, slices=3, seconds=3)  # type: ignore[arg-type]
    with CameraServer({"/main": clip}, LOGIN, folder=tmp_path) as server:
        client = source(server.url("/main", with_login=False), LOGIN)
        info, packets = taken(client, 40)
        wait_until(lambda: len(server.sent("/main")) >= 40, 5, "the server has told what it sent")
        result = compare(server.sent("/main"), [vcl_digest(packet.data, codec) for packet in packets])
        wait_until(lambda: not server.clients, 5, "the connection is closed")
    assert (result.missing, result.foreign, result.last) == ([], [], 39)
    assert (info.video.width, info.video.height, info.note) == (640, 360, "")
    assert packets[0].keyframe
    assert [packet.keyframe for packet in packets].count(True) == 3
    assert {abs(b - a) for a, b in itertools.pairwise(sorted(p.pts or 0 for p in packets[:30]))} <= {5999, 6000, 6001}
    decode = [packet.dts for packet in packets if packet.dts is not None]
    assert all(before < after for before, after in itertools.pairwise(decode))
    assert all(packet.dts is None or packet.dts <= (packet.pts or 0) for packet in packets)
    assert len(packets) - len(decode) == (2 if bframes else 0)
    assert (client.lost_packets, client.damaged) == (0, 0)


def test_the_clock_of_a_real_server_is_heard_and_it_is_told_that_somebody_listens(
    street_h264: Path, tmp_path: Path
) -> None:
    with CameraServer({"/main": street_h264}, folder=tmp_path) as server:
        client = source(server.url("/main"))
        client.open()
        packets = itertools.takewhile(lambda _: client.sender_report is None, client.packets())
        assert sum(1 for _ in itertools.islice(packets, 150)) < 150
        client.close()
    report = client.sender_report
    assert report is not None
    assert abs(report.offset_us) < US


def test_each_way_of_not_getting_a_picture_has_its_word_and_no_secret_shows(street_h264: Path, tmp_path: Path) -> None:
    with CameraServer({"/main": street_h264}, LOGIN, folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        failures = {
            CameraFault.LOGIN: failure(source(url, ("op er", "wr0ng"))),
            CameraFault.NOT_FOUND: failure(source(url.replace("main", "s3cret"), LOGIN)),
            CameraFault.UNREACHABLE: failure(source(f"rtsp://u:wr0ng@127.0.0.1:{free_port()}/s3cret")),
            CameraFault.BROKEN: failure(source("rtsp://u:wr0ng@[/s3cret")),
        }
        assert failure(source(url)).fault is CameraFault.LOGIN
    for fault, failed in failures.items():
        assert failed.fault is fault
        assert not any(secret in str(failed) for secret in ("wr0ng", "s3cret", *LOGIN))


def test_a_camera_that_goes_and_comes_again_is_closed_and_then_read_anew(street_h264: Path, tmp_path: Path) -> None:
    with CameraServer({"/main": street_h264}, folder=tmp_path) as server:
        client = source(server.url("/main"))
        client.open()
        packets = client.packets()
        next(packets)
        server.kill()
        with pytest.raises(CameraFailed) as failed:
            list(packets)
        client.close()
        assert failed.value.fault is CameraFault.CLOSED
        server.restart()
        assert len(taken(source(server.url("/main")), 5)[1]) == 5


def test_a_camera_that_stands_still_is_given_up(street_h264: Path, tmp_path: Path) -> None:
    with CameraServer({"/main": street_h264}, folder=tmp_path) as server:
        client = source(server.url("/main"))
        client.open()
        packets = client.packets()
        next(packets)
        server.stall("/main")
        with pytest.raises(CameraFailed) as failed:
            list(packets)
        client.close()
    assert failed.value.fault is CameraFault.STALLED


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("some-camera")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "camera.pem", folder / "camera.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_an_encrypted_camera_is_read_only_when_its_certificate_is_trusted(street_h264: Path, tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    with CameraServer({"/main": street_h264}, LOGIN, tls=tls, folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        _, packets = taken(source(url, LOGIN, ca_file=tls[0]), 20)
        result = compare(server.sent("/main"), [vcl_digest(packet.data, "h264") for packet in packets])
        assert (result.missing, result.foreign) == ([], [])
        failed = failure(source(url, LOGIN))
        assert failed.fault is CameraFault.UNREACHABLE
        assert "certificate that is not trusted" in str(failed)


def test_the_demonstrations_camera_is_read_with_its_login_and_its_clock() -> None:
    units = pictures(20)
    started = threading.Event()
    address: list[str] = []

    async def play() -> None:
        login = DigestLogin("me", "secret")
        async with asyncio.timeout(20), RtspServer({"/main": VideoFormat(SPS, PPS, 25)}, login=login) as server:
            address.append(server.url("/main"))
            started.set()
            while not server.viewers("/main"):
                await asyncio.sleep(0.01)
            for number, unit in enumerate(units):
                server.publish("/main", CodedPicture(unit, 3600 * number, CLOCK.utc_us()))
            while server.viewers("/main"):
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(play()))
    thread.start()
    assert started.wait(10)
    found = source(address[0].replace("//me:secret@", "//"), ("me", "secret"))
    _, packets = taken(found, 15)
    thread.join(20)
    assert [vcl_digest(packet.data, "h264") for packet in packets] == [
        vcl_digest(b"".join(b"\0\0\0\1" + piece for piece in unit), "h264") for unit in units[:15]
    ]
    assert found.sender_report is not None
    assert abs(found.sender_report.offset_us) < US


@contextlib.contextmanager
def speaker(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection at a time that does whatever `serve` does; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/s3cret"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=60), max_size=10))
def test_whatever_a_server_says_is_a_reason_to_give_up_and_nothing_worse(pieces: list[bytes]) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"".join(pieces))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    with speaker(serve) as url:
        failed = failure(source(url, ("a", "b")))
    assert "s3cret" not in str(failed)


def test_a_camera_that_sends_without_end_but_no_picture_does_not_fill_the_memory() -> None:
    def serve(connection: socket.socket) -> None:
        while True:
            connection.sendall((b"$\0\xff\xff" + bytes(65_535)) * 8)

    with speaker(serve) as url:
        failed = failure(source(url))
    assert (failed.fault, "very much" in str(failed)) == (CameraFault.BROKEN, True)


def test_a_camera_that_sends_viewers_round_in_circles_is_given_up() -> None:
    def serve(connection: socket.socket) -> None:
        port = connection.getsockname()[1]
        connection.recv(4096)
        connection.sendall(f"RTSP/1.0 302 X\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:{port}/\r\n\r\n".encode())

    with speaker(serve) as url:
        failed = failure(source(url))
    assert failed.fault is CameraFault.BROKEN
    assert "circles" in str(failed)


def test_a_picture_whose_size_stands_only_in_the_stream_is_found_there() -> None:
    body = "\n".join(line for line in CAMERA.splitlines() if not line.startswith("a=fmtp:96")).encode()

    def serve(connection: socket.socket) -> None:
        for cseq in range(1, 5):
            connection.recv(4096)
            head = f"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\nTransport: RTP/AVP/TCP\r\n"
            about = body if cseq == 2 else b""
            connection.sendall(f"{head}Content-Length: {len(about)}\r\n\r\n".encode() + about)
        units = [(b"\x41\x9a\x02",), (b"\x41\x9a\x03",), *pictures(10)]
        from tests.capture.test_rtsp_packets import flat

        for packet in flat(sent(units)):
            connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
        while connection.recv(4096):
            pass

    with speaker(serve) as url:
        info, packets = taken(source(url), 5)
    assert (info.video.width, info.video.height, info.video.extradata) == (640, 360, b"")
    assert packets[0].keyframe


def test_sound_is_recorded_beside_the_picture_when_it_is_asked_for(lab: Lab, street_h264: Path) -> None:
    with CameraServer({"/main": street_h264}, audio="aac", folder=lab.folder) as server:
        job = lab.job(camera("gate", server.url("/main"), audio=True), segment_s=3)
        with RecorderProcess(job, lab.folder) as recorder:
            recorder.wait_for(SegmentClosed, 20, count=2)
            assert recorder.stop() == 0
        result = compare(server.sent("/main"), lab.digests("gate"))
    assert (result.missing, result.foreign) == ([], [])
    whole = lab.opened(lab.segments("gate")[1])
    assert ffprobe_complaints(whole) == ""
    with av.open(str(whole)) as movie:
        sound = movie.streams.audio[0]
        assert (sound.codec_context.name, sound.codec_context.sample_rate) == ("aac", 16_000)
        seconds = sum(frame.samples for frame in movie.decode(sound)) / 16_000
    assert abs(seconds - 3) < 0.3


def test_pictures_that_packets_were_lost_of_are_counted_in_the_segment(lab: Lab) -> None:
    by_picture = sent(pictures(40))
    del by_picture[23:25]
    assert len(by_picture[30]) > 2
    del by_picture[30][1]

    def serve(connection: socket.socket) -> None:
        for cseq in range(1, 5):
            connection.recv(4096)
            head = f"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\nTransport: RTP/AVP/TCP\r\n"
            about = CAMERA.encode() if cseq == 2 else b""
            connection.sendall(f"{head}Content-Length: {len(about)}\r\n\r\n".encode() + about)
        for packet in (packet for packets in by_picture for packet in packets):
            connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
        while connection.recv(4096):
            pass

    with speaker(serve) as url, RecorderProcess(lab.job(camera("gate", url), segment_s=60), lab.folder) as recorder:
        (closed, *_) = recorder.wait_for(SegmentClosed, 20)
    assert closed.segment.damaged == 3


def test_rtsp_is_read_without_libav() -> None:
    code = (
        "import sys, edge_agent.capture.recorder\n"
        "from edge_agent.capture.sources import make_source\n"
        "from edge_agent.capture.job import CameraJob\n"
        "from edge_agent.clock import SystemClock\n"
        "make_source(CameraJob('gate', 'rtsp://127.0.0.1/'), SystemClock())\n"
        "assert 'av' not in sys.modules\n"
        "make_source(CameraJob('clip', 'file:///x.mp4'), SystemClock())\n"
        "assert 'av' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert isinstance(make_source(CameraJob(CameraId("x"), "RTSPS://127.0.0.1/"), CLOCK), RtspSource)
