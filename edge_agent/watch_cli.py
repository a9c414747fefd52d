"""`edge-agent watch CAMERA`: a film of what the watcher sees, and what other settings would make of the archive."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.archive_cli import FromOption, ToOption, interval_of, new_file, open_archive, orders_of, timetable
from edge_agent.at_node import PassphraseOption, leave
from edge_agent.at_work import MaybeKeyOption, MaybePersonOption, at_work
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Camera, Config, load
from edge_agent.desk.hold_cli import ReasonOption, told_mistakes
from edge_agent.desk.order_cli import OrderFileOption, read_order
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import Alarm, CameraId, Interval
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json
from edge_agent.trust.age import AgeWriter, Recipient
from edge_agent.trust.command import ExportArgs, PlayArgs, Work
from edge_agent.uplink.alarm_words import nature_name
from edge_agent.watch_plan import shapes, watched
from edge_agent.when import iso_utc, spoken
from edge_agent.zones_cli import CameraArgument, camera_of, password_of

if TYPE_CHECKING:  # numpy, OpenCV and libav are loaded by who needs them only
    from edge_agent.capture.decoder import Picture
    from edge_agent.capture.tuning import Difference, Episode
    from edge_agent.watch_film import WatchFilm

MAX_LIVE_S = 600
MAX_FILM_S = 1800
"""A film is made in memory."""
_VERDICT = {"same": ("те саме", "same"), "gone": ("зникла б", "would be gone"), "new": ("з'явилась би", "would be new")}


def watch(
    camera: CameraArgument,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="The film (MP4) to make of what the watcher sees; must not exist.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=MAX_LIVE_S, help="How long to look at the live camera, without --from.")
    ] = 30,
    replay: Annotated[
        bool, typer.Option("--replay", help="Tell which alarms of the archive would differ under --settings.")
    ] = False,
    other: Annotated[
        Path | None, typer.Option("--settings", help="A configuration whose [camera.watch] of this camera is tried.")
    ] = None,
    start: FromOption = None,
    end: ToOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
    recipient: Annotated[
        str | None, typer.Option(help="Seal the film to this age public key (age1…); plain MP4 without it.")
    ] = None,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """See what the watcher sees: a film of the live camera or of the archive; or try other settings on the archive.

    The archive asks for --as and --key: a comparison like `archive play`, a film like `archive export`.
    """
    settings, clock = load(config), SystemClock()
    if preview is None and not replay:
        raise UsageError("say --preview FILE for a film, or --replay with --settings FILE for a comparison")
    if replay and (start is None or other is None):
        raise UsageError("--replay needs --from (and --to), and --settings: another configuration to compare with")
    if preview is not None and preview.exists():
        raise UsageError(f"{preview} exists already: choose another name")
    mine = camera_of(settings, camera)
    tried = camera_of(load(other), camera) if other is not None else mine
    runs = [_Run(mine, settings), _Run(tried, settings)] if replay else [_Run(tried, settings)]
    film = _film(tried, settings) if preview is not None else None
    sealed_to = Recipient.parse(recipient) if recipient else None
    with ExitStack() as stack:
        if start is None:
            stack.enter_context(at_work(settings, clock, Work.TUNE, person, key, passphrase_file, f"watching {camera}"))
            _drive(_live(mine, clock, seconds), runs, film)
            if film is not None and preview is not None:
                _write(film, preview, sealed_to)
        else:
            if person is None or key is None:
                raise UsageError("the archive is opened to people only: say --as ID and --key FILE")
            span = interval_of(settings, clock, start, None, end)
            if film is not None and span.seconds > MAX_FILM_S:
                raise UsageError(f"a film is of at most {MAX_FILM_S // 60} minutes: ask for less")
            args = _asked(camera, span, recipient, reason, order_file, film=film is not None)
            given = stack.enter_context(
                leave(settings, clock, args, person, key, passphrase_file, orders_of(settings, clock))
            )
            _drive(_archived(config, mine, span), runs, film)
            given.ended = f"{span.seconds:.0f} s watched again"
            if film is not None and preview is not None:
                _write(film, preview, sealed_to)
                given.ended += f", film {preview.name!a}, sha256 {hashlib.sha256(film.data).hexdigest()}"
    if replay:
        _tell_differences(runs, settings, as_json)
    else:
        _tell_film(runs[0], preview, film.pictures if film else 0, settings, as_json)


def _asked(
    camera: str, span: Interval, recipient: str | None, reason: str, order_file: Path | None, *, film: bool
) -> PlayArgs | ExportArgs:
    """What the door is asked: footage that leaves as a film is an export, figures alone are none."""
    what: dict[str, Any] = {"camera": camera, "start_us": span.start_us, "end_us": span.end_us, "reason": reason}
    with told_mistakes():
        what["order"] = read_order(order_file)
        return ExportArgs(recipient=recipient, **what) if film else PlayArgs(**what)


def _write(film: WatchFilm, path: Path, sealed_to: Recipient | None) -> None:
    with new_file(path) as file:
        if sealed_to is None:
            file.write(film.data)
        else:
            sink = AgeWriter(file, [sealed_to])
            sink.write(film.data)
            sink.finish()


class _Run:
    """One set of settings and what it made of the pictures."""

    def __init__(self, camera: Camera, config: Config) -> None:
        from edge_agent.capture.tuning import Watching

        self.watching = Watching(watched(camera), config.zone, config.language, lambda: uuid.uuid4().hex)
        self.alarms: list[Alarm] = []
        self.looked_at = 0

    @property
    def episodes(self) -> list[Episode]:
        from edge_agent.capture.tuning import episodes

        return episodes(self.alarms)


def _film(camera: Camera, config: Config) -> WatchFilm:
    from edge_agent.watch_film import WatchFilm

    return WatchFilm(camera.id, shapes(camera), config.zone)


def _drive(pictures: Iterable[Picture], runs: list[_Run], film: WatchFilm | None) -> None:
    """Every picture through every run; the film is of the last one."""
    with film or nullcontext():
        any_at_all = _shown(pictures, runs, film)
    if not any_at_all:
        raise NotFoundError("no picture of it could be decoded")
    for run in runs:
        last = run.watching.close()
        run.alarms += last.alarms if last else ()


def _shown(pictures: Iterable[Picture], runs: list[_Run], film: WatchFilm | None) -> bool:
    any_at_all = False
    for picture in pictures:
        any_at_all = True
        for run in runs:
            step = run.watching.see(picture)
            if step is None:
                continue
            run.looked_at += 1
            run.alarms += step.alarms
            if film is not None and run is runs[-1]:
                film.show(picture, step)
    return any_at_all


def _live(camera: Camera, clock: Clock, seconds: float) -> Iterator[Picture]:
    from edge_agent.capture.footage import live

    return live(watched(camera, password_of(camera)), clock, seconds)


def _archived(config: Path, camera: Camera, span: Interval) -> Iterator[Picture]:
    """The interval's pictures; of the main stream, which is what is recorded."""
    from edge_agent.capture.footage import recorded

    with open_archive(config, unseal=True) as archive:
        for source in archive.library.sources(CameraId(camera.id), span):
            with source.open() as file:
                keyframes_only = camera.sub_url is None
                for picture in recorded(file, source.segment.start_us, keyframes_only=keyframes_only):
                    if span.start_us <= picture.arrival_us < span.end_us:
                        yield picture


