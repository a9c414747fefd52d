"""What is known of all nodes, as a value: a message makes the next board from the last, without I/O.

The broker may be hostile.  Everything kept is bounded, only parsed payloads are kept, and what can't be parsed is
counted.  `now_us` is this desk's clock; a node's own times are shown, never trusted to be right.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from edge_agent.clock import US
from edge_agent.model import AlarmPhase
from edge_agent.uplink.alarm_pictures import SEALED
from edge_agent.uplink.incident_payloads import IncidentMessage, IncidentState, RegisterMessage
from edge_agent.uplink.payloads import (
    MAX_CAMERAS,
    AlarmMessage,
    AnyAlarm,
    CameraMessage,
    CameraReport,
    Health,
    ModeMessage,
    NodeAlarmMessage,
    NodeState,
    Status,
    decode,
)
from edge_agent.uplink.topics import Address, TopicKind, parse

MAX_NODES = 1000
MAX_ALARMS = 200
"""Kept and shown; older ones go."""
MAX_SEEN_IDS = 4000
"""Of alarm messages, to know one that comes again."""
MAX_PICTURE_BYTES = 1 << 20
USUAL_PERIOD_S = 10.0
"""Of health messages, until a node has shown its own."""
STALE_PERIODS = 3
_PERIODS_KEPT = 3
_JPEG = b"\xff\xd8\xff"

NodeKey = tuple[str, str]
"""Site and node."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as last heard of."""

    site: str
    node: str
    state: NodeState | None = None
    since_us: int | None = None
    """When it entered the state; None where a will tells nothing about it."""
    health: Health | None = None
    heard_us: int | None = None
    """When the health was told: by this desk's clock for a live one, by the node's for a retained one."""
    periods_s: tuple[float, ...] = ()
    """Between its last healths."""
    cameras: Mapping[str, tuple[int, CameraReport]] = field(default_factory=lambda: MappingProxyType({}))
    """By id, with the node's time of the report."""
    modes: Mapping[str, ModeMessage] = field(default_factory=lambda: MappingProxyType({}))
    """By camera; the node's own under ""."""

    @property
    def period_s(self) -> float:
        """How often it tells its health: the median of the last three, so that one odd interval does not count."""
        if len(self.periods_s) < _PERIODS_KEPT:
            return max(USUAL_PERIOD_S, *self.periods_s) if self.periods_s else USUAL_PERIOD_S
        return statistics.median(self.periods_s)

    def silent_s(self, now_us: int) -> float | None:
        """How long ago its last health was told; None when it never was."""
        return None if self.heard_us is None else max(0.0, (now_us - self.heard_us) / US)

    def stale(self, now_us: int) -> bool:
        """It says it is online but has not told its health for three periods."""
        silent = self.silent_s(now_us)
        down = self.state in (NodeState.OFFLINE, NodeState.STOPPED)
        return not down and silent is not None and silent > STALE_PERIODS * self.period_s


@dataclass(frozen=True, slots=True)
class AlarmView:
    """One alarm's life so far."""

    told: AnyAlarm
    """The message that tells best what happened: the latest before the end."""
    last: AnyAlarm
    handled: IncidentState | None = None
    """What people made of it."""
    handled_us: int = 0
    """When the node said so."""

    @property
    def ended(self) -> bool:
        return self.last.phase is AlarmPhase.END

    @property
    def seconds(self) -> float:
        """For how long it is known to have gone on."""
        until_us = self.last.at_us if self.last.seen_us is None else self.last.seen_us
        return max(0.0, (until_us - self.last.started_us) / US)


