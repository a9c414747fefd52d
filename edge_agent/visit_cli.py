"""`edge-agent visit`: who is at the node's cabinet, and why (`docs/commands.md`, "Visits")."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from edge_agent.at_node import KeyOption, PassphraseOption, PersonOption, order, said
from edge_agent.at_work import maintenance
from edge_agent.buffer.documents import Documents
from edge_agent.clock import SystemClock
from edge_agent.config import load
from edge_agent.desk.hold_cli import told_mistakes
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.command import MaintainArgs, Work
from edge_agent.visits import Visits
from edge_agent.when import iso_utc, spoken

visit_app = app_of("visit", "Who is at the node: say when you come and when you leave.")


@visit_app.command("open")
def _open(
    person: PersonOption,
    key: KeyOption,
    reason: Annotated[str, typer.Option(help="Why you are here; it stands in the journal and in the node's health.")],
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that you are at the cabinet, and why."""
    _register(config, Work.VISIT_OPEN, reason, None, person, key, passphrase_file, as_json)


@visit_app.command("close")
def _close(
    person: PersonOption,
    key: KeyOption,
    reason: Annotated[str, typer.Option(help="What was done.")] = "",
    of: Annotated[
        str | None, typer.Option("--of", help="Whose visit, when its owner forgot it; yours without.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that you leave."""
    _register(config, Work.VISIT_CLOSE, reason, of, person, key, passphrase_file, as_json)


@visit_app.command("list")
def _list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Who is here now; `journal show --action maintain` tells of the past."""
    settings, clock = load(config), SystemClock()
    visits = Visits(Documents(settings.data_dir / "documents.json", clock, read_only=True), clock).open()
    if as_json:
        told = ({"person": v.person_id, "who": v.who, "why": v.why, "since": iso_utc(v.since_us)} for v in visits)
        print_json(list(told))
        return
    table = Table("since", "who", "why")
    for visit in visits:
        table.add_row(spoken(visit.since_us, settings.zone), Text(visit.who), Text(visit.why))
    console().print(table)


def _register(
    config: Path,
    work: Work,
    reason: str,
    of: str | None,
    person: str,
    key: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    settings, clock = load(config), SystemClock()
    with told_mistakes():
        args = MaintainArgs(work=work, reason=reason, person=of)
    done = order(settings, clock, args, person, key, passphrase_file, maintenance(clock))
    if as_json:
        print_json({"ok": True, "words": done.said.model_dump(), **done.result})
    else:
        console().print(said(done.said, settings), markup=False, soft_wrap=True)
