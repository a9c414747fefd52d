"""`edge-desk order`: an official signs what an archive officer's command will carry (`docs/commands.md`, «Orders»)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from edge_agent.clock import SystemClock
from edge_agent.desk.options import ConfigOption, PassphraseOption
from edge_agent.desk.output import json_line
from edge_agent.desk.settings import DEFAULT_CONFIG, load_desk, signer
from edge_agent.errors import UsageError
from edge_agent.terminal import app_of
from edge_agent.trust.command import MAX_ORDER_BYTES
from edge_agent.trust.jws import mistakes
from edge_agent.trust.order import OrderKind, Terms, read, sign
from edge_agent.trust.policy import Purpose
from edge_agent.when import parse_duration, parse_when

order_app = app_of("order", "Sign an order: to hold recordings, to let them go, to release them.")

OrderFileOption = Annotated[
    Path | None, typer.Option("--order-file", help="The official's signed order, as `edge-desk order` printed it.")
]
NodesOption = Annotated[list[str], typer.Option("--node", help="SITE/NODE, or 'SITE/*'; may be said several times.")]
CamerasOption = Annotated[list[str] | None, typer.Option("--camera", help="May be said several times; all without it.")]
NumberOption = Annotated[str, typer.Option("--number", help="The order's number.")]
BasisOption = Annotated[Purpose, typer.Option("--basis", help="Upon what it is decided.")]
BasisNumberOption = Annotated[str, typer.Option("--basis-number", help="The number of that.")]
BasisDateOption = Annotated[str, typer.Option("--basis-date", help="Its date, 2026-11-22.")]
FromOption = Annotated[str, typer.Option("--from", help='Start: "2026-11-22 10:15", local unless it ends in Z.')]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=31, help="Time to carry it out.")]


@order_app.command("hold")
def _hold(
    nodes: NodesOption,
    start: FromOption,
    number: NumberOption,
    basis: BasisOption,
    basis_number: BasisNumberOption,
    basis_date: BasisDateOption,
    length: Annotated[str | None, typer.Option("--for", help='"5m", "2d"')] = None,
    end: Annotated[str | None, typer.Option("--to", help="Without both: until it is ended.")] = None,
    cameras: CamerasOption = None,
    days: DaysOption = 5,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Nothing may delete these recordings until an order to let them go."""
    content = _scope(nodes, cameras, config, start, length, end)
    _print(OrderKind.HOLD, number, (basis, basis_number, basis_date), content, days, config, passphrase_file)


@order_app.command("hold-end")
def _hold_end(
    nodes: NodesOption,
    hold: Annotated[str, typer.Option("--hold", help="The hold's whole id.")],
    number: NumberOption,
    basis: BasisOption,
    basis_number: BasisNumberOption,
    basis_date: BasisDateOption,
    days: DaysOption = 5,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Let go what a hold keeps, and have it destroyed as the normal rule says."""
    content = {"nodes": nodes, "hold_id": hold, "destroy": True}
    _print(OrderKind.HOLD_END, number, (basis, basis_number, basis_date), content, days, config, passphrase_file)


@order_app.command("release")
def _release(
    nodes: NodesOption,
    start: FromOption,
    recipient: Annotated[str, typer.Option(help="Who alone can open it: an age public key (age1…).")],
    number: NumberOption,
    basis: BasisOption,
    basis_number: BasisNumberOption,
    basis_date: BasisDateOption,
    length: Annotated[str | None, typer.Option("--for", help='"5m", "1h30m"')] = None,
    end: Annotated[str | None, typer.Option("--to", help="Instead of --for.")] = None,
    cameras: CamerasOption = None,
    days: DaysOption = 5,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Recordings may go to one recipient."""
    content = _scope(nodes, cameras, config, start, length, end) | {"recipient": recipient}
    _print(OrderKind.RELEASE, number, (basis, basis_number, basis_date), content, days, config, passphrase_file)


@order_app.command("show")
def _show(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Print what an order says; whether it is believed, the node decides."""
    token = read_order(file)
    assert token is not None
    print(json_line(read(token).model_dump(mode="json", exclude_defaults=True)))


def read_order(file: Path | None) -> str | None:
    """The order of a file; UsageError when it holds none, OrderRefusedError when it is malformed."""
    if file is None:
        return None
    try:
        with file.open("rb") as source:
            token = source.read(MAX_ORDER_BYTES + 2).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read an order from {file}: {getattr(error, 'strerror', 'it is no text')}") from error
    read(token)
    return token


def _scope(
    nodes: list[str], cameras: list[str] | None, config: Path, start: str, length: str | None, end: str | None
) -> dict[str, Any]:
    if length and end:
        raise UsageError("say --for or --to, not both")
    zone, now_us = load_desk(config).zone, SystemClock().utc_us()
    start_us = parse_when(start, zone, now_us)
    scope: dict[str, Any] = {"nodes": nodes, "cameras": cameras or [], "start_us": start_us}
    if length:
        scope["end_us"] = start_us + parse_duration(length)
    elif end:
        scope["end_us"] = parse_when(end, zone, now_us)
    return scope


def _print(
    kind: OrderKind,
    number: str,
    basis: tuple[Purpose, str, str],
    content: dict[str, Any],
    days: int,
    config: Path,
    passphrase_file: Path | None,
) -> None:
    upon = dict(zip(("kind", "number", "date"), basis, strict=True))
    try:
        terms = Terms.model_validate({"kind": kind, "number": number, "basis": upon, **content})
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error
    person, key = signer(load_desk(config), passphrase_file)
    try:
        print(sign(key, person, terms, SystemClock().utc_us(), lifetime_s=days * 86400).decode())
    except ValueError as error:
        raise UsageError(str(error)) from error
