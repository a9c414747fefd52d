"""The board in words: rows of plain, printable text, made from values; no terminal is known here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from zoneinfo import ZoneInfo

from edge_agent.clock import US
from edge_agent.desk.board import AlarmView, Board, Event, NodeView, printable
from edge_agent.desk.texts import Texts
from edge_agent.model import CameraFault, CameraState, Severity
from edge_agent.trust.journal import BadLine, JournalEntry
from edge_agent.uplink.incident_payloads import IncidentState
from edge_agent.uplink.payloads import PROMISE_ALARM, AlarmMessage, CameraReport, Health, Kept, ModeReport, NodeState
from edge_agent.when import from_us, spoken

HOT_C = 80.0
LOW_DISK_PART = 0.05
NAME_CHARS = 60


class Level(Enum):
    """How it stands, for colours and for the order of rows."""

    GOOD = 0
    WARNING = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A node or, indented, one of its cameras; "" where a column does not concern it."""

    level: Level
    name: str
    state: str
    since: str = ""
    fps: str = ""
    bitrate: str = ""
    gaps: str = ""
    free: str = ""
    temperature: str = ""
    outbox: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            self.state,
            self.since,
            self.fps,
            self.bitrate,
            self.gaps,
            self.free,
            self.temperature,
            self.outbox,
        )


@dataclass(frozen=True, slots=True)
class AlarmRow:
    time: str
    node: str
    what: str
    state: str
    level: Level


_LEVELS = {CameraState.CONNECTING: Level.WARNING, CameraState.LOST: Level.BAD}