@dataclass(frozen=True, slots=True)
class Board:
    """All nodes and the last alarms (oldest first)."""

    nodes: Mapping[NodeKey, NodeView] = field(default_factory=lambda: MappingProxyType({}))
    alarms: Mapping[tuple[str, str, str], AlarmView] = field(default_factory=lambda: MappingProxyType({}))
    """By site, node and alarm id."""
    seen: Mapping[tuple[str, str, str], None] = field(default_factory=lambda: MappingProxyType({}))
    """Sites, nodes and ids of alarm messages, oldest first."""
    waiting: Mapping[NodeKey, int] = field(default_factory=lambda: MappingProxyType({}))
    """Alarms of the last 24 hours that nobody has acknowledged, as each node last said."""
    malformed: int = 0
    over_limit: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """What a message meant, for lines and scripts; `fields` are ready for JSON."""

    kind: str
    """`status`, `health`, `camera`, `mode`, `alarm`, `incident`, `picture`, `malformed`, `stale`, `fresh`."""
    site: str = ""
    node: str = ""
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    news: bool = True
    """False for what only confirms what was known."""
    picture: bytes | None = field(default=None, repr=False)

    def json(self) -> dict[str, Any]:
        place = {"site": self.site, "node": self.node} if self.node else {}
        return {"event": self.kind, **place, **self.fields}


Step = tuple[Board, Sequence[Event]]


def apply(board: Board, topic: str, payload: bytes, *, retained: bool, now_us: int) -> Step:
    """The board after a message, and what it meant; nothing for one that came before or is not for a board."""
    try:
        address = parse(topic)
        match address.kind:
            case TopicKind.STATUS:
                return _status(board, address, decode(Status, payload), retained, now_us)
            case TopicKind.HEALTH:
                return _health(board, address, decode(Health, payload), retained, now_us)
            case TopicKind.CAMERA:
                return _camera(board, address, decode(CameraMessage, payload), retained)
            case TopicKind.MODE:
                return _mode(board, address, decode(ModeMessage, payload), retained)
            case TopicKind.ALARM:
                return _camera_alarm(board, address, decode(AlarmMessage, payload))
            case TopicKind.NODE_ALARM:
                return _alarm(board, address, decode(NodeAlarmMessage, payload))
            case TopicKind.INCIDENT:
                return _incident(board, address, decode(IncidentMessage, payload))
            case TopicKind.INCIDENTS:
                return _register(board, address, decode(RegisterMessage, payload))
            case TopicKind.PICTURE:
                return board, (_picture(address, payload),)
            case _:
                return board, ()
    except ValueError as error:
        told = {"topic": printable(topic, 120), "bytes": len(payload), "error": printable(str(error), 300)}
        return dataclasses.replace(board, malformed=board.malformed + 1), (Event("malformed", fields=told),)


def turns(before: frozenset[NodeKey], board: Board, now_us: int) -> tuple[frozenset[NodeKey], list[Event]]:
    """Which nodes are stale now, and what has changed since `before`."""
    now = frozenset(key for key, view in board.nodes.items() if view.stale(now_us))
    events = [
        Event("stale" if key in now else "fresh", *key, fields={"silent_s": round(view.silent_s(now_us) or 0.0, 1)})
        for key in sorted(before ^ now)
        if (view := board.nodes.get(key)) is not None and (key in now or view.state is NodeState.ONLINE)
    ]
    return now, events


def printable(text: str, limit: int) -> str:
    """Any text as a terminal may show it: nothing that steers it, bounded."""
    clean = "".join(sign if sign.isprintable() else "�" for sign in text[: limit + 1])
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def _status(board: Board, address: Address, status: Status, retained: bool, now_us: int) -> Step:
    view = _view(board, address)
    if view is None:
        return _over(board)
    since = status.at_us if status.state is not NodeState.OFFLINE else None if retained else now_us
    same = view.state is status.state
    if same and status.state is NodeState.OFFLINE:
        since = view.since_us or since
    view = dataclasses.replace(view, state=status.state, since_us=since)
    return _with(board, view), (_event("status", address, status.model_dump(mode="json"), news=not same),)


def _health(board: Board, address: Address, health: Health, retained: bool, now_us: int) -> Step:
    view = _view(board, address)
    if view is None:
        return _over(board)
    if view.health is not None and retained and health.at_us <= view.health.at_us:
        return board, ()
    periods = view.periods_s
    if view.health is not None and health.at_us > view.health.at_us:
        passed_s = min((health.at_us - view.health.at_us) / US, 3600.0)
        periods = (*periods, max(passed_s, 1.0))[-_PERIODS_KEPT:]
    cameras = {name: (health.at_us, report) for name, report in health.cameras.items()}
    if retained:
        # Kept by the broker, it may be older than what the cameras have said since.
        newer = {name: known for name, known in view.cameras.items() if known[0] > health.at_us and name in cameras}
        cameras |= newer
    events = [_event("health", address, health.model_dump(mode="json"), news=False)]
    for name, (at_us, report) in cameras.items():
        if not _same(view.cameras.get(name), report):
            message = CameraMessage(at_us=at_us, camera=name, report=report)
            events.append(_event("camera", address, message.model_dump(mode="json"), news=True))
    view = dataclasses.replace(
        view,
        health=health,
        heard_us=min(health.at_us, now_us) if retained else now_us,
        periods_s=periods,
        cameras=MappingProxyType(cameras),
    )
    return _with(board, view), events


