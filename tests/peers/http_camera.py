"""Cameras over HTTP: ffmpeg's own server for one viewer, and one of Python's that knows logins, TLS and bad manners."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, cast

import av

from edge_agent.demo.scene import StreetScene
from tests.peers.support import ManagedProcess, wait_until

LoginKind = Literal["basic", "MD5", "SHA-256"]
_LISTEN_STATE = "0A"
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class FfmpegCamera:
    """`ffmpeg -listen 1`: plays a clip for ever to the first who asks, from its beginning; ends with that viewer.

    `start` again serves the next one on the same port.
    """

    def __init__(
        self, clip: Path, port: int, form: Literal["mpegts", "mp4", "mpjpeg"], folder: Path, sound: bool = False
    ) -> None:
        self.url = f"http://127.0.0.1:{port}/stream"
        self._port = port
        self._folder = folder
        kind, options = {
            "mpegts": ("video/mp2t", ["-c", "copy"]),
            "mp4": ("video/mp4", ["-c", "copy", "-movflags", "frag_keyframe+empty_moov"]),
            "mpjpeg": ("multipart/x-mixed-replace;boundary=ffmpeg", ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]),
        }[form]
        self._command = [
            *("ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip)),
            *(["-re", "-f", "lavfi", "-i", "sine=f=440:r=48000", "-ac", "2"] if sound else ["-an"]),
            *options,
            *(["-c:a", "aac"] if sound else []),
            *("-f", form, "-content_type", kind, "-listen", "1", self.url),
        ]
        self._process: ManagedProcess | None = None

    def start(self) -> None:
        """Serve; returns once it listens."""
        self.end()
        process = self._process = ManagedProcess(self._command, self._folder / "ffmpeg.log")
        wait_until(lambda: self._listens or not process.running, 30, "ffmpeg listens")
        assert process.running, process.text()

    def end(self) -> None:
        """The camera loses its power."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.end()

    @property
    def _listens(self) -> bool:
        wanted = f":{self._port:04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return any(row[1].endswith(wanted) and row[3] == _LISTEN_STATE for row in rows)


def street_jpegs(count: int = 30, size: tuple[int, int] = (320, 240), seed: int = 1) -> list[bytes]:
    """Pictures of a street, each different."""
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height = size
    context.pix_fmt = "yuvj420p"
    context.time_base = Fraction(1, 15)
    scene, found = StreetScene(size, 15, seed), []
    for number in range(count):
        picture = av.VideoFrame.from_ndarray(scene.frame(number), format="bgr24").reformat(format="yuvj420p")
        picture.pts = number
        found += [bytes(packet) for packet in context.encode(picture)]
    return found


class HttpCamera:
    """`with HttpCamera() as camera:` sends JPEG pictures at 15 a second, as multipart, to whoever may see them.

    `answer` writes whatever it likes to a viewer instead.  `lengths=False` leaves the pictures' sizes out.
    """

    def __init__(
        self,
        pictures: Sequence[bytes] = (),
        *,
        login: tuple[str, str] | None = None,
        kinds: Sequence[LoginKind] = ("SHA-256", "MD5"),
        tls: tuple[Path, Path] | None = None,
        lengths: bool = True,
        answer: Callable[[BaseHTTPRequestHandler], None] | None = None,
    ) -> None:
        self.pictures = list(pictures)
        self.login = login
        self.kinds = tuple(kinds)
        self.lengths = lengths
        self.answer = answer
        self.nonce = secrets.token_hex(8)
        self.heard: list[str] = []
        """`Authorization` headers, as they came."""
        self.sent: list[bytes] = []
        self.running = threading.Event()
        """Cleared, it sends nothing more until it is set again."""
        self.running.set()
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        cast("_Server", self._server).camera = self
        self._scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/video.cgi?resolution=small"

    def __enter__(self) -> HttpCamera:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.running.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def admits(self, method: str, target: str, header: str) -> bool:
        """RFC 7617 and RFC 7616 §3.4, for qop=auth."""
        if self.login is None:
            return True
        name, password = self.login
        kind, _, rest = header.partition(" ")
        if kind == "Basic" and "basic" in self.kinds:
            return base64.b64decode(rest) == f"{name}:{password}".encode()
        given = {key: quoted or plain for key, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', rest)}
        algorithm = given.get("algorithm", "MD5")
        if kind != "Digest" or algorithm not in self.kinds or given.get("nonce") != self.nonce:
            return False

        def hashed(*parts: str) -> str:
            return _HASHES[algorithm](":".join(parts).encode()).hexdigest()

        secret = hashed(name, "camera", password)
        expected = hashed(secret, self.nonce, given["nc"], given["cnonce"], "auth", hashed(method, target))
        return (given["uri"], given["response"], given["username"]) == (target, expected, name)

    def challenges(self) -> Iterator[str]:
        for kind in self.kinds:
            if kind == "basic":
                yield 'Basic realm="camera"'
            else:
                yield f'Digest realm="camera", qop="auth", algorithm={kind}, nonce="{self.nonce}"'


class _Server(ThreadingHTTPServer):
    camera: HttpCamera


class _Handler(BaseHTTPRequestHandler):
    server_version = "StreetCam/2.1"
    sys_version = ""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        camera = cast("_Server", self.server).camera
        with contextlib.suppress(OSError):
            if header := self.headers.get("Authorization"):
                camera.heard.append(header)
            if not camera.admits("GET", self.path, header or ""):
                self.send_response(401)
                for challenge in camera.challenges():
                    self.send_header("WWW-Authenticate", challenge)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif camera.answer is not None:
                camera.answer(self)
            else:
                self._play(camera)

    def _play(self, camera: HttpCamera) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        while not camera.over.wait(1 / 15):
            camera.running.wait()
            picture = camera.pictures[len(camera.sent) % len(camera.pictures)]
            size = f"Content-Length: {len(picture)}\r\n" if camera.lengths else ""
            camera.sent.append(picture)
            self.wfile.write(f"--next\r\nContent-Type: image/jpeg\r\n{size}\r\n".encode() + picture + b"\r\n")
