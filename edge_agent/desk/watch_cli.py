"""`edge-desk watch`: all nodes and the last alarms, live."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.clock import SystemClock
from edge_agent.desk.options import (
    ConfigOption,
    PassphraseOption,
)
from edge_agent.desk.pictures import Pictures
from edge_agent.desk.rows import Wording
from edge_agent.desk.settings import (
    DEFAULT_CONFIG,
    broker_settings,
    load_desk,
    openers_of,
)
from edge_agent.desk.texts import texts
from edge_agent.desk.watch import JsonView, LineView, LiveView, View, Watch
from edge_agent.errors import UsageError
from edge_agent.terminal import JsonOption, console


def watch(
    config: ConfigOption = DEFAULT_CONFIG,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so long; without it, at Ctrl-C.")] = None,
    site: Annotated[str | None, typer.Option(help="One site's nodes only.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Save the alarms' pictures into this folder, the newest 500.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all nodes and the last alarms, live; one line an event where there is no terminal."""
    desk, screen = load_desk(config), console()
    settings = broker_settings(desk, "watch")
    wording = Wording(texts(desk.language), desk.zone)
    view: View
    if as_json:
        view = JsonView()
    elif screen.is_terminal:
        view = LiveView(screen, wording, settings.where)
    else:
        view = LineView(wording, settings.where)
    folder = Pictures(pictures, identities=openers_of(desk, passphrase_file)) if pictures else None
    try:
        watch = Watch(settings, SystemClock(), view, wording, site, folder)
    except ValueError as error:
        raise UsageError(str(error)) from error
    # The terminal must be given back in order, whoever ends the watch.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        watch.run(seconds)
