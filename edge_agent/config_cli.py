"""`edge-agent config check` and `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.config import DetectorEntry, load, schema
from edge_agent.terminal import DEFAULT_CONFIG, JsonOption, print_json

if TYPE_CHECKING:
    from edge_agent.capture.detector import Detector


def check_config(
    file: Annotated[Path, typer.Argument(help="The configuration to check.")] = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell every mistake of a configuration at once; exit code 78 when there is one."""
    config = load(file)
    detector = _tried(config.detector) if config.detector else None
    if as_json:
        said = {"layout": detector.layout, "ms": round(detector.took_s * 1e3)} if detector else None
        print_json({"ok": True, "cameras": [camera.id for camera in config.camera], "detector": said})
    else:
        print(f"{file} is right: {config.audience}, {len(config.camera)} cameras, data in {config.data}")
        if detector:
            print(
                f"the detector is read as {detector.layout} and takes {detector.took_s * 1e3:.0f} ms for a picture here"
            )


def _tried(entry: DetectorEntry) -> Detector:
    """The city's model, loaded and asked once."""
    from edge_agent.capture.detector import Detector  # OpenCV is loaded by who needs it only
    from edge_agent.watch_plan import detecting

    return Detector(detecting(entry))


def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    print_json(schema())
