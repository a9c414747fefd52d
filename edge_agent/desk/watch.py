"""Watching all nodes a broker tells of: one loop that reads messages, keeps the board and shows it."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live

from edge_agent.clock import Clock
from edge_agent.desk.board import MAX_PICTURE_BYTES, Board, Event, NodeKey, apply, turns
from edge_agent.desk.output import say_json
from edge_agent.desk.pictures import Pictures
from edge_agent.desk.rows import Wording
from edge_agent.desk.screen import board_screen, link_line
from edge_agent.errors import ArchiveError, UplinkError
from edge_agent.uplink.link import LinkSettings, LinkState, Phase, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.topics import TopicKind, subscription

QUEUED_MESSAGES = 5000
"""A flood beyond this is dropped and counted."""
MESSAGES_A_TURN = 500
TURN_S = 0.25
KINDS = (
    TopicKind.STATUS,
    TopicKind.HEALTH,
    TopicKind.CAMERA,
    TopicKind.MODE,
    TopicKind.ALARM,
    TopicKind.NODE_ALARM,
    TopicKind.INCIDENT,
    TopicKind.INCIDENTS,
)


class View(Protocol):
    """Where the watch is shown; `with` opens and closes it."""

    def event(self, event: Event, board: Board, now_us: int) -> None: ...

    def link(self, state: LinkState) -> None: ...

    def turn(self, board: Board, link: LinkState, notes: Sequence[str], now_us: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Watch:
    """Subscribes to one site or to all and feeds a view; `run` is the caller's thread."""

    def __init__(
        self,
        settings: LinkSettings,
        clock: Clock,
        view: View,
        wording: Wording,
        site: str | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self._clock, self._view, self._wording, self._pictures = clock, view, wording, pictures
        self._messages: queue.Queue[Received | LinkState] = queue.Queue(QUEUED_MESSAGES)
        self._dropped = 0
        self._pictures_failed = 0
        self._connected = False
        self._why = ""
        """The last break of the connection, in words."""
        self._board = Board()
        self._stale: frozenset[NodeKey] = frozenset()
        # A picture at its largest must still come in.
        limit = max(settings.max_payload_bytes, MAX_PICTURE_BYTES)
        self._link = Link(dataclasses.replace(settings, max_payload_bytes=limit), clock, self._put, self._put)
        for kind in (*KINDS, *((TopicKind.PICTURE,) if pictures else ())):
            self._link.subscribe(subscription(kind, site))

    def run(self, seconds: float | None) -> None:
        """Until interrupted or for so long; UplinkError when the broker could not be reached in all that time."""
        end = None if seconds is None else self._clock.monotonic() + seconds
        self._link.start()
        try:
            with self._view:
                while end is None or self._clock.monotonic() < end:
                    self._turn()
        finally:
            self._link.stop(1.0)
        if not self._connected:
            raise UplinkError(self._why or "the broker does not answer")

    def _turn(self) -> None:
        for message in self._heard():
            if isinstance(message, LinkState):
                self._connected = self._connected or message.phase is Phase.ONLINE
                self._why = message.reason if message.phase is Phase.OFFLINE else self._why
                self._view.link(message)
                continue
            now_us = self._clock.utc_us()
            self._board, events = apply(
                self._board, message.topic, message.payload, retained=message.retain, now_us=now_us
            )
            for event in events:
                self._show(event, now_us)
        now_us = self._clock.utc_us()
        self._stale, changes = turns(self._stale, self._board, now_us)
        for event in changes:
            self._show(event, now_us)
        notes = self._wording.counters(self._board, self._dropped, self._pictures_failed)
        self._view.turn(self._board, self._link.state, notes, now_us)

    def _show(self, event: Event, now_us: int) -> None:
        if event.picture is not None and self._pictures is not None:
            try:
                path = self._pictures.save(
                    event.site, event.node, event.fields["camera"], event.fields["alarm_id"], event.picture
                )
                fields: dict[str, Any] = {**event.fields, "path": str(path)}
            except ArchiveError as error:
                self._pictures_failed += 1
                fields = {**event.fields, "error": str(error)}
            event = dataclasses.replace(event, fields=fields, picture=None)
        self._view.event(event, self._board, now_us)

    def _heard(self) -> Iterator[Received | LinkState]:
        """What has come, at most a turn's worth, waiting a little for the first."""
        with contextlib.suppress(queue.Empty):
            yield self._messages.get(timeout=TURN_S)
            for _ in range(MESSAGES_A_TURN - 1):
                yield self._messages.get_nowait()

    def _put(self, message: Received | LinkState) -> None:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._dropped += 1


class JsonView:
    """One JSON line an event, for scripts."""

    def event(self, event: Event, board: Board, now_us: int) -> None:  # noqa: ARG002 - the protocol's
        say_json(event.json())

    def link(self, state: LinkState) -> None:
        say_json({"event": "link", "state": str(state.phase), "reason": state.reason, "protocol": state.protocol})

    def turn(self, board: Board, link: LinkState, notes: Sequence[str], now_us: int) -> None:
        """Events say it all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


class LineView:
    """A line for each piece of news, for pipes and logs."""

    def __init__(self, wording: Wording, where: str) -> None:
        self._wording, self._where = wording, where
        self._last_link = ""

    def event(self, event: Event, board: Board, now_us: int) -> None:
        # A flood of rubbish is told ever more rarely.
        if event.kind == "malformed" and board.malformed & (board.malformed - 1):
            return
        if event.kind == "picture" and "path" in event.fields:
            line: str | None = self._wording.texts.picture.format(path=event.fields["path"])
        else:
            line = self._wording.line(event)
        if line is not None:
            print(f"{self._wording.clock(now_us)} {line}", flush=True)

    def link(self, state: LinkState) -> None:
        line = link_line(self._wording, state, self._where).plain
        if state.phase is not Phase.CONNECTING and line != self._last_link:
            self._last_link = line
            print(line, flush=True)

    def turn(self, board: Board, link: LinkState, notes: Sequence[str], now_us: int) -> None:
        """Lines are told as events come."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


class LiveView:
    """The board on the whole terminal; the last picture stays when it is closed."""

    def __init__(self, console: Console, wording: Wording, where: str) -> None:
        self._console, self._wording, self._where = console, wording, where
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._last: tuple[Board, LinkState, Sequence[str], int] | None = None

    def event(self, event: Event, board: Board, now_us: int) -> None:
        """The board shows it."""

    def link(self, state: LinkState) -> None:
        """The broker's line shows it."""

    def turn(self, board: Board, link: LinkState, notes: Sequence[str], now_us: int) -> None:
        self._last = board, link, notes, now_us
        self._live.update(self._screen(self._console.height), refresh=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._last is not None:
            self._console.print(self._screen(self._console.height))

    def _screen(self, height: int) -> Any:
        assert self._last is not None
        board, link, notes, now_us = self._last
        line = link_line(self._wording, link, self._where)
        return board_screen(self._wording, board, line, notes, now_us, height)
