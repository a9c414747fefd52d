"""The agent's own children: what each is told to do, and how all of them end (`docs/architecture.md`, "Processes")."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.buffer.disks import Disks
from edge_agent.capture.gate import ORDER, Order
from edge_agent.capture.job import RECORDER_JOB, CameraJob, RecorderJob
from edge_agent.capture.watch_job import WATCHER_JOB, WatcherJob
from edge_agent.children import Child, Ended, Heard, Keeper
from edge_agent.clock import Clock
from edge_agent.config import Config, Target
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.toml_file import read_secret
from edge_agent.trust.age import Identity
from edge_agent.uplink.exporter import EXPORTER_JOB, ExporterJob
from edge_agent.uplink.exports import Release
from edge_agent.watch_plan import detecting, watched
from edge_agent.when import from_us

_log = logging.getLogger(__name__)
RECORDER, WATCHER, EXPORTER = "recorder", "watcher", "exporter"
STOP_S = 8.0
"""What the children get to finish their files."""


class Workers:
    """The recorder and the watcher, kept alive, and an exporter while there is a release; the agent's main thread's."""

    def __init__(
        self,
        config: Config,
        disks: Disks,
        identities: Sequence[Identity],
        clock: Clock,
        tell: Callable[[Heard | Ended], None],
        lock_fd: int,
    ) -> None:
        self._config, self._disks, self._identities, self._clock = config, disks, identities, clock
        self._tell, self._lock_fd = tell, lock_fd
        # Read once: a secret that vanishes later must not end the recording of all cameras.
        self._passwords = {
            camera.id: read_secret(camera.password_file) for camera in config.camera if camera.password_file
        }
        self._wait, self._in_turn = "", tuple[str, ...]()
        self._rest: tuple[tuple[str, str], ...] = ()
        self.recorder = Keeper(self._start_recorder, clock)
        self.watcher = Keeper(self._start_watcher, clock) if any(c.watch.enabled for c in config.camera) else None
        self.exporter: Child | None = None

    def look(self) -> None:
        """Start what is not running, kill what hangs."""
        self.recorder.look()
        if self.watcher:
            self.watcher.look()

    @property
    def waiting(self) -> bool:
        return bool(self._wait)

    def wait(self, why: str) -> None:
        """Let the recorder wait, now and after each start of it; empty: it goes on."""
        self._wait = why
        self._order()

    def use_disks(self, in_turn: tuple[str, ...]) -> None:
        """Which disks the recorder is to try, the first one first."""
        if in_turn != self._in_turn:
            self._in_turn = in_turn
            self._order()

    def rest(self, cameras: tuple[tuple[str, str], ...]) -> None:
        """Which cameras are not to be recorded now and after each start of the recorder, each with why."""
        if cameras != self._rest:
            self._rest = cameras
            self._order()

    def _order(self) -> None:
        if self.recorder.child is not None:
            self.recorder.child.order(ORDER.encode(Order(self._wait, self._in_turn, self._rest)))

    def progressed(self, child: str) -> None:
        """It gave a sign of life."""
        if keeper := self._keeper(child):
            keeper.progressed()

    def ended(self, child: str) -> None:
        """A child's process is over; the next one comes when it is time to."""
        if keeper := self._keeper(child):
            keeper.ended()
        else:
            self.exporter = None

    def export(self, release: Release, target: Target, segments: Sequence[Segment], staging: Path) -> None:
        """Start the exporter on a release."""
        args = release.export
        job = ExporterJob(
            job_id=release.id,
            archive_dir=str(self._config.archive_dir),
            segments=tuple(segments),
            interval=args.interval,
            identities=tuple(str(identity) for identity in self._identities),
            recipient=args.recipient or "",
            target=target,
            staging_dir=str(staging),
            name=_clip_name(self._config, CameraId(args.camera), args.interval, release.id),
            more_disks=self._disks.but_first(),
        )
        self.exporter = self._child(EXPORTER, "edge_agent.uplink.exporter", EXPORTER_JOB.encode(job))

    def stop(self, next_event: Callable[[float], object], hear: Callable[[Heard], None]) -> None:
        """All at once; `hear` still gets their last words.  `next_event` waits at most so many seconds for one."""
        found = (self.exporter, self.watcher.child if self.watcher else None, self.recorder.child)
        children = [child for child in found if child is not None]
        for child in children:
            child.stop()
        deadline = self._clock.monotonic() + STOP_S
        running = {child.name for child in children}
        while running and (left := deadline - self._clock.monotonic()) > 0:
            match next_event(left):
                case Ended(child=name):
                    running.discard(name)
                case Heard() as heard:
                    hear(heard)
        for child in children:
            if child.name in running:
                _log.error("%s did not end in %.0f s: killed", child.name, STOP_S)
                child.kill()
                child.wait(STOP_S)

    def _start_recorder(self) -> Child:
        own = [str(identity.recipient) for identity in self._identities] if self._config.archive.node_reads else []
        job = RecorderJob(
            archive_dir=str(self._config.archive_dir),
            recipients=tuple(dict.fromkeys([*own[:1], *self._config.archive.recipients])),
            cameras=tuple(
                CameraJob(c.camera_id, c.url, c.username, self._passwords.get(c.id), c.audio, c.basic_login, c.ca_file)
                for c in self._config.camera
            ),
            segment_s=self._config.archive.segment_s,
            flush_s=self._config.archive.flush_s,
            wait=self._wait,
            rest=self._rest,
            more_disks=self._disks.but_first(),
            disks=self._in_turn,
        )
        return self._child(RECORDER, "edge_agent.capture.recorder", RECORDER_JOB.encode(job))

    def _start_watcher(self) -> Child:
        job = WatcherJob(
            cameras=tuple(watched(c, self._passwords.get(c.id)) for c in self._config.camera if c.watch.enabled),
            timezone=self._config.timezone,
            language=self._config.language,
            detector=detecting(self._config.detector) if self._config.detector else None,
        )
        return self._child(WATCHER, "edge_agent.capture.watcher", WATCHER_JOB.encode(job))

    def _child(self, name: str, module: str, job: bytes) -> Child:
        return Child(name, module, job, self._tell, keep_fds=(self._lock_fd,))

    def _keeper(self, child: str) -> Keeper | None:
        return {RECORDER: self.recorder, WATCHER: self.watcher}.get(child)


def _clip_name(config: Config, camera: CameraId, interval: Interval, release: str) -> str:
    start = from_us(interval.start_us).strftime("%Y%m%dT%H%M%SZ")
    return f"{config.site}_{config.node}_{camera}_{start}_{interval.seconds:.0f}s_{release[:8]}.mp4.age"
