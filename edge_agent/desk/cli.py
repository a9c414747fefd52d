"""`edge-desk`: the command line of the people at the centre, and of those who stand at a node.

Each command is loaded when it is called (`later.py`).
"""

from __future__ import annotations

import logging

from edge_agent import __version__
from edge_agent.later import Later
from edge_agent.terminal import app_of, run_app

keys_app = app_of(
    "keys",
    "Make and show a person's own keys.",
    {
        "new": Later(
            "edge_agent.desk.keys_cli:new_keys",
            "Make a person's keys, and print what a node's configuration needs to know of them.",
        ),
        "show": Later("edge_agent.desk.keys_cli:show_keys", "Print the public halves of a person's keys."),
    },
)
app = app_of(
    "edge-desk",
    "Watch the nodes, ask them for clips, open what they release.",
    {
        "search": Later(
            "edge_agent.desk.search_cli:search",
            "What a node's archive has: in sum, or of an interval what is there, what is missing and why.",
        ),
        "ack": Later(
            "edge_agent.desk.incident_cli:ack", "Acknowledge an alarm: you take care of it, and all dispatchers see so."
        ),
        "comment": Later("edge_agent.desk.incident_cli:comment", "Write a comment beside an alarm."),
        "false": Later("edge_agent.desk.incident_cli:false", "Mark an alarm as a false one."),
        "incidents": Later(
            "edge_agent.desk.incident_cli:incidents",
            "The incident register: alarms that went on in a time, and what people made of them.",
        ),
        "mode": Later(
            "edge_agent.desk.mode_cli:mode",
            'Set the mode of a node or of one of its cameras, until a time or for good; "programme" goes back.',
        ),
        "audit": Later(
            "edge_agent.desk.audit_cli:audit_command",
            "Ask one node or all for their journals, and prove that nothing in them was changed.",
        ),
        "export": Later(
            "edge_agent.desk.ask_cli:export", "Have a node cut, seal and release a clip, and show how it goes."
        ),
        "status": Later("edge_agent.desk.ask_cli:status", "Ask a node how it and its cameras are."),
        "follow": Later(
            "edge_agent.desk.ask_cli:follow",
            "Go on hearing of a request that still runs; what was said before is not repeated.",
        ),
        "watch": Later(
            "edge_agent.desk.watch_cli:watch",
            "Show all nodes and the last alarms, live; one line an event where there is no terminal.",
        ),
        "open": Later(
            "edge_agent.desk.keys_cli:open_clip",
            "Open a sealed clip with the person's own age key, whole or not at all.",
        ),
        "hold": Later(
            "edge_agent.desk.hold_cli:hold_app",
            "Recordings that nothing deletes, by order, until the order to let them go.",
        ),
        "order": Later(
            "edge_agent.desk.order_cli:order_app", "Sign an order: to hold recordings, to let them go, to release them."
        ),
        "roster": Later(
            "edge_agent.desk.roster_cli:roster_app", "The city's people and recipients, for its authority to sign."
        ),
        "incident": Later("edge_agent.desk.incident_cli:incident_app", "One alarm of a node's register."),
        "witness": Later(
            "edge_agent.desk.witness_cli:witness_app",
            "Cosign nodes' journals, so that one stolen node key can't rewrite history.",
        ),
    },
)
app.add_typer(keys_app)


@app.callback()
def _top() -> None:
    """Watch the nodes, ask them for clips, open what they release."""
    # What goes wrong is told by exceptions; log lines would only tear the live table.
    logging.basicConfig(handlers=[logging.NullHandler()])


@app.command("version")
def _version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    run_app(app, "edge-desk")
