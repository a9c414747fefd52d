"""The talk with a camera, without a socket: what is asked, and what its answers come to."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.rtsp import Address, Conversation, Redirected, Stage, login_of
from edge_agent.capture.rtsp_login import Login
from edge_agent.capture.source import CameraFailed
from edge_agent.model import CameraFault
from tests.capture.test_rtsp_sdp import CAMERA

URL = "rtsp://cam.example/live?channel=1"
DIGEST = 'WWW-Authenticate: Digest realm="cam", nonce="{}"'


class Talk:
    """A conversation whose camera says what the test says."""

    def __init__(self, url: str = URL, login: Login | None = None, **more: bool) -> None:
        self.client = Conversation(Address.parse(url), login, **more)
        self.client.begin()
        self.requests: list[str] = []
        self.cseq = ""

    def asked(self) -> str:
        """The request line of the last request."""
        text = self.client.outgoing().decode()
        self.requests += [part for part in text.split("\r\n\r\n") if part]
        found = re.search(r"CSeq: (\d+)", self.requests[-1])
        assert found
        self.cseq = found[1]
        return self.requests[-1].split(" RTSP/1.0")[0]

    def says(self, status: int, *headers: str, body: str = "") -> str:
        """Answer the last request; the next one's line."""
        self.answers(status, *headers, body=body)
        return self.asked()

    def answers(self, status: int, *headers: str, body: str = "") -> None:
        if not self.cseq:
            self.asked()
        lines = [f"RTSP/1.0 {status} -", f"CSeq: {self.cseq}", *headers, f"Content-Length: {len(body)}"]
        assert list(self.client.receive(("\r\n".join(lines) + "\r\n\r\n" + body).encode())) == []

    def plays(self, *options: str) -> None:
        self.says(200, *options)
        self.says(200, body=CAMERA)
        self.says(200, "Session: 12ab;timeout=20", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        self.answers(200)
        assert self.client.stage is Stage.PLAYING


def test_a_camera_is_asked_step_by_step_until_it_plays() -> None:
    talk = Talk()
    assert talk.asked() == f"OPTIONS {URL}"
    assert talk.says(200, "Public: DESCRIBE, SETUP") == f"DESCRIBE {URL}"
    assert talk.says(200, "Content-Base: rtsp://cam.example/live/", body=CAMERA) == (
        "SETUP rtsp://cam.example/live/trackID=0"
    )
    assert "Transport: RTP/AVP/TCP;unicast;interleaved=0-1" in talk.requests[-1]
    assert talk.says(200, "Session: 12ab;timeout=20", "Transport: RTP/AVP/TCP;interleaved=4-5") == (
        "PLAY rtsp://cam.example/live/"
    )
    assert "Session: 12ab\r\n" in talk.requests[-1] + "\r\n"
    talk.answers(200)
    video = talk.client.video
    assert video is not None
    assert (talk.client.stage, video.rtp, video.rtcp, talk.client.audio) == (Stage.PLAYING, 4, 5, None)
    talk.client.end()
    assert talk.asked().startswith("TEARDOWN")


@pytest.mark.parametrize(
    ("base", "control", "expected"),
    [
        ("", "trackID=0", f"{URL}/trackID=0"),
        ("rtsp://cam.example/live/", "/trackID=0", "rtsp://cam.example/live/trackID=0"),
        ("10.0.0.1/live", "trackID=0", f"{URL}/trackID=0"),
        ("rtsp://10.0.0.1/x?a=b", "*", "rtsp://10.0.0.1/x?a=b"),
        ("rtsp://10.0.0.1/", "rtsp://10.0.0.9/v", "rtsp://10.0.0.9/v"),
    ],
)
def test_odd_bases_and_controls_are_taken_as_cameras_mean_them(base: str, control: str, expected: str) -> None:
    talk = Talk()
    talk.says(200)
    body = CAMERA.replace("a=control:trackID=0", f"a=control:{control}")
    assert talk.says(200, f"Content-Base: {base}", body=body) == f"SETUP {expected}"


def test_sound_is_set_up_when_asked_for_and_missed_without_harm() -> None:
    talk = Talk(audio=True)
    talk.says(200)
    talk.says(200, body=CAMERA)
    assert talk.says(200, "Session: 1", "Transport: RTP/AVP/TCP").startswith("SETUP")
    assert "interleaved=2-3" in talk.requests[-1]
    assert talk.says(461).startswith("PLAY")
    assert (talk.client.audio, talk.client.note) == (None, "it refuses to send its sound")


def test_signs_of_life_come_at_half_the_time_by_what_the_camera_offers() -> None:
    for options, method in ((("Public: GET_PARAMETER",), "GET_PARAMETER"), ((), "OPTIONS")):
        talk = Talk()
        talk.plays(*options)
        talk.client.keep_alive(100.0)
        talk.client.keep_alive(109.0)
        assert talk.client.outgoing() == b""
        talk.client.keep_alive(110.0)
        assert talk.asked().startswith(method)
        talk.answers(501)
        talk.client.keep_alive(120.0)
        assert talk.asked().startswith("OPTIONS")


def test_a_session_that_the_camera_forgot_is_closed() -> None:
    talk = Talk()
    talk.plays()
    talk.client.keep_alive(0.0)
    talk.client.keep_alive(100.0)
    talk.asked()
    with pytest.raises(CameraFailed) as failed:
        talk.answers(454)
    assert failed.value.fault is CameraFault.CLOSED


def test_a_login_is_given_when_asked_and_again_when_its_nonce_is_old() -> None:
    talk = Talk(login=Login("me", "pa55"))
    talk.asked()
    assert "Authorization" not in talk.requests[-1]
    assert talk.says(401, DIGEST.format(1)).startswith("OPTIONS")
    assert 'nonce="1"' in talk.requests[-1]
    assert talk.says(200).startswith("DESCRIBE")
    assert talk.says(401, DIGEST.format(2) + ", stale=true").startswith("DESCRIBE")
    assert 'nonce="2"' in talk.requests[-1]
    assert talk.says(401, DIGEST.format(3)).startswith("DESCRIBE")
    with pytest.raises(CameraFailed) as failed:
        talk.answers(401, DIGEST.format(4))
    assert failed.value.fault is CameraFault.LOGIN
    assert "pa55" not in "".join(talk.requests)


@pytest.mark.parametrize("header", [DIGEST.format(2), 'WWW-Authenticate: Basic realm="x"', "X: y"])
def test_a_wrong_login_is_tried_once_and_a_readable_one_never(header: str) -> None:
    talk = Talk(login=Login("me", "pa55"))
    talk.says(401, DIGEST.format(1))
    with pytest.raises(CameraFailed) as failed:
        talk.answers(401, header)
    assert failed.value.fault is CameraFault.LOGIN
    assert "pa55" not in str(failed.value)


def test_basic_is_given_over_an_encrypted_connection() -> None:
    talk = Talk(login=Login("me", "pa55"), basic=True)
    talk.says(401, 'WWW-Authenticate: Basic realm="x"')
    assert "Authorization: Basic " in talk.requests[-1]


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, CameraFault.BROKEN),
        (403, CameraFault.LOGIN),
        (404, CameraFault.NOT_FOUND),
        (453, CameraFault.BROKEN),
        (500, CameraFault.BROKEN),
    ],
)
def test_each_refusal_has_its_word(status: int, fault: CameraFault) -> None:
    talk = Talk()
    talk.says(405)
    with pytest.raises(CameraFailed) as failed:
        talk.answers(status)
    assert failed.value.fault is fault
    assert "live" not in str(failed.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("m=audio 0 RTP/AVP 0\n", "sends no picture"),
        ("m=video 0 RTP/AVP 26\n", "sends jpeg: set the camera to H.264 or H.265"),
    ],
)
def test_a_camera_without_a_picture_to_record_is_told(body: str, words: str) -> None:
    talk = Talk()
    talk.says(200)
    with pytest.raises(CameraFailed, match=words) as failed:
        talk.answers(200, body=body)
    assert failed.value.fault is CameraFault.NO_VIDEO


