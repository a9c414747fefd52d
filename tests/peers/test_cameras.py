"""The camera peer keeps what it promises to the tests that lean on it."""

from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.error
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.peers.cameras import CameraServer, SentFrame, compare, make_clip, nal_units, vcl_digest
from tests.peers.support import wait_until

OPTIONS = {"rtsp_transport": "tcp", "probesize": "200000", "analyzeduration": "500000"}


@dataclass
class Viewer:
    """libav as a client in a thread of its own: the digests of what it got, and how it ended."""

    url: str
    codec: str = "h264"
    digests: list[str] = field(default_factory=list)
    error: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    leave: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Viewer:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave.set()
        self._thread.join(30)

    def got(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.digests) >= count or self.ended.is_set()

    def _watch(self) -> None:
        try:
            with av.open(self.url, options=OPTIONS, timeout=8) as container:
                for packet in container.demux(video=0):
                    if packet.size:
                        self.digests.append(vcl_digest(bytes(packet), self.codec))
                    if self.leave.is_set():
                        return
        except av.error.FFmpegError as error:
            self.error = str(error)
        finally:
            self.ended.set()


def test_everything_a_viewer_gets_was_logged_as_sent_in_both_codecs_at_once(camera_server: CameraServer) -> None:
    with (
        Viewer(camera_server.url("/main")) as main,
        Viewer(camera_server.url("/main")) as second,
        Viewer(camera_server.url("/hevc"), "h265") as hevc,
    ):
        wait_until(main.got(45), 20, "three seconds of H.264")
        wait_until(second.got(45), 20, "three seconds of H.264 for another viewer")
        wait_until(hevc.got(45), 20, "three seconds of H.265")
    for mount, viewer in (("/main", main), ("/main", second), ("/hevc", hevc)):
        result = compare(camera_server.sent(mount), viewer.digests)
        assert (result.missing, result.foreign) == ([], []), mount
        assert result.first is not None
    assert camera_server.clients_seen == 3


def test_units_leave_at_the_clips_pace_with_wall_clock_times(camera_server: CameraServer) -> None:
    with Viewer(camera_server.url("/main")):
        wait_until(lambda: len(camera_server.sent("/main")) > 45, 20, "three seconds sent")
    sent = camera_server.sent("/main")[:46]
    assert [frame.index for frame in sent] == list(range(46))
    assert 2.8 < (sent[-1].utc_us_pushed - sent[0].utc_us_pushed) / 1e6 < 3.4
    assert [frame.index for frame in sent if frame.keyframe] == [0, 15, 30, 45]


def test_a_clip_loops_with_timestamps_that_only_grow(clips: Path, tmp_path: Path) -> None:
    short = make_clip(clips / "short.mp4", seconds=1, fps=20, gop=10)
    stamps: list[int] = []
    with (
        CameraServer({"/x": short}, folder=tmp_path) as server,
        av.open(server.url("/x"), options=OPTIONS, timeout=8) as container,
    ):
        for packet in container.demux(video=0):
            if packet.pts is not None:
                stamps.append(packet.pts)
            if len(stamps) == 50:
                break
    steps = {later - earlier for earlier, later in itertools.pairwise(stamps)}
    assert steps == {90_000 // 20}


def test_ffprobe_reads_the_stream(camera_server: CameraServer) -> None:
    asked = "stream=codec_name,width,height,r_frame_rate"
    command = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", asked, "-of", "csv=p=0"]
    found = subprocess.run(
        [*command, camera_server.url("/hevc")], capture_output=True, text=True, timeout=40, check=True
    )
    assert found.stdout.split() == ["hevc,640,360,15/1"]


@pytest.mark.parametrize(("login", "welcome"), [(("eye", "s3cret"), True), (("eye", "wrong"), False), (None, False)])
def test_digest_login(street_h264: Path, tmp_path: Path, login: tuple[str, str] | None, welcome: bool) -> None:
    with CameraServer({"/main": street_h264}, login=("eye", "s3cret"), folder=tmp_path) as server:
        url = server.url("/main", login, with_login=False)
        with Viewer(url) as viewer:
            wait_until(viewer.got(5), 20, "pictures or a refusal")
        assert bool(viewer.digests) is welcome
        assert welcome or "401" in str(viewer.error)


def test_a_stalled_camera_sends_nothing_and_goes_on_at_a_keyframe(camera_server: CameraServer) -> None:
    with Viewer(camera_server.url("/main")) as viewer:
        wait_until(viewer.got(10), 20, "pictures")
        camera_server.stall("/main")
        wait_until(_quiet(camera_server, "/main"), 30, "half a second without a picture")
        before = len(camera_server.sent("/main"))
        camera_server.resume("/main")
        wait_until(viewer.got(before + 10), 30, "pictures after the stall")
    sent = camera_server.sent("/main")
    assert sent[before].keyframe
    assert sent[before].utc_us_pushed - sent[before - 1].utc_us_pushed > 500_000
    result = compare(sent, viewer.digests)
    assert (result.missing, result.foreign) == ([], [])


def test_dropped_viewers_may_come_back(camera_server: CameraServer) -> None:
    with Viewer(camera_server.url("/main")) as viewer:
        wait_until(viewer.got(5), 20, "pictures")
        camera_server.drop_clients()
        assert viewer.ended.wait(10)
    with Viewer(camera_server.url("/main")) as again:
        wait_until(again.got(5), 20, "pictures again")
    assert again.error is None
    result = compare(camera_server.sent("/main"), viewer.digests + again.digests)
    assert result.foreign == []


def test_a_killed_camera_comes_back_on_the_same_port(camera_server: CameraServer) -> None:
    port = camera_server.port
    with Viewer(camera_server.url("/main")) as viewer:
        wait_until(viewer.got(5), 20, "pictures")
        camera_server.kill()
        assert viewer.ended.wait(20)
    before = len(camera_server.sent("/main"))
    camera_server.restart()
    assert camera_server.port == port
    with Viewer(camera_server.url("/main")) as again:
        wait_until(again.got(20), 20, "pictures after the restart")
    sent = camera_server.sent("/main")
    assert sent[before].index == before
    result = compare(sent[before:], again.digests)
    assert (result.missing, result.foreign) == ([], [])


def test_a_frozen_camera_keeps_its_connections_and_does_not_catch_up_in_a_burst(camera_server: CameraServer) -> None:
    with Viewer(camera_server.url("/main")) as viewer:
        wait_until(viewer.got(10), 20, "pictures")
        camera_server.freeze()
        wait_until(_quiet(camera_server, "/main", 2_000_000), 30, "two seconds without a picture")
        before = len(camera_server.sent("/main"))
        camera_server.thaw()
        wait_until(viewer.got(before + 10), 30, "pictures after the thaw")
    sent = camera_server.sent("/main")
    assert sent[before].keyframe
    assert sent[before + 8].utc_us_pushed - sent[before].utc_us_pushed > 400_000


def test_tls_and_audio(street_h264: Path, tmp_path: Path) -> None:
    with CameraServer({"/main": street_h264}, tls=_certificate(tmp_path), audio=True, folder=tmp_path) as server:
        assert server.url("/main").startswith("rtsps://")
        with av.open(server.url("/main"), options={**OPTIONS, "tls_verify": "0"}, timeout=8) as container:
            kinds = {stream.type for stream in container.streams}
            seen: set[str] = set()
            for packet in container.demux():
                seen.add(packet.stream.type)
                if seen == kinds:
                    break
    assert kinds == {"video", "audio"}


def test_a_clip_is_switched_at_a_keyframe(camera_server: CameraServer, clips: Path) -> None:
    other = make_clip(clips / "other.mp4", seconds=3, seed=7)
    digests = _clip_digests(other)
    with Viewer(camera_server.url("/main")) as viewer:
        wait_until(viewer.got(5), 20, "pictures")
        camera_server.switch("/main", other)
        wait_until(lambda: digests[1] in viewer.digests, 20, "pictures of the other clip")
    sent = camera_server.sent("/main")
    first = next(frame for frame in sent if frame.sha256 == digests[0])
    assert first.keyframe
    result = compare(sent, viewer.digests)
    assert (result.missing, result.foreign) == ([], [])


def test_a_taken_port_is_said(camera_server: CameraServer, street_h264: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="in use"),
        CameraServer({"/main": street_h264}, port=camera_server.port, folder=tmp_path),
    ):
        pass


