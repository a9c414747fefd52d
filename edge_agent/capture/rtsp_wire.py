"""RTSP 1.0 on the wire, seen from a client: bytes in, messages out (RFC 2326 §10.12, appendix D).  Pure.

Answers, requests of the server and interleaved packets come mixed and in any cut.  What cannot be one of them, or is
larger than any camera's, raises WireError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_HEAD_BYTES = 16 << 10
MAX_BODY_BYTES = 128 << 10
MAX_HEADERS = 128

DOLLAR = 0x24
_STATUS = re.compile(r"RTSP/\d\.\d\s+(\d{3})(?:\s.*)?", re.ASCII)
_REQUEST = re.compile(r"([A-Z_]{1,32})\s+(\S+)\s+RTSP/\d\.\d\s*", re.ASCII)
_LENGTH = re.compile(r"\d{1,9}", re.ASCII)


class WireError(Exception):
    """The server does not speak RTSP, or says something that is too large."""


class Interleaved(NamedTuple):
    """One RTP or RTCP packet: `data[start:end]`; not cut out, for most of it is cut again."""

    channel: int
    data: bytes
    start: int
    end: int

    @property
    def packet(self) -> bytes:
        return self.data[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Headers:
    """In the order they came; names in lower case."""

    lines: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.lines if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key == name]

    @property
    def cseq(self) -> int | None:
        text = self.get("cseq") or ""
        return int(text) if _LENGTH.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class ServerRequest:
    method: str
    headers: Headers
    body: bytes


Message = Interleaved | Response | ServerRequest


class Wire:
    """The incoming half of one connection; keeps at most one unfinished message."""

    def __init__(self) -> None:
        self._rest = b""
        self._at = 0
        self._head: tuple[Response | ServerRequest, int] | None = None
        """A message whose body is still to come, and the body's length."""

    def receive(self, chunk: bytes) -> Iterator[Message]:
        """All messages that `chunk` completes, which are to be asked for to the end."""
        rest, begin = self._rest, 0
        if rest:
            # what is behind the packet that was cut stays where it is: copying costs more than all else here
            begin = self._missing(chunk)
            yield from self._messages(rest + chunk[:begin], 0)
        if begin < len(chunk):
            yield from self._messages(chunk, begin)

    def _missing(self, chunk: bytes) -> int:
        """How much of `chunk` belongs to the packet that was cut; all of it where that is not known."""
        head = self._rest[:4] + chunk[: max(0, 4 - len(self._rest))]
        if self._head is not None or head[0] != DOLLAR or len(head) < 4:
            return len(chunk)
        return 4 + (head[2] << 8 | head[3]) - len(self._rest)

    def _messages(self, data: bytes, begin: int) -> Iterator[Message]:
        """Those in `data` from `begin` on; what is left is kept."""
        self._at, size = begin, len(data)
        while (at := self._at) < size:
            if self._head is not None:
                message, length = self._head
                if size - at < length:
                    break
                self._head = None
                self._at = at + length
                yield _with_body(message, data[at : at + length])
            elif data[at] == DOLLAR:
                if size - at < 4:
                    break
                end = at + 4 + (data[at + 2] << 8 | data[at + 3])
                if end > size:
                    break
                self._at = end
                yield Interleaved(data[at + 1], data, at + 4, end)
            elif data[at] in b"\r\n":
                self._at = at + 1
            else:
                end = _end_of_head(data, at)
                if end < 0:
                    break
                message, length = _parse_head(data[at:end])
                self._at = end
                if length:
                    self._head = message, length
                else:
                    yield message
        self._rest = data[self._at :]

    def pass_over(self, at: int) -> None:
        """Go on at `at` of the data of the packet given last: the caller has taken what stands before it."""
        self._at = at


def request(method: str, uri: str, cseq: int, headers: Sequence[tuple[str, str]]) -> bytes:
    """A request without a body."""
    lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {cseq}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(to: ServerRequest) -> bytes:
    """What a client answers to what servers ask: that it lives, and that it can nothing else."""
    lives = to.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE", "TEARDOWN")
    cseq = to.headers.cseq
    head = "RTSP/1.0 200 OK\r\n" if lives else "RTSP/1.0 501 Not Implemented\r\n"
    return (head + (f"CSeq: {cseq}\r\n" if cseq is not None else "") + "\r\n").encode()


def interleaved(channel: int, data: bytes) -> bytes:
    """A packet to the server."""
    return bytes((DOLLAR, channel)) + len(data).to_bytes(2, "big") + data


def _end_of_head(data: bytes, at: int) -> int:
    """Where the head that begins at `at` ends, -1 when that has not come yet; WireError when it cannot become one."""
    if not (65 <= data[at] <= 90):
        raise WireError("it does not speak RTSP")
    ends = [found + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (found := data.find(mark, at)) >= 0]
    end = min(ends, default=-1)
    if (end if end >= 0 else len(data)) - at > MAX_HEAD_BYTES:
        raise WireError("the head of an answer is too large")
    return end


def _parse_head(head: bytes) -> tuple[Response | ServerRequest, int]:
    lines = head.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
        elif colon:
            headers.append((name.strip().lower(), value.strip()))
    if len(headers) > MAX_HEADERS:
        raise WireError("an answer has too many headers")
    known = Headers(tuple(headers))
    length = known.get("content-length") or "0"
    if not _LENGTH.fullmatch(length) or int(length) > MAX_BODY_BYTES:
        raise WireError("the body of an answer is too large")
    if status := _STATUS.fullmatch(lines[0]):
        return Response(int(status[1]), known, b""), int(length)
    if asked := _REQUEST.fullmatch(lines[0]):
        return ServerRequest(asked[1], known, b""), int(length)
    raise WireError("it does not speak RTSP")


def _with_body(message: Response | ServerRequest, body: bytes) -> Response | ServerRequest:
    if isinstance(message, Response):
        return Response(message.status, message.headers, body)
    return ServerRequest(message.method, message.headers, body)
