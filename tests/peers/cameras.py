"""Real RTSP cameras for the tests: GStreamer's server in a process of its own, and the clips it plays.

clip = make_clip(folder / "street.mp4", seconds=10)
with CameraServer({"/main": clip}, folder=tmp_path) as server:
    record(server.url("/main"))
    server.stall("/main")
    ...
    assert not compare(server.sent("/main"), digests_of_what_was_recorded).missing
"""

from __future__ import annotations

import fractions
import json
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
from av.video.stream import VideoStream

from edge_agent.demo.scene import StreetScene
from tests.peers.support import ManagedProcess, wait_until
from tests.peers.vcl import is_keyframe, nal_units, vcl_digest

__all__ = [
    "CameraServer",
    "Comparison",
    "SentFrame",
    "compare",
    "is_keyframe",
    "make_clip",
    "nal_units",
    "vcl_digest",
]

SYSTEM_PYTHON = "/usr/bin/python3"
"""The Python that Debian's python3-gi belongs to."""

_CHECKOUT = Path(__file__).resolve().parents[2]

Codec = Literal["h264", "h265"]


@dataclass(frozen=True, slots=True)
class SentFrame:
    """One access unit that a mount gave to the wire; `sha256` is its `vcl_digest`."""

    index: int
    utc_us_pushed: int
    sha256: str
    keyframe: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the sent units between the first and the last that arrived."""

    first: int | None
    """Index in `sent` of the first recorded unit; None when nothing of it was recorded."""
    last: int | None
    missing: list[SentFrame]
    """Sent between the first and the last recorded one, but not recorded."""
    foreign: list[str]
    """Recorded, but never sent at that place: damaged, doubled or out of order."""


def compare(sent: Sequence[SentFrame], recorded: Sequence[str]) -> Comparison:
    """Match recorded digests (`vcl_digest`, in order) with what was sent, unit by unit.

    A clip that plays in a loop sends equal units again: of the places where the first recorded unit was sent, the
    one is taken that leaves the least missing, the earliest of equals.
    """
    if not sent or not recorded:
        return Comparison(None, None, [], list(recorded))
    best: Comparison | None = None
    for start, frame in enumerate(sent):
        if frame.sha256 != recorded[0]:
            continue
        found = _compare_from(sent, recorded, start)
        if best is None or len(found.foreign) + len(found.missing) < len(best.foreign) + len(best.missing):
            best = found
    return best or Comparison(None, None, [], list(recorded))


def _compare_from(sent: Sequence[SentFrame], recorded: Sequence[str], start: int) -> Comparison:
    missing: list[SentFrame] = []
    foreign: list[str] = []
    at = start
    for digest in recorded:
        ahead = next((index for index in range(at, len(sent)) if sent[index].sha256 == digest), None)
        if ahead is None:
            foreign.append(digest)
            continue
        missing.extend(sent[at:ahead])
        at = ahead + 1
    return Comparison(sent[start].index, sent[at - 1].index, missing, foreign)


class CameraServer:
    """Cameras on one loopback port: a mount is a path that plays a clip for ever, at its own frame rate.

    `login` asks for digest login, `tls` (certificate, key) serves rtsps, `audio` adds a track of sound to every
    mount, G.711 when it is just true.
    `folder` takes the server's log (a temporary one by default).
    """

    def __init__(
        self,
        mounts: Mapping[str, Path],
        login: tuple[str, str] | None = None,
        *,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        audio: bool | Literal["g711", "aac"] = False,
        folder: Path | None = None,
    ) -> None:
        self._mounts = dict(mounts)
        self._login = login
        self._tls = tls
        self._audio = "g711" if audio is True else audio or ""
        self._scratch = None if folder else tempfile.TemporaryDirectory(prefix="cameras-")
        self._folder = folder or Path(self._scratch.name if self._scratch else "")
        self.port = port
        """The bound port once started; `restart` takes the same one again."""
        self._process: ManagedProcess | None = None
        self._sent: dict[str, list[SentFrame]] = {path: [] for path in mounts}
        self._offset: dict[str, int] = dict.fromkeys(mounts, 0)
        self._clients: set[int] = set()
        self._clients_seen = 0
        self._done: dict[int, str] = {}
        self._commands = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._scratch:
            self._scratch.cleanup()

    # ---- life

    def start(self) -> None:
        """Start the process and wait until it listens; AssertionError shows its log when it does not."""
        if self._process is not None:
            raise RuntimeError("the camera server runs already")
        bound = self.port
        self.port = 0
        self._process = ManagedProcess(
            [SYSTEM_PYTHON, "-m", "tests.peers.gst_camera"],
            self._folder / "gst_camera.log",
            cwd=_CHECKOUT,
            env={"PYTHONPATH": str(_CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=True,
            stdout=True,
        )
        self._process.hear(self._take)
        config: dict[str, object] = {
            "port": bound,
            "mounts": {
                path: {**_describe(clip), "audio": self._audio, "start": self._offset[path]}
                for path, clip in self._mounts.items()
            },
        }
        if self._login:
            config["login"] = list(self._login)
        if self._tls:
            config["tls"] = {"cert": str(self._tls[0]), "key": str(self._tls[1])}
        self._write(config)
        process = self._process
        wait_until(lambda: self.port or not process.running, 30, "the camera server listens")
        if not self.port:
            log = process.text()
            self._end()
            self.port = bound
            raise AssertionError(f"the camera server did not start:\n{log[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: the camera lost its power.  What it sent stays known."""
        if self._process is not None:
            self._process.kill()
        self._end()

    def restart(self) -> None:
        """Serve again on the same port, ending what still runs."""
        self._end()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running().signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().signal(signal.SIGCONT)

    # ---- what a camera can be told to do

    def stall(self, mount: str) -> None:
        """No picture any more, though the session stays open and answers keep-alives."""
        self._command(do="stall", mount=mount)

    def resume(self, mount: str) -> None:
        """Pictures again, from the next keyframe, with timestamps that tell the time that passed."""
        self._command(do="resume", mount=mount)

    def drop_clients(self) -> None:
        """Close every connection; new ones are welcome."""
        self._command(do="drop")

    def switch(self, mount: str, clip: Path) -> None:
        """Play another clip of the same codec from the next keyframe on; the pace stays as it was."""
        codec = _describe(self._mounts[mount])["codec"]
        if _describe(clip)["codec"] != codec:
            raise ValueError(f"{clip}: mount {mount} plays {codec}")
        self._command(do="switch", mount=mount, clip=str(clip))

    # ---- what is known of it

    def url(self, mount: str, login: tuple[str, str] | None = None, *, with_login: bool = True) -> str:
        """The mount's URL, with the server's login in it (or another `login`), or without any."""
        given = login or (self._login if with_login else None)
        who = f"{given[0]}:{given[1]}@" if given else ""
        return f"{'rtsps' if self._tls else 'rtsp'}://{who}127.0.0.1:{self.port}{mount}"

    def sent(self, mount: str) -> list[SentFrame]:
        """Every unit sent so far, oldest first; `index` goes on over restarts."""
        return list(self._sent[mount])

    @property
    def clients(self) -> int:
        """Connections open now."""
        return len(self._clients)

    @property
    def clients_seen(self) -> int:
        """Connections ever made, over restarts too."""
        return self._clients_seen

    # ---- inside

    def _running(self) -> ManagedProcess:
        if self._process is None:
            raise RuntimeError("the camera server does not run")
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()
        self._clients.clear()
        self._offset = {path: frames[-1].index + 1 if frames else 0 for path, frames in self._sent.items()}

    def _write(self, line: Mapping[str, object]) -> None:
        pipe = self._running().stdin
        pipe.write(json.dumps(line).encode() + b"\n")
        pipe.flush()

    def _command(self, **command: str) -> None:
        self._commands += 1
        number = self._commands
        self._write({"id": number, **command})
        wait_until(lambda: number in self._done, 30, f"the camera server did {command}")
        if self._done[number]:
            raise RuntimeError(f"the camera server could not do {command}: {self._done[number]}")

    def _take(self, line: bytes) -> None:
        """In its own thread: appends to lists and sets, which is safe beside readers under the interpreter's lock."""
        try:
            report: dict[str, Any] = json.loads(line)
        except ValueError:
            return  # a killed process may leave half a line
        match report["event"]:
            case "sent":
                path = report["mount"]
                frame = SentFrame(
                    self._offset[path] + report["index"], report["utc_us"], report["sha256"], report["keyframe"]
                )
                self._sent[path].append(frame)
            case "ready":
                self.port = report["port"]
            case "client" if report["connected"]:
                self._clients_seen += 1
                self._clients.add(report["id"])
            case "client":
                self._clients.discard(report["id"])
            case "done":
                self._done[report["id"]] = report["error"]


