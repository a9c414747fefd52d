"""`edge-agent schema`: the published forms of commands, orders, rosters, messages and answers."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from edge_agent.schemas import NAMES, schema


def schema_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which one; without it, their names.")] = None,
) -> None:
    """Print the JSON Schema of what nodes read and write."""
    if name is None:
        print("\n".join(NAMES))
    else:
        print(json.dumps(schema(name), ensure_ascii=False, indent=2))
