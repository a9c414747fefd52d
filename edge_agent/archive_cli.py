"""`edge-agent archive list | play | export`: people at the node find, play and take out recordings.

Each of them is an order signed with the person's own key, and passes the node's door (`at_node.py`): permitted and
journalled before, told in the journal after.  The recordings themselves are read by this process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from edge_agent.archive_disks import disks_of
from edge_agent.at_node import CarryOut, KeyOption, PassphraseOption, PersonOption, leave, order, said
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.export import ClipReport, plan_clip, write_clip
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import WRITE_ONLY, Config, load
from edge_agent.desk.hold_cli import ReasonOption, told_mistakes
from edge_agent.desk.order_cli import OrderFileOption, read_order
from edge_agent.desk.search_cli import search_args
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.files import fsync_folder
from edge_agent.model import CameraId, Interval
from edge_agent.search_screen import search_json, show_search, unlisted
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json, progress_console
from edge_agent.trust.age import AgeWriter, Recipient, load_identities
from edge_agent.trust.command import ExportArgs, PlayArgs, SearchArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import Journal
from edge_agent.uplink.archive_orders import ArchiveOrders
from edge_agent.uplink.hold_orders import Done
from edge_agent.when import iso_utc, parse_duration, parse_when, spoken

CameraArgument = Annotated[str, typer.Argument(help="The camera's id; `archive list` shows them.")]
FromOption = Annotated[
    str | None,
    typer.Option("--from", help='Start: "2026-11-22 10:15", "yesterday 22:30", "15m ago"; local unless it ends in Z.'),
]
ForOption = Annotated[str | None, typer.Option("--for", help='Length: "90s", "5m", "1h30m".')]
ToOption = Annotated[str | None, typer.Option("--to", help="End, said like --from; instead of --for.")]


@dataclass(frozen=True, slots=True)
class Archive:
    config: Config
    clock: Clock
    index: Index
    library: Library

    def camera(self, name: str) -> CameraId:
        known = sorted({*self.index.cameras(), *(camera.camera_id for camera in self.config.camera)})
        if name not in known:
            raise NotFoundError(f"no camera {name} here; there are: {', '.join(known)}")
        return CameraId(name)

    def interval(self, start: str | None, length: str | None, end: str | None) -> Interval:
        return interval_of(self.config, self.clock, start, length, end)

    def say(self, us: int) -> str:
        return spoken(us, self.config.zone)


@contextmanager
def open_archive(path: Path, *, unseal: bool) -> Iterator[Archive]:
    config, clock = load(path), SystemClock()
    if not config.index_path.exists():
        raise NotFoundError(f"nothing was recorded yet: {config.index_path} is not there")
    if unseal and not config.archive.node_reads:
        raise UsageError(WRITE_ONLY)
    identities = load_identities(config.identity_path) if unseal else []
    index = Index(config.index_path, clock, read_only=True)
    try:
        yield Archive(config, clock, index, Library(disks_of(config), index, identities, clock))
    finally:
        index.close()


def list_recordings(
    person: PersonOption,
    key: KeyOption,
    camera: Annotated[str | None, typer.Argument(help="One camera's recordings; all cameras' sums without it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """What there is: all cameras in sum, or one camera's recordings of an interval (the last hour by default)."""
    settings, clock = load(config), SystemClock()
    spoken_of = camera is not None or any((start, length, end))
    interval = interval_of(settings, clock, start, length, end) if spoken_of else None
    args = search_args(camera, interval)
    done = order(settings, clock, args, person, key, passphrase_file, orders_of(settings, clock))
    if as_json:
        print_json(search_json(done.result))
        if left := unlisted(done.result):
            progress_console().print(f"{left} more recordings are not listed: ask for a shorter interval")
    else:
        console().print(said(done.said, settings), markup=False, soft_wrap=True)
        show_search(console(), done.result, settings.language, settings.zone)


