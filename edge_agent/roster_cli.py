"""`edge-agent roster`: whom this node believes, and a roster that comes by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.clock import SystemClock
from edge_agent.config import Config, load
from edge_agent.errors import ConfigError, NotFoundError, UsageError
from edge_agent.roster_screen import roster_json, show_roster
from edge_agent.rosters import roster_store
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.roster import MAX_ROSTER_BYTES
from edge_agent.trust.roster_store import RosterStore

roster_app = app_of("roster", "The city's people as this node knows them.")


@roster_app.command("install")
def _install(
    file: Annotated[Path, typer.Argument(help="The signed roster, as `edge-desk roster sign` made it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Install a roster of the pinned authority; a running agent takes it within seconds."""
    store = _store(load(config))
    installed = store.install(read_roster(file))
    roster = installed or store.load()
    assert roster is not None
    if as_json:
        print_json({"ok": True, "version": roster.version, "new": installed is not None})
    elif installed:
        print(f"roster {roster.version} is installed")
    else:
        print(f"roster {roster.version} was here already")


@roster_app.command("show")
def _show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print the installed roster."""
    settings = load(config)
    roster = _store(settings).load()
    if roster is None:
        raise NotFoundError("no roster is installed: the configuration's own people count")
    trouble = roster.in_force(SystemClock().utc_us())
    if as_json:
        print_json({"ok": True, "in_force": trouble is None, **roster_json(roster.claims)})
        return
    show_roster(console(), roster.claims, settings.language, settings.zone, trouble)


def read_roster(file: Path) -> bytes:
    """A token from its file, without the line's end; UsageError when it can't be one."""
    try:
        with file.open("rb") as source:
            token = source.read(MAX_ROSTER_BYTES + 2)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    return token.rstrip(b"\r\n")


def _store(config: Config) -> RosterStore:
    store = roster_store(config)
    if store is None:
        raise ConfigError("no authority is pinned: the configuration's [trust] names none, so no roster is believed")
    return store
