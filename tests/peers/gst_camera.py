"""A camera made of GStreamer's RTSP server, run by the system's Python: `/usr/bin/python3 -m tests.peers.gst_camera`.

Talks JSON lines.  The first on standard input is the configuration (`CameraServer.start` writes it), each further one a
command `{"id", "do": "stall" | "resume" | "drop" | "switch" | "quit", "mount", "clip"}`; the end of the input ends the
server.  On standard output: `{"event": "ready", "port"}`, `{"event": "client", "id", "connected"}`, `{"event": "sent",
"mount", "index", "utc_us", "sha256", "keyframe"}` for every access unit given to the wire, `{"event": "done", "id",
"error"}`.

A mount plays its clip for ever with continuous timestamps; it stands still while nobody watches and goes on from the
next keyframe, so `index` counts units sent, never units that nobody could have received.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

from tests.peers.vcl import is_keyframe, vcl_digest  # noqa: E402

LATE_S = 1.0
"""A pusher that is later than this (the process was stopped) skips the time instead of catching up in a burst."""


class Reports:
    """Standard output, one line at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, **facts: object) -> None:
        line = json.dumps(facts, separators=(",", ":")) + "\n"
        with self._lock:
            sys.stdout.write(line)
            sys.stdout.flush()


@dataclass(frozen=True)
class Unit:
    """One access unit of a clip; `reorder_ns` is its presentation time less its decoding time."""

    data: bytes
    reorder_ns: int
    keyframe: bool
    sha256: str


def load_clip(path: str, codec: str) -> list[Unit]:
    """All access units of an MP4 file in decoding order, as Annex B; RuntimeError when it is not such a clip."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! qtdemux ! {codec}parse config-interval=-1 ! '
        f"video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=sink sync=false max-buffers=64"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    units: list[Unit] = []
    try:
        while (sample := sink.emit("pull-sample")) is not None:
            buffer = sample.get_buffer()
            data = bytes(buffer.extract_dup(0, buffer.get_size()))
            timed = buffer.pts != Gst.CLOCK_TIME_NONE and buffer.dts != Gst.CLOCK_TIME_NONE
            reorder_ns = max(0, buffer.pts - buffer.dts) if timed else 0
            units.append(Unit(data, reorder_ns, is_keyframe(data, codec), vcl_digest(data, codec)))
    finally:
        pipeline.set_state(Gst.State.NULL)
    if not units or not units[0].keyframe:
        raise RuntimeError(f"{path}: no {codec} clip that starts with a keyframe")
    return units


@dataclass
class Mount:
    """One path of the server: which unit comes next, whether it stands still, and the thread that feeds its viewers."""

    path: str
    codec: str
    frame_ns: int
    units: list[Unit]
    reports: Reports
    stalled: bool = False
    at: int = 0
    sent: int = 0
    pending: list[Unit] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_unit(self, from_keyframe: bool) -> Unit:
        """The unit to send now; a new clip starts, and a skip ends, at a keyframe only."""
        with self.lock:
            if self.pending is not None and self.units[self.at].keyframe:
                self.units, self.pending, self.at = self.pending, None, 0
            while from_keyframe and not self.units[self.at].keyframe:
                self.at = (self.at + 1) % len(self.units)
            unit = self.units[self.at]
            self.at = (self.at + 1) % len(self.units)
            return unit

    def feed(self, source: Any, stop: threading.Event) -> None:
        """Push units at the clip's pace until the media ends; runs in a thread of that media."""
        began = time.monotonic()
        tick = 0
        from_keyframe = True
        while not stop.wait(max(0.0, began + tick * self.frame_ns / 1e9 - time.monotonic())):
            late_s = time.monotonic() - (began + tick * self.frame_ns / 1e9)
            if self.stalled or late_s > LATE_S:
                tick += max(1, int(late_s * 1e9 / self.frame_ns))
                from_keyframe = True
                continue
            unit = self.next_unit(from_keyframe)
            from_keyframe = False
            buffer = Gst.Buffer.new_wrapped(unit.data)
            buffer.dts = tick * self.frame_ns
            buffer.pts = buffer.dts + unit.reorder_ns
            buffer.duration = self.frame_ns
            utc_us = time.time_ns() // 1000
            if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return
            self.reports.tell(
                event="sent",
                mount=self.path,
                index=self.sent,
                utc_us=utc_us,
                sha256=unit.sha256,
                keyframe=unit.keyframe,
            )
            self.sent += 1
            tick += 1

    def configure(self, _factory: Any, media: Any) -> None:
        """GStreamer made a pipeline for the first viewer: feed it until the last one has gone."""
        source = media.get_element().get_by_name("src")
        stop = threading.Event()
        media.connect("unprepared", lambda _media: stop.set())
        threading.Thread(target=self.feed, args=(source, stop), name=f"feed {self.path}", daemon=True).start()


