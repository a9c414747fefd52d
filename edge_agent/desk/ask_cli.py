"""`edge-desk export`, `status`, `follow`: what a node is asked for, and hearing of it."""

from __future__ import annotations

import contextlib
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError

from edge_agent.clock import Clock, SystemClock
from edge_agent.desk.client import Patience
from edge_agent.desk.options import (
    ConfigOption,
    IdleOption,
    IncidentOption,
    NodeArgument,
    PassphraseOption,
    SocketOption,
    TimeoutOption,
)
from edge_agent.desk.order_cli import OrderFileOption, read_order
from edge_agent.desk.output import (
    final_json,
    in_language,
    json_line,
    raise_unless_done,
    say_json,
)
from edge_agent.desk.rows import Wording
from edge_agent.desk.screen import health_screen
from edge_agent.desk.settings import (
    DEFAULT_CONFIG,
    Desk,
    load_desk,
    node_named,
)
from edge_agent.desk.talk import Request, Talk, mistakes
from edge_agent.desk.texts import Texts
from edge_agent.errors import EdgeError, UsageError
from edge_agent.terminal import JsonOption, console
from edge_agent.trust.command import ExportArgs, StatusArgs
from edge_agent.uplink.payloads import Health, Reply
from edge_agent.when import parse_duration, parse_when, spoken


def export(
    node: NodeArgument,
    camera: Annotated[str, typer.Argument(metavar="CAMERA", help="The camera's id.")],
    start: Annotated[
        str,
        typer.Option(
            "--from", help='Start: "2026-11-22 10:15", "yesterday 22:30", "15m ago"; local unless it ends in Z.'
        ),
    ],
    recipient: Annotated[str, typer.Option(help="Who alone can open the clip: an age public key (age1…).")],
    target: Annotated[str, typer.Option(help="Where the node puts the clip: a target of its configuration.")],
    length: Annotated[str | None, typer.Option("--for", help='Length: "90s", "5m", "1h30m".')] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, said like --from; instead of --for.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the node's journal.")] = "",
    order_file: OrderFileOption = None,
    incident: IncidentOption = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only print the request id.")
    ] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    idle_s: IdleOption = 900,
    as_json: JsonOption = False,
) -> None:
    """Have a node cut, seal and release a clip, and show how it goes."""
    desk, clock = load_desk(config), SystemClock()
    topics = node_named(node, desk.site)
    start_us, end_us = _interval(desk, clock, start, length, end)
    try:
        args = ExportArgs(
            camera=camera,
            start_us=start_us,
            end_us=end_us,
            recipient=recipient,
            target=target,
            reason=reason,
            order=read_order(order_file),
            incident=incident,
        )
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error
    request = Request.signed(desk, clock, topics, args, passphrase_file)
    talk = Talk(desk, clock, socket, Patience(first_s=timeout_s, idle_s=idle_s), config)
    if not wait:
        talk.send(request, as_json)
        return
    reply = talk.hear(request, as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        _print_done(reply, talk.texts, desk.zone)


def status(
    node: NodeArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Ask a node how it and its cameras are."""
    desk, clock = load_desk(config), SystemClock()
    topics = node_named(node, desk.site)
    request = Request.signed(desk, clock, topics, StatusArgs(), passphrase_file)
    talk = Talk(desk, clock, socket, Patience(first_s=timeout_s, idle_s=timeout_s), config)
    reply = talk.hear(request, as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        try:
            health = Health.model_validate(reply.result)
        except ValidationError as error:
            raise EdgeError(f"{node} answered with what is no state of a node: {mistakes(error)}") from error
        console().print(health_screen(Wording(talk.texts, desk.zone), topics, health, clock.utc_us()))


def follow(
    node: NodeArgument,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="The id that `export` printed.")],
    config: ConfigOption = DEFAULT_CONFIG,
    idle_s: IdleOption = 900,
    as_json: JsonOption = False,
) -> None:
    """Go on hearing of a request that still runs; what was said before is not repeated."""
    desk, clock = load_desk(config), SystemClock()
    topics = node_named(node, desk.site)
    try:
        topics.reply(request_id)
    except ValueError as error:
        raise UsageError(str(error)) from error
    talk = Talk(desk, clock, None, Patience(first_s=idle_s, idle_s=idle_s), config)
    reply = talk.hear(Request(topics, request_id, None), as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        _print_done(reply, talk.texts, desk.zone)


def _interval(desk: Desk, clock: Clock, start: str, length: str | None, end: str | None) -> tuple[int, int]:
    if (length is None) == (end is None):
        raise UsageError("say how long: --for or --to, one of them")
    now_us = clock.utc_us()
    start_us = parse_when(start, desk.zone, now_us)
    return start_us, parse_when(end, desk.zone, now_us) if end else start_us + parse_duration(str(length))


def _print_done(reply: Reply, words: Texts, zone: ZoneInfo) -> None:
    """The node's words, what the clip covers, and the digest to check the file by."""
    screen, result = console(), reply.result or {}
    screen.print(in_language(reply.words, words), markup=False, soft_wrap=True)
    start_us, end_us = result.get("start_us"), result.get("end_us")
    with contextlib.suppress(OverflowError):
        if isinstance(start_us, int) and isinstance(end_us, int):
            print(f"  {spoken(start_us, zone)} … {spoken(end_us, zone)}")
    for key in ("sha256", "notes"):
        if result.get(key):
            print(f"  {key} {json_line(result[key])}"[:500])