def _camera(board: Board, address: Address, message: CameraMessage, retained: bool) -> Step:
    if message.camera != address.camera:
        raise ValueError(f"CameraMessage: it speaks of {message.camera} in the topic of {address.camera}")
    view = _view(board, address)
    if view is None:
        return _over(board)
    known = view.cameras.get(message.camera)
    told_us = known[0] if known else view.health.at_us if view.health else None
    if retained and told_us is not None and message.at_us <= told_us:
        return board, ()
    if known is None and len(view.cameras) >= MAX_CAMERAS:
        return _over(board)
    report = message.report
    cameras = MappingProxyType({**view.cameras, message.camera: (message.at_us, report)})
    event = _event("camera", address, message.model_dump(mode="json"), news=not _same(known, report))
    return _with(board, dataclasses.replace(view, cameras=cameras)), (event,)


def _mode(board: Board, address: Address, message: ModeMessage, retained: bool) -> Step:
    if (message.camera or "") != address.camera:
        raise ValueError(f"ModeMessage: it speaks of {message.camera} in the topic of {address.camera or 'the node'}")
    view = _view(board, address)
    if view is None:
        return _over(board)
    known = view.modes.get(address.camera)
    if retained and known is not None and message.at_us <= known.at_us:
        return board, ()
    if known is None and len(view.modes) > MAX_CAMERAS:
        return _over(board)
    view = dataclasses.replace(view, modes=MappingProxyType({**view.modes, address.camera: message}))
    # Whoever has just come is told nothing but what changes from now on.
    news = known is not None and (known.report.mode, known.report.set_by) != (
        message.report.mode,
        message.report.set_by,
    )
    return _with(board, view), (_event("mode", address, message.model_dump(mode="json"), news=news),)


def _same(known: tuple[int, CameraReport] | None, report: CameraReport) -> bool:
    return known is not None and (known[1].state, known[1].fault) == (report.state, report.fault)


def _camera_alarm(board: Board, address: Address, message: AlarmMessage) -> Step:
    if message.camera != address.camera:
        raise ValueError("AlarmMessage: it speaks of another camera than its topic")
    return _alarm(board, address, message)


def _alarm(board: Board, address: Address, message: AnyAlarm) -> Step:
    if (message.site, message.node) != (address.site, address.node):
        raise ValueError("AlarmMessage: it speaks of another camera than its topic")
    id_ = (message.site, message.node, message.message_id)
    if id_ in board.seen:
        return board, ()
    key = (message.site, message.node, message.alarm_id)
    known = board.alarms.get(key)
    alarm = _joined(known, message)
    if known is not None:
        alarm = dataclasses.replace(alarm, handled=known.handled, handled_us=known.handled_us)
    alarms = _bounded({**board.alarms, key: alarm}, MAX_ALARMS)
    board = dataclasses.replace(board, alarms=alarms, seen=_bounded({**board.seen, id_: None}, MAX_SEEN_IDS))
    news = known is None or alarm.ended != known.ended
    return board, (_event("alarm", address, message.model_dump(mode="json"), news=news),)


def _incident(board: Board, address: Address, message: IncidentMessage) -> Step:
    if (message.site, message.node) != (address.site, address.node):
        raise ValueError("IncidentMessage: it speaks of another node than its topic")
    board, event = _handled(board, address, message.incident, message.at_us)
    return board, (event,) if event else ()


