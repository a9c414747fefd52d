"""One picture stream over HTTP or HTTPS, as a file that libav can read: login, certificate, and deadlines are ours.

libav's own HTTP would answer any login in the clear, and its errors carry the URL.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import quote, urlsplit

from edge_agent.capture.job import CameraJob
from edge_agent.capture.rtsp_login import Challenge, Login, best, challenges
from edge_agent.capture.source import CameraFailed
from edge_agent.capture.tls import judge, reason
from edge_agent.capture.told import Told, fit, kinds
from edge_agent.clock import Clock
from edge_agent.model import CameraFault

CONNECT_S = 5.0
MAX_WAIT_BYTES = 32 << 20
"""More than any picture: what sends so much without one is no camera."""
_SAFE = "/%!$&'()*+,;=:@~-._[]?"
_REDIRECTS = (301, 302, 303, 307, 308)
_PAGES = ("text/", "application/json", "application/xml", "application/xhtml")


class HttpStream:
    """`open` asks for the stream; `read` gives its bytes, b"" at its end and at a failure, which is then `failure`."""

    def __init__(self, camera: CameraJob, clock: Clock) -> None:
        """The URL must be http:// or https://."""
        self._camera = camera
        self._clock = clock
        parts = urlsplit(camera.url)
        self._secure = parts.scheme.lower() == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
        self._target = quote(parts.path or "/", safe=_SAFE) + query
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._deadline = 0.0
        self._waited_bytes = 0
        self._offered: list[Challenge] = []
        self._used: Challenge | None = None
        self._server = ""
        self.content_type = ""
        """Of the answer, in lower case, without parameters."""
        self.failure: CameraFailed | None = None

    @property
    def where(self) -> str:
        """Host and port: paths and queries of cameras' URLs may hold secrets."""
        return f"{self._host}:{self._port}"

    @property
    def told(self) -> Told:
        return Told(
            server=self._server,
            logins=kinds(self._offered),
            login=self._used.kind if self._used and self._response else "",
            picture=fit(self.content_type),
        )

    def open(self, seconds: float) -> None:
        """Log in and have the stream begin; CameraFailed when it does not within `seconds`."""
        self.expect(seconds)
        response = self._asked(None)
        if response.status == 401:
            challenge, login = self._way_in(response)
            self._drop()
            response = self._asked(login.answer(challenge, "GET", self._target))
            self._used = challenge
        self._judge(response)
        self._response = response

    def expect(self, seconds: float) -> None:
        """Something whole must come within so many seconds, and within MAX_WAIT_BYTES."""
        self._deadline = self._clock.monotonic() + seconds
        self._waited_bytes = 0

    def read(self, size: int) -> bytes:
        """What is there, at least a byte; never raises, for libav would swallow it."""
        if self.failure is not None or self._response is None or self._socket is None:
            return b""
        left = self._deadline - self._clock.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._response.read1(size)
        except TimeoutError:
            self.failure = CameraFailed(CameraFault.STALLED, f"{self.where} sends no picture")
            return b""
        except (OSError, HTTPException, ValueError):
            chunk = b""
        self._waited_bytes += len(chunk)
        if self._waited_bytes > MAX_WAIT_BYTES:
            self.failure = CameraFailed(CameraFault.BROKEN, f"{self.where} sends very much, but no picture")
            return b""
        return chunk

    def close(self) -> None:
        self._response = None
        self._drop()

    # ---- asking

    def _asked(self, authorization: str | None) -> HTTPResponse:
        """Send the request on a connection of its own; the head of the answer."""
        headers = {"User-Agent": "edge-agent", "Accept": "*/*"}
        if authorization is not None:
            headers["Authorization"] = authorization
        left = max(0.1, self._deadline - self._clock.monotonic())
        late = threading.Timer(left, self._cut)
        late.daemon = True
        late.start()
        try:
            connection = self._connection()
            connection.connect()
            self._socket = connection.sock
            connection.sock.settimeout(left)
            connection.request("GET", self._target, headers=headers)
            response = connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise self._unreachable(
                f"shows a certificate that is not trusted here: {error.verify_message.lower()}"
            ) from None
        except HTTPException:
            self._drop()
            raise self._failed(CameraFault.BROKEN, "does not speak HTTP: check the URL's port") from None
        except (OSError, ValueError) as error:
            self._drop()
            raise self._unreachable(f"cannot be reached: {reason(error)}") from None
        finally:
            late.cancel()
        self._server = self._server or fit(response.headers.get("Server"))
        return response

    def _connection(self) -> HTTPConnection:
        if self._secure:
            return HTTPSConnection(self._host, self._port, timeout=CONNECT_S, context=judge(self._camera.ca_file))
        return HTTPConnection(self._host, self._port, timeout=CONNECT_S)

    def _way_in(self, response: HTTPResponse) -> tuple[Challenge, Login]:
        self._offered = challenges(response.headers.get_all("WWW-Authenticate") or [])
        if self._camera.username is None:
            raise self._failed(CameraFault.LOGIN, "refuses the login: check username and password")
        challenge = best(self._offered, basic=self._secure or self._camera.basic)
        if challenge is None:
            if any(one.scheme == "basic" for one in self._offered):
                raise self._failed(
                    CameraFault.LOGIN,
                    "wants the password readable for everybody: turn on its digest login, or use https://",
                )
            raise self._failed(CameraFault.LOGIN, "wants a login of a kind that is not known here")
        return challenge, Login(self._camera.username, self._camera.password or "")

    def _judge(self, response: HTTPResponse) -> None:
        """CameraFailed for whatever is no stream."""
        status = response.status
        self.content_type = response.headers.get_content_type().lower()
        if status in (401, 403):
            raise self._failed(CameraFault.LOGIN, "refuses the login: check username and password")
        if status in (404, 410):
            raise self._failed(CameraFault.NOT_FOUND, "has no such stream: check the URL's path")
        if status in _REDIRECTS:
            with contextlib.suppress(ValueError):
                to = urlsplit(response.headers.get("Location") or "")
                if to.scheme in ("http", "https") and to.hostname:
                    place = fit(f"{to.scheme}://{to.netloc.rpartition('@')[2]}")
                    raise self._failed(CameraFault.BROKEN, f"points to {place}: give that address in the URL")
            raise self._failed(CameraFault.BROKEN, "points to another path: give that one in the URL")
        if status in (429, 503):
            raise self._failed(CameraFault.BROKEN, f"serves too many viewers already ({status})")
        if status >= 500:
            raise self._failed(CameraFault.BROKEN, f"reports an error of its own ({status}): restart the camera")
        if status != 200:
            raise self._failed(CameraFault.BROKEN, f"refuses with status {status}")
        if self.content_type.startswith(_PAGES) and "Content-Type" in response.headers:
            raise self._failed(CameraFault.NO_VIDEO, "answers with a page, not a stream: check the URL's path")
        if self.content_type.startswith("image/"):
            raise self._failed(CameraFault.NO_VIDEO, "answers with a single picture: give the URL of its video stream")

    def _failed(self, fault: CameraFault, words: str) -> CameraFailed:
        return CameraFailed(fault, f"{self.where} {words}")

    def _unreachable(self, words: str) -> CameraFailed:
        return self._failed(CameraFault.UNREACHABLE, words)

    def _cut(self) -> None:
        """The head of an answer that trickles in for ever is waited for no longer."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _drop(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            connection.close()
