"""RTSP requests: what is read, what is refused, and who is let in."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.demo.rtsp_message import BadRequest, DigestLogin, Request, answer, interleaved_channels, parse_request

LOGIN = DigestLogin("eye", "s3cret")
URI = "rtsp://127.0.0.1/main"


def test_a_request_is_read() -> None:
    request = parse_request(b"SETUP rtsp://h:1/main/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nTRANSPORT:RTP/AVP/TCP \r\n\r\n")
    assert (request.method, request.path, request.cseq) == ("SETUP", "/main/trackID=0", "3")
    assert request.headers["transport"] == "RTP/AVP/TCP"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", 505),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: x\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nno header\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -4\r\n\r\n", 400),
        (b"OPTIONS rtsp://[::1/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        (b"OPTIONS \xff RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(80)) + b"\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_has_its_answer(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(head)
    assert caught.value.status == status


@given(
    st.binary(max_size=300)
    | st.binary(max_size=80).map(lambda tail: b"SETUP " + tail + b" RTSP/1.0\r\nCSeq: 1\r\n\r\n")
)
def test_garbage_is_either_read_or_refused(head: bytes) -> None:
    try:
        request = parse_request(head)
    except BadRequest:
        return
    assert request.cseq
    assert isinstance(request.path, str)


@given(st.text(max_size=80) | st.text("RTP/AVCinterlad=;,-0123456789 ", max_size=60))
def test_any_transport_is_either_chosen_or_not(transport: str) -> None:
    channels = interleaved_channels(transport)
    assert channels is None or (min(channels) >= 0 and max(channels) < 256 and channels[0] != channels[1])


def test_tcp_is_chosen_among_transports() -> None:
    assert interleaved_channels("RTP/AVP;unicast;client_port=1-2") is None
    assert interleaved_channels("RTP/AVP;unicast;client_port=1-2, RTP/AVP/TCP;unicast;interleaved=4-5") == (4, 5)
    assert interleaved_channels("RTP/AVP/TCP;unicast") == (0, 1)
    assert interleaved_channels("RTP/AVP/TCP;interleaved=4-400") is None


@pytest.mark.parametrize("qop", [True, False])
def test_the_right_password_is_let_in_for_this_request_only(qop: bool) -> None:
    header = authorization("DESCRIBE", URI, "s3cret", "n1", qop)
    assert LOGIN.admits(Request("DESCRIBE", URI, {"authorization": header}), "n1")
    assert not LOGIN.admits(Request("DESCRIBE", URI, {"authorization": header}), "n2")
    assert not LOGIN.admits(Request("PLAY", URI, {"authorization": header}), "n1")
    assert not LOGIN.admits(Request("DESCRIBE", URI + "2", {"authorization": header}), "n1")
    wrong = authorization("DESCRIBE", URI, "guess", "n1", qop)
    assert not LOGIN.admits(Request("DESCRIBE", URI, {"authorization": wrong}), "n1")


@given(st.text(max_size=100) | st.text(max_size=60).map("Digest {}".format))
def test_no_garbage_is_let_in(header: str) -> None:
    assert not LOGIN.admits(Request("DESCRIBE", URI, {"authorization": header}), "n1")


def test_an_answer_counts_its_body() -> None:
    assert answer(200, "7", {"A": "b"}, b"xyz") == b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nA: b\r\nContent-Length: 3\r\n\r\nxyz"


def authorization(method: str, uri: str, password: str, nonce: str, qop: bool = False) -> str:
    """A client's header for `LOGIN`'s user and realm (RFC 2617 §3.2.2)."""
    secret, asked = (
        hashlib.md5(text.encode()).hexdigest() for text in (f"eye:{LOGIN.realm}:{password}", f"{method}:{uri}")
    )
    middle = f"{nonce}:00000001:c:auth" if qop else nonce
    response = hashlib.md5(f"{secret}:{middle}:{asked}".encode()).hexdigest()
    extra = ', qop=auth, nc=00000001, cnonce="c"' if qop else ""
    return f'Digest username="eye", realm="{LOGIN.realm}", nonce="{nonce}", uri="{uri}", response="{response}"{extra}'
