"""RTSP 1.0 requests, answers and digest login as values (RFC 2326, RFC 2617); no I/O."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

MAX_HEAD_BYTES = 8192
MAX_HEADERS = 64

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
}

_REQUEST_LINE = re.compile(r"([A-Z_]{1,32}) (\S{1,2048}) RTSP/(\d\.\d)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,"]+))')


class BadRequest(Exception):  # noqa: N818 - it is an answer, not a failure of the product
    """The request cannot be read; `status` is what to answer before the connection is closed."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    uri: str
    headers: Mapping[str, str]
    """Names in lower case."""

    @property
    def cseq(self) -> str:
        return self.headers["cseq"]

    @property
    def path(self) -> str:
        """The path of the URI, decoded, without a slash at its end."""
        return unquote(urlsplit(self.uri).path).rstrip("/")

    @property
    def content_length(self) -> int:
        return int(self.headers.get("content-length", "0"))


def parse_request(head: bytes) -> Request:
    """Read a request's head (up to and with the empty line); BadRequest says what is wrong with it."""
    if len(head) > MAX_HEAD_BYTES:
        raise BadRequest(400, f"a head of more than {MAX_HEAD_BYTES} bytes")
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise BadRequest(400, "not text") from None
    start = _REQUEST_LINE.fullmatch(lines[0])
    if start is None:
        raise BadRequest(400, "not a request line")
    if start[3] != "1.0":
        raise BadRequest(505, f"RTSP {start[3]}; 1.0 is spoken here")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if not line:
            continue
        header = _HEADER.fullmatch(line)
        if header is None or len(headers) >= MAX_HEADERS:
            raise BadRequest(400, "not a header, or too many of them")
        headers[header[1].lower()] = header[2]
    if not re.fullmatch(r"[0-9]{1,10}", headers.get("cseq", "")):
        raise BadRequest(400, "no CSeq")
    if not re.fullmatch(r"[0-9]{1,10}", headers.get("content-length", "0")):
        raise BadRequest(400, "Content-Length is no number")
    try:
        urlsplit(start[2])
    except ValueError:
        raise BadRequest(400, "not a URI") from None
    return Request(start[1], start[2], headers)


def answer(status: int, cseq: str | None, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A response as bytes; Content-Length is added where there is a body."""
    lines = [f"RTSP/1.0 {status} {REASONS[status]}"]
    if cseq is not None:
        lines.append(f"CSeq: {cseq}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def interleaved_channels(transport: str) -> tuple[int, int] | None:
    """The RTP and RTCP channels of the first RTP-over-TCP choice in a Transport header; None when there is none."""
    for choice in transport.split(","):
        parts = [part.strip() for part in choice.split(";")]
        if parts[0].upper() != "RTP/AVP/TCP":
            continue
        asked = next((part for part in parts if part.startswith("interleaved=")), "interleaved=0-1")
        channels = re.fullmatch(r"interleaved=(\d{1,3})-(\d{1,3})", asked)
        if channels and max(int(channels[1]), int(channels[2])) < 256 and channels[1] != channels[2]:
            return int(channels[1]), int(channels[2])
    return None


@dataclass(frozen=True, slots=True)
class DigestLogin:
    """The one user of a camera; MD5 digest, as cameras have it (RFC 2617 §3.2)."""

    user: str
    password: str
    realm: str = "edge-agent demo camera"

    def challenge(self, nonce: str) -> str:
        return f'Digest realm="{self.realm}", nonce="{nonce}", algorithm=MD5'

    def admits(self, request: Request, nonce: str) -> bool:
        """True when the request's Authorization answers the challenge with `nonce` for this very method and URI."""
        header = request.headers.get("authorization", "")
        scheme, _, rest = header.partition(" ")
        if scheme.lower() != "digest":
            return False
        given = {match[1].lower(): match[2] or match[3] or "" for match in _PARAMETER.finditer(rest)}
        if given.get("username") != self.user or given.get("nonce") != nonce or given.get("uri") != request.uri:
            return False
        secret = _md5(f"{self.user}:{self.realm}:{self.password}")
        asked = _md5(f"{request.method}:{request.uri}")
        middle = f"{nonce}:{given.get('nc', '')}:{given.get('cnonce', '')}:auth" if "qop" in given else nonce
        expected = _md5(f"{secret}:{middle}:{asked}")
        return hmac.compare_digest(expected.encode(), given.get("response", "").lower().encode())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
