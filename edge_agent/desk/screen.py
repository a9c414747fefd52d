"""Rows as rich tables.  All text goes in as `Text`, which knows no markup: nothing from afar can style or steer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_agent.desk.board import Board, printable
from edge_agent.desk.rows import AlarmRow, Level, Row, Wording
from edge_agent.uplink.link import LinkState, Phase
from edge_agent.uplink.payloads import Health
from edge_agent.uplink.topics import Topics

_STYLES = {Level.GOOD: "green", Level.WARNING: "yellow", Level.BAD: "bold red"}
_FRAME_LINES = 9
"""Titles, headings, the lines between and the broker's line."""
_MOST_ALARMS = 15


def board_screen(
    wording: Wording, board: Board, link: Text, notes: Sequence[str], now_us: int, height: int
) -> RenderableType:
    """The whole picture, cut to `height` lines.

    Where there is no room for all, cameras that are well are left out first; nodes in trouble stand first.
    """
    room = max(4, height - _FRAME_LINES - len(notes))
    alarms = wording.alarms(board, min(_MOST_ALARMS, max(2, room // 3)))
    groups = wording.nodes(board, now_us)
    left = room - max(1, len(alarms))
    if sum(len(rows) for rows in groups) > left:
        groups = [[rows[0], *(row for row in rows[1:] if row.level is not Level.GOOD)] for rows in groups]
    shown, hidden = _fitting(groups, left)
    texts = wording.texts
    title = f"{texts.nodes}: {len(board.nodes)}"
    parts: list[RenderableType] = [node_table(wording, title, shown) if groups else Text(texts.no_nodes, "dim")]
    if hidden:
        parts.append(Text(texts.hidden.format(count=hidden), "dim"))
    parts += [Text(), alarm_table(wording, alarms) if alarms else Text(texts.no_alarms, "dim"), Text(), link]
    return Group(*parts, *(Text(note, "yellow") for note in notes))


def node_table(wording: Wording, title: str, groups: Iterable[Sequence[Row]]) -> Table:
    texts = wording.texts
    table = Table(
        title=Text(title, "bold"), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=True, title_justify="left"
    )
    table.show_edge = False
    table.add_column(f"{texts.node} / {texts.camera}", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column(texts.state, ratio=4, no_wrap=True, overflow="ellipsis")
    table.add_column(texts.since, no_wrap=True)
    for heading in (texts.fps, texts.mbit, texts.gaps_short, texts.disk_free, texts.temperature, texts.outbox):
        table.add_column(heading, justify="right", no_wrap=True)
    for rows in groups:
        for row in rows:
            node = not row.name.startswith(" ")
            name, state, *rest = row.cells
            cells = [Text(name, "bold" if node else ""), Text(state, _STYLES[row.level])]
            table.add_row(*cells, *(Text(cell) for cell in rest))
    return table


def alarm_table(wording: Wording, alarms: Iterable[AlarmRow]) -> Table:
    texts = wording.texts
    table = Table(title=Text(texts.alarms, "bold"), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=True)
    table.show_edge, table.title_justify = False, "left"
    table.add_column(texts.time, no_wrap=True)
    table.add_column(texts.node, no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column(texts.what, ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(texts.state, no_wrap=True)
    for row in alarms:
        what = Text(row.what, "" if row.level is Level.GOOD else "bold")
        table.add_row(Text(row.time), Text(row.node), what, Text(row.state, _STYLES[row.level]))
    return table


def link_line(wording: Wording, link: LinkState, where: str) -> Text:
    texts = wording.texts
    match link.phase:
        case Phase.ONLINE:
            said, style = texts.broker_online, "dim"
        case Phase.CONNECTING:
            said, style = texts.broker_connecting, "yellow"
        case _:
            said, style = texts.broker_away, "bold red"
    # The reason names the broker again when the connection itself failed.
    reason = link.reason.removeprefix(f"{where}: ") if link.reason != where else ""
    return Text(said.format(where=where) + (f" ({printable(reason, 200)})" if reason else ""), style)


def health_screen(wording: Wording, node: Topics, health: Health, now_us: int) -> RenderableType:
    """What a node told of itself when asked."""
    texts, none = wording.texts, wording.texts.none
    facts = Table.grid(padding=(0, 2, 0, 0))
    oldest = wording.moment(health.oldest_footage_us, now_us) if health.oldest_footage_us is not None else none
    temperature = none if health.temperature_c is None else f"{health.temperature_c:.0f} °C"
    memory = f"{texts.size(health.memory_used_bytes)} {texts.of} {texts.size(health.memory_total_bytes)}"
    disk = f"{texts.size(health.disk_free_bytes)} {texts.of} {texts.size(health.disk_total_bytes)}"
    silent = sum(report.silent_alarms for report in health.cameras.values())
    for left, right in (
        ((texts.uptime, texts.duration(health.uptime_s)), (texts.disk_free, disk)),
        ((texts.cpu, f"{health.cpu_percent:.0f} %"), (texts.archive, texts.size(health.archive_bytes))),
        ((texts.memory, memory), (texts.oldest, oldest)),
        ((texts.temperature, temperature), (texts.outbox, str(health.outbox.waiting))),
        ((texts.mode, _mode(wording, health, now_us)), (texts.silent, str(silent))),
        (("edge-agent", printable(health.version, 30)), (texts.broker, health.mqtt_protocol or none)),
    ):
        facts.add_row(Text(left[0], "dim"), Text(left[1]), Text(right[0], "dim"), Text(right[1]))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = False
    for heading in (texts.camera, texts.state):
        table.add_column(heading)
    for heading in (texts.fps, texts.mbit, texts.gaps, texts.last_frame):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(texts.kept, no_wrap=True)
    for camera, report in sorted(health.cameras.items()):
        row = wording.camera(camera, report)
        last = wording.clock(report.last_frame_us) if report.last_frame_us is not None else none
        state = wording.camera_state(report.state, report.fault)
        if report.mode and health.mode and report.mode.mode != health.mode.mode:
            state = f"{state} · {wording.mode(report.mode)}"
        cells = (row.fps, row.bitrate, row.gaps, last)
        kept, level = wording.kept(report.kept)
        table.add_row(
            Text(row.name.strip()),
            Text(state, _STYLES[row.level]),
            *(Text(cell) for cell in cells),
            Text(kept, _STYLES[level]),
        )
    troubles = [
        Text(printable(getattr(trouble.text, texts.language), 500), _STYLES[Level.BAD]) for trouble in health.troubles
    ]
    troubles += [Text(line, _STYLES[Level.WARNING]) for line in wording.visits(health, now_us)]
    promise = wording.promise(health)
    if promise is not None:
        troubles.append(Text(promise[0], _STYLES[promise[1]]))
    warnings = [
        Text(f"{camera}: {printable(getattr(report.clock_warning, texts.language), 200)}", _STYLES[Level.WARNING])
        for camera, report in sorted(health.cameras.items())
        if report.clock_warning is not None
    ]
    return Group(Text(f"{node.site}/{node.node}", "bold"), facts, *troubles, Text(), table, *warnings)


def _mode(wording: Wording, health: Health, now_us: int) -> str:
    """`Night → 06:15`."""
    if health.mode is None:
        return wording.texts.none
    until_us = health.mode.until_us
    return wording.mode(health.mode) + (f" → {wording.moment(until_us, now_us)}" if until_us is not None else "")


def _fitting(groups: list[list[Row]], room: int) -> tuple[list[list[Row]], int]:
    """The groups that fit into `room` lines, one of them kept free for saying how many do not."""
    used = 0
    for number, rows in enumerate(groups):
        used += len(rows)
        if used > room - (number + 1 < len(groups)):
            return groups[: max(1, number)], len(groups) - max(1, number)
    return groups, 0