@pytest.mark.parametrize("transport", ["Transport: RTP/AVP;client_port=1-2", "Transport: RTP/AVP/TCP;interleaved=7-7"])
def test_transports_that_were_not_asked_for_are_refused(transport: str) -> None:
    talk = Talk()
    talk.says(200)
    talk.says(200, body=CAMERA)
    with pytest.raises(CameraFailed):
        talk.answers(200, transport)


def test_redirects_are_told_and_never_lead_out_of_encryption() -> None:
    talk = Talk()
    talk.says(200)
    with pytest.raises(Redirected) as to:
        talk.answers(302, "Location: rtsp://other.example:8554/x")
    assert (to.value.address.host, to.value.address.port) == ("other.example", 8554)
    talk = Talk("rtsps://cam.example/live")
    talk.says(200)
    with pytest.raises(CameraFailed):
        talk.answers(302, "Location: rtsp://other.example:8554/x")
    talk = Talk()
    with pytest.raises(CameraFailed):
        talk.answers(301, "Location: http://other.example")


def test_a_camera_that_plays_cannot_be_redirected_any_more() -> None:
    talk = Talk()
    talk.plays()
    talk.client.keep_alive(0.0)
    talk.client.keep_alive(100.0)
    talk.asked()
    talk.answers(302, "Location: rtsp://other.example/")
    assert talk.client.stage is Stage.PLAYING


