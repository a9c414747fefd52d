"""`edge-agent hold`: orders to hold recordings, carried out by the archive officer at the node.

An order goes through the agent's local socket; while no agent runs, through the same door in this process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.archive_disks import disks_of
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Config, load
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.hold_cli import (
    ByOption,
    CamerasOption,
    ForOption,
    FromOption,
    HoldArgument,
    OrderOption,
    ReasonOption,
    ToOption,
    hold_args,
    hold_end_args,
    hold_interval,
    holds_args,
)
from edge_agent.desk.order_cli import OrderFileOption
from edge_agent.desk.settings import unlock
from edge_agent.errors import BusyError, EdgeError, RefusedError, UplinkError
from edge_agent.holds_screen import show_holds
from edge_agent.lock import DataLock
from edge_agent.rosters import roster_keeper
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.command import HoldArgs, HoldEndArgs, HoldsArgs, sign
from edge_agent.trust.door import Door
from edge_agent.trust.journal import Journal
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access
from edge_agent.uplink.hold_orders import Done, HoldOrders, restore
from edge_agent.uplink.payloads import ReplyState, Words
from edge_agent.uplink.topics import Topics

hold_app = app_of("hold", "Recordings that nothing deletes, by order, until the order to let them go.")
PATIENCE = Patience(first_s=30, idle_s=30)

PersonOption = Annotated[str, typer.Option("--as", help="Your id in the node's configuration.")]
KeyOption = Annotated[Path, typer.Option("--key", help="Your signing key, person.key.")]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="The key's passphrase; asked for on the terminal without it.")
]


@hold_app.command("add")
def _add(
    start: FromOption,
    order: OrderOption,
    ordered_by: ByOption,
    person: PersonOption,
    key: KeyOption,
    cameras: CamerasOption = None,
    length: ForOption = None,
    end: ToOption = None,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold an interval from now on, and say what is there of it and what is missing."""
    node, clock = load(config), SystemClock()
    start_us, end_us = hold_interval(node, clock, start, length, end)
    args = hold_args(cameras or [], start_us, end_us, order, ordered_by, reason, order_file)
    _ordered(node, clock, args, person, key, passphrase_file, as_json)


@hold_app.command("end")
def _end(
    hold: HoldArgument,
    order: OrderOption,
    ordered_by: ByOption,
    person: PersonOption,
    key: KeyOption,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let go what a hold keeps: recordings older than the promise go at the next sweep."""
    args = hold_end_args(hold, order, ordered_by, reason, order_file)
    _ordered(load(config), SystemClock(), args, person, key, passphrase_file, as_json)


@hold_app.command("list")
def _list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """All holds, ended ones too, and the bytes that are held."""
    _told(load(config), HoldsArgs(), as_json)


@hold_app.command("show")
def _show(hold: HoldArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """One hold: what is there of it, and what is missing and why."""
    _told(load(config), holds_args(hold), as_json)


def _ordered(
    config: Config,
    clock: Clock,
    args: HoldArgs | HoldEndArgs,
    person: str,
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    key = unlock(key_file, passphrase_file)
    token = sign(key, person, config.audience, args, clock.utc_us())
    try:
        with DataLock(config.data_dir, clock, patience_s=0.0):
            done = _without_agent(config, clock, token)
    except BusyError:
        done = _through_agent(config, clock, token)
    _print(config, done, as_json)


def _through_agent(config: Config, clock: Clock, token: bytes) -> Done:
    replies = DeskClient(config.socket_path, clock, PATIENCE).ask(Topics(config.site, config.node), token)
    reply = next((reply for reply in replies if reply.state.final), None)
    if reply is None:
        raise UplinkError(f"{config.socket_path}: the agent gave no answer; `edge-agent hold list` shows what holds")
    if reply.state is ReplyState.REFUSED:
        raise RefusedError(_said(reply.words, config))
    if reply.state is not ReplyState.DONE:
        raise EdgeError(_said(reply.words, config))
    return Done(reply.words, reply.result or {})


def _without_agent(config: Config, clock: Clock, token: bytes) -> Done:
    """The agent's own steps, with its lock: the door, the documents, the journal."""
    journal = Journal(config.journal_path, clock)
    documents = Documents(config.data_dir / "documents.json", clock)
    holds = Holds(documents)
    if documents.fresh:
        restore(holds, journal.read())
        documents.settle()
    people = {person.person_id: person for person in (entry.person() for entry in config.person)}
    nonces = NonceStore(config.data_dir / "nonces.sqlite", clock)
    door = Door(people, config.audience, journal, nonces, clock, zone=config.zone)
    roster_keeper(config, door, journal, clock)
    admitted = door.enter(token, Access.DIRECT)
    index = Index(config.index_path, clock)
    orders = _orders(config, holds, index, clock)
    try:
        done = orders.carry_out(admitted)
    except EdgeError as error:
        door.outcome(admitted, False, str(error))
        raise
    finally:
        index.close()
    door.outcome(admitted, True, done.said.en)
    return done


def _told(config: Config, args: HoldsArgs, as_json: bool) -> None:
    clock = SystemClock()
    documents = Documents(config.data_dir / "documents.json", clock, read_only=True)
    index = Index(config.index_path, clock, read_only=True)
    try:
        done = _orders(config, Holds(documents), index, clock).tell(args)
    finally:
        index.close()
    _print(config, done, as_json)


def _orders(config: Config, holds: Holds, index: Index, clock: Clock) -> HoldOrders:
    library = Library(disks_of(config), index, (), clock)
    return HoldOrders((camera.camera_id for camera in config.camera), holds, index, library, clock)


def _print(config: Config, done: Done, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "words": done.said.model_dump(), **done.result})
        return
    console().print(_said(done.said, config), markup=False, soft_wrap=True)
    show_holds(console(), done.result, config.language, config.zone)


def _said(words: Words, config: Config) -> str:
    return words.uk if config.language == "uk" else words.en