def _register(board: Board, address: Address, message: RegisterMessage) -> Step:
    """What somebody who was away has missed."""
    if (message.site, message.node) != (address.site, address.node):
        raise ValueError("RegisterMessage: it speaks of another node than its topic")
    events = []
    for incident in message.incidents:
        board, event = _handled(board, address, incident, message.at_us)
        if event is not None:
            events.append(event)
    waiting = {**board.waiting, (address.site, address.node): message.waiting}
    return dataclasses.replace(board, waiting=_bounded(waiting, MAX_NODES)), events


def _handled(board: Board, address: Address, incident: IncidentState, at_us: int) -> tuple[Board, Event | None]:
    """The board with what a node's register says of an alarm; no event where that was known."""
    key = (address.site, address.node, incident.alarm_id)
    known = board.alarms.get(key)
    if known is not None and (known.handled_us > at_us or known.handled == incident):
        return board, None
    told = _told(address, incident)
    view = AlarmView(told, told) if known is None or (told.phase is AlarmPhase.END and not known.ended) else known
    if known is None:
        news = incident.acknowledged is None and incident.false_alarm is None
    else:
        news = known.ended != view.ended or _marks(known.handled) != _marks(incident)
    view = dataclasses.replace(view, told=known.told if known else told, handled=incident, handled_us=at_us)
    board = dataclasses.replace(board, alarms=_bounded({**board.alarms, key: view}, MAX_ALARMS))
    return board, _event("incident", address, incident.model_dump(mode="json"), news=news)


def _marks(incident: IncidentState | None) -> tuple[object, ...]:
    """What people see at once."""
    if incident is None:
        return (None, None, 0, (), ())
    return incident.acknowledged, incident.false_alarm, incident.comments, incident.holds, incident.releases


def _told(address: Address, incident: IncidentState) -> AnyAlarm:
    """The register's word as the message that was missed."""
    ended = incident.ended_us is not None
    return AnyAlarm(
        at_us=incident.seen_us if incident.ended_us is None else incident.ended_us,
        message_id=f"{incident.alarm_id}.register",
        alarm_id=incident.alarm_id,
        site=address.site,
        node=address.node,
        phase=AlarmPhase.END if ended else AlarmPhase.UPDATE,
        started_us=incident.started_us,
        cut=incident.cut,
        merged=incident.merged,
        text=incident.text,
    )


def _joined(known: AlarmView | None, message: AnyAlarm) -> AlarmView:
    """Messages may come again or out of order: the end stays the end."""
    if known is None:
        return AlarmView(message, message)
    last = known.last if known.ended or known.last.at_us > message.at_us else message
    if message.phase is AlarmPhase.END:
        return AlarmView(known.told, message)
    later = known.told.phase is not AlarmPhase.END and known.told.at_us > message.at_us
    return AlarmView(known.told if later else message, last)


def _picture(address: Address, payload: bytes) -> Event:
    if len(payload) > MAX_PICTURE_BYTES:
        raise ValueError(f"picture: {len(payload)} bytes, more than the {MAX_PICTURE_BYTES} that are read")
    sealed = payload.startswith(SEALED)
    if not sealed and not payload.startswith(_JPEG):
        raise ValueError("picture: not a JPEG, nor a sealed one")
    told = {"camera": address.camera, "alarm_id": address.alarm_id, "bytes": len(payload), "sealed": sealed}
    return dataclasses.replace(_event("picture", address, told, news=False), picture=payload)


def _view(board: Board, address: Address) -> NodeView | None:
    """What is known of the node; None when there is no room for another."""
    known = board.nodes.get((address.site, address.node))
    if known is None and len(board.nodes) >= MAX_NODES:
        return None
    return known or NodeView(address.site, address.node)


def _with(board: Board, view: NodeView) -> Board:
    return dataclasses.replace(board, nodes=MappingProxyType({**board.nodes, (view.site, view.node): view}))


def _over(board: Board) -> Step:
    return dataclasses.replace(board, over_limit=board.over_limit + 1), ()


def _event(kind: str, address: Address, fields: dict[str, Any], *, news: bool) -> Event:
    return Event(kind, address.site, address.node, {k: v for k, v in fields.items() if k not in ("site", "node")}, news)


def _bounded(entries: dict[Any, Any], limit: int) -> Mapping[Any, Any]:
    """The newest `limit` entries."""
    for old in list(entries)[: max(0, len(entries) - limit)]:
        del entries[old]
    return MappingProxyType(entries)
