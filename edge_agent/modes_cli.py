"""`edge-agent modes`: what the programme will do, and what persons set in its stead (`docs/modes.md`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from edge_agent.at_node import KeyOption, PassphraseOption, PersonOption, order, said
from edge_agent.buffer.documents import Documents
from edge_agent.clock import US, Clock, SystemClock
from edge_agent.config import Config, Language, load
from edge_agent.desk.mode_cli import ForOption, ReasonOption, UntilOption, mode_args
from edge_agent.desk.texts import texts
from edge_agent.errors import NotFoundError
from edge_agent.model import CameraId
from edge_agent.modes.programme import Stretch
from edge_agent.modes.sections import BY_PROGRAMME
from edge_agent.modes.standing import Modes, Scope
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.command import ModeArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import Journal
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.mode_orders import ModeOrders
from edge_agent.uplink.mode_reports import mode_report, spoken_until
from edge_agent.when import iso_utc

modes_app = app_of("modes", "Which mode there is when: the programme, and what persons set in its stead.")
CameraOption = Annotated[str | None, typer.Option("--camera", help="One camera; the node without it.")]
WEEK_US = 7 * 86_400 * US
_WORDS: Mapping[Language, Mapping[str, str]] = {
    "uk": {
        "node": "вузол",
        "until": "до {when}",
        "open": "без кінця",
        "programme": "за програмою",
        "set": "встановлено: {who}",
    },
    "en": {
        "node": "node",
        "until": "until {when}",
        "open": "no end in sight",
        "programme": "by the programme",
        "set": "set by {who}",
    },
}


@modes_app.command("show")
def _show(
    config: ConfigOption = DEFAULT_CONFIG,
    camera: Annotated[
        str | None, typer.Option("--camera", help="One camera; the node and all of them without it.")
    ] = None,
    week: Annotated[bool, typer.Option("--week", help="What will be within seven days.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Which mode there is, until when and by whom; with --week, what will be."""
    node, clock = load(config), SystemClock()
    modes = Modes(node.plan, node.zone, Documents(node.data_dir / "documents.json", clock, read_only=True), clock)
    if camera is not None and camera not in modes.plan.of_cameras:
        raise NotFoundError(f"no camera {camera} here; there are: {', '.join(modes.plan.of_cameras)}")
    scopes = modes.scopes if camera is None else (CameraId(camera),)
    now_us = clock.utc_us()
    ahead = {scope: modes.timeline(scope, now_us, now_us + (WEEK_US if week else 0)) for scope in scopes}
    if as_json:
        print_json(_json(node, modes, ahead, now_us))
        return
    if not week:
        console().print(_now(node, modes, scopes, now_us))
        return
    alike: dict[tuple[Stretch, ...], list[str]] = {}
    for scope, stretches in ahead.items():
        alike.setdefault(tuple(stretches), []).append(scope or _WORDS[node.language]["node"])
    for weekly, names in alike.items():
        console().print(Text(", ".join(names), "bold"))
        console().print(_weekly(node, modes, weekly))


@modes_app.command("set")
def _set(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="A mode of the configuration, armed or disarmed.")],
    person: PersonOption,
    key: KeyOption,
    camera: CameraOption = None,
    until: UntilOption = None,
    length: ForOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a mode, until a time or for good."""
    node, clock = load(config), SystemClock()
    args = mode_args(node, clock, camera, mode, until, length, reason)
    _print(node, order(node, clock, args, person, key, passphrase_file, _without_agent(node, clock, args)), as_json)


@modes_app.command("clear")
def _clear(
    person: PersonOption,
    key: KeyOption,
    camera: CameraOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to the programme: for one camera, or for the node and all of them."""
    node, clock = load(config), SystemClock()
    args = mode_args(node, clock, camera, BY_PROGRAMME, None, None, reason)
    _print(node, order(node, clock, args, person, key, passphrase_file, _without_agent(node, clock, args)), as_json)


def _without_agent(config: Config, clock: Clock, args: ModeArgs) -> Any:
    def carry_out(admitted: Admitted, documents: Documents, _: Journal) -> Done:
        modes = Modes(config.plan, config.zone, documents, clock)
        return ModeOrders(modes, config.zone, clock).carry_out(admitted, args)

    return carry_out


def _print(config: Config, done: Done, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "words": done.said.model_dump(), **done.result})
    else:
        console().print(said(done.said, config), markup=False, soft_wrap=True)


def _now(config: Config, modes: Modes, scopes: tuple[Scope, ...], now_us: int) -> Table:
    words, table = _WORDS[config.language], Table.grid(padding=(0, 3, 0, 0))
    for scope in scopes:
        standing = modes.standing(scope)
        until = words["open"]
        if standing.until_us is not None:
            until = words["until"].format(when=said(spoken_until(standing.until_us, now_us, config.zone), config))
        by = words["set"].format(who=standing.override.who) if standing.override else words["programme"]
        cells = (scope or words["node"], standing.mode.name, until, by)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _weekly(config: Config, modes: Modes, ahead: Iterable[Stretch]) -> Table:
    """A line for each stretch, with its length: it shows the nights of summer time."""
    words, lengths = _WORDS[config.language], texts(config.language)
    table = Table.grid(padding=(0, 3, 0, 0))
    for stretch in ahead:
        ends = (_day(config, stretch.start_us), "–", _day(config, stretch.end_us))
        override = stretch.ruling.override
        by = words["set"].format(who=override.who) if override else ""
        length = lengths.duration((stretch.end_us - stretch.start_us) / US)
        cells = (*ends, length, modes.plan.modes[stretch.ruling.mode].name, by)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _day(config: Config, us: int) -> str:
    return said(spoken_until(us, us + US, config.zone), config)


def _json(config: Config, modes: Modes, ahead: Mapping[Scope, list[Stretch]], now_us: int) -> dict[str, Any]:
    def told(scope: Scope, week: list[Stretch]) -> dict[str, Any]:
        report = mode_report(modes.standing(scope)).model_dump(mode="json")
        stretches = [
            {
                "start": iso_utc(one.start_us),
                "end": iso_utc(one.end_us),
                "mode": one.ruling.mode,
                "set_by": one.ruling.override.who if one.ruling.override else "",
            }
            for one in week
        ]
        return {**report, **({"week": stretches} if week else {})}

    found = {scope: told(scope, week) for scope, week in ahead.items()}
    cameras = {scope: one for scope, one in found.items() if scope is not None}
    node = {"node": found[None]} if None in found else {}
    return {"ok": True, "at": iso_utc(now_us), "zone": config.timezone, **node, "cameras": cameras}
