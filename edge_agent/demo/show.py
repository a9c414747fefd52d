"""The demonstration itself: starts the real parts, tells what they do, releases one clip and opens it."""

from __future__ import annotations

import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from rich.console import Console

from edge_agent.buffer.index import Index
from edge_agent.clock import US, Clock
from edge_agent.demo.stage import CAMERA, NODE, OFFICER, SITE, TARGET, BrokerChoice, CameraChoice, Stage
from edge_agent.errors import EdgeError, UplinkError
from edge_agent.model import AlarmPhase, CameraId, CameraState, Interval, uncovered
from edge_agent.trust.age import open_file
from edge_agent.trust.command import ExportArgs, sign
from edge_agent.trust.keys import load_key
from edge_agent.uplink.alarm_pictures import moment_of
from edge_agent.uplink.link import LinkSettings, LinkState, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import AlarmMessage, CameraMessage, Health, Reply, ReplyState, decode
from edge_agent.uplink.topics import TopicKind, Topics, parse, subscription
from edge_agent.when import from_us

_START_S = 20.0
_STOP_S = 15.0
_CLIP_S = 15
_RELEASE_AFTER_S = 30.0
"""Without any alarm a clip is released after so long, so that its way is seen all the same."""
_JITTER_US = 500_000


@dataclass(frozen=True, slots=True)
class Clip:
    """The released clip, as its recipient found it."""

    path: str
    seconds: float
    opened: bool


@dataclass(frozen=True, slots=True)
class Summary:
    recorded_s: float
    gap_s: float
    alarms: int
    clip: Clip | None

    @property
    def good(self) -> bool:
        return self.recorded_s > 0 and self.clip is not None and self.clip.opened

    def json(self) -> dict[str, Any]:
        clip = self.clip and {"path": self.clip.path, "seconds": self.clip.seconds, "opened": self.clip.opened}
        return {"recorded_s": self.recorded_s, "gap_s": self.gap_s, "alarms": self.alarms, "clip": clip}


