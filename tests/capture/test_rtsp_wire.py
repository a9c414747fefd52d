"""What a client finds in the bytes of a camera, however they are cut."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import rtsp_wire
from edge_agent.capture.rtsp_wire import Interleaved, Message, Response, ServerRequest, Wire, WireError

TALK = (
    b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n\r\n"
    b"$\x00\x00\x04\x80abc"
    b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\n$\x00\x00\x01v"
    b"\r\n"
    b"$\x01\x00\x00"
    b"GET_PARAMETER rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\n\r\n"
    b"RTSP/1.0 454 Session Not Found\nCSeq: 3\nWWW-Authenticate: Digest a\n b\n\n"
    b"$\x02\x00\x03xyz"
)


def seen(message: Message) -> tuple[object, ...]:
    match message:
        case Interleaved():
            return message.channel, message.packet
        case Response():
            return message.status, message.headers.cseq, message.body
        case ServerRequest():
            return message.method, message.headers.cseq


EXPECTED: list[tuple[object, ...]] = [
    (200, 1, b""),
    (0, b"\x80abc"),
    (200, 2, b"$\x00\x00\x01v"),
    (1, b""),
    ("GET_PARAMETER", 9),
    (454, 3, b""),
    (2, b"xyz"),
]


@given(st.lists(st.integers(0, len(TALK)), max_size=40))
def test_answers_requests_and_packets_are_told_apart_in_any_cut(cuts: list[int]) -> None:
    wire = Wire()
    places = [0, *sorted(cuts), len(TALK)]
    found = [message for start, end in pairwise(places) for message in wire.receive(TALK[start:end])]
    assert [seen(message) for message in found] == EXPECTED


def test_byte_by_byte_the_same_is_found() -> None:
    wire = Wire()
    found = [message for value in TALK for message in wire.receive(bytes([value]))]
    assert [seen(message) for message in found] == EXPECTED


@given(st.lists(st.binary(max_size=80) | st.sampled_from([TALK[:60], b"RTSP/1.0 200 OK\r\n", b"$", b"\r\n"])))
def test_garbage_is_refused_or_kept_small_and_nothing_else(chunks: list[bytes]) -> None:
    wire = Wire()
    with contextlib.suppress(WireError):
        for chunk in chunks:
            list(wire.receive(chunk))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"RTSP/1.0 2000 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: many\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"RTSP/1.0 200 OK\r\nX: " + b"y" * 20_000,
    ],
)
def test_what_is_no_rtsp_or_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        list(Wire().receive(data))


def test_what_servers_ask_is_answered() -> None:
    (asked, strange) = Wire().receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\nDANCE * RTSP/1.0\r\n\r\n")
    assert isinstance(asked, ServerRequest)
    assert isinstance(strange, ServerRequest)
    assert rtsp_wire.answer(asked) == b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"
    assert rtsp_wire.answer(strange) == b"RTSP/1.0 501 Not Implemented\r\n\r\n"