def test_the_digest_is_the_same_in_mp4_and_annex_b(street_h264: Path, street_h265: Path) -> None:
    for clip, codec, bits in ((street_h264, "h264", "h264_mp4toannexb"), (street_h265, "h265", "hevc_mp4toannexb")):
        plain = _clip_digests(clip, codec)
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            unwrap = av.BitStreamFilterContext(bits, stream)
            packets = [new for packet in container.demux(stream) if packet.size for new in unwrap.filter(packet)]
        assert bytes(packets[0]).startswith(b"\x00\x00\x00\x01")
        assert [vcl_digest(bytes(packet), codec) for packet in packets] == plain


nal_bodies = st.lists(
    st.binary(min_size=1, max_size=600).map(lambda body: b"\x65" + _escaped(body)), min_size=1, max_size=4
)


@given(nal_bodies)
def test_nal_units_survive_both_wrappings(units: list[bytes]) -> None:
    prefixed = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    annex_b = b"".join(b"\x00\x00\x00\x01" + unit for unit in units)
    assert nal_units(prefixed) == units
    assert nal_units(annex_b) == units
    assert vcl_digest(prefixed, "h264") == vcl_digest(annex_b, "h264")


def test_an_access_unit_without_a_slice_has_no_digest() -> None:
    with pytest.raises(ValueError, match="no coded slice"):
        vcl_digest(b"\x00\x00\x00\x01\x67\x42", "h264")


def test_comparison_names_what_is_missing_and_what_is_foreign() -> None:
    sent = [SentFrame(index, 0, name, False) for index, name in enumerate("abcabdef")]
    assert compare(sent, list("abd")).missing == []
    assert compare(sent, list("abd")).first == 3
    assert [frame.sha256 for frame in compare(sent, list("df")).missing] == ["e"]
    assert compare(sent, list("dxe")).foreign == ["x"]
    assert compare(sent, list("x")).first is None


def _escaped(body: bytes) -> bytes:
    """What an encoder makes of a body: no start code inside, no zero at the end."""
    while (safe := body.replace(b"\x00\x00", b"\x00\x03")) != body:
        body = safe
    return body + b"\x80"


def _quiet(server: CameraServer, mount: str, for_us: int = 500_000) -> Callable[[], bool]:
    return lambda: time.time_ns() // 1000 - server.sent(mount)[-1].utc_us_pushed > for_us


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "camera.crt", folder / "camera.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def _clip_digests(clip: Path, codec: str = "h264") -> list[str]:
    with av.open(str(clip)) as container:
        return [vcl_digest(bytes(packet), codec) for packet in container.demux(video=0) if packet.size]