class Show:
    """One run of the demonstration; `stop` ends it in order."""

    def __init__(self, stage: Stage, language: str, clock: Clock, stop: threading.Event) -> None:
        self._stage, self._language, self._clock, self._stop = stage, language, clock, stop
        self._console = Console(highlight=False, soft_wrap=True)
        self._inbox: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._topics = Topics(SITE, NODE)
        self._recording_since: float | None = None
        self._began_us = clock.utc_us()
        self._alarms: set[str] = set()
        self._first_alarm_us: int | None = None
        self._sealed: set[str] = set()
        self._health_told = float("-inf")
        self._request: str | None = None
        self._asked: ExportArgs | None = None
        self._clip: Clip | None = None
        self._clip_failed = False

    def run(self, seconds: float | None, camera: CameraChoice | None, broker: BrokerChoice | None) -> Summary:
        with ExitStack() as parts:
            self._say("demo", f"everything is kept in {self._stage.folder}")
            if camera is None:
                camera = parts.enter_context(self._made_up_camera())
            if broker is None:
                broker = parts.enter_context(self._built_in_broker())
            self._stage.set(camera, broker, self._language)
            link = parts.enter_context(self._dispatcher(broker))
            agent = parts.enter_context(self._agent())
            self._watch(seconds, agent, link)
        summary = self._account()
        self._farewell(summary)
        return summary

    # -- the parts --------------------------------------------------------------------------------------------------

    @contextmanager
    def _made_up_camera(self) -> Iterator[CameraChoice]:
        with _process("edge_agent.demo.camera", "--port", "0", log=self._log("camera")) as (_, ready):
            self._say("camera", f"a made-up street, live at {ready['main']}")
            yield CameraChoice(ready["main"], ready["sub"])

    @contextmanager
    def _built_in_broker(self) -> Iterator[BrokerChoice]:
        port, web = _free_port(), _free_port()
        options = ("--port", str(port), "--ws-port", str(web))
        with _process("edge_agent.demo.broker", *options, log=self._log("broker")) as (_, ready):
            self._say("broker", f"MQTT at {ready['mqtt']}, WebSocket at {ready['websocket']}, this machine only")
            yield BrokerChoice("127.0.0.1", port)

    @contextmanager
    def _dispatcher(self, broker: BrokerChoice) -> Iterator[Link]:
        settings = LinkSettings(
            broker.host, broker.port, f"demo-dispatcher-{os.getpid()}", tls=not broker.local, first_delay_s=0.2
        )
        link = Link(settings, self._clock, self._inbox.put, self._link_says)
        for kind in (TopicKind.CAMERA, TopicKind.HEALTH, TopicKind.ALARM, TopicKind.PICTURE, TopicKind.REPLY):
            link.subscribe(subscription(kind, SITE, NODE))
        link.start()
        try:
            yield link
        finally:
            link.stop(1.0)

    @contextmanager
    def _agent(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "edge_agent", "run", "--config", str(self._stage.agent_config)]
        with (
            self._log("agent").open("wb") as log,
            subprocess.Popen(
                command, stderr=log, stdout=log, stdin=subprocess.DEVNULL, start_new_session=True
            ) as process,
        ):
            self._say("agent", f"edge-agent run --config {self._stage.agent_config}   (log: {self._log('agent')})")
            try:
                yield process
            finally:
                self._say("agent", "stopping: the open file is sealed")
                process.terminate()
                try:
                    process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _log(self, part: str) -> Path:
        self._stage.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._stage.folder / f"{part}.log"

    # -- what happens -----------------------------------------------------------------------------------------------

    def _watch(self, seconds: float | None, agent: subprocess.Popen[bytes], link: Link) -> None:
        started = self._clock.monotonic()
        while not self._stop.is_set():
            if agent.poll() is not None:
                raise EdgeError(f"the agent ended ({agent.returncode}); its log is {self._log('agent')}")
            self._hear(0.25)
            self._tell_sealed()
            now = self._clock.monotonic()
            if self._recording_since is None:
                if now - started > _START_S and seconds is not None:
                    raise UplinkError(f"nothing was recorded within {_START_S:.0f} s; see {self._log('agent')}")
                continue
            over = seconds is not None and now - self._recording_since >= seconds
            if self._request is None and (over or self._ripe(now - self._recording_since)):
                self._release(link)
            if over and (self._clip or self._clip_failed):
                return

    def _ripe(self, recorded_s: float) -> bool:
        """Time to release: a whole clip after the first alarm, or without one after a while."""
        if self._first_alarm_us is None:
            return recorded_s > _RELEASE_AFTER_S
        since_alarm_s = (self._clock.utc_us() - self._first_alarm_us) / US
        return recorded_s > _CLIP_S + 3 and since_alarm_s > _CLIP_S - 5

    def _release(self, link: Link) -> None:
        """Sign the order as the archive officer would at the desk, and send it."""
        now_us = self._clock.utc_us()
        end_us = now_us - US
        start_us = max(end_us - _CLIP_S * US, self._began_us)
        recipient = str(self._stage.recipient().recipient)
        self._asked = ExportArgs(
            camera=CAMERA, start_us=start_us, end_us=end_us, recipient=recipient, target=TARGET, reason="demonstration"
        )
        token = sign(load_key(self._stage.officer_key), OFFICER, f"{SITE}/{NODE}", self._asked, now_us)
        self._request = "asked"
        link.publish(self._topics.command, token)
        self._say(
            "desk",
            f"O. Kovalenko, archive officer, signs: export {(end_us - start_us) / US:.0f} s to {recipient[:16]}…",
        )

    def _hear(self, seconds: float) -> None:
        try:
            received = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return
        try:
            address = parse(received.topic)
            match address.kind:
                case TopicKind.CAMERA:
                    self._camera_says(decode(CameraMessage, received.payload))
                case TopicKind.HEALTH:
                    self._health_says(decode(Health, received.payload))
                case TopicKind.ALARM if not received.retain:
                    self._alarm_says(decode(AlarmMessage, received.payload))
                case TopicKind.PICTURE:
                    self._keep_picture(address.alarm_id, received.payload)
                case TopicKind.REPLY:
                    self._reply_says(decode(Reply, received.payload))
        except ValueError as error:
            self._say("broker", f"something else came: {error}")

    def _camera_says(self, message: CameraMessage) -> None:
        report = message.report
        if message.at_us < self._began_us:
            return
        self._say("camera", f"{message.camera}: {report.state} {report.detail}")
        if report.state is CameraState.RECORDING and self._recording_since is None:
            self._recording_since = self._clock.monotonic()

    def _health_says(self, health: Health) -> None:
        now = self._clock.monotonic()
        report = health.cameras.get(CAMERA)
        if report is None or not report.fps or health.at_us < self._began_us or now - self._health_told < 5:
            return
        self._health_told = now
        node = f"CPU {health.cpu_percent:.0f} %, disk {health.disk_free_bytes / 1e9:.0f} GB free"
        self._say("health", f"{report.state}, {report.fps:.0f} fps, {report.bitrate_bps / 1e6:.2f} Mb/s; {node}")

    def _alarm_says(self, alarm: AlarmMessage) -> None:
        if alarm.phase is AlarmPhase.START:
            self._alarms.add(alarm.alarm_id)
            self._first_alarm_us = self._first_alarm_us or alarm.started_us
        late_ms = (self._clock.utc_us() - alarm.at_us) / 1000
        words = alarm.text.uk if self._language == "uk" else alarm.text.en
        self._say("alarm", f"{words} [{alarm.phase}, {late_ms:.0f} ms after it was decided]")

    def _keep_picture(self, alarm_id: str, jpeg: bytes) -> None:
        path = self._stage.pictures / f"{alarm_id}.{moment_of(jpeg, alarm_id) or 'alarm'}.jpg"
        path.write_bytes(jpeg)
        self._say("picture", f"{path} ({len(jpeg) / 1000:.0f} kB)")

    def _reply_says(self, reply: Reply) -> None:
        words = reply.words.uk if self._language == "uk" else reply.words.en
        if reply.state is ReplyState.RUNNING:
            return
        self._say("reply", f"{reply.state}: {words}")
        if reply.state is ReplyState.DONE and reply.result and self._clip is None:
            self._open(Path(str(reply.result["location"])))
        elif reply.state.final:
            self._clip_failed = self._clip is None

    def _open(self, sealed: Path) -> None:
        """What the recipient does: unseal with the own key, and look."""
        path = self._stage.opened / sealed.name.removesuffix(".age")
        path.unlink(missing_ok=True)
        try:
            open_file(sealed, path, [self._stage.recipient()])
            seconds = _decoded_seconds(path)
        except (EdgeError, OSError, av.FFmpegError) as error:
            self._say("recipient", f"could not open {sealed}: {error}")
            self._clip_failed = True
            return
        self._clip = Clip(str(path), round(seconds, 2), True)
        self._say("recipient", f"opened {path}: {seconds:.1f} s of pictures")

    def _tell_sealed(self) -> None:
        for segment in self._segments():
            if segment.path not in self._sealed:
                self._sealed.add(segment.path)
                self._say(
                    "archive",
                    f"sealed {segment.path}, {segment.interval.seconds:.1f} s, sha256 {(segment.sha256 or '')[:12]}…",
                )

    # -- the account ------------------------------------------------------------------------------------------------

    def _segments(self) -> Sequence[Any]:
        config = self._stage.data / "index.sqlite"
        if not config.exists():
            return []
        try:
            index = Index(config, self._clock, read_only=True)
            try:
                return index.segments(CameraId(CAMERA), Interval(self._began_us, self._clock.utc_us()))
            finally:
                index.close()
        except EdgeError as error:
            logging.getLogger(__name__).warning("%s", error)
            return []

    def _account(self) -> Summary:
        parts = [segment.interval for segment in self._segments() if segment.end_us > self._began_us]
        recorded = gap = 0.0
        if parts:
            whole = Interval(min(part.start_us for part in parts), max(part.end_us for part in parts))
            gap = sum(hole.seconds for hole in uncovered(whole, parts, _JITTER_US))
            recorded = whole.seconds - gap
        return Summary(round(recorded, 2), round(gap, 2), len(self._alarms), self._clip)

    def _farewell(self, summary: Summary) -> None:
        self._tell_sealed()
        say = self._console.print
        say()
        say(
            f"[bold]recorded {summary.recorded_s:.0f} s, missing {summary.gap_s:.1f} s, alarms: {summary.alarms}[/bold]"
        )
        if summary.clip:
            say(f"the recipient's clip: {summary.clip.path}")
        home = self._stage.folder
        config, desk = f"-c {home / 'edge-agent.toml'}", f"-c {home / 'edge-desk.toml'}"
        say("\nWhat to try next:")
        say(f"  look at the alarms         {self._stage.pictures}")
        officer = f"--as {OFFICER} --key {self._stage.officer_key}"
        export = f"archive export {CAMERA} --for 1m -o clip.mp4"
        say(f"  what is in the archive     .venv/bin/edge-agent archive list {officer} {config}")
        say(f"  take the last minute out   .venv/bin/edge-agent {export} {officer} {config}")
        say(f"  who did what               .venv/bin/edge-agent journal show {config}")
        say(f"  be the dispatcher          .venv/bin/edge-desk watch {desk}   (while the demo runs)")
        say("  record your own camera     scripts/demo --camera rtsp://user:password@camera/stream")

    def _link_says(self, _state: LinkState) -> None:
        """The dispatcher's own connection is of no interest to the newcomer."""

    def _say(self, who: str, what: str) -> None:
        clock = from_us(self._clock.utc_us()).astimezone().strftime("%H:%M:%S")
        colour = {"alarm": "red", "archive": "green", "recipient": "bold cyan", "picture": "magenta"}.get(who, "white")
        self._console.print(f"[dim]{clock}[/dim] [{colour}]{who:>9}[/{colour}]  ", end="")
        self._console.print(what, markup=False)


@contextmanager
def _process(module: str, *options: str, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A part that prints one JSON line when it is ready, and ends with its standard input."""
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise EdgeError(f"{module} did not start; see {log}")
            yield process, json.loads(line)
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _decoded_seconds(path: Path) -> float:
    """Decode every picture; the time they last."""
    with av.open(str(path)) as movie:
        stream = movie.streams.video[0]
        shown = sum(1 for _ in movie.decode(stream))
        if not shown or stream.duration is None or stream.time_base is None:
            raise EdgeError(f"{path} holds no pictures")
        return float(stream.duration * stream.time_base)
