"""`scripts/demo`: a street, its camera, a broker, the agent as in the field, a dispatcher, and a recipient."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.clock import SystemClock
from edge_agent.demo.show import Show
from edge_agent.demo.stage import BrokerChoice, CameraChoice, Stage
from edge_agent.errors import EdgeError
from edge_agent.terminal import app_of, print_json, run_app

app = app_of("demo", "")


@app.command()
def demo(
    seconds: Annotated[
        float | None, typer.Option(min=5, help="End by itself after so many seconds of recording; else Ctrl-C.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="Record this camera (rtsp://…) instead of the made-up street.")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(help="Use this broker (host[:port]) instead of the built-in one.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder for everything the demonstration keeps.")] = Path("demo-data"),
    language: Annotated[str, typer.Option("--language", help="uk or en.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, as the last line.")] = False,
) -> None:
    """See a camera recorded, alarms arrive over MQTT, and a clip released that only its recipient can open."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    chosen_camera = CameraChoice.of_url(camera) if camera else None
    chosen_broker = BrokerChoice.of_text(broker) if broker else None
    show = Show(Stage(data.resolve()), language if language == "uk" else "en", SystemClock(), stop)
    summary = show.run(seconds, chosen_camera, chosen_broker)
    if as_json:
        print_json(summary.json())
    if seconds is not None and not summary.good:
        raise EdgeError(f"the demonstration did not show everything: {summary.json()}")


if __name__ == "__main__":
    run_app(app, "demo")
