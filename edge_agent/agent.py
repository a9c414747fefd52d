"""The agent's main thread: one loop that hears the children, the broker and the local socket, and decides.

Everything comes in through one queue, so that the index, the journal, the documents and the door have one owner
(`docs/architecture.md` lists who owns what).  Nothing here waits for a camera or for the network.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_agent import __version__
from edge_agent.archive_alarms import ArchiveAlarms, PromiseAlarm
from edge_agent.archive_disks import disks_of
from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.library import Library
from edge_agent.buffer.outbox import Outbox
from edge_agent.buffer.promise import OnFull
from edge_agent.buffer.register import Register
from edge_agent.buffer.retention import Deleter
from edge_agent.cameras import Cameras
from edge_agent.children import Ended, Heard
from edge_agent.clock import Clock
from edge_agent.clock_trust import ClockStep
from edge_agent.clock_watch import ClockWatch
from edge_agent.config import Config
from edge_agent.disk_watch import DiskWatch
from edge_agent.errors import ArchiveError, EdgeError
from edge_agent.forecaster import Forecaster
from edge_agent.hearing import Hearing
from edge_agent.incidents import Incidents
from edge_agent.journal_notes import GapNotes, configuration_hash, start_entries
from edge_agent.journal_watch import JournalWatch
from edge_agent.kernel_clock import boot_id
from edge_agent.messages import ExportStep
from edge_agent.model import CameraId, NodeAlarm
from edge_agent.modes.keeper import ModeKeeper
from edge_agent.modes.loudness import Loudness
from edge_agent.modes.resting import Resting
from edge_agent.modes.standing import Modes
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.notes import note, note_clock_step
from edge_agent.reports import Reports
from edge_agent.rosters import roster_keeper
from edge_agent.ticker import Periodic, Ticker
from edge_agent.trust.age import Identity
from edge_agent.trust.checkpoint import origin_of
from edge_agent.trust.door import Door
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.node_key import node_signing_key
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access
from edge_agent.upkeep import LEISURE_S, WAIT, Upkeep, restore_holds, rule_of
from edge_agent.uplink.archive_orders import ArchiveOrders
from edge_agent.uplink.chosen_companions import companions_of
from edge_agent.uplink.clock_orders import ClockOrders
from edge_agent.uplink.commands import Commands
from edge_agent.uplink.exports import Exports, Release, ReleaseNews
from edge_agent.uplink.hold_orders import HoldOrders
from edge_agent.uplink.incident_orders import IncidentOrders
from edge_agent.uplink.link import LinkState, Received
from edge_agent.uplink.local import LocalReplies, LocalSocket
from edge_agent.uplink.mode_orders import ModeOrders
from edge_agent.uplink.node import NodeLink, is_online
from edge_agent.uplink.payloads import Reply, encode_reply
from edge_agent.uplink.topics import Topics, roster_topic
from edge_agent.uplink.visit_orders import VisitOrders
from edge_agent.visits import Visits, look_for_forgotten
from edge_agent.watchdog import Watchdog
from edge_agent.witnesses import Witnesses
from edge_agent.workers import RECORDER, WATCHER, Workers

_log = logging.getLogger(__name__)
LOOP_S = 0.5
ALIVE_S = 30


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
        self._config, self._stop = config, stop
        self._watchdog = watchdog
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
        self._log = JournalLog(self._journal, config.checkpoint_path, origin_of(config.audience), key, config.witnesses)
        self._gap_notes = GapNotes()
        self._documents = Documents(data / "documents.json", clock)
        self._holds = Holds(self._documents)
        restore_holds(self._holds, self._documents, self._journal)
        rule = rule_of(config)
        self._deleter = Deleter(self._disks, self._index, self._holds, rule, clock, Ballast(data / "ballast"))
        self._clock_watch = ClockWatch(self._documents, clock, boot_id(), self._clock_stepped)
        self._node_alarms = NodeAlarms(self._documents, clock, self._node_alarm)
        self._visits = Visits(self._documents, clock)
        self._clock = clock
        self._workers = Workers(config, self._disks, identities, clock, self._events.put, lock_fd)
        self._upkeep = Upkeep(
            self._index,
            self._ledger,
            self._deleter,
            self._holds,
            self._documents,
            self._journal,
            self._clock_watch,
            self._workers,
            DiskWatch(self._disks, self._index, self._node_alarms),
            ArchiveAlarms(self._node_alarms, rule, clock),
            clock,
        )
        self._promise_alarm = PromiseAlarm(self._node_alarms, config)
        people = {person.person_id: person for person in (entry.person() for entry in config.person)}
        nonces = NonceStore(data / "nonces.sqlite", clock)
        self._journal_watch = JournalWatch(self._journal, nonces, self._node_alarms, clock)
        self._door = Door(people, config.audience, self._journal, nonces, clock, zone=config.zone)
        self._rosters = roster_keeper(config, self._door, self._journal, clock)
        self._cameras = Cameras(config.camera)
        self._forecaster = Forecaster(config, self._index, self._holds.all, clock)

        self._node: NodeLink | None = None
        if config.mqtt is not None:
            outbox = Outbox(data / "outbox.sqlite", max_bytes=config.mqtt.outbox_max, clock=clock)
            topics = Topics(config.site, config.node)
            put = self._events.put
            self._node = NodeLink(
                config.mqtt,
                topics,
                outbox,
                clock,
                put,
                put,
                rosters=self._rosters is not None,
                witnesses=(key.key_id.hex() for key in config.witnesses),
                companions=companions_of(config, topics, clock),
            )
        self._witnesses = Witnesses(self._log, config.witnesses, self._node_alarms, self._ask_witness, clock)
        self._modes = Modes(
            config.plan, config.zone, self._documents, clock, lambda changes: self._mode_keeper.changed(changes)
        )
        self._loudness = Loudness(self._modes.severity_of, lambda alarm: self._incidents.hear(alarm))
        self._reports = Reports(
            config,
            self._index,
            self._cameras,
            self._forecaster,
            self._node_alarms,
            self._visits,
            self._modes,
            self._loudness.silent,
            self._node,
            clock,
        )
        self._resting = Resting(self._workers, self._ledger, self._gap_notes, self._modes.plan.of_cameras)
        self._mode_keeper = ModeKeeper(
            self._loudness, self._journal, clock, self._reports.tell_modes, self._resting.let
        )
        register = Register(data / "incidents.sqlite", clock)
        set_trouble = partial(self._node_alarms.set, "incidents_unwritten")
        topics = Topics(config.site, config.node)
        self._incidents = Incidents(register, self._reports, topics, set_trouble, clock)
        self._hearing = Hearing(
            config, self._ledger, self._cameras, self._upkeep, self._reports, self._loudness, self._gap_notes, clock
        )
        self._exports = Exports(
            self._documents, staging, self._journal, clock, self._start_exporter, self._release_news
        )
        self._commands = Commands(
            config,
            self._door,
            self._exports,
            HoldOrders((camera.camera_id for camera in config.camera), self._holds, self._index, self._library, clock),
            ClockOrders(self._clock_watch, clock),
            ArchiveOrders(config, self._index, self._library, clock),
            VisitOrders(self._visits, clock),
            IncidentOrders(register, self._holds, self._door, self._incidents.written, config.zone, clock),
            ModeOrders(self._modes, config.zone, clock),
            self._reports.health,
            self._log.audit,
            self._broadcast,
            clock,
        )
        self._ticker = Ticker(
            [
                Periodic("modes", 1, self._modes.look),
                Periodic("vigil", 1, self._hearing.look_at_the_watch),
                Periodic("alive", ALIVE_S, self._ledger.alive),
                Periodic("hours", 60, self._upkeep.seal_hours),
                Periodic("receipts", 3600, self._upkeep.roll_up),
                Periodic("gaps", 600, self._note_gaps),
                Periodic("checkpoint", max(1, round(config.health_every_s)), self._sign),
                Periodic("health", max(1, round(config.health_every_s)), self._reports.tell_health),
                Periodic("retention", 30, self._upkeep.keep_the_promise),
                *([Periodic("room", 2, self._upkeep.look_for_room)] if rule.on_full is OnFull.STOP else []),
                *([Periodic("disks", 2, self._upkeep.look_at_disks)] if len(self._disks) > 1 else []),
                Periodic("refusals", 60, self._door.settle),
                Periodic("journal", 2, self._journal_watch.look),
                Periodic("visits", 60, self._look_for_visits),
                Periodic("incidents", 1, self._incidents.look),
                Periodic("register", 3600, self._incidents.prune),
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
        self._incidents.resume(self._node_alarms.open)
        self._upkeep.look_at_the_clock()
        unfinished = self._ledger.reconcile()
        self._deleter.finish()
        if self._deleter.must_wait():
            self._workers.wait(WAIT)
        self._upkeep.choose_disk()
        self._mode_keeper.begin(self._modes)
        self._workers.recorder.look()
        try:
            self._ledger.recover(unfinished)
            self._ledger.begin(camera.camera_id for camera in self._config.camera)
            self._resting.account()
        except ArchiveError as error:
            _log.error("the time before this start is not accounted for: %s", error)
        socket = LocalSocket(self._config.socket_path, self._take_local)
        try:
            if self._node:
                self._node.start()
            self._workers.look()
            self._watchdog.ready(f"{len(self._config.camera)} cameras")
            while not self._stop.is_set():
                self._turn()
        finally:
            self._watchdog.stopping()
            socket.close()
            self._workers.stop(self._next_event, self._hearing.last_words)
            self._incidents.close()
            self._door.settle(now=True)
            self._upkeep.journal_swept()
            self._note_gaps()
            self._mode_keeper.last_words([camera.camera_id for camera in self._config.camera])
            note(self._journal, JournalEntry(JournalKind.STOP, Outcome.DONE, reason="stopped in order"))
            self._sign()
            if self._node:
                self._node.stop()
            self._forecaster.close()
            with suppress(ArchiveError):
                self._ledger.alive(ended=True)
            self._index.close()

    def _turn(self) -> None:
        """One turn of the loop: an event if there is one, then what is due."""
        try:
            idle_s = self._ticker.idle_s(LEISURE_S if self._upkeep.auditing else LOOP_S)
            event = self._events.get(timeout=0.0 if self._upkeep.more_to_sweep else idle_s)
        except queue.Empty:
            event = None
        try:
            if event is not None:
                self._handle(event)
        except EdgeError as error:
            _log.error("%s: %s", type(event).__name__, error)
        except Exception:  # noqa: BLE001 - one event that surprises must not end the recording of all cameras
            _log.exception("%s could not be handled", type(event).__name__)
        self._workers.look()
        try:
            self._exports.look()
            if self._upkeep.more_to_sweep:
                self._upkeep.sweep()
        except EdgeError as error:
            _log.error("%s", error)
        self._ticker.run_due()
        if self._events.empty():
            self._upkeep.use_leisure()
        if self._workers.recorder.alive:
            self._watchdog.progress()

    def _handle(self, event: Event) -> None:
        match event:
            case Heard(child=child, message=message) if child == RECORDER:
                self._workers.progressed(child)
                self._hearing.hear_recorder(message)
            case Heard(child=child, message=message) if child == WATCHER:
                self._workers.progressed(child)
                self._hearing.hear_watcher(message)
            case Heard(message=ExportStep() as step):
                self._exports.stepped(step)
            case Ended(child=child, code=code):
                self._child_ended(child, code)
            case Received() if self._node and self._node.heard(event):
                pass
            case LinkState() if is_online(event):
                self._reports.tell_all()
                self._incidents.tell_list()
                self._witnesses.online()
            case Received(topic=topic, payload=payload) if topic == roster_topic(self._config.site):
                if self._rosters:
                    self._rosters.offered(payload)
            case Received(topic=topic, payload=payload) if self._witnesses.hear(topic, payload):
                pass
            case Received(payload=payload, retain=False):
                self._commands.take(payload, Access.REMOTE, self._broadcast)
            case LocalCommand(token=token, replies=replies):
                self._commands.take(token, Access.DIRECT, lambda reply: self._answer_locally(replies, reply))

    def _child_ended(self, child: str, code: int) -> None:
        _log.log(logging.INFO if code == 0 else logging.ERROR, "%s ended (%d)", child, code)
        self._workers.ended(child)
        if child == RECORDER:
            self._hearing.recorder_ended(code)
        elif child == WATCHER:
            self._hearing.watcher_ended()
        else:
            self._exports.ended(code)

    def _next_event(self, seconds: float) -> Event | None:
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    # -- what others ask of the loop --------------------------------------------------------------------------------

    def _take_local(self, token: bytes, replies: LocalReplies) -> None:
        self._events.put(LocalCommand(token, replies))

    def _broadcast(self, reply: Reply) -> None:
        if self._node:
            self._node.reply(reply, encode_reply(reply, self._log.reply_key()))

    def _answer_locally(self, replies: LocalReplies, reply: Reply) -> None:
        replies.send(encode_reply(reply, self._log.reply_key()), final=reply.state.final)

    def _ask_witness(self, witness: str, request: bytes) -> None:
        if self._node:
            self._node.ask_witness(witness, request)

    def _release_news(self, news: ReleaseNews) -> None:
        self._commands.release_news(news)

    def _node_alarm(self, alarm: NodeAlarm) -> None:
        self._incidents.hear_node(alarm)

    def _clock_stepped(self, step: ClockStep) -> None:
        note_clock_step(self._journal, step)

    def _note_start(self) -> None:
        before = None
        try:
            self._log.settle()
            before = self._journal.last(JournalKind.START)
        except ArchiveError as error:
            _log.critical("the journal can't be trusted: %s", error)
        for entry in start_entries(before, __version__, configuration_hash(self._config)):
            note(self._journal, entry)
        self._sign()

    def _note_gaps(self) -> None:
        for entry in self._gap_notes.take():
            note(self._journal, entry)

    def _sign(self) -> None:
        """Vouch for the journal as it is now; health tells it.  Where that can't be, an alarm does."""
        try:
            self._reports.checkpoint = str(self._log.checkpoint())
            self._witnesses.look()
            said = None
        except ArchiveError as error:
            self._reports.checkpoint = None
            said = Said(f"Журнал вузла більше не підписується: {error}", f"The node's journal is not signed: {error}")
        self._node_alarms.set("journal_unsigned", said)

    def _look_for_visits(self) -> None:
        look_for_forgotten(self._visits, self._node_alarms, self._clock)

    def _look_ahead(self) -> None:
        self._upkeep.look_ahead(self._forecaster, self._promise_alarm)

    def _start_exporter(self, release: Release) -> None:
        args = release.export
        target = self._config.target_named(args.target)
        if target is None:
            self._exports.stepped(ExportStep(release.id, "failed", error=f"target {args.target} is gone"))
            self._exports.ended(0)
            return
        segments = self._library.segments(CameraId(args.camera), args.interval)
        self._workers.export(release, target, segments, self._staging)


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
