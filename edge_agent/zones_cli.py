"""`edge-agent zones CAMERA`: a still with a grid and the zones, and whether they are drawn as they were meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.at_node import PassphraseOption
from edge_agent.at_work import MaybeKeyOption, MaybePersonOption, at_work
from edge_agent.capture.zone_check import Fault, check_line, check_together, check_zone
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Camera, Config, load
from edge_agent.errors import ArchiveError, ConfigError, NotFoundError
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json
from edge_agent.toml_file import read_secret
from edge_agent.trust.command import Work
from edge_agent.watch_plan import shapes, watched
from edge_agent.when import spoken

if TYPE_CHECKING:
    from edge_agent.capture.decoder import Picture

CameraArgument = Annotated[str, typer.Argument(help="The camera's id in the configuration.")]


def zones(
    camera: CameraArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The JPEG to make; it must not exist. CAMERA-zones.jpg if not given."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the zones; no camera is asked.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a still of a camera with a grid and its zones, and check them; exit code 78 when one can't work."""
    settings, clock = load(config), SystemClock()
    chosen = camera_of(settings, camera)
    faults = faults_of(chosen)
    made = None
    if not check:
        made = out or Path(f"{camera}-zones.jpg")
        with at_work(settings, clock, Work.TUNE, person, key, passphrase_file, f"zones of {camera}"):
            _make(made, chosen, settings, faults, clock)
    if as_json:
        print_json({"camera": camera, "still": str(made) if made else None, "faults": [_json(one) for one in faults]})
    else:
        _show(chosen, settings, faults, made)
    if any(fault.serious for fault in faults):
        raise typer.Exit(ConfigError.exit_code)


def camera_of(config: Config, name: str) -> Camera:
    """NotFoundError when there is none of this id."""
    found = config.camera_named(name)
    if found is None:
        raise NotFoundError(f"no camera {name} here; there are: {', '.join(one.id for one in config.camera)}")
    return found


def password_of(camera: Camera) -> str | None:
    return read_secret(camera.password_file) if camera.password_file else None


def faults_of(camera: Camera) -> list[Fault]:
    """All that is wrong with its zones and lines."""
    found: list[Fault] = []
    drawn = shapes(camera)
    for shape in drawn:
        if shape.closed:
            found += check_zone(shape.place, shape.points, camera.watch.min_area)
        else:
            found += check_line(shape.place, shape.points)
    return found + check_together([(shape.place, shape.points) for shape in drawn if shape.closed])


def _make(path: Path, camera: Camera, config: Config, faults: list[Fault], clock: Clock) -> None:
    from edge_agent.capture import drawing  # numpy and OpenCV: only for who draws

    picture = _first(camera, clock)
    caption = f"{camera.id}  {spoken(picture.arrival_us, config.zone)}"
    marks = [fault.where for fault in faults if fault.where is not None]
    jpeg = drawing.still(picture.bgr(), shapes(camera), marks, caption)
    try:
        with path.open("xb") as file:
            file.write(jpeg)
    except OSError as error:
        raise ArchiveError(f"{path} can't be made: {error.strerror}") from error


def _first(camera: Camera, clock: Clock) -> Picture:
    from edge_agent.capture.footage import live

    return next(live(watched(camera, password_of(camera)), clock, 0))


def _show(camera: Camera, config: Config, faults: list[Fault], made: Path | None) -> None:
    out = console()
    uk = config.language == "uk"
    for fault in faults:
        out.print(f"{fault.place}: {fault.uk if uk else fault.en}", markup=False, soft_wrap=True)
    names = ", ".join(shape.place for shape in shapes(camera))
    if not names:
        out.print("зон немає: рух рахується в усьому кадрі" if uk else "no zones: motion counts in the whole picture")
    elif not faults:
        out.print(f"зони накреслено правильно: {names}" if uk else f"the zones are drawn well: {names}", markup=False)
    if made is not None:
        out.print(str(made), markup=False)


def _json(fault: Fault) -> dict[str, Any]:
    return {
        "place": fault.place,
        "serious": fault.serious,
        "text": {"uk": fault.uk, "en": fault.en},
        "where": list(fault.where) if fault.where else None,
    }
