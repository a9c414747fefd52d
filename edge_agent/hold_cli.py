"""`edge-agent hold`: orders to hold recordings, carried out by the archive officer at the node."""

from __future__ import annotations

from pathlib import Path

from edge_agent.archive_disks import disks_of
from edge_agent.at_node import KeyOption, PassphraseOption, PersonOption, order, said
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Config, load
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
from edge_agent.holds_screen import show_holds
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.command import HoldArgs, HoldEndArgs, HoldsArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import Journal
from edge_agent.uplink.hold_orders import Done, HoldOrders, restore

hold_app = app_of("hold", "Recordings that nothing deletes, by order, until the order to let them go.")


@hold_app.command("add")
def _add(
    start: FromOption,
    order_number: OrderOption,
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
    args = hold_args(cameras or [], start_us, end_us, order_number, ordered_by, reason, order_file)
    _ordered(node, clock, args, person, key, passphrase_file, as_json)


@hold_app.command("end")
def _end(
    hold: HoldArgument,
    order_number: OrderOption,
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
    args = hold_end_args(hold, order_number, ordered_by, reason, order_file)
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
    def without_agent(admitted: Admitted, documents: Documents, journal: Journal) -> Done:
        holds = Holds(documents)
        if documents.fresh:
            restore(holds, journal.read())
            documents.settle()
        index = Index(config.index_path, clock)
        try:
            return _orders(config, holds, index, clock).carry_out(admitted)
        finally:
            index.close()

    _print(config, order(config, clock, args, person, key_file, passphrase_file, without_agent), as_json)


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
    console().print(said(done.said, config), markup=False, soft_wrap=True)
    show_holds(console(), done.result, config.language, config.zone)