def _tell_film(run: _Run, path: Path | None, pictures: int, config: Config, as_json: bool) -> None:
    found = run.episodes
    if as_json:
        print_json({"film": str(path), "pictures": pictures, "alarms": [_json(one) for one in found]})
        return
    out, uk = console(), config.language == "uk"
    out.print(f"{path}: кадрів {pictures}" if uk else f"{path}: {pictures} pictures", markup=False, soft_wrap=True)
    for one in found:
        out.print(f"  {_said(one, config)}", markup=False, soft_wrap=True)
    if not found:
        out.print("  тривог не було" if uk else "  no alarms")


def _tell_differences(runs: list[_Run], config: Config, as_json: bool) -> None:
    from edge_agent.capture.tuning import compare

    found = compare(runs[0].episodes, runs[1].episodes)
    counts = Counter(one.verdict.value for one in found)
    if as_json:
        alarms = [{"verdict": one.verdict, "before": _json(one.before), "after": _json(one.after)} for one in found]
        print_json({"pictures": [run.looked_at for run in runs], "counts": dict(counts), "alarms": alarms})
        return
    uk = config.language == "uk"
    table = timetable(*(("тривога", "вирок") if uk else ("alarm", "verdict")))
    for one in found:
        table.add_row(*_row(one, config))
    out = console()
    if found:
        out.print(table)
    told = ", ".join(f"{_VERDICT[word][not uk]}: {counts.get(word, 0)}" for word in _VERDICT)
    out.print(told, markup=False, soft_wrap=True)


def _row(one: Difference, config: Config) -> tuple[str, str, str, str]:
    shown = one.after or one.before
    assert shown is not None
    uk = config.language == "uk"
    place = f" · {shown.place}" if shown.place else ""
    start, end = spoken(shown.start_us, config.zone), spoken(shown.end_us, config.zone)
    return start, end, f"{nature_name(shown.nature)[not uk]}{place}", _VERDICT[one.verdict.value][not uk]


def _said(one: Episode, config: Config) -> str:
    place = f" · {one.place}" if one.place else ""
    way = "" if one.direction_deg is None else f", {one.direction_deg:.0f}°"
    nature = nature_name(one.nature)[config.language != "uk"]
    return f"{spoken(one.start_us, config.zone)} – {spoken(one.end_us, config.zone)}: {nature}{place}{way}"


def _json(one: Episode | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "nature": one.nature,
        "place": one.place,
        "from": iso_utc(one.start_us),
        "to": iso_utc(one.end_us),
        "direction_deg": one.direction_deg,
    }
