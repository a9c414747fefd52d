"""`edge-agent`: the command line of the node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent import __version__
from edge_agent.account_cli import coverage, proof, rebuild
from edge_agent.archive_cli import archive_app
from edge_agent.check_cli import check
from edge_agent.clock_cli import clock_app
from edge_agent.config import load, schema
from edge_agent.daemon import run
from edge_agent.disk_cli import add_disk
from edge_agent.forecast_cli import archive_forecast
from edge_agent.hold_cli import hold_app
from edge_agent.journal_cli import journal_app
from edge_agent.keys_cli import keys_app, rewrap
from edge_agent.modes_cli import modes_app
from edge_agent.node_keys_cli import make, show
from edge_agent.plan_cli import plan
from edge_agent.probe_cli import probe_command
from edge_agent.roster_cli import roster_app
from edge_agent.schema_cli import schema_command
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, print_json, run_app
from edge_agent.visit_cli import visit_app
from edge_agent.watch_cli import watch
from edge_agent.zones_cli import zones

app = app_of("edge-agent", "Records cameras into a sealed ring archive, tells health and alarms, releases clips.")
config_app = app_of("config", "Check a configuration, or print what it may hold.")
app.add_typer(config_app)
app.add_typer(archive_app)
app.add_typer(roster_app)
app.add_typer(hold_app)
app.add_typer(modes_app)
app.add_typer(clock_app)
app.add_typer(journal_app)
app.add_typer(keys_app)
app.add_typer(visit_app)
keys_app.command("make")(make)
keys_app.command("show")(show)
for command in (check, coverage, proof, rebuild, rewrap):
    archive_app.command()(command)
archive_app.command("forecast")(archive_forecast)
archive_app.command("add-disk")(add_disk)
app.command("plan")(plan)
app.command("probe")(probe_command)
app.command("schema")(schema_command)
app.command("zones")(zones)
app.command("watch")(watch)


@app.callback()
def _top() -> None:
    """Records cameras into a sealed ring archive, tells health and alarms, releases clips to their recipient."""


@app.command("run")
def _run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the agent until it is told to stop (what systemd does)."""
    run(config)


@app.command("version")
def _version() -> None:
    """Print the version."""
    print(__version__)


@config_app.command("check")
def _check(
    file: Annotated[Path, typer.Argument(help="The configuration to check.")] = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell every mistake of a configuration at once; exit code 78 when there is one."""
    config = load(file)
    if as_json:
        print_json({"ok": True, "cameras": [camera.id for camera in config.camera]})
    else:
        print(f"{file} is right: {config.audience}, {len(config.camera)} cameras, data in {config.data}")


@config_app.command("schema")
def _schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    print_json(schema())


def main() -> None:
    run_app(app, "edge-agent")
