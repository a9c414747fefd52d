"""`edge-agent config check` and `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.config import load, schema
from edge_agent.terminal import DEFAULT_CONFIG, JsonOption, print_json


def check_config(
    file: Annotated[Path, typer.Argument(help="The configuration to check.")] = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell every mistake of a configuration at once; exit code 78 when there is one."""
    config = load(file)
    if as_json:
        print_json({"ok": True, "cameras": [camera.id for camera in config.camera]})
    else:
        print(f"{file} is right: {config.audience}, {len(config.camera)} cameras, data in {config.data}")


def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    print_json(schema())
