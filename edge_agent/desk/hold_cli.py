"""`edge-desk hold`: orders to hold recordings at a node, and what is held there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError

from edge_agent.clock import Clock, SystemClock
from edge_agent.desk.client import Patience
from edge_agent.desk.options import (
    ConfigOption,
    IncidentOption,
    NodeArgument,
    PassphraseOption,
    SocketOption,
    TimeoutOption,
)
from edge_agent.desk.order_cli import OrderFileOption, read_order
from edge_agent.desk.output import final_json, in_language, raise_unless_done, say_json
from edge_agent.desk.settings import DEFAULT_CONFIG, Desk, load_desk, node_named
from edge_agent.desk.talk import Request, Talk, mistakes
from edge_agent.errors import UsageError
from edge_agent.holds_screen import show_holds
from edge_agent.terminal import JsonOption, app_of, console
from edge_agent.trust.command import CommandArgs, HoldArgs, HoldEndArgs, HoldsArgs
from edge_agent.uplink.payloads import Reply
from edge_agent.when import parse_duration, parse_when

hold_app = app_of("hold", "Recordings that nothing deletes, by order, until the order to let them go.")

CamerasOption = Annotated[
    list[str] | None, typer.Option("--camera", help="A camera; may be said several times. All cameras without it.")
]
FromOption = Annotated[
    str, typer.Option("--from", help='Start: "2026-11-22 10:15", "yesterday 22:30"; local unless it ends in Z.')
]
ForOption = Annotated[str | None, typer.Option("--for", help='Length: "90s", "5m", "2d".')]
ToOption = Annotated[str | None, typer.Option("--to", help="End, said like --from; without both: until it is ended.")]
OrderOption = Annotated[str, typer.Option("--order", help="Number of the order.")]
ByOption = Annotated[str, typer.Option("--ordered-by", help="The official: surname, name, patronymic.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it stands in the journal.")]
HoldArgument = Annotated[str, typer.Argument(metavar="HOLD", help="The hold's id, or its beginning.")]


class Zoned(Protocol):
    """What has the time zone that people speak in."""

    @property
    def zone(self) -> ZoneInfo: ...


@hold_app.command("add")
def _add(
    node: NodeArgument,
    start: FromOption,
    order: OrderOption,
    ordered_by: ByOption,
    cameras: CamerasOption = None,
    length: ForOption = None,
    end: ToOption = None,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    incident: IncidentOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Hold an interval from now on, and say what is there of it and what is missing."""
    start_us, end_us = hold_interval(load_desk(config), SystemClock(), start, length, end)
    args = hold_args(cameras or [], start_us, end_us, order, ordered_by, reason, order_file, incident)
    _ask(node, args, config, socket, passphrase_file, timeout_s, as_json)


@hold_app.command("end")
def _end(
    node: NodeArgument,
    hold: HoldArgument,
    order: OrderOption,
    ordered_by: ByOption,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Let go what a hold keeps: recordings older than the promise go at the next sweep."""
    args = hold_end_args(hold, order, ordered_by, reason, order_file)
    _ask(node, args, config, socket, passphrase_file, timeout_s, as_json)


@hold_app.command("list")
def _list(
    node: NodeArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """All holds, ended ones too, and the bytes that are held."""
    _ask(node, HoldsArgs(), config, socket, passphrase_file, timeout_s, as_json)


@hold_app.command("show")
def _show(
    node: NodeArgument,
    hold: HoldArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """One hold: what is there of it, and what is missing and why."""
    _ask(node, holds_args(hold), config, socket, passphrase_file, timeout_s, as_json)


def _ask(
    node: str,
    args: HoldArgs | HoldEndArgs | HoldsArgs,
    config: Path,
    socket: Path | None,
    passphrase_file: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    desk, reply = asked(node, args, config, socket, passphrase_file, timeout_s, as_json)
    if not as_json:
        show_holds(console(), reply.result, desk.language, desk.zone)


def asked(
    node: str,
    args: CommandArgs,
    config: Path,
    socket: Path | None,
    passphrase_file: Path | None,
    timeout_s: float,
    as_json: bool,
) -> tuple[Desk, Reply]:
    """Ask a node and tell its words, or with `as_json` its whole answer; EdgeError unless it did what was asked."""
    desk, clock = load_desk(config), SystemClock()
    request = Request.signed(desk, clock, node_named(node, desk.site), args, passphrase_file)
    talk = Talk(desk, clock, socket, Patience(first_s=timeout_s, idle_s=timeout_s), config)
    reply = talk.hear(request, as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        console().print(in_language(reply.words, talk.texts), markup=False, soft_wrap=True)
    return desk, reply


def hold_interval(
    zoned: Zoned, clock: Clock, start: str, length: str | None, end: str | None
) -> tuple[int, int | None]:
    """What the options mean; `zoned` has the time zone that people speak in."""
    if length and end:
        raise UsageError("say --for or --to, not both")
    now_us = clock.utc_us()
    start_us = parse_when(start, zoned.zone, now_us)
    if length:
        return start_us, start_us + parse_duration(length)
    return start_us, parse_when(end, zoned.zone, now_us) if end else None


def hold_args(
    cameras: list[str],
    start_us: int,
    end_us: int | None,
    order: str,
    ordered_by: str,
    reason: str,
    order_file: Path | None = None,
    incident: str | None = None,
) -> HoldArgs:
    with told_mistakes():
        return HoldArgs(
            cameras=tuple(cameras),
            start_us=start_us,
            end_us=end_us,
            order_number=order,
            ordered_by=ordered_by,
            reason=reason,
            order=read_order(order_file),
            incident=incident,
        )


def hold_end_args(hold: str, order: str, ordered_by: str, reason: str, order_file: Path | None = None) -> HoldEndArgs:
    with told_mistakes():
        signed = read_order(order_file)
        return HoldEndArgs(hold_id=hold, order_number=order, ordered_by=ordered_by, reason=reason, order=signed)


def holds_args(hold: str | None) -> HoldsArgs:
    with told_mistakes():
        return HoldsArgs(hold_id=hold)


@contextmanager
def told_mistakes() -> Iterator[None]:
    """What the arguments of a command lack, as UsageError."""
    try:
        yield
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error
