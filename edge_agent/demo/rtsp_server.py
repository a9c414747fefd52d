"""A small RTSP 1.0 server for H.264 over interleaved TCP: what the demonstration's camera speaks.

Everything happens in one asyncio loop; `publish` is called in it.  A viewer gets pictures from the next keyframe on,
and is dropped when it takes them more slowly than they come: nobody is owed more than `MAX_BACKLOG_BYTES`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.clock import US, Clock, SystemClock
from edge_agent.demo.rtp import CLOCK_HZ, CodedPicture, VideoFormat, describe, packetise, sender_report
from edge_agent.demo.rtsp_message import (
    MAX_HEAD_BYTES,
    BadRequest,
    DigestLogin,
    Request,
    answer,
    interleaved_channels,
    parse_request,
)
from edge_agent.errors import BusyError

log = logging.getLogger(__name__)

MAX_BACKLOG_BYTES = 2_000_000
MAX_CLIENTS = 32
MAX_BODY_BYTES = 4096
SESSION_TIMEOUT_S = 60
REPORT_EVERY_US = 5 * US
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER"


@dataclass(slots=True)
class _Mount:
    """One path: its format, the state of its RTP stream (one for all viewers) and who watches."""

    video: VideoFormat
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    sequence: int = field(default_factory=lambda: secrets.randbits(16))
    packets: int = 0
    octets: int = 0
    reported_us: int = 0
    viewers: set[_Client] = field(default_factory=set)


class RtspServer:
    """Serves mounts (path → format) to several clients; `async with`, then `publish` each picture.

    `port` 0 takes a free one, told by `port` after the start.  BusyError when the port is taken.
    """

    def __init__(
        self,
        mounts: Mapping[str, VideoFormat],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        login: DigestLogin | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._mounts = {path.rstrip("/"): _Mount(video) for path, video in mounts.items()}
        self.host = host
        self.port = port
        self._login = login
        self._clock = clock or SystemClock()
        self._server: asyncio.Server | None = None
        self._clients: dict[_Client, asyncio.Task[None] | None] = {}

    async def __aenter__(self) -> RtspServer:
        try:
            self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=MAX_HEAD_BYTES)
        except OSError as error:
            raise BusyError(
                f"cannot listen on {self.host}:{self.port} ({error.strerror}): choose another port"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        talks = [task for task in self._clients.values() if task is not None]
        for client in list(self._clients):
            client.drop("the camera is switched off")
        if talks:
            await asyncio.wait(talks, timeout=5)
        if self._server is not None:
            await self._server.wait_closed()

    def url(self, path: str) -> str:
        """The URL of a mount, without the login."""
        return f"rtsp://{self.host}:{self.port}{path}"

    def viewers(self, path: str) -> int:
        """Clients that play a mount now."""
        return len(self._mounts[path].viewers)

    def publish(self, path: str, picture: CodedPicture) -> None:
        """Send a picture to all who watch `path`."""
        mount = self._mounts[path]
        packets = packetise(picture, mount.sequence, mount.ssrc)
        mount.sequence = (mount.sequence + len(packets)) & 0xFFFF
        mount.packets += len(packets)
        mount.octets += sum(len(packet) - 12 for packet in packets)
        now_us = self._clock.utc_us()
        report = b""
        if abs(now_us - mount.reported_us) >= REPORT_EVERY_US:
            mount.reported_us = now_us
            report = self._report(mount, picture, now_us)
        for client in list(mount.viewers):
            if client.awaits_keyframe and picture.keyframe:
                client.awaits_keyframe = False
                client.send(client.channels[1], [report or self._report(mount, picture, now_us)])
            elif report:
                client.send(client.channels[1], [report])
            if not client.awaits_keyframe:
                client.send(client.channels[0], packets)

    @staticmethod
    def _report(mount: _Mount, picture: CodedPicture, now_us: int) -> bytes:
        timestamp = picture.timestamp + (now_us - picture.utc_us) * CLOCK_HZ // US
        return sender_report(mount.ssrc, now_us, timestamp, mount.packets, mount.octets)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self._mounts, self._login, reader, writer)
        if len(self._clients) >= MAX_CLIENTS:
            writer.write(answer(503, None))
            writer.close()
            return
        self._clients[client] = asyncio.current_task()
        try:
            await client.converse()
        finally:
            del self._clients[client]


class _Client:
    """One connection: reads requests, answers, and holds at most one session."""

    def __init__(
        self,
        mounts: Mapping[str, _Mount],
        login: DigestLogin | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._mounts = mounts
        self._login = login
        self._reader = reader
        self._writer = writer
        self._nonce = secrets.token_hex(16)
        self._session = ""
        self._mount: _Mount | None = None
        self.channels = (0, 1)
        self.awaits_keyframe = True

    def send(self, channel: int, packets: list[bytes]) -> None:
        """Queue packets on an interleaved channel (RFC 2326 §10.12), or drop a client that does not keep up."""
        transport = self._writer.transport
        if transport.is_closing():
            self._leave()
            return
        if transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.drop("it takes pictures more slowly than they come")
            return
        self._writer.write(
            b"".join(bytes((0x24, channel)) + len(packet).to_bytes(2, "big") + packet for packet in packets)
        )

    def drop(self, why: str) -> None:
        """Close at once, without sending what is queued."""
        log.info("viewer %s dropped: %s", self._writer.get_extra_info("peername"), why)
        self._leave()
        self._writer.transport.abort()

    async def converse(self) -> None:
        """Answer requests until the client leaves, says something unreadable, or nothing for a session's time."""
        try:
            while True:
                async with asyncio.timeout(SESSION_TIMEOUT_S + 10):
                    request = await self._next_request()
                if request is not None and not self._answer(request):
                    await self._writer.drain()
                    return
        except BadRequest as error:
            self._writer.write(answer(error.status, None))
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # gone, or silent for longer than a session lasts
        finally:
            self._leave()
            self._writer.close()

    async def _next_request(self) -> Request | None:
        """The next request; None for interleaved data (the client's RTCP), which only proves that it lives."""
        first = await self._reader.readexactly(1)
        if first == b"$":
            _channel, high, low = await self._reader.readexactly(3)
            await self._reader.readexactly(high << 8 | low)
            return None
        if first in b"\r\n":
            return None  # some clients end a request with one line too many
        try:
            head = first + await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise BadRequest(400, f"a head of more than {MAX_HEAD_BYTES} bytes") from None
        request = parse_request(head)
        if request.content_length > MAX_BODY_BYTES:
            raise BadRequest(413, f"a body of {request.content_length} bytes")
        await self._reader.readexactly(request.content_length)
        return request

    def _answer(self, request: Request) -> bool:
        """Act and reply; false when the conversation is over."""
        status, headers, body = self._act(request)
        if self._session and status != 454:
            headers.setdefault("Session", f"{self._session};timeout={SESSION_TIMEOUT_S}")
        self._writer.write(answer(status, request.cseq, headers, body))
        if request.method == "PLAY" and status == 200 and self._mount is not None:
            self._mount.viewers.add(self)
        return not (request.method == "TEARDOWN" and status == 200)

    def _act(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.method == "OPTIONS":
            return 200, {"Public": METHODS}, b""
        if self._login is not None and not self._login.admits(request, self._nonce):
            return 401, {"WWW-Authenticate": self._login.challenge(self._nonce)}, b""
        if request.headers.get("session", self._session).split(";")[0] != self._session:
            return 454, {}, b""
        match request.method:
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._set_up(request)
            case "PLAY":
                return (200, {"Range": "npt=now-"}, b"") if self._mount else (455, {}, b"")
            case "TEARDOWN":
                self._leave()
                return 200, {}, b""
            case "GET_PARAMETER" | "SET_PARAMETER":
                return 200, {}, b""
            case "PAUSE" | "RECORD" | "ANNOUNCE":
                return 405, {"Allow": METHODS}, b""
            case _:
                return 501, {"Public": METHODS}, b""

    def _describe(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        mount = self._mounts.get(request.path)
        if mount is None:
            return 404, {}, b""
        headers = {"Content-Base": request.uri.rstrip("/") + "/", "Content-Type": "application/sdp"}
        return 200, headers, describe(mount.video, mount.ssrc)

    def _set_up(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        mount = self._mounts.get(request.path.removesuffix("/trackID=0"))
        if mount is None:
            return 404, {}, b""
        if self._mount is not None:
            return 455, {}, b""  # one track, one session a connection
        channels = interleaved_channels(request.headers.get("transport", ""))
        if channels is None:
            return 461, {}, b""
        self.channels = channels
        self._mount = mount
        self._session = secrets.token_hex(8)
        chosen = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]};ssrc={mount.ssrc:08X}"
        return 200, {"Transport": chosen}, b""

    def _leave(self) -> None:
        if self._mount is not None:
            self._mount.viewers.discard(self)
