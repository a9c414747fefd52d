"""The local socket: people at the node send the same signed commands as through the broker, and read the replies.

A connection carries one command: one line, the compact JWS.  Replies come back as JSON lines, the last of which is
final (`docs/commands.md`).  The socket's thread parses nothing: it hands the line to the agent's loop.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import ArchiveError

_log = logging.getLogger(__name__)
MAX_COMMAND_BYTES = 16 << 10
_PATIENCE_S = 10.0
_MAX_CONNECTIONS = 8


class LocalReplies:
    """Where the agent's loop puts the replies to one command; never blocks it."""

    def __init__(self) -> None:
        self._lines: queue.Queue[bytes | None] = queue.Queue(1000)

    def send(self, payload: bytes, *, final: bool) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(payload)
            if final:
                self._lines.put_nowait(None)

    def next(self, seconds: float) -> bytes | None:
        """The next reply, None after the last; queue.Empty when none came in time."""
        return self._lines.get(timeout=seconds)


class LocalSocket:
    """Listens on a Unix socket (mode 0660) until closed; one thread a connection, at most eight at once."""

    def __init__(self, path: Path, take: Callable[[bytes, LocalReplies], None]) -> None:
        self._path = path
        self._take = take
        self._room = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._closing = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.is_socket():
                path.unlink()
            self._listener.bind(str(path))
            path.chmod(0o660)
            self._listener.listen(_MAX_CONNECTIONS)
        except OSError as error:
            self._listener.close()
            raise ArchiveError(f"cannot listen on the local socket {path}: {error.strerror}") from error
        threading.Thread(target=self._accept, name="local-socket", daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._closing.is_set():
            self._room.acquire()
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._room.release()
                if not self._closing.wait(0.2):
                    continue
                return
            threading.Thread(target=self._serve, args=(connection,), name="local-command", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(_PATIENCE_S)
                command = _read_line(connection)
                if command:
                    replies = LocalReplies()
                    self._take(command, replies)
                    self._answer(connection, replies)
        except OSError as error:
            _log.info("a local command's connection ended: %s", error)
        finally:
            self._room.release()

    def _answer(self, connection: socket.socket, replies: LocalReplies) -> None:
        while not self._closing.is_set():
            try:
                line = replies.next(1.0)
            except queue.Empty:
                continue
            if line is None:
                return
            connection.sendall(line + b"\n")


def _read_line(connection: socket.socket) -> bytes:
    """Up to a newline or the end; what is too long is cut there, and the door will refuse it."""
    received = bytearray()
    while len(received) <= MAX_COMMAND_BYTES:
        part = connection.recv(4096)
        if not part:
            break
        received += part
        if b"\n" in part:
            return bytes(received[: received.index(b"\n")])
    return bytes(received)
