"""`edge-agent plan`: how large a disk, before anything is installed."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edge_agent.config import Language, load, parse_size
from edge_agent.errors import UsageError
from edge_agent.plan import (
    MOST_CAMERAS,
    Allowances,
    Asked,
    Group,
    Plan,
    parse_bitrate,
    parse_groups,
    plan_bitrate,
    plan_cameras,
    plan_days,
    plan_disk,
    written_bytes,
)
from edge_agent.plan_texts import PlanTexts, plan_texts
from edge_agent.terminal import JsonOption, console, print_json

USUAL_DAYS = 10.0
_SURVEILLANCE_DISK = 180e12
_LARGEST_CARD = 1024e9
_SSD_OVERWRITES = (300, 600)
_CARD_OVERWRITES = (1000, 1000)
_AMPLIFICATION = 2
_MANY_YEARS = 20

HELP = """How large a disk: of cameras, bitrate, days and disk, the fourth from the other three.

Examples:
  edge-agent plan --cameras 16 --bitrate 4M --days 10          the disk
  edge-agent plan --camera 8x4M --camera 8x2M@30               the disk; the last eight are kept 30 days
  edge-agent plan --cameras 16 --bitrate 4M --disk 8TB         the days
  edge-agent plan --cameras 16 --days 10 --disk 8TB            the bitrate that each camera may have
  edge-agent plan --bitrate 4M --days 10 --disk 8TB            how many cameras
  edge-agent plan --cameras 16 --bitrate 4M --days 10 --disk 8TB    whether it is enough
  edge-agent plan --config edge-agent.toml --bitrate 4M        for the cameras and days of a configuration