@pytest.mark.parametrize(
    ("url", "uri", "port"),
    [
        ("rtsp://u:p%40@10.0.0.1/a b?x=y%20z#f", "rtsp://10.0.0.1/a%20b?x=y%20z", 554),
        ("rtsps://[fe80::1]:1/é", "rtsps://[fe80::1]:1/%C3%A9", 1),
        ("rtsp://cam", "rtsp://cam/", 554),
    ],
)
def test_requests_hold_the_address_without_its_login(url: str, uri: str, port: int) -> None:
    assert (Address.parse(url).uri, Address.parse(url).port) == (uri, port)


def test_a_login_in_the_url_is_read_and_other_urls_are_refused() -> None:
    assert login_of("rtsp://u:p%40@10.0.0.1/") == ("u", "p@")
    assert login_of(URL) is None
    for url in ("http://x/", "rtsp:///x", "rtsp://x:99999/", "rtsp://a b/"):
        with pytest.raises(ValueError, match=r"URL|Port|port"):
            Address.parse(url)


PIECES = [
    b"RTSP/1.0 200 OK\r\nCSeq: %d\r\nSession: a\r\nTransport: RTP/AVP/TCP\r\nContent-Length: %d\r\n\r\n%s"
    % (cseq, len(body), body)
    for cseq in range(1, 6)
    for body in (b"", CAMERA.encode())
]
PIECES += [b"RTSP/1.0 401 No\r\nCSeq: %d\r\nWWW-Authenticate: Digest nonce=a\r\n\r\n" % cseq for cseq in range(1, 4)]
PIECES += [b"$\x00\x00\x02ab", b"SET_PARAMETER * RTSP/1.0\r\n\r\n", b"RTSP/1.0 302 X\r\nCSeq: 1\r\n\r\n"]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=30), max_size=12))
def test_whatever_a_camera_says_ends_in_packets_or_a_reason(pieces: list[bytes]) -> None:
    talk = Talk(login=Login("a", "b"), audio=True)
    with contextlib.suppress(CameraFailed, Redirected):
        for piece in pieces:
            list(talk.client.receive(piece))
            talk.client.keep_alive(0.0)
            assert len(talk.client.outgoing()) < 10_000
