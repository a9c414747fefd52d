"""The agent's main thread: one loop that hears the children, the broker and the local socket, and decides.

Everything comes in through one queue, so that the index, the journal, the documents and the door have one owner
(`docs/architecture.md` lists who owns what).  Nothing here waits for a camera or for the network.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.archive_alarms import ArchiveAlarms
from edge_agent.archive_disks import disks_of
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.hours import journal_hours, roll_up
from edge_agent.buffer.index import Index
from edge_agent.buffer.index_facts import Loss
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.library import Library
from edge_agent.buffer.outbox import Outbox
from edge_agent.buffer.promise import DAY_US, OnFull, Rule
from edge_agent.buffer.retention import Ballast, Deleter, Swept
from edge_agent.cameras import Cameras
from edge_agent.capture.alarms import Region
from edge_agent.capture.gate import ORDER, Order
from edge_agent.capture.job import RECORDER_JOB, CameraJob, RecorderJob
from edge_agent.capture.watch_job import WATCHER_JOB, WatchedCamera, WatcherJob
from edge_agent.children import Child, Ended, Heard, Keeper
from edge_agent.clock import Clock
from edge_agent.clock_trust import ClockStep
from edge_agent.clock_watch import ClockWatch
from edge_agent.config import Config
from edge_agent.disk_watch import DiskWatch
from edge_agent.errors import ArchiveError, EdgeError
from edge_agent.forecaster import Forecaster, in_sight
from edge_agent.health import ArchiveProbe, NodeProbe
from edge_agent.journal_notes import GapNotes, configuration_hash, start_entries
from edge_agent.kernel_clock import boot_id
from edge_agent.messages import (
    AlarmRaised,
    CameraChanged,
    CameraStats,
    DiskChanged,
    ExportStep,
    Progress,
    SegmentClosed,
    SegmentOpened,
)
from edge_agent.model import Alarm, CameraFault, CameraId, CameraState, GapCause, Interval, NodeAlarm
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.rosters import roster_keeper
from edge_agent.ticker import Periodic, Ticker
from edge_agent.toml_file import read_secret
from edge_agent.trust.age import Identity
from edge_agent.trust.checkpoint import origin_of
from edge_agent.trust.door import Door
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.node_key import node_signing_key
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access
from edge_agent.uplink.commands import Commands
from edge_agent.uplink.exporter import EXPORTER_JOB, ExporterJob
from edge_agent.uplink.exports import Exports, Release, ReleaseNews
from edge_agent.uplink.forecast_words import kept_report, promise_report, promise_words
from edge_agent.uplink.hold_orders import HoldOrders, restore
from edge_agent.uplink.link import LinkState, Received
from edge_agent.uplink.local import LocalReplies, LocalSocket
from edge_agent.uplink.node import NodeLink, is_online
from edge_agent.uplink.payloads import (
    PROMISE_ALARM,
    CameraReport,
    Health,
    Kept,
    Reply,
    Undelivered,
    encode,
    trouble,
)
from edge_agent.uplink.topics import Topics, roster_topic
from edge_agent.watchdog import Watchdog
from edge_agent.when import from_us

_log = logging.getLogger(__name__)
RECORDER, WATCHER, EXPORTER = "recorder", "watcher", "exporter"
STOP_S = 8.0
"""What the children get to finish their files."""
LOOP_S = 0.5
WAIT = 'the archive is full and on_full = "stop": recording waits for room'
ALIVE_S = 30
LEISURE_S = 0.08
"""Between two slices of what can wait."""
SLICE_S = 0.02


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """Somebody at the node sent a command."""

    token: bytes
    replies: LocalReplies


Event = Heard | Ended | LinkState | Received | LocalCommand


class Agent:
    """Built from a configuration and the node's identities; `run` ends when `stop` is set."""

    def __init__(
        self,
        config: Config,
        identities: Sequence[Identity],
        clock: Clock,
        stop: threading.Event,
        watchdog: Watchdog,
        lock_fd: int,
    ) -> None:
        self._config, self._identities, self._clock, self._stop = config, identities, clock, stop
        self._watchdog, self._lock_fd = watchdog, lock_fd
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        data = config.data_dir
        staging = data / "exports"
        prepare_folders(config, staging)
        self._staging = staging

        self._disks = disks_of(config)
        self._index = Index(config.index_path, clock)
        self._ledger = Ledger(self._disks, self._index, identities, clock)
        self._library = Library(self._disks, self._index, identities, clock)
        self._journal = Journal(config.journal_path, clock)
        key = node_signing_key(data, signed_before=config.checkpoint_path.exists())
        self._log = JournalLog(self._journal, config.checkpoint_path, origin_of(config.audience), key)
        self._checkpoint: str | None = None
        self._gap_notes = GapNotes()
        self._documents = Documents(data / "documents.json", clock)
        self._holds = Holds(self._documents)
        self._restore_holds()
        rule = rule_of(config)
        self._deleter = Deleter(self._disks, self._index, self._holds, rule, clock, Ballast(data / "ballast"))
        self._clock_watch = ClockWatch(self._documents, clock, boot_id(), self._clock_stepped)
        self._node_alarms = NodeAlarms(self._documents, clock, self._node_alarm)
        self._archive_alarms = ArchiveAlarms(self._node_alarms, rule, clock)
        self._disk_watch = DiskWatch(self._disks, self._index, self._node_alarms)
        self._wait, self._in_turn = "", tuple[str, ...]()
        self._swept = Swept()
        people = {person.person_id: person for person in (entry.person() for entry in config.person)}
        nonces = NonceStore(data / "nonces.sqlite", clock)
        self._door = Door(people, config.audience, self._journal, nonces, clock, zone=config.zone)
        self._rosters = roster_keeper(config, self._door, self._journal, clock)
        self._cameras = Cameras(config.camera)
        # Read once: a secret that vanishes later must not end the recording of all cameras.
        self._passwords = {
            camera.id: read_secret(camera.password_file) for camera in config.camera if camera.password_file
        }
        self._probe = NodeProbe(self._disks, clock)
        self._archive_probe = ArchiveProbe(self._index, clock)

        self._node: NodeLink | None = None
        if config.mqtt is not None:
            outbox = Outbox(data / "outbox.sqlite", clock=clock)
            topics = Topics(config.site, config.node)
            put = self._events.put
            self._node = NodeLink(config.mqtt, topics, outbox, clock, put, put, rosters=self._rosters is not None)
        self._exports = Exports(
            self._documents, staging, self._journal, clock, self._start_exporter, self._release_news
        )
        self._commands = Commands(
            config,
            self._door,
            self._exports,
            HoldOrders((camera.camera_id for camera in config.camera), self._holds, self._index, self._library, clock),
            self.health,
            self._has_footage,
            self._broadcast,
            clock,
        )
        self._forecaster = Forecaster(config, self._index, self._holds.all, clock)
        self._recorder = Keeper(self._start_recorder, clock)
        self._watcher = Keeper(self._start_watcher, clock) if any(c.watch.enabled for c in config.camera) else None
        self._exporter: Child | None = None
        self._more_to_sweep = False
        self._auditing = True
        self._rolling: Iterator[object] = iter(())
        self._leisure_at = 0.0
        self._ticker = Ticker(
            [
                Periodic("alive", ALIVE_S, self._ledger.alive),
                Periodic("hours", 60, self._seal_hours),
                Periodic("receipts", 3600, self._roll_up),
                Periodic("gaps", 600, self._note_gaps),
                Periodic("checkpoint", max(1, round(config.health_every_s)), self._sign),
                Periodic("health", max(1, round(config.health_every_s)), self._tell_health),
                Periodic("retention", 30, self._keep_the_promise),
                *([Periodic("room", 2, self._look_for_room)] if rule.on_full is OnFull.STOP else []),
                *([Periodic("disks", 2, self._look_at_disks)] if len(self._disks) > 1 else []),
                Periodic("refusals", 60, self._door.settle),
                *([Periodic("roster", 3, self._rosters.look)] if self._rosters else []),
                Periodic("forecast", 5, self._look_ahead),
            ],
            clock,
        )

    def wake(self) -> None:
        """Make the loop look at `stop`; safe in a signal handler's thread."""
        self._events.put(None)

    def run(self) -> None:
        """Start in order, loop, stop in reverse."""
        self._note_start()
        self._look_at_the_clock()
        unfinished = self._ledger.reconcile()
        self._deleter.finish()
        if self._deleter.must_wait():
            self._wait = WAIT
        self._in_turn = self._deleter.in_turn(clock_trusted=self._clock_watch.trusted)
        self._recorder.look()
        try:
            self._ledger.recover(unfinished)
            self._ledger.begin(camera.camera_id for camera in self._config.camera)
        except ArchiveError as error:
            _log.error("the time before this start is not accounted for: %s", error)
        socket = LocalSocket(self._config.socket_path, self._take_local)
        try:
            if self._node:
                self._node.start()
            if self._watcher:
                self._watcher.look()
            self._watchdog.ready(f"{len(self._config.camera)} cameras")
            while not self._stop.is_set():
                self._turn()
        finally:
            self._watchdog.stopping()
            socket.close()
            self._stop_children()
            self._door.settle(now=True)
            self._journal_swept()
            self._note_gaps()
            self._note(JournalEntry(JournalKind.STOP, Outcome.DONE, reason="stopped in order"))
            self._sign()
            if self._node:
                self._node.stop()
            self._forecaster.close()
            with suppress(ArchiveError):
                self._ledger.alive(ended=True)
            self._index.close()

    def health(self) -> Health:
        """What the health message says now."""
        node, holdings, ahead = self._probe.look(), self._archive_probe.holdings(), self._forecaster.latest
        return Health(
            at_us=self._clock.utc_us(),
            version=__version__,
            uptime_s=node.uptime_s,
            cpu_percent=node.cpu_percent,
            load_1m=node.load_1m,
            memory_used_bytes=node.memory_used_bytes,
            memory_total_bytes=node.memory_total_bytes,
            temperature_c=node.temperature_c,
            disk_total_bytes=node.disk_total_bytes,
            disk_free_bytes=node.disk_free_bytes,
            archive_bytes=holdings.size_bytes,
            oldest_footage_us=holdings.first_us,
            promise=promise_report(ahead, self._config.zone) if ahead else None,
            mqtt_protocol=self._node.protocol if self._node else None,
            outbox=self._node.undelivered() if self._node else Undelivered(),
            troubles=tuple(trouble(alarm) for alarm in self._node_alarms.open),
            clock_synchronised=self._clock.synchronised(),
            checkpoint=self._checkpoint,
            cameras=self._cameras.reports(self._archive_probe.gaps_of_a_day, self._kept),
        )

    def _turn(self) -> None:
        """One turn of the loop: an event if there is one, then what is due."""
        try:
            idle_s = self._ticker.idle_s(LEISURE_S if self._auditing else LOOP_S)
            event = self._events.get(timeout=0.0 if self._more_to_sweep else idle_s)
        except queue.Empty:
            event = None
        try:
            if event is not None:
                self._handle(event)
        except EdgeError as error:
            _log.error("%s: %s", type(event).__name__, error)
        except Exception:  # noqa: BLE001 - one event that surprises must not end the recording of all cameras
            _log.exception("%s could not be handled", type(event).__name__)
        self._recorder.look()
        if self._watcher:
            self._watcher.look()
        try:
            self._exports.look()
            if self._more_to_sweep:
                self._sweep()
        except EdgeError as error:
            _log.error("%s", error)
        self._ticker.run_due()
        self._use_leisure()
        if self._recorder.alive:
            self._watchdog.progress()

    def _use_leisure(self) -> None:
        """A short slice of what can wait, while nobody waits for the loop."""
        now = self._clock.monotonic()
        if not self._events.empty() or now - self._leisure_at < LEISURE_S:
            return
        self._leisure_at = now
        try:
            if self._auditing:
                self._auditing = False  # an error ends it
                self._auditing = self._ledger.audit(SLICE_S)
            else:
                next(self._rolling, None)
        except EdgeError as error:
            _log.error("%s", error)

    def _handle(self, event: Event) -> None:
        match event:
            case Heard(child=child, message=message) if child == RECORDER:
                self._recorder.progressed()
                self._hear_recorder(message)
            case Heard(child=child, message=message) if child == WATCHER:
                assert self._watcher is not None
                self._watcher.progressed()
                self._hear_watcher(message)
            case Heard(message=ExportStep() as step):
                self._exports.stepped(step)
            case Ended(child=child, code=code):
                self._child_ended(child, code)
            case LinkState() if self._node and is_online(event):
                self._node.online()
                self._tell_health()
                for camera in self._config.camera:
                    self._node.camera(camera.camera_id, self._report(camera.camera_id))
            case Received(topic=topic, payload=payload) if topic == roster_topic(self._config.site):
                if self._rosters:
                    self._rosters.offered(payload)
            case Received(payload=payload, retain=False):
                self._commands.take(payload, Access.REMOTE, self._broadcast)
            case LocalCommand(token=token, replies=replies):
                self._commands.take(token, Access.DIRECT, lambda reply: _answer_locally(replies, reply))

    def _hear_recorder(self, message: object) -> None:
        match message:
            case SegmentOpened():
                for gap in self._ledger.opened(message):
                    self._gap_notes.add(gap)
                    _log.warning(
                        "camera %s: %.1f s are missing (%s: %s)",
                        gap.camera,
                        gap.interval.seconds,
                        gap.cause,
                        gap.evidence,
                    )
            case SegmentClosed(segment=segment):
                self._ledger.closed(segment)
                self._more_to_sweep = True
                _log.info("sealed %s, %.1f s", segment.path, segment.interval.seconds)
            case CameraChanged(camera=camera):
                self._more_to_sweep |= message.fault is CameraFault.DISK
                _log.info("camera %s: %s %s", camera, message.state, message.detail)
                if message.state is CameraState.LOST:
                    cause = message.fault.gap_cause if message.fault else GapCause.CAMERA
                    self._ledger.lost(camera, Loss(cause, message.detail))
                for alarm in self._cameras.recorder_says(message):
                    self._alarm(alarm)
                if self._node:
                    self._node.camera(camera, self._report(camera))
            case DiskChanged(disk=disk, words=words):
                self._disk_watch.heard(disk, words)
                self._look_at_disks()
            case CameraStats():
                self._cameras.recorder_counts(message)
            case Progress(dropped=dropped) if dropped:
                _log.warning("the recorder had to drop %d messages", dropped)

    def _hear_watcher(self, message: object) -> None:
        match message:
            case AlarmRaised(alarm=alarm):
                self._cameras.watcher_alarms(alarm)
                self._alarm(alarm)
            case CameraChanged():
                self._cameras.watcher_says(message)

    def _alarm(self, alarm: Alarm) -> None:
        _log.info("alarm %s %s %s on %s", alarm.alarm_id, alarm.nature, alarm.phase, alarm.camera)
        if self._node:
            self._node.alarm(alarm, self._cameras.name(alarm.camera), self._cameras.zone_name(alarm.camera, alarm.zone))

    def _child_ended(self, child: str, code: int) -> None:
        _log.log(logging.INFO if code == 0 else logging.ERROR, "%s ended (%d)", child, code)
        if child == RECORDER:
            self._recorder.ended()
            self._cameras.recorder_died()
            self._disk_watch.forget()
            self._ledger.recover_open()
            for camera in self._config.camera:
                self._ledger.lost(camera.camera_id, Loss(GapCause.PROCESS, f"the recorder ended ({code})"))
        elif child == WATCHER:
            assert self._watcher is not None
            self._watcher.ended()
            for alarm in self._cameras.watcher_died(self._clock.utc_us()):
                self._alarm(alarm)
        else:
            self._exporter = None
            self._exports.ended(code)

    # -- children -------------------------------------------------------------------------------------------------

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
            more_disks=self._disks.but_first(),
            disks=self._in_turn,
        )
        return self._child(RECORDER, "edge_agent.capture.recorder", RECORDER_JOB.encode(job))

    def _start_watcher(self) -> Child:
        job = WatcherJob(
            cameras=tuple(
                WatchedCamera(
                    id=c.camera_id,
                    url=c.sub_url or c.url,
                    keyframes_only=c.sub_url is None,
                    username=c.username,
                    password=self._passwords.get(c.id),
                    basic=c.basic_login,
                    ca_file=c.ca_file,
                    fps=c.watch.fps,
                    min_area=c.watch.min_area,
                    zones=tuple(Region(zone.id, zone.polygon) for zone in c.watch.zone),
                )
                for c in self._config.camera
                if c.watch.enabled
            ),
            timezone=self._config.timezone,
            language=self._config.language,
        )
        return self._child(WATCHER, "edge_agent.capture.watcher", WATCHER_JOB.encode(job))

    def _start_exporter(self, release: Release) -> None:
        args = release.export
        camera, target = CameraId(args.camera), self._config.target_named(args.target)
        if target is None:
            self._exports.stepped(ExportStep(release.id, "failed", error=f"target {args.target} is gone"))
            self._exports.ended(0)
            return
        job = ExporterJob(
            job_id=release.id,
            archive_dir=str(self._config.archive_dir),
            segments=tuple(self._library.segments(camera, args.interval)),
            interval=args.interval,
            identities=tuple(str(identity) for identity in self._identities),
            recipient=args.recipient,
            target=target,
            staging_dir=str(self._staging),
            name=_clip_name(self._config, args.camera, args.interval, release.id),
            more_disks=self._disks.but_first(),
        )
        self._exporter = self._child(EXPORTER, "edge_agent.uplink.exporter", EXPORTER_JOB.encode(job))

    def _child(self, name: str, module: str, job: bytes) -> Child:
        return Child(name, module, job, self._events.put, keep_fds=(self._lock_fd,))

    def _stop_children(self) -> None:
        """All at once; the recorder's last words are still heard, for they are the ends of its files."""
        keepers = [keeper for keeper in (self._watcher, self._recorder) if keeper is not None]
        children = [child for child in (self._exporter, *(keeper.child for keeper in keepers)) if child is not None]
        for child in children:
            child.stop()
        deadline = self._clock.monotonic() + STOP_S
        running = {child.name for child in children}
        while running and (left := deadline - self._clock.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            try:
                match event:
                    case Ended(child=name):
                        running.discard(name)
                    case Heard(child=name, message=SegmentOpened() | SegmentClosed() as message) if name == RECORDER:
                        self._hear_recorder(message)
                    case Heard(child=name, message=AlarmRaised() as message) if name == WATCHER:
                        self._hear_watcher(message)
            except EdgeError as error:
                _log.error("while stopping: %s", error)
        for child in children:
            if child.name in running:
                _log.error("%s did not end in %.0f s: killed", child.name, STOP_S)
                child.kill()
                child.wait(STOP_S)

    # -- what others ask of the loop --------------------------------------------------------------------------------

    def _take_local(self, token: bytes, replies: LocalReplies) -> None:
        self._events.put(LocalCommand(token, replies))

    def _broadcast(self, reply: Reply) -> None:
        if self._node:
            self._node.reply(reply)

    def _release_news(self, news: ReleaseNews) -> None:
        self._commands.release_news(news)

    def _has_footage(self, camera: CameraId, interval: Interval) -> bool:
        return bool(self._library.segments(camera, interval))

    def _report(self, camera: CameraId) -> CameraReport:
        return self._cameras.report(camera, self._archive_probe.gaps_of_a_day(camera), self._kept(camera))

    def _kept(self, camera: CameraId) -> Kept | None:
        ahead = self._forecaster.latest
        found = ahead.camera(camera) if ahead else None
        return kept_report(found) if found else None

    def _tell_health(self) -> None:
        if self._node:
            self._node.health(self.health())

    def _look_ahead(self) -> None:
        if not self._forecaster.turn(clock_trusted=self._clock_watch.trusted):
            return
        ahead = self._forecaster.latest
        warn_us = round(self._config.retention.warn_days * DAY_US)
        told = any(alarm.code == PROMISE_ALARM for alarm in self._node_alarms.open)
        said = None
        if ahead is not None and in_sight(ahead, warn_us, told=told):
            words = promise_words(ahead, self._config.zone)
            said = Said(words.uk, words.en)
        self._node_alarms.set(PROMISE_ALARM, said)

    def _keep_the_promise(self) -> None:
        self._look_at_the_clock()
        if not self._holds.known:
            self._restore_holds()
        try:
            self._sweep()
        finally:
            self._journal_swept()
            self._choose_disk()
            self._archive_alarms.look(self._deleter.standing(clock_trusted=self._clock_watch.trusted))

    def _look_at_the_clock(self) -> None:
        self._clock_watch.look()
        self._ledger.clock_trusted = self._clock_watch.trusted

    def _clock_stepped(self, step: ClockStep) -> None:
        args = {"before_us": step.before_us, "after_us": step.after_us, "synchronised": step.synchronised}
        self._note(JournalEntry(JournalKind.CLOCK, Outcome.DONE, reason=step.words, args=args))

    def _look_for_room(self) -> None:
        """With `on_full = "stop"`: tell the recorder when to wait and when to go on."""
        wait = WAIT if self._deleter.must_wait() else ""
        if wait == self._wait:
            return
        self._wait = wait
        _log.warning("recording %s", "waits: no room" if wait else "goes on: there is room again")
        self._order()

    def _look_at_disks(self) -> None:
        """With several disks: which of them are there."""
        for disk in self._disk_watch.look():
            _log.warning("%s of the archive is there again", disk.name)
            self._ledger.disk_came(disk)
            self._auditing = True
            self._choose_disk()

    def _choose_disk(self) -> None:
        """Tell the recorder which disk is to be used first."""
        order = self._deleter.in_turn(clock_trusted=self._clock_watch.trusted)
        if order != self._in_turn:
            self._in_turn = order
            self._order()

    def _order(self) -> None:
        if self._recorder.child is not None:
            self._recorder.child.order(ORDER.encode(Order(self._wait, self._in_turn)))

    def _node_alarm(self, alarm: NodeAlarm) -> None:
        if self._node:
            self._node.node_alarm(alarm)

    def _sweep(self) -> None:
        self._more_to_sweep = False
        swept = self._deleter.sweep(clock_trusted=self._clock_watch.trusted)
        self._swept += swept
        self._more_to_sweep = swept.more
        self._ledger.settle()

    def _journal_swept(self) -> None:
        """What went since the last time, in one entry; each recording has its own receipt."""
        swept, self._swept = self._swept, Swept()
        if swept.by_age or swept.by_space:
            reason = f"{swept.by_age} recordings by age, {swept.by_space} for want of space"
            args: dict[str, Any] = {"by_age": swept.by_age, "by_space": swept.by_space}
            args |= {"freed_bytes": swept.freed_bytes, "holds": list(swept.holds)}
            self._note(JournalEntry(JournalKind.DELETION, Outcome.DONE, reason=reason, args=args))

    def _restore_holds(self) -> None:
        """Documents that are lost lose no hold: the journal knows every order."""
        if not self._documents.fresh:
            return
        try:
            found = restore(self._holds, self._journal.read())
            self._documents.settle()
        except EdgeError as error:
            _log.critical("the holds can't be known, so nothing is deleted: %s", error)
            return
        if found:
            _log.error("%d holds were lost with the documents and made again from the journal", len(found))

    def _seal_hours(self) -> None:
        journal_hours(self._index, self._journal, self._clock.utc_us())

    def _roll_up(self) -> None:
        self._rolling = roll_up(self._index, self._clock.utc_us())

    def _note_start(self) -> None:
        before = None
        try:
            self._log.settle()
            before = self._journal.last(JournalKind.START)
        except ArchiveError as error:
            _log.critical("the journal can't be trusted: %s", error)
        for entry in start_entries(before, __version__, configuration_hash(self._config)):
            self._note(entry)
        self._sign()

    def _note_gaps(self) -> None:
        for entry in self._gap_notes.take():
            self._note(entry)

    def _sign(self) -> None:
        """Vouch for the journal as it is now; health tells it.  Where that can't be, an alarm does."""
        try:
            self._checkpoint = str(self._log.checkpoint())
            said = None
        except ArchiveError as error:
            self._checkpoint = None
            said = Said(f"Журнал вузла більше не підписується: {error}", f"The node's journal is not signed: {error}")
        self._node_alarms.set("journal_unsigned", said)

    def _note(self, entry: JournalEntry) -> None:
        """What is no access: recording goes on when the journal can't."""
        try:
            self._journal.append(entry)
        except ArchiveError as error:
            _log.critical("not journalled: %s: %s", entry.kind, error)


def rule_of(config: Config) -> Rule:
    """What the configuration promises."""
    keep = config.retention
    return Rule(
        keep_us=round(keep.days * DAY_US),
        keep_us_of={c.camera_id: round(c.keep_days * DAY_US) for c in config.camera if c.keep_days is not None},
        max_size=keep.max_size,
        min_free=keep.min_free,
        min_size=keep.min_size,
        others_a_day=keep.others_a_day,
        on_full=OnFull(keep.on_full),
    )


def prepare_folders(config: Config, staging: Path) -> None:
    """Make what is missing, but never a folder for an archive on a disk of its own: it may just not be mounted."""
    absent = config.archive.path is not None and not config.archive_dir.is_dir()
    if absent and not disks_of(config).there():
        raise ArchiveError(f"the archive's folder {config.archive_dir} is not there: is its disk mounted?")
    try:
        for folder in (staging,) if absent else (config.archive_dir, staging):
            folder.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise ArchiveError(f"the data folder {config.data} cannot be used: {error.strerror}") from error


def _answer_locally(replies: LocalReplies, reply: Reply) -> None:
    replies.send(encode(reply), final=reply.state.final)


def _clip_name(config: Config, camera: str, interval: Interval, release: str) -> str:
    start = from_us(interval.start_us).strftime("%Y%m%dT%H%M%SZ")
    return f"{config.site}_{config.node}_{camera}_{start}_{interval.seconds:.0f}s_{release[:8]}.mp4.age"
