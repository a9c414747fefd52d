"""What a look at a camera says of it: measures, remedies, and lines for the configuration, as values."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import nal
from edge_agent.capture.certificate import Certificate
from edge_agent.capture.job import CameraJob
from edge_agent.capture.meter import Measured, Meter
from edge_agent.capture.probe import Report, notes, remedies, shown, toml, without_login
from edge_agent.capture.source import VIDEO, CameraFailed, Packet, StreamInfo, VideoTrack
from edge_agent.capture.told import Told, fit
from edge_agent.clock import US
from edge_agent.model import CameraFault, CameraId
from tests.capture.test_fmp4 import encoded

NOW_US = 1_795_366_379_000_000
GOOD = Measured(
    codec="H.264",
    profile="High",
    level="4.0",
    width=1920,
    height=1080,
    pictures=250,
    damaged=0,
    seconds=10,
    fps=25,
    bitrate_bps=4_000_000,
    keyframes=5,
    keyframe_interval_s=2,
    keyframe_interval_frames=50,
    keyframe_interval_longest_s=2,
    b_frames=False,
    sets_in_band=True,
    sets_known=True,
)
CERTIFICATE = Certificate("TLSv1.3", False, "self-signed certificate", "CN=x", "CN=x", NOW_US * 2, "AB:CD", "PEM")


def report(url: str = "rtsp://camera/main", username: str | None = None, **more: object) -> Report:
    job = CameraJob(CameraId("gate"), url, username, basic=bool(more.pop("basic", False)))
    return replace(Report(job, 10, NOW_US, measured=GOOD), **more)  # type: ignore[arg-type]


def measured(codec: str, packets: list[tuple[bytes, bool, int | None, int | None]]) -> Measured:
    meter = Meter(StreamInfo(VideoTrack(codec, Fraction(1, 90_000), 64, 48, b"")))  # type: ignore[arg-type]
    for number, (data, key, pts, dts) in enumerate(packets):
        meter.put(Packet(VIDEO, data, pts, dts, 0, key, NOW_US, 100 + number / 10))
    return meter.measured()


@pytest.mark.parametrize(
    ("encoder", "options", "codec", "profile", "level"),
    [
        ("libx264", {"profile": "baseline", "level": "3.1"}, "h264", "Constrained Baseline", "3.1"),
        ("libx264", {"profile": "main", "level": "1b"}, "h264", "Main", "1b"),
        ("libx264", {"profile": "high", "level": "5.2"}, "h264", "High", "5.2"),
        ("libx265", {"x265-params": "log-level=none:level-idc=40:high-tier=0"}, "hevc", "Main", "4.0"),
        ("libx265", {"x265-params": "log-level=none:level-idc=41:high-tier=1"}, "hevc", "Main, high tier", "4.1"),
    ],
)
def test_profile_and_level_are_those_that_the_encoder_was_told(
    encoder: str, options: dict[str, str], codec: str, profile: str, level: str
) -> None:
    pictures = encoded(encoder, (64, 48), {"preset": "fast", **options})
    found = measured(codec, [(nal.length_prefixed(nal.split(bytes(pictures[0]))), True, 0, 0)])
    assert (found.profile, found.level, found.sets_in_band, found.sets_known) == (profile, level, True, True)


def test_pace_and_keyframes_are_measured_by_the_cameras_own_clock() -> None:
    found = measured(
        "mjpeg", [(b"\xff\xd8" + bytes(998), number % 20 == 0, number * 4500, None) for number in range(61)]
    )
    assert (found.fps, found.seconds, found.bitrate_bps) == (20, 3.05, 160_000)
    assert (found.keyframes, found.keyframe_interval_s, found.keyframe_interval_frames) == (4, 1, 20)
    assert not found.b_frames


def test_pictures_that_come_before_they_are_shown_are_seen() -> None:
    order = [0, 3, 1, 2, 6, 4, 5]
    found = measured("h264", [(b"", False, pts * 3600, place * 3600) for place, pts in enumerate(order)])
    assert (found.b_frames, found.fps) == (True, 25)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.booleans(), st.none() | st.integers(-(2**40), 2**40))))
def test_whatever_comes_is_measured(stream: list[tuple[bytes, bool, int | None]]) -> None:
    for codec in ("h264", "hevc", "mjpeg"):
        packets = [(nal.length_prefixed([data]), key, ticks, ticks) for data, key, ticks in stream]
        assert measured(codec, packets).pictures == len(stream)


def test_a_good_camera_leaves_nothing_to_say() -> None:
    assert (notes(report()), remedies(report())) == ([], [])


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (report(measured=replace(GOOD, keyframe_interval_longest_s=20.0)), "20 s apart"),
        (report(measured=replace(GOOD, keyframes=0)), "look longer"),
        (report(measured=replace(GOOD, sets_known=False)), "parameter sets never came"),
        (report(measured=replace(GOOD, damaged=3), lost_packets=5), "5 packets were lost and 3 pictures damaged"),
        (report(clock_offset_us=-6 * US), "time server"),
        (report(told=Told(sound="pcma, 8000 Hz")), "set the camera to AAC"),
        (report(told=Told(login="Basic")), "can read the password"),
        (report(certificate=replace(CERTIFICATE, valid_until_us=NOW_US + 86_400 * US)), "ends soon"),
    ],
)
def test_what_should_be_changed_is_noted(found: Report, words: str) -> None:
    assert any(words in note for note in notes(found))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (report(failure=CameraFailed(CameraFault.LOGIN, "")), "--username"),
        (report(username="me", told=Told(logins=("Basic",)), failure=CameraFailed(CameraFault.LOGIN, "")), "--basic"),
        (report(certificate=CERTIFICATE, failure=CameraFailed(CameraFault.UNREACHABLE, "")), "--save-certificate"),
        (report(failure=CameraFailed(CameraFault.UNREACHABLE, "")), "power"),
    ],
)
def test_each_refusal_that_can_be_remedied_says_how(found: Report, words: str) -> None:
    assert any(words in remedy for remedy in remedies(found))


def test_secrets_in_a_url_are_not_shown() -> None:
    assert shown("rtsp://me:pa@ss@h:5/a?user=x&password=b@d&n=1") == "rtsp://h:5/a?user=x&password=…&n=1"
    assert shown("rtsp://h/user=admin&password=tlJw&channel=1") == "rtsp://h/user=admin&password=…&channel=1"
    assert shown("http://h/cgi?Pwd=1&stream=key") == "http://h/cgi?Pwd=…&stream=key"
    assert without_login("rtsp://op%20er:p%40ss@h/x") == ("rtsp://h/x", "op er", "p@ss")


@given(st.text(min_size=1, max_size=40), st.text(max_size=40), st.booleans())
def test_the_lines_for_the_configuration_say_what_was_probed(name: str, path: str, basic: bool) -> None:
    url = "v4l2:/dev/" + path.replace("=", "").replace("\n", "").replace("\r", "").replace("\t", "")
    try:
        bare = shown(url)
        lines = toml(report(url, name, basic=basic), "gate")
    except ValueError:
        return
    (camera,) = tomllib.loads(lines)["camera"]
    assert (camera["id"], camera["url"], camera["username"]) == ("gate", bare, name)
    assert camera.get("basic_login", False) is basic


def test_a_strangers_words_cannot_write_to_the_terminal() -> None:
    assert fit("Cam\x1b[2J\r\n1.0 " + "x" * 200) == "Cam[2J1.0 " + "x" * 70
    assert fit(None) == ""