def export(
    camera: CameraArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to make; it must not exist. '-' is stdout.")],
    person: PersonOption,
    key: KeyOption,
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    recipient: Annotated[
        str | None, typer.Option(help="Seal to this age public key (age1…); plain MP4 without it.")
    ] = None,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one playable MP4 of an interval, cut to it."""
    settings, clock = load(config), SystemClock()
    span = interval_of(settings, clock, start, length, end)
    with told_mistakes():
        args = ExportArgs(
            camera=camera,
            start_us=span.start_us,
            end_us=span.end_us,
            recipient=recipient,
            reason=reason,
            order=read_order(order_file),
        )
    sealed_to = Recipient.parse(args.recipient) if args.recipient else None
    with (
        leave(settings, clock, args, person, key, passphrase_file, orders_of(settings, clock)) as given,
        open_archive(config, unseal=True) as archive,
    ):
        with new_file(out) as file:
            sink = AgeWriter(file, [sealed_to]) if sealed_to else file
            report = _write(archive, CameraId(args.camera), args.interval, sink)
            if isinstance(sink, AgeWriter):
                sink.finish()
        given.ended = f"{report.footage_s:.1f} s into {_printable(str(out))}, sha256 of the clip {report.sha256}"
        if as_json:
            print_json(_report_json(report, out))
        else:
            progress_console().print(_report_words(archive, report, out))


def play(
    camera: CameraArgument,
    person: PersonOption,
    key: KeyOption,
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    reason: ReasonOption = "",
    order_file: OrderFileOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Show an interval in a window of ffplay or mpv on this machine's screen."""
    settings, clock = load(config), SystemClock()
    span = interval_of(settings, clock, start, length, end)
    with told_mistakes():
        args = PlayArgs(
            camera=camera,
            start_us=span.start_us,
            end_us=span.end_us,
            reason=reason,
            order=read_order(order_file),
        )
    player = _player()
    if player is None:
        raise UsageError("neither ffplay nor mpv can open a window here: take the interval out with `archive export`")
    with (
        leave(settings, clock, args, person, key, passphrase_file, orders_of(settings, clock)) as given,
        open_archive(config, unseal=True) as archive,
        subprocess.Popen(player, stdin=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        try:
            _write(archive, CameraId(args.camera), args.interval, process.stdin)
            process.stdin.close()
            given.ended = "played"
        except BrokenPipeError:
            given.ended = "the window was closed"
            with suppress(BrokenPipeError):
                process.stdin.close()


def orders_of(config: Config, clock: Clock) -> CarryOut:
    """What the agent does with these orders, for while none runs."""

    def carry_out(admitted: Admitted, _documents: Documents, _journal: Journal) -> Done:
        if not config.index_path.exists():
            raise NotFoundError(f"nothing was recorded yet: {config.index_path} is not there")
        index = Index(config.index_path, clock, read_only=True)
        try:
            orders = ArchiveOrders(config, index, Library(disks_of(config), index, (), clock), clock)
            match admitted.command.args:
                case SearchArgs() as args:
                    return orders.search(args)
                case PlayArgs() | ExportArgs() as args:
                    return orders.leave(admitted, args)
            raise UsageError(f"{admitted.command.action} does not concern the archive")
        finally:
            index.close()

    return carry_out


def interval_of(config: Config, clock: Clock, start: str | None, length: str | None, end: str | None) -> Interval:
    """What the three options mean; the last hour when none is given."""
    now_us = clock.utc_us()
    if length and end:
        raise UsageError("say --for or --to, not both")
    if start is None and end is None:
        span = parse_duration(length or "1h")
        return Interval(now_us - span, now_us)
    if start is None:
        raise UsageError("--to needs --from: say where to begin")
    start_us = parse_when(start, config.zone, now_us)
    end_us = parse_when(end, config.zone, now_us) if end else None
    if end_us is None:
        end_us = start_us + parse_duration(length) if length else now_us
    if end_us <= start_us:
        ends = (spoken(end_us, config.zone), spoken(start_us, config.zone))
        raise UsageError(f"the interval is empty: it ends {ends[0]} and starts {ends[1]}")
    return Interval(start_us, end_us)


def _write(archive: Archive, camera: CameraId, interval: Interval, sink: Any) -> ClipReport:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=progress_console())
    with bar:
        task = bar.add_task(f"{camera}", total=1.0)
        plan = plan_clip(archive.library.sources(camera, interval), interval)
        return write_clip(plan, sink, lambda part: bar.update(task, completed=part))


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that appears whole or not at all."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f".{path.name}.part")
    try:
        if path.exists():
            raise UsageError(f"{path} exists already: choose another name")
        with part.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
        fsync_folder(path.parent)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _player() -> list[str] | None:
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None
    for command in (["ffplay", "-loglevel", "error", "-autoexit", "-i", "-"], ["mpv", "--really-quiet", "-"]):
        if shutil.which(command[0]):
            return command
    return None


def _report_json(report: ClipReport, out: Path) -> dict[str, Any]:
    return {
        "path": str(out),
        "seconds": round(report.footage_s, 3),
        "from": iso_utc(report.covered.start_us),
        "to": iso_utc(report.covered.end_us),
        "frames": report.video_samples,
        "missing": [
            {"from": iso_utc(gap.interval.start_us), "to": iso_utc(gap.interval.end_us), "why": gap.evidence}
            for gap in report.gaps
        ],
        "notes": list(report.notes),
        "sha256": report.sha256,
    }


def _report_words(archive: Archive, report: ClipReport, out: Path) -> str:
    lines = [
        f"{out}: {report.footage_s:.1f} s, {report.video_samples} frames,"
        f" {archive.say(report.covered.start_us)} to {archive.say(report.covered.end_us)}"
    ]
    for gap in report.gaps:
        span = f"{archive.say(gap.interval.start_us)} to {archive.say(gap.interval.end_us)}"
        lines.append(f"  missing {gap.interval.seconds:.1f} s, {span}: {gap.evidence}")
    return "\n".join([*lines, *(f"  note: {note}" for note in report.notes)])


def timetable(*columns: str) -> Table:
    """Two times, each in one line, and more."""
    table = Table()
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    for column in columns:
        table.add_column(column)
    return table


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in text)
