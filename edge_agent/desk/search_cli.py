"""`edge-desk search`: what a node's archive has, asked from afar by the archive officer."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.clock import SystemClock
from edge_agent.desk.hold_cli import ForOption, ReasonOption, ToOption, asked, hold_interval, told_mistakes
from edge_agent.desk.options import ConfigOption, NodeArgument, PassphraseOption, SocketOption, TimeoutOption
from edge_agent.desk.settings import DEFAULT_CONFIG, load_desk
from edge_agent.errors import UsageError
from edge_agent.model import Interval
from edge_agent.search_screen import show_search
from edge_agent.terminal import JsonOption, console
from edge_agent.trust.command import SearchArgs


def search(
    node: NodeArgument,
    camera: Annotated[str | None, typer.Argument(metavar="CAMERA", help="One camera; all without it.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help='Start: "2026-11-22 10:15", "yesterday 22:30"; sums without it.')
    ] = None,
    length: ForOption = None,
    end: ToOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """What a node's archive has: in sum, or of an interval what is there, what is missing and why."""
    interval = None
    if start is not None:
        clock = SystemClock()
        start_us, end_us = hold_interval(load_desk(config), clock, start, length, end)
        interval = Interval(start_us, clock.utc_us() if end_us is None else end_us)
    elif length or end:
        raise UsageError("--for and --to need --from: say where to begin")
    args = search_args(camera, interval, reason)
    desk, reply = asked(node, args, config, socket, passphrase_file, timeout_s, as_json)
    if not as_json:
        show_search(console(), reply.result, desk.language, desk.zone)


def search_args(camera: str | None, interval: Interval | None, reason: str = "") -> SearchArgs:
    """UsageError names what is wrong."""
    start_us, end_us = (interval.start_us, interval.end_us) if interval else (None, None)
    with told_mistakes():
        return SearchArgs(camera=camera, start_us=start_us, end_us=end_us, reason=reason)
