"""`edge-agent archive forecast`: whether recordings will be kept as long as promised, by what is recorded here."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.forecast import CameraForecast, Forecast
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.rates import Basis
from edge_agent.buffer.volumes import Volumes
from edge_agent.clock import SystemClock
from edge_agent.config import Config, Language, load
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.forecaster import count, foresee
from edge_agent.model import Hold
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json
from edge_agent.uplink.forecast_words import kept_report, promise_report, promise_words, size
from edge_agent.when import iso_utc

_HEADINGS = {
    "en": ("camera", "kept", "promised", "will be kept", "a day", "Mbit/s", "foretold by"),
    "uk": ("камера", "збережено", "обіцяно", "зберігатиметься", "за добу", "Мбіт/с", "передбачено за"),
}
_FACTS = {"en": ("room", "needed", "held", "a day"), "uk": ("місця", "потрібно", "утримано", "за добу")}
_DAYS = {"en": "d", "uk": "д"}
_BASES = {
    Basis.WEEK: ("the hour of the week", "годиною тижня"),
    Basis.DAY: ("the hour of the day", "годиною доби"),
    Basis.MEAN: ("a mean", "середнім"),
    Basis.OTHERS: ("the other cameras", "іншими камерами"),
    None: ("no longer here", "більше не тут"),
}


def archive_forecast(
    config: ConfigOption = DEFAULT_CONFIG,
    language: Annotated[str | None, typer.Option("--lang", help="uk or en; the configuration's without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether recordings will be kept as promised, the day from which not, and what helps.

    Read from the index beside a running agent, or without one; nothing is changed (docs/forecast.md).
    """
    if language not in (None, "uk", "en"):
        raise UsageError(f'--lang {language}: say "uk" or "en"')
    settled = load(config)
    found = _look(settled)
    if as_json:
        print_json(_json(found, settled))
        return
    spoken: Language = "uk" if language == "uk" else "en" if language else settled.language
    console().print(_screen(found, settled, spoken))


def _look(config: Config) -> Forecast:
    clock = SystemClock()
    if not config.index_path.exists():
        raise NotFoundError(f"nothing was recorded yet: {config.index_path} is not there")
    index = Index(config.index_path, clock, read_only=True)
    try:
        volumes, now_us = Volumes.copy_of(config.volumes_path, clock), clock.utc_us()
        for _ in count(index, volumes, now_us):
            pass
        found = foresee(config, index, volumes, _holds(config, clock), now_us)
        volumes.close()
    finally:
        index.close()
    if found is None:
        raise NotFoundError("nothing was recorded yet: before that, edge-agent plan says how large a disk must be")
    return found


def _holds(config: Config, clock: SystemClock) -> list[Hold]:
    path = config.data_dir / "documents.json"
    return Holds(Documents(path, clock, read_only=True)).all() if path.exists() else []


def _json(found: Forecast, config: Config) -> dict[str, Any]:
    return {
        **promise_report(found, config.zone).model_dump(),
        "at": iso_utc(found.at_us),
        "breaks": iso_utc(found.breaks_us) if found.breaks_us is not None else None,
        "by_quota": found.room.by_quota,
        "kept_bytes": found.kept_bytes,
        "holds": [
            {"hold_id": hold.hold_id, "order_number": hold.order_number, "bytes": hold.size_bytes}
            for hold in found.holds
        ],
        "cameras": [
            {
                "camera": camera.camera,
                **kept_report(camera).model_dump(),
                "bytes_per_day": round(camera.bytes_per_day),
                "basis": str(camera.basis) if camera.basis else None,
            }
            for camera in found.cameras
        ],
    }


def _screen(found: Forecast, config: Config, language: Language) -> RenderableType:
    broken = found.breaks_us is not None
    words = getattr(promise_words(found, config.zone), language)
    mark, style = ("✗ ", "bold red") if broken else ("✓ ", "green")
    facts = Table.grid(padding=(0, 2, 0, 0))
    amounts = (found.room.size_bytes, found.need_bytes, found.held_bytes, found.bytes_per_day)
    cells = [
        (Text(name, "dim"), Text(size(amount, language)))
        for name, amount in zip(_FACTS[language], amounts, strict=True)
    ]
    facts.add_row(*(cell for pair in cells for cell in pair))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 1), show_edge=False)
    for number, heading in enumerate(_HEADINGS[language]):
        table.add_column(heading, justify="left" if number in (0, 6) else "right", no_wrap=number != 6)
    for camera in found.cameras:
        table.add_row(*_row(camera, config, language))
    return Group(
        Text(), Padding(Text(mark + words, style), (0, 1)), Text(), Padding(facts, (0, 1)), Text(), table, Text()
    )


def _row(camera: CameraForecast, config: Config, language: Language) -> list[Text]:
    kept, days = kept_report(camera), _DAYS[language]
    known = config.camera_named(camera.camera)
    short = kept.will_keep_days < kept.promised_days and camera.basis is not None
    name = Text.assemble((camera.camera, "bold"), f" {known.name}" if known and known.name else "")
    return [
        name,
        Text(f"{kept.days:g} {days}" if camera.basis is not Basis.OTHERS else "–"),
        Text(f"{kept.promised_days:g} {days}"),
        Text(f"{kept.will_keep_days:g} {days}" if camera.basis else "–", "bold red" if short else "green"),
        Text(size(camera.bytes_per_day, language)),
        Text(f"{camera.bytes_per_day * 8 / 86400 / 1e6:.2f}"),
        Text(_BASES[camera.basis][language == "uk"], "dim"),
    ]