def _describe(clip: Path) -> dict[str, object]:
    """Path, codec and frame rate of a clip, as the server's configuration wants them."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        codec = {"h264": "h264", "hevc": "h265"}[stream.codec_context.name]
        rate = fractions.Fraction(stream.average_rate or 25)
        return {"clip": str(clip), "codec": codec, "fps": [rate.numerator, rate.denominator]}


def make_clip(
    path: Path,
    codec: Codec = "h264",
    *,
    fps: int = 15,
    size: tuple[int, int] = (640, 360),
    seconds: float = 8,
    gop: int = 15,
    bframes: int = 0,
    slices: int = 1,
    seed: int = 1,
) -> Path:
    """An MP4 of a street scene at `path`; made only when it is not there yet, so that a session's tests can share it.

    `gop` in frames, closed, without scene cuts.  Different `seed`s give different pictures.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    common = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bframes}:open-gop=0:slices={slices}"
    encoder, parameters = {
        # sliced threads would make as many slices as the machine has cores
        "h264": ("libx264", {"preset": "ultrafast", "x264-params": f"{common}:sliced-threads=0"}),
        "h265": ("libx265", {"preset": "ultrafast", "x265-params": f"{common}:log-level=none:pools=1"}),
    }[codec]
    # Under another name until it is whole: a test that was killed half-way leaves no torn clip behind.
    unfinished = path.with_suffix(".part.mp4")
    scene = StreetScene(size, fps, seed)
    with av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=fps, options=parameters)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if codec == "h265":
            stream.codec_context.codec_tag = "hvc1"
        for number in range(round(seconds * fps)):
            picture = av.VideoFrame.from_ndarray(scene.frame(number), format="bgr24")
            picture.pts = number
            picture.time_base = fractions.Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return unfinished.rename(path)