Nothing is installed, asked or changed. Units are decimal: 4M is 4 000 000 bit/s, 8TB is what a disk's label says.
"""


def plan(
    cameras: Annotated[int | None, typer.Option(min=1, max=MOST_CAMERAS, help="How many cameras, all alike.")] = None,
    bitrate: Annotated[
        str | None, typer.Option(help='Of each camera, as its page says it: "4M", "2500k"; sound included.')
    ] = None,
    days: Annotated[
        float | None, typer.Option(help=f"How long to keep; {USUAL_DAYS:g} when a disk is asked for.")
    ] = None,
    disk: Annotated[str | None, typer.Option(help='The disk: "8TB", "500 GB"; "7.3TiB" as tools show it.')] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help='Cameras that differ: "8x4M", "2x8M@30" (30 days). May be said again.')
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take cameras, days, reserve and language from here.")
    ] = None,
    reserve: Annotated[
        str | None, typer.Option(help="Stays free on the disk: `min_free` of the configuration; 1 GB.")
    ] = None,
    filesystem: Annotated[
        float, typer.Option(min=0, max=50, help="Per cent that the file system takes; 2 after `tune2fs -m 0`.")
    ] = 7,
    margin: Annotated[
        float, typer.Option(min=0, max=500, help="Per cent by which cameras may exceed their bitrate.")
    ] = 10,
    holds: Annotated[float, typer.Option(min=0, max=500, help="Per cent of room for what is held by order.")] = 10,
    language: Annotated[
        str | None, typer.Option("--lang", help="uk or en; the configuration's or the terminal's without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    settled = load(config) if config else None
    if language not in (None, "uk", "en"):
        raise UsageError(f'--lang {language}: say "uk" or "en"')
    if days is not None and not 0 < days <= 3650:
        raise UsageError("--days: more than 0, at most 3650")
    if camera and (cameras or bitrate):
        raise UsageError("say the cameras by --camera, or by --cameras and --bitrate, not both")
    if settled and (camera or cameras):
        raise UsageError("the cameras are those of the configuration: say --bitrate only, or leave --config out")
    least = settled.retention.min_free if settled else Allowances().reserve_bytes
    allowances = Allowances(
        reserve_bytes=_size("--reserve", reserve) if reserve else least,
        filesystem=filesystem / 100,
        margin=margin / 100,
        holds=holds / 100,
    )
    disk_bytes = _size("--disk", disk) if disk else None
    bps = parse_bitrate(bitrate) if bitrate else None
    promised = days or (settled.retention.days if settled else USUAL_DAYS)
    groups: list[Group] | None
    if camera:
        groups = parse_groups(camera, promised)
    elif settled:
        own = Counter(days or one.keep_days or promised for one in settled.camera)
        groups = [Group(count, bps or 0.0, kept) for kept, count in sorted(own.items())]
    else:
        groups = [Group(cameras, bps or 0.0, promised)] if cameras else None
    found = _found(groups, bps, promised, disk_bytes, allowances)
    # Without --days nothing was promised, unless a configuration or a group did.
    said = days is not None or settled is not None or any("@" in text for text in camera or [])
    promises = groups if found.asked is Asked.DAYS and said else None
    if as_json:
        print_json(_json(found, promises))
        return
    spoken: Language = "uk" if language == "uk" else "en" if language else settled.language if settled else _locale()
    console().print(_screen(found, promises, plan_texts(spoken)))


def _found(
    groups: list[Group] | None, bps: float | None, days: float, disk_bytes: int | None, allowances: Allowances
) -> Plan:
    known = groups is not None and all(group.bitrate_bps for group in groups)
    match groups, disk_bytes:
        case list(), None if known:
            return plan_disk(groups, allowances)
        case list(), int() if known:
            return plan_days(groups, disk_bytes, allowances)
        case list(), int():
            return plan_bitrate(groups, disk_bytes, allowances)
        case None, int() if bps is not None:
            return plan_cameras(bps, days, disk_bytes, allowances)
    raise UsageError("three of cameras, bitrate, days and disk are needed for the fourth: see edge-agent plan --help")


def _size(option: str, text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise UsageError(f'{option} "{text}": {error}') from error
    if option == "--disk" and size < 10**9:
        raise UsageError(f'{option} "{text}" is no disk; say for example "8TB" or "500 GB"')
    return size


def _locale() -> Language:
    said = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "uk" if said.startswith("uk") else "en"


def _enough(found: Plan, promises: list[Group]) -> bool:
    return all(kept.days >= wanted.days for kept, wanted in zip(found.groups, promises, strict=True))


def _json(found: Plan, promises: list[Group] | None) -> dict[str, Any]:
    count, size = found.sold_as
    return {
        "asked": str(found.asked),
        "cameras": [
            {
                "count": group.count,
                "bitrate_bps": round(group.bitrate_bps),
                "days": round(group.days, 2),
                "bytes_per_day": round(written_bytes(group.bitrate_bps, 1)),
            }
            for group in found.groups
        ],
        "disk_bytes": math.ceil(found.disk_bytes),
        "buy": {"count": count, "bytes": size},
        "footage_bytes": round(found.footage_bytes),
        "margin_bytes": round(found.margin_bytes),
        "hold_bytes": round(found.hold_bytes),
        "reserve_bytes": found.allowances.reserve_bytes,
        "filesystem_bytes": round(found.filesystem_bytes),
        "bytes_per_year": round(found.bytes_per_year),
        "overwrites_per_year": round(found.overwrites_per_year, 1),
        "enough": _enough(found, promises) if promises else None,
    }


def _screen(found: Plan, promises: list[Group] | None, texts: PlanTexts) -> RenderableType:
    lines: list[RenderableType] = [Text(), Padding(Text.from_markup(_answer(found, texts)), (0, 1))]
    if promises is not None:
        lines.append(Padding(Text.from_markup(_verdict(found, promises, texts)), (0, 1)))
    lines += [Text(), _cameras(found, texts), Text(), _sum(found, texts)]
    count, size = found.sold_as
    if found.asked is Asked.DISK:
        buy = texts.buy.format(count=count, size=texts.size(size))
        lines += [Text(), Padding(Text.from_markup(buy), (0, 1))]
    lines += [Text(), _wear(found, texts, size if found.asked is Asked.DISK else found.disk_bytes), Text()]
    return Lines(*lines, *(Padding(Text(note, "dim"), (0, 1)) for note in texts.notes))


def _answer(found: Plan, texts: PlanTexts) -> str:
    first = found.groups[0]
    kept = sorted({group.days for group in found.groups})
    return texts.answers[found.asked].format(
        disk=texts.size(found.disk_bytes),
        binary=texts.binary(found.disk_bytes),
        days=" / ".join(_days(days, texts) for days in kept),
        bitrate=texts.rate(_below(first.bitrate_bps)),
        cameras=sum(group.count for group in found.groups),
    )


def _verdict(found: Plan, promises: list[Group], texts: PlanTexts) -> str:
    wanted = " / ".join(_days(days, texts) for days in sorted({group.days for group in promises}))
    if _enough(found, promises):
        return texts.fits.format(days=wanted)
    needed = plan_disk(promises, found.allowances)
    lower = plan_bitrate(promises, found.disk_bytes, found.allowances)
    count, size = needed.sold_as
    buy = texts.size(size) if count == 1 else f"{count} × {texts.size(size)}"
    return texts.fits_not.format(days=wanted, disk=buy, bitrate=texts.rate(_below(lower.groups[0].bitrate_bps)))


def _cameras(found: Plan, texts: PlanTexts) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 1), show_edge=False)
    for heading in (texts.cameras, texts.bitrate, texts.days, texts.daily, texts.footage):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in found.groups:
        table.add_row(
            str(group.count),
            texts.rate(group.bitrate_bps),
            _days(group.days, texts),
            texts.size(written_bytes(group.bitrate_bps, 1)),
            texts.size(written_bytes(group.bitrate_bps, group.days) * group.count),
        )
    return table


def _sum(found: Plan, texts: PlanTexts) -> Table:
    """What the disk is made of, added up."""
    allowances = found.allowances
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 1), show_edge=False, show_header=False, show_footer=True)
    table.add_column(footer=Text(texts.disk, "bold"))
    table.add_column(justify="right", no_wrap=True, footer=Text(texts.size(found.disk_bytes), "bold green"))
    for words, amount in (
        (texts.footage, found.footage_bytes),
        (texts.margin.format(part=_percent(allowances.margin)), found.margin_bytes),
        (texts.holds.format(part=_percent(allowances.holds)), found.hold_bytes),
        (texts.reserve, allowances.reserve_bytes),
        (texts.filesystem.format(part=_percent(allowances.filesystem)), found.filesystem_bytes),
    ):
        table.add_row(words, texts.size(amount))
    if found.spare_bytes >= 0.005 * found.disk_bytes:
        table.add_row(texts.spare, texts.size(found.spare_bytes))
    return table


def _wear(found: Plan, texts: PlanTexts, disk_bytes: float) -> RenderableType:
    yearly = found.bytes_per_year
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column()
    every = texts.every.format(days=_days(disk_bytes / found.bytes_per_day, texts))
    heading = Text.assemble((texts.wear, "bold"), f": {texts.size(yearly)} {texts.per_year}, {every}")
    over = yearly > _SURVEILLANCE_DISK
    table.add_row("·", Text(texts.hard_disk_over if over else texts.hard_disk, "yellow" if over else ""))
    size = texts.size(disk_bytes)
    table.add_row("·", texts.ssd.format(size=size, years=_years(disk_bytes / yearly, _SSD_OVERWRITES, texts)))
    if disk_bytes <= _LARGEST_CARD:
        years = _years(disk_bytes / yearly, _CARD_OVERWRITES, texts)
        table.add_row("·", texts.card.format(size=size, years=years))
    else:
        table.add_row("·", texts.no_card)
    return Padding(Lines(heading, table), (0, 1))


def _years(years_per_overwrite: float, overwrites: tuple[int, int], texts: PlanTexts) -> str:
    low, high = overwrites[0] / _AMPLIFICATION * years_per_overwrite, overwrites[1] * years_per_overwrite
    if low > _MANY_YEARS:
        return texts.many_years
    return texts.years.format(low=texts.spelled(_two(low)), high=texts.spelled(_two(high)))


def _two(years: float) -> str:
    return f"{years:.1f}" if years < 10 else f"{years:.0f}"


def _days(days: float, texts: PlanTexts) -> str:
    """Rounded down: a promise is not rounded up."""
    return texts.spelled(f"{math.floor(days * 10 + 1e-6) / 10:g}")


def _below(bps: float) -> float:
    """Rounded down to 10 kbit/s, as one sets it in a camera."""
    return math.floor(bps / 1e4 + 1e-6) * 1e4 if bps >= 1e5 else bps


def _percent(part: float) -> str:
    return f"{part * 100:g} %"


plan.__doc__ = HELP
