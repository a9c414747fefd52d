"""`edge-agent`: the command line of the node; each command is loaded when it is called (`later.py`)."""

from __future__ import annotations

from edge_agent import __version__
from edge_agent.later import Later
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, app_of, run_app

config_app = app_of(
    "config",
    "Check a configuration, or print what it may hold.",
    {
        "check": Later(
            "edge_agent.config_cli:check_config",
            "Tell every mistake of a configuration at once; exit code 78 when there is one.",
        ),
        "schema": Later(
            "edge_agent.config_cli:config_schema", "Print the JSON Schema of the configuration, for editors."
        ),
    },
)
archive_app = app_of(
    "archive",
    "Find, play and export recordings, by camera, date and time.",
    {
        "list": Later(
            "edge_agent.archive_cli:list_recordings",
            "What there is: all cameras in sum, or one camera's recordings of an interval (the last hour by default).",
        ),
        "export": Later("edge_agent.archive_cli:export", "Make one playable MP4 of an interval, cut to it."),
        "play": Later(
            "edge_agent.archive_cli:play",
            "Show an interval in a window of ffplay or mpv on this machine's screen.",
        ),
        "check": Later(
            "edge_agent.check_cli:check",
            "Compare the archive with its index, the journal and its own rules; ends with 1 when something is wrong.",
        ),
        "coverage": Later(
            "edge_agent.account_cli:coverage",
            "Account for every moment of an interval: recorded, deleted, missing and why (the last hour by default).",
        ),
        "proof": Later(
            "edge_agent.account_cli:proof",
            "Prove that a recording stands under its hour's Merkle root, which the journal has; a deleted one, too.",
        ),
        "rebuild": Later(
            "edge_agent.account_cli:rebuild",
            "Make the index again from the files; the agent must be stopped. The old index stays beside.",
        ),
        "rewrap": Later(
            "edge_agent.keys_cli:rewrap",
            "Give recordings other recipients, without re-encrypting them; who is not among them can't open the new"
            " files.",
        ),
        "forecast": Later(
            "edge_agent.forecast_cli:archive_forecast",
            "Tell whether recordings will be kept as promised, the day from which not, and what helps.",
        ),
        "add-disk": Later(
            "edge_agent.disk_cli:add_disk",
            "Mark the archive's folder on a further disk; the agent uses it from then on.",
        ),
    },
)
keys_app = app_of(
    "keys",
    "The node's own age keys: what recordings are sealed to.",
    {
        "list": Later(
            "edge_agent.keys_cli:list_keys",
            "Show whom new recordings are sealed to, and which keys are kept to read older ones.",
        ),
        "rotate": Later(
            "edge_agent.keys_cli:rotate",
            "Make a new key for the node; the old ones stay to read what was sealed to them.",
        ),
        "drop": Later(
            "edge_agent.keys_cli:drop_key",
            "Destroy an old key that no recording needs any more; the agent must be stopped.",
        ),
        "make": Later(
            "edge_agent.node_keys_cli:make",
            "Make what is missing of the node's keys, as the user of the service; print their public halves.",
        ),
        "show": Later("edge_agent.node_keys_cli:show", "Print the public halves."),
    },
)
app = app_of(
    "edge-agent",
    "Records cameras into a sealed ring archive, tells health and alarms, releases clips.",
    {
        "plan": Later(
            "edge_agent.plan_cli:plan",
            "How large a disk: of cameras, bitrate, days and disk, the fourth from the other three.",
        ),
        "probe": Later(
            "edge_agent.probe_cli:probe_command",
            "Tell what a camera offers and how the agent would take it; exit code 69 when it could not be recorded.",
        ),
        "schema": Later("edge_agent.schema_cli:schema_command", "Print the JSON Schema of what nodes read and write."),
        "zones": Later(
            "edge_agent.zones_cli:zones",
            "Make a still of a camera with a grid and its zones, and check them; exit code 78 when one can't work.",
        ),
        "watch": Later(
            "edge_agent.watch_cli:watch",
            "See what the watcher sees: a film of the live camera or of the archive; or try other settings on the"
            " archive.",
        ),
        "roster": Later("edge_agent.roster_cli:roster_app", "The city's people as this node knows them."),
        "hold": Later(
            "edge_agent.hold_cli:hold_app",
            "Recordings that nothing deletes, by order, until the order to let them go.",
        ),
        "modes": Later(
            "edge_agent.modes_cli:modes_app",
            "Which mode there is when: the programme, and what persons set in its stead.",
        ),
        "clock": Later(
            "edge_agent.clock_cli:clock_app",
            "The node's clock: what it shows, whether it is trusted, and vouching for it.",
        ),
        "journal": Later(
            "edge_agent.journal_cli:journal_app",
            "Who did what here: read it, check that nothing was changed, prove an entry.",
        ),
        "visit": Later("edge_agent.visit_cli:visit_app", "Who is at the node: say when you come and when you leave."),
    },
)
for _group in (config_app, archive_app, keys_app):
    app.add_typer(_group)


@app.callback()
def _top() -> None:
    """Records cameras into a sealed ring archive, tells health and alarms, releases clips to their recipient."""


@app.command("run")
def _run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the agent until it is told to stop (what systemd does)."""
    from edge_agent.daemon import run

    run(config)


@app.command("version")
def _version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    run_app(app, "edge-agent")
