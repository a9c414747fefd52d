"""What the command lines share: errors in plain words with their exit codes, options, tables for people or JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.errors import EdgeError
from edge_agent.later import Later, group_of

if TYPE_CHECKING:  # loaded by who prints with it
    from rich.console import Console

DEFAULT_CONFIG = Path("/etc/edge-agent/edge-agent.toml")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="EDGE_AGENT_CONFIG", help="The node's configuration.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of text for people.")]


def app_of(name: str, help_text: str, later: Mapping[str, Later] | None = None) -> typer.Typer:
    """A command line in the house's manner: no tracebacks, help when called bare; `later` are commands by name."""
    return typer.Typer(
        name=name,
        cls=group_of(later or {}),
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )


def run_app(app: typer.Typer, name: str) -> None:
    """Run and exit: an EdgeError becomes one plain message on standard error and its own exit code."""
    try:
        app(prog_name=name)
    except EdgeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def console() -> Console:
    """Standard output; colours and widths as the terminal has them."""
    from rich.console import Console

    return Console(highlight=False)


def progress_console() -> Console:
    """Standard error, so that output stays clean for pipes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))
