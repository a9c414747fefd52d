"""The RTSP server of the demonstration, spoken to byte by byte over a real connection."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edge_agent.clock import US
from edge_agent.demo.rtp import CodedPicture, VideoFormat
from edge_agent.demo.rtsp_message import DigestLogin
from edge_agent.demo.rtsp_server import MAX_BACKLOG_BYTES, RtspServer
from edge_agent.errors import BusyError
from tests.demo.test_rtp import IDR, PPS, SPS, depacketised
from tests.demo.test_rtsp_message import LOGIN, authorization

FORMAT = VideoFormat(SPS, PPS, 15)
TCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"


def keyframe(timestamp: int = 0, utc_us: int = 0, size: int = 3000) -> CodedPicture:
    return CodedPicture((SPS, PPS, IDR + b"\x01" * size), timestamp, utc_us)


def other(timestamp: int = 0, size: int = 500) -> CodedPicture:
    return CodedPicture((b"\x41" + b"\x02" * size,), timestamp, 0)


class Caller:
    """A client that says exactly what a test wants said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, base: str) -> None:
        self.reader, self.writer, self.base = reader, writer, base
        self.cseq = 0
        self.session = ""

    async def ask(self, method: str, path: str = "/main", *headers: str) -> tuple[int, str]:
        """Send a request, return the status and the text of its answer."""
        self.cseq += 1
        lines = [f"{method} {self.base}{path} RTSP/1.0", f"CSeq: {self.cseq}", *headers]
        if self.session and not any(line.startswith("Session:") for line in headers):
            lines.append(f"Session: {self.session}")
        return await self.say("\r\n".join([*lines, "", ""]).encode())

    async def say(self, request: bytes) -> tuple[int, str]:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"Content-Length: (\d+)", head)
        body = (await self.reader.readexactly(int(length[1]))).decode() if length else ""
        session = re.search(r"Session: (\w+)", head)
        self.session = session[1] if session else self.session
        return int(head.split()[1]), head + body

    async def play(self, path: str = "/main") -> None:
        assert (await self.ask("SETUP", f"{path}/trackID=0", TCP))[0] == 200
        assert (await self.ask("PLAY", path))[0] == 200

    async def packet(self) -> tuple[int, bytes]:
        """The next interleaved packet and its channel."""
        mark, channel, size = struct.unpack(">BBH", await self.reader.readexactly(4))
        assert mark == 0x24
        return channel, await self.reader.readexactly(size)

    async def picture(self) -> list[bytes]:
        """The NAL units of the next picture."""
        packets: list[bytes] = []
        while not packets or not packets[-1][1] & 0x80:
            channel, packet = await self.packet()
            if channel == 0:
                packets.append(packet)
        return depacketised(packets)

    async def ended(self) -> bool:
        """True once the server has closed; whatever it still said is passed over."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def calling(server: RtspServer, limit: int = 65536) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=limit)
    try:
        yield Caller(reader, writer, server.url(""))
    finally:
        writer.close()


def served(talk: Callable[[RtspServer, Caller], Awaitable[None]], login: DigestLogin | None = None) -> None:
    """Run a conversation with a server that has the mounts /main and /sub."""

    async def run() -> None:
        mounts = {"/main": FORMAT, "/sub": FORMAT}
        async with asyncio.timeout(20), RtspServer(mounts, login=login) as server, calling(server) as caller:
            await talk(server, caller)

    asyncio.run(run())


def test_a_viewer_is_told_the_format_and_starts_at_a_keyframe() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        assert "DESCRIBE" in (await caller.ask("OPTIONS"))[1]
        status, text = await caller.ask("DESCRIBE", "/main", "Accept: application/sdp")
        assert status == 200
        assert f"Content-Base: {server.url('/main')}/" in text
        assert "a=control:trackID=0" in text
        await caller.play()
        server.publish("/main", other())
        server.publish("/sub", keyframe())
        server.publish("/main", keyframe())
        server.publish("/main", other())
        assert await caller.picture() == list(keyframe().units)
        assert await caller.picture() == list(other().units)

    served(talk)


def test_two_viewers_of_one_mount_get_the_same_each_on_its_channels() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        async with calling(server) as second:
            await caller.play()
            assert (await second.ask("SETUP", "/main", TCP.replace("0-1", "6-7")))[0] == 200
            assert (await second.ask("PLAY"))[0] == 200
            assert server.viewers("/main") == 2
            server.publish("/main", keyframe())
            first, other_one = [await caller.packet() for _ in range(3)], [await second.packet() for _ in range(3)]
            assert [packet for _, packet in first] == [packet for _, packet in other_one]
            assert [channel for channel, _ in first] == [1, 0, 0]
            assert [channel for channel, _ in other_one] == [7, 6, 6]

    served(talk)


def test_the_first_report_tells_when_the_picture_was_taken() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        await caller.play()
        taken_us = 1_800_000_000 * US
        server.publish("/main", keyframe(timestamp=90_000 * 77, utc_us=taken_us))
        channel, report = await caller.packet()
        assert channel == 1
        _, seconds, fraction, timestamp = struct.unpack(">8sIII", report[:20])
        now_us = (seconds - 2_208_988_800) * US + fraction * US // 2**32
        expected = (90_000 * 77 + (now_us - taken_us) * 90_000 // US) % 2**32
        assert abs(timestamp - expected) <= 1

    served(talk)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DESCRIBE", "/none", (), 404),
        ("SETUP", "/none/trackID=0", (TCP,), 404),
        ("SETUP", "/main", ("Transport: RTP/AVP;unicast;client_port=5000-5001",), 461),
        ("SETUP", "/main", (), 461),
        ("PLAY", "/main", (), 455),
        ("PLAY", "/main", ("Session: 1234",), 454),
        ("PAUSE", "/main", (), 405),
        ("DANCE", "/main", (), 501),
        ("GET_PARAMETER", "/main", (), 200),
    ],
)
def test_each_wrong_request_has_its_answer_and_the_talk_goes_on(
    method: str, path: str, headers: tuple[str, ...], status: int
) -> None:
    async def talk(_server: RtspServer, caller: Caller) -> None:
        assert (await caller.ask(method, path, *headers))[0] == status
        assert (await caller.ask("OPTIONS"))[0] == 200

    served(talk)


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01 garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"OPTIONS * RTSP/1.0\r\nX: " + b"a" * 20_000],
)
def test_garbage_is_answered_400_and_the_connection_closed(garbage: bytes) -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        assert (await caller.say(garbage))[0] == 400
        assert await caller.ended()
        async with calling(server) as next_one:
            assert (await next_one.ask("OPTIONS"))[0] == 200

    served(talk)


def test_a_body_is_skipped_and_a_huge_one_refused() -> None:
    async def talk(_server: RtspServer, caller: Caller) -> None:
        request = b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: %d\r\n\r\n"
        assert (await caller.say(request % 5 + b"a: b\n"))[0] == 200
        assert (await caller.say(request % 5_000_000))[0] == 413
        assert await caller.ended()

    served(talk)


def test_reports_of_a_viewer_between_requests_are_passed_over() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        await caller.play()
        caller.writer.write(b"$\x01\x00\x08\x80\xc9\x00\x01abcd")
        assert (await caller.ask("GET_PARAMETER"))[0] == 200
        assert (await caller.ask("TEARDOWN"))[0] == 200
        assert server.viewers("/main") == 0
        assert await caller.ended()

    served(talk)


def test_a_login_is_asked_for_and_taken() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        status, text = await caller.ask("DESCRIBE")
        nonce = re.search(r'nonce="(\w+)"', text)
        assert status == 401
        assert nonce
        wrong, right = (
            f"Authorization: {authorization('DESCRIBE', server.url('/main'), password, nonce[1])}"
            for password in ("guess", LOGIN.password)
        )
        assert (await caller.ask("DESCRIBE", "/main", wrong))[0] == 401
        assert (await caller.ask("DESCRIBE", "/main", right))[0] == 200
        assert (await caller.ask("SETUP", "/main", TCP))[0] == 401

    served(talk, LOGIN)


def test_a_viewer_that_does_not_read_is_dropped_and_the_others_go_on() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        async with calling(server, limit=4096) as slow:
            await slow.play()
            await caller.play()
            sent = 0
            # Bound: what the kernel holds for a loopback connection, and what the server holds, with room to spare.
            while server.viewers("/main") == 2 and sent < 20 * MAX_BACKLOG_BYTES:
                server.publish("/main", keyframe(size=200_000))
                sent += 200_000
                assert (await caller.picture())[0] == SPS
            assert server.viewers("/main") == 1
            server.publish("/main", other())
            assert await caller.picture() == list(other().units)

    served(talk)


def test_a_viewer_that_vanishes_is_forgotten() -> None:
    async def talk(server: RtspServer, caller: Caller) -> None:
        async with calling(server) as brief:
            await brief.play()
            brief.writer.transport.abort()
        await caller.play()
        while server.viewers("/main") == 2:
            server.publish("/main", keyframe())
            await caller.picture()
        assert server.viewers("/main") == 1

    served(talk)


def test_a_taken_port_is_said_plainly() -> None:
    async def talk(server: RtspServer, _caller: Caller) -> None:
        with pytest.raises(BusyError, match=f"cannot listen on 127.0.0.1:{server.port} .*another port"):
            async with RtspServer({"/main": FORMAT}, port=server.port):
                pass

    served(talk)