_SOUNDS = {
    "g711": "rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 ",
    "aac": "rate=16000,channels=1 ! voaacenc ! rtpmp4gpay name=pay1 pt=97 ",
}


def make_factory(mount: Mount, audio: str, login: bool) -> Any:
    """The shared media of a mount; TCP only, so that nothing listens beyond the loopback port."""
    # config-interval belongs on the parser alone: on the payloader it splits keyframes of several slices in two.
    launch = (
        "( appsrc name=src is-live=true format=time do-timestamp=false block=false max-bytes=4000000 "
        f"leaky-type=downstream caps=video/x-{mount.codec},stream-format=byte-stream,alignment=au ! "
        f"{mount.codec}parse config-interval=-1 ! rtp{mount.codec}pay name=pay0 pt=96 "
    )
    if audio:
        launch += "audiotestsrc is-live=true ! audio/x-raw," + _SOUNDS[audio]
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch + ")")
    factory.set_shared(True)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
    if login:
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", permission, True)
        factory.set_permissions(permissions)
    factory.connect("media-configure", mount.configure)
    return factory


def make_auth(login: list[str] | None, tls: dict[str, str] | None) -> Any | None:
    """Digest login and TLS, as the configuration asks for them."""
    if login is None and tls is None:
        return None
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if login is not None:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(login[0], login[1], token)
    else:
        auth.set_default_token(token)
    if tls is not None:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(tls["cert"], tls["key"]))
    return auth


class Camera:
    """The server, its mounts and its commands; everything but the feeding happens in the main loop."""

    def __init__(self, config: dict[str, Any], reports: Reports) -> None:
        self._reports = reports
        self._loop = GLib.MainLoop()
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address("127.0.0.1")
        self._server.set_service(str(config["port"]))
        auth = make_auth(config.get("login"), config.get("tls"))
        if auth is not None:
            self._server.set_auth(auth)
        self._server.connect("client-connected", self._client_connected)
        self._clients = 0
        self._mounts: dict[str, Mount] = {}
        points = self._server.get_mount_points()
        for path, given in config["mounts"].items():
            frames, seconds = given["fps"]
            units = load_clip(given["clip"], given["codec"])
            mount = Mount(path, given["codec"], 1_000_000_000 * seconds // frames, units, reports)
            mount.at = int(given.get("start", 0)) % len(units)
            self._mounts[path] = mount
            points.add_factory(path, make_factory(mount, given.get("audio") or "", auth is not None))

    def run(self) -> None:
        """Serve until told to quit; RuntimeError when the port is taken."""
        self._server.attach(None)
        port = self._server.get_bound_port()
        if port <= 0:
            raise RuntimeError(f"port {self._server.get_service()} is in use")
        self._reports.tell(event="ready", port=port)
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()
        self._loop.run()

    def _client_connected(self, _server: Any, client: Any) -> None:
        self._clients += 1
        number = self._clients
        self._reports.tell(event="client", id=number, connected=True)
        client.connect("closed", lambda _client: self._reports.tell(event="client", id=number, connected=False))

    def _read_commands(self) -> None:
        for line in sys.stdin:
            GLib.idle_add(self._obey, json.loads(line))
        GLib.idle_add(self._loop.quit)

    def _obey(self, command: dict[str, Any]) -> bool:
        error = ""
        try:
            actions: dict[str, Callable[[dict[str, Any]], None]] = {
                "stall": self._stall,
                "resume": self._resume,
                "drop": self._drop,
                "switch": self._switch,
                "quit": lambda _command: self._loop.quit(),
            }
            actions[command["do"]](command)
        except (KeyError, RuntimeError, GLib.Error) as problem:
            error = f"{type(problem).__name__}: {problem}"
        self._reports.tell(event="done", id=command.get("id"), error=error)
        return False

    def _stall(self, command: dict[str, Any]) -> None:
        self._mounts[command["mount"]].stalled = True

    def _resume(self, command: dict[str, Any]) -> None:
        self._mounts[command["mount"]].stalled = False

    def _drop(self, _command: dict[str, Any]) -> None:
        self._server.client_filter(lambda _server, _client: GstRtspServer.RTSPFilterResult.REMOVE)

    def _switch(self, command: dict[str, Any]) -> None:
        mount = self._mounts[command["mount"]]
        units = load_clip(command["clip"], mount.codec)
        with mount.lock:
            mount.pending = units


def main() -> None:
    Gst.init(None)
    config: dict[str, Any] = json.loads(sys.stdin.readline())
    Camera(config, Reports()).run()


if __name__ == "__main__":
    main()
