"""`edge-desk witness`: vouch for nodes' journals, so that one stolen node key is not enough to rewrite history."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from edge_agent.clock import US, SystemClock
from edge_agent.config import Language
from edge_agent.desk.board import printable
from edge_agent.desk.memory import memory_of
from edge_agent.desk.options import ConfigOption
from edge_agent.desk.output import say_json
from edge_agent.desk.settings import DEFAULT_CONFIG, Desk, WitnessSection, broker_settings, load_desk
from edge_agent.desk.witness import Event, WitnessDesk, own_key, witness_of
from edge_agent.errors import ArchiveError, UsageError
from edge_agent.terminal import JsonOption, app_of, console
from edge_agent.trust.checkpoint import cosignatures, parse_checkpoint
from edge_agent.trust.keys import create_key
from edge_agent.trust.witness import Told
from edge_agent.when import spoken

witness_app = app_of("witness", "Cosign nodes' journals, so that one stolen node key can't rewrite history.")

_TOLD = {
    Told.FIRST: ("засвідчено вперше: {size} записів", "witnessed for the first time: {size} entries"),
    Told.COSIGNED: ("засвідчено: {size} записів", "witnessed: {size} entries"),
    Told.KNOWN: ("уже засвідчено: {size} записів", "witnessed before: {size} entries"),
    Told.BEHIND: ("не засвідчено: {size} записів, це не далі за засвідчене", "not cosigned: {size} entries, which does"
                  " not go on from what was witnessed"),
    Told.UNPROVED: (
        "НЕ ДОВЕДЕНО: {size} записів не продовжують засвідчених. Журнал переписано або доказ зіпсовано дорогою:"
        " edge-desk audit",
        "NOT PROVED: {size} entries do not continue what was witnessed. The journal was rewritten, or the proof was"
        " spoiled on its way: edge-desk audit",
    ),
    Told.FORKED: (
        "ЖУРНАЛ РОЗДВОЄНО: ключем вузла підписано дві різні історії з {size} записів; доказ збережено",
        "THE JOURNAL WAS FORKED: the node's key has signed two different histories of {size} entries; both are kept",
    ),
}  # fmt: skip


@witness_app.command("run")
def _run(
    config: ConfigOption = DEFAULT_CONFIG,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so long; without it, at Ctrl-C.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cosign what nodes ask, until Ctrl-C; ends with 1 when a journal was not proved to continue."""
    desk, clock = load_desk(config), SystemClock()
    settings, screen = broker_settings(desk, "witness", session_s=0), console()
    alarmed = False

    def tell(event: Event) -> None:
        nonlocal alarmed
        alarmed = alarmed or (event.told is not None and event.told.alarming)
        if as_json:
            fields = {"node": event.node, "told": event.told, "size": event.size, "trouble": event.trouble}
            say_json({"event": "witness", "at_us": event.at_us, **fields})
        else:
            screen.print(_line(desk, event), soft_wrap=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with witness_of(desk, memory_of(desk), clock) as witness, contextlib.suppress(KeyboardInterrupt):
        WitnessDesk(settings, witness, clock, tell).run(seconds)
    if alarmed:
        raise typer.Exit(1)


@witness_app.command("new")
def _new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key to make; never over an older one.")],
    name: Annotated[str, typer.Option(help="Of the witness, as all who check a cosignature will read it.")],
) -> None:
    """Make a witness's key, and print what the desk's configuration needs to know of it."""
    try:
        section = WitnessSection(name=name, key_file=str(file), path="witnessed")
    except ValidationError as error:
        raise UsageError("--name: a name without blanks and plus signs") from error
    create_key(file)
    print(f'[witness]\nname = "{section.name}"\nkey_file = "{file}"\npath = "{section.path}"')


@witness_app.command("key")
def _key(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print the verifier key, for the `witness` tables of nodes and the `witnesses` of auditors."""
    print(own_key(load_desk(config)))


@witness_app.command("show")
def _show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print what was cosigned last of each node; not while `run` works."""
    desk, clock = load_desk(config), SystemClock()
    with witness_of(desk, memory_of(desk), clock) as witness:
        for origin, node in sorted(witness.nodes.items()):
            name = origin.partition("/")[2]
            try:
                note = witness.last(node)
            except ArchiveError as error:
                note, trouble = None, str(error)
            else:
                trouble = ""
            size = parse_checkpoint(note.text).size if note else 0
            time_s = cosignatures(note, [witness.key])[0].time_s if note else None
            if as_json:
                say_json({"node": name, "size": size, "time_s": time_s, "note": note and str(note), "trouble": trouble})
            else:
                print(name, size, spoken(time_s * US, desk.zone) if time_s is not None else trouble or "–", sep="  ")


def _line(desk: Desk, event: Event) -> Text:
    bad = event.told is None or event.told.alarming
    words = printable(event.trouble, 500) if event.told is None else told_words(event.told, event.size, desk.language)
    return Text(f"{spoken(event.at_us, desk.zone)} {event.node}: {words}", style="bold red" if bad else "")


def told_words(told: Told, size: int, language: Language) -> str:
    return _TOLD[told][0 if language == "uk" else 1].format(size=size)
