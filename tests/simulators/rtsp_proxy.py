"""Between a real camera and its viewer: an RTSP proxy that spoils what the camera sends in exactly the way it is told.

with RtspProxy(server.port) as proxy:
    record(f"rtsp://127.0.0.1:{proxy.port}/main")
    proxy.lose(0.05)

It knows of RTSP only where its messages end (RFC 2326 §10.12) and of RTP only the fixed header, so the conversation is
the camera's own, and what is lost is lost before TCP: as on a camera's way from its encoder, or behind a gateway.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Line:
    """One viewer and the camera's side of it."""

    number: int
    viewer: socket.socket
    camera: socket.socket


@dataclass(slots=True)
class Losses:
    """Packets by the timestamp of their picture, as the camera sent it."""

    passed: Counter[int] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)


class RtspProxy:
    """Listens on `port` of 127.0.0.1 for viewers of the camera on `camera_port`; RTSP over plain TCP."""

    def __init__(self, camera_port: int, seed: int = 1) -> None:
        self._camera_port = camera_port
        self._seed = seed
        self._loss = 0.0
        self._shift = 0
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.viewers_seen = 0
        """Connections ever made."""
        self.losses = Losses()

    def __enter__(self) -> RtspProxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._each(lambda line: _end(line.viewer, line.camera))

    # ---- what it does to the stream

    def lose(self, share: float) -> None:
        """Each RTP packet from now on is lost with this probability."""
        self._loss = share

    def shift_time(self, ticks: int) -> None:
        """RTP timestamps from now on are so much further than the camera's, or back from them."""
        self._shift = ticks

    def end_sending(self) -> None:
        """The camera's side of every connection says that nothing more will come; it still listens."""
        self._each(lambda line: line.viewer.shutdown(socket.SHUT_WR))

    def end_listening(self) -> None:
        """The camera hears that its viewers will say nothing more, though they still would listen."""
        self._each(lambda line: line.camera.shutdown(socket.SHUT_WR))

    # ---- inside

    def _each(self, act: Callable[[_Line], None]) -> None:
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                act(line)

    def _accept(self) -> None:
        while True:
            try:
                viewer, _ = self._listener.accept()
            except OSError:
                return
            try:
                camera = socket.create_connection(("127.0.0.1", self._camera_port), 5)
            except OSError:
                viewer.close()
                continue
            camera.settimeout(None)
            with self._lock:
                self.viewers_seen += 1
                line = _Line(self.viewers_seen, viewer, camera)
                self._lines.append(line)
            threading.Thread(target=self._ask, args=(line,), daemon=True).start()
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _ask(self, line: _Line) -> None:
        """From the viewer to the camera, as it is."""
        with contextlib.suppress(OSError):
            while data := line.viewer.recv(65536):
                line.camera.sendall(data)
            line.camera.shutdown(socket.SHUT_WR)

    def _answer(self, line: _Line) -> None:
        """From the camera to the viewer, message by message; the end of this direction is the end of the connection."""
        chance = random.Random(self._seed + line.number)
        with line.viewer, line.camera:
            with contextlib.suppress(OSError):
                for message in _messages(line.camera):
                    if passed := self._spoiled(message, chance):
                        line.viewer.sendall(passed)
            # closed alone a socket lives on as long as the other thread reads from it
            _end(line.viewer, line.camera)
        with self._lock:
            self._lines.remove(line)

    def _spoiled(self, message: bytes, chance: random.Random) -> bytes:
        if message[0] != 0x24 or message[1] % 2 or len(message) < 16:
            return message  # an answer, or RTCP
        (timestamp,) = struct.unpack_from(">I", message, 8)
        if chance.random() < self._loss:
            self.losses.lost[timestamp] += 1
            return b""
        self.losses.passed[timestamp] += 1
        return message[:8] + struct.pack(">I", (timestamp + self._shift) & 0xFFFFFFFF) + message[12:]


def _messages(camera: socket.socket) -> Iterator[bytes]:
    """Whole answers and whole interleaved packets until the camera ends."""
    buffer = bytearray()

    def have(size: int) -> bool:
        while len(buffer) < size:
            data = camera.recv(65536)
            if not data:
                return False
            buffer.extend(data)
        return True

    while have(4):
        if buffer[0] == 0x24:
            size = 4 + int.from_bytes(buffer[2:4], "big")
        else:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                if not have(len(buffer) + 1):
                    return
            length = _LENGTH.search(buffer, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
        if not have(size):
            return
        yield bytes(buffer[:size])
        del buffer[:size]


def _end(*connections: socket.socket) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