class Wording:
    """Turns values into one operator's language and time zone."""

    def __init__(self, texts: Texts, zone: ZoneInfo) -> None:
        self.texts, self._zone = texts, zone

    def clock(self, us: int) -> str:
        try:
            return from_us(us, self._zone).strftime("%H:%M:%S")
        except OverflowError:
            return self.texts.none  # the last hours of the year 9999, farther east

    def moment(self, us: int, now_us: int) -> str:
        """The time of a moment of today, the date of an earlier one."""
        try:
            at, now = from_us(us, self._zone), from_us(now_us, self._zone)
        except OverflowError:
            return self.texts.none
        if at.date() == now.date():
            return at.strftime("%H:%M")
        return at.strftime("%d.%m" if at.year == now.year else "%m.%Y")

    def nodes(self, board: Board, now_us: int) -> list[list[Row]]:
        """For each node its row and its cameras' rows; trouble first, then by name."""
        groups = [self._group(view, now_us) for _, view in sorted(board.nodes.items())]
        groups.sort(key=lambda rows: -max(row.level.value for row in rows))
        return groups

    def _group(self, view: NodeView, now_us: int) -> list[Row]:
        down = view.stale(now_us) or view.state in (NodeState.OFFLINE, NodeState.STOPPED)
        # Of a node that says nothing, nobody knows how its cameras are.
        reports = {} if down else {name: report for name, (_, report) in view.cameras.items()}
        node, cameras = self.node(view, now_us), self.cameras(reports)
        own = view.modes.get("")
        if own is None or down:
            return [node, *cameras]
        # A camera's mode is told where it is not the node's.
        others = {name for name, told in view.modes.items() if told.report.mode != own.report.mode}
        shown = [
            self._in_mode(row, view.modes[name].report) if name in others else row
            for name, row in zip(sorted(reports), cameras, strict=True)
        ]
        return [self._in_mode(node, own.report), *shown]

    def _in_mode(self, row: Row, mode: ModeReport) -> Row:
        return dataclasses.replace(row, state=f"{row.state} · {self.mode(mode)}")

    def mode(self, mode: ModeReport) -> str:
        return printable(mode.name or mode.mode, NAME_CHARS)

    def node(self, view: NodeView, now_us: int) -> Row:
        level, state = self._node_state(view, now_us)
        since = view.since_us if view.since_us is not None else view.heard_us
        name = f"{view.site}/{view.node}"
        row = Row(level, name, state, self.moment(since, now_us) if since is not None else self.texts.none)
        if view.health is None:
            return row
        health = view.health
        temperature = "" if health.temperature_c is None else f"{health.temperature_c:.0f}°"
        waiting = str(health.outbox.waiting)
        worse = level if level is not Level.GOOD or not _strained(health) else Level.WARNING
        return Row(
            worse,
            name,
            state,
            row.since,
            free=self.texts.size(health.disk_free_bytes),
            temperature=temperature,
            outbox=waiting,
        )

    def cameras(self, reports: dict[str, CameraReport]) -> list[Row]:
        return [self.camera(name, report) for name, report in sorted(reports.items())]

    def camera(self, camera: str, report: CameraReport) -> Row:
        live = report.state in (CameraState.RECORDING, CameraState.RESTING)
        gaps = report.gaps_24h
        label = f"  {camera}" + (f" {printable(report.name, NAME_CHARS)}" if report.name != camera else "")
        unwatched = live and report.unwatched_since_us is not None
        level = Level.BAD if unwatched else _LEVELS.get(report.state, Level.GOOD)
        return Row(
            Level.WARNING if level is Level.GOOD and report.clock_warning else level,
            label.rstrip(),
            f"✗ {self.texts.unwatched}" if unwatched else self._short_state(report.state, report.fault),
            fps=f"{report.fps:.1f}" if live else "",
            bitrate=f"{report.bitrate_bps / 1e6:.1f}" if live else "",
            gaps=f"{gaps.count}: {self.texts.duration(gaps.seconds)}" if gaps.count else "0",
        )

    def camera_state(self, state: CameraState, fault: CameraFault | None) -> str:
        word = self.texts.camera_states[state]
        return f"{word}: {self.texts.faults[fault]}" if fault and state is not CameraState.RECORDING else word

    def _short_state(self, state: CameraState, fault: CameraFault | None) -> str:
        """Where there is little room the fault alone says that the camera is lost."""
        if state is CameraState.LOST and fault is not None:
            return f"✗ {self.texts.faults[fault]}"
        return self.camera_state(state, None)

    def kept(self, kept: Kept | None) -> tuple[str, Level]:
        """`6 of 10`, and how many there will be where that is fewer than promised."""
        if kept is None:
            return self.texts.none, Level.GOOD
        told = f"{kept.days:g} {self.texts.of} {kept.promised_days:g}"
        if kept.will_keep_days < kept.promised_days:
            return f"{told} → {kept.will_keep_days:g}", Level.WARNING
        return told, Level.GOOD

    def promise(self, health: Health) -> tuple[str, Level] | None:
        """The forecast in the node's words; None where there is none, or an alarm says the same."""
        if health.promise is None or any(trouble.code == PROMISE_ALARM for trouble in health.troubles):
            return None
        words = printable(getattr(health.promise.text, self.texts.language), 500)
        return words, Level.GOOD if health.promise.breaks_us is None else Level.WARNING

    def visits(self, health: Health, now_us: int) -> list[str]:
        """Who is at the node."""
        return [
            self.texts.visit.format(
                who=printable(visit.who, 100), since=self.moment(visit.since_us, now_us), why=printable(visit.why, 200)
            )
            for visit in health.visits
        ]

    def alarms(self, board: Board, count: int) -> list[AlarmRow]:
        """The newest first."""
        newest = sorted(board.alarms.values(), key=lambda view: view.last.started_us)[::-1][:count]
        return [self.alarm(view) for view in newest]

    def alarm(self, view: AlarmView) -> AlarmRow:
        texts = self.texts
        state = texts.lasted.format(age=texts.duration(view.seconds)) if view.ended else texts.going_on
        severity = view.last.severity if isinstance(view.last, AlarmMessage) else Severity.WARNING
        mark = "‼ " if severity is Severity.CRITICAL else ""
        level = Level.WARNING if severity.rank < Severity.WARNING.rank else Level.BAD
        level = Level.GOOD if view.ended else level
        marks = self.marks(view.handled) if view.handled else []
        if marks:
            state, level = f"{state} · {', '.join(marks)}", Level.GOOD
        return AlarmRow(
            self.clock(view.last.started_us),
            f"{view.last.site}/{view.last.node}",
            mark + printable(getattr(view.told.text, texts.language), 200),
            state,
            level,
        )

    def marks(self, incident: IncidentState) -> list[str]:
        """What people made of an alarm, in a few words each."""
        texts, found = self.texts, []
        if incident.false_alarm:
            found.append(texts.false_by.format(who=printable(incident.false_alarm.who, 40)))
        elif incident.acknowledged:
            found.append(texts.acknowledged_by.format(who=printable(incident.acknowledged.who, 40)))
        if incident.last_comment:
            found.append(f"«{printable(incident.last_comment.text, 60)}»")
        return found

    def line(self, event: Event) -> str | None:
        """An event as a line for people; None for what is no news."""
        if not event.news:
            return None
        place, fields, texts = f"{event.site}/{event.node}", event.fields, self.texts
        match event.kind:
            case "status":
                return f"{place} {self._state_word(NodeState(fields['state']))}"
            case "camera":
                report = CameraReport.model_validate(fields["report"])
                return f"{place} {self.camera(fields['camera'], report).name.strip()}: " + self.camera_state(
                    report.state, report.fault
                )
            case "alarm" | "mode":
                return f"{place} {printable(fields['text'][texts.language], 200)}"
            case "incident":
                return f"{place} {self._incident(IncidentState.model_validate(fields))}"
            case "stale":
                return f"{place} {texts.stale_line.format(age=texts.duration(fields['silent_s']))}"
            case "fresh":
                return f"{place} {texts.fresh_line}"
            case "malformed":
                return f"{fields['topic']}: {fields['error']}"
        return None

    def counters(self, board: Board, dropped: int, pictures_failed: int) -> Sequence[str]:
        """What went wrong with the messages themselves; nothing when all is well."""
        texts = self.texts
        told = (
            (texts.waiting, sum(board.waiting.values())),
            (texts.malformed, board.malformed),
            (texts.over_limit, board.over_limit),
            (texts.dropped, dropped),
            (texts.pictures_failed, pictures_failed),
        )
        return [words.format(count=count) for words, count in told if count]

    def _incident(self, incident: IncidentState) -> str:
        """One line of what somebody missed or of what somebody did."""
        began, until_us = self.clock(incident.started_us), incident.ended_us
        age = self.texts.duration(((until_us or 0) - incident.started_us) / US)
        state = self.texts.going_on if until_us is None else self.texts.lasted.format(age=age)
        words = printable(getattr(incident.text, self.texts.language), 200)
        return f"{began} {words} · " + ", ".join([state, *self.marks(incident)])

    def _node_state(self, view: NodeView, now_us: int) -> tuple[Level, str]:
        if view.stale(now_us):
            age = self.texts.duration(view.silent_s(now_us) or 0.0)
            return Level.BAD, self.texts.stale.format(age=age)
        level = {NodeState.ONLINE: Level.GOOD, NodeState.STOPPED: Level.WARNING, None: Level.WARNING}
        return level.get(view.state, Level.BAD), self._state_word(view.state)

    def _state_word(self, state: NodeState | None) -> str:
        match state:
            case NodeState.ONLINE:
                return self.texts.online
            case NodeState.OFFLINE:
                return self.texts.offline
            case NodeState.STOPPED:
                return self.texts.stopped
        return self.texts.unknown


def journal_row(texts: Texts, zone: ZoneInfo, entry: JournalEntry | BadLine) -> tuple[str, str, str, str, str]:
    """Time, who, action, outcome, reason."""
    if isinstance(entry, BadLine):
        return "", "", "", texts.unreadable, printable(entry.raw[:80].decode("utf-8", "replace"), 80)
    try:
        time = spoken(entry.at_us or 0, zone)
    except OverflowError:
        time = texts.none
    camera = entry.args.get("camera")
    what = " ".join(str(part) for part in (entry.action or entry.kind, camera) if part)
    said = entry.reason if entry.count == 1 else f"{entry.reason} (×{entry.count})"
    return time, printable(entry.who, 200), printable(what, 80), texts.outcomes[entry.outcome], printable(said, 500)


def _strained(health: Health) -> bool:
    hot = health.temperature_c is not None and health.temperature_c >= HOT_C
    return hot or bool(health.troubles) or health.disk_free_bytes < LOW_DISK_PART * health.disk_total_bytes
