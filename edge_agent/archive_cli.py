"""`edge-agent archive`: people at the node find, play and take out recordings.

Reads the index beside a running agent, or without one.  What is taken out is journalled first, under the name of the
operating system's user; without a journal there is no footage.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from edge_agent.archive_disks import disks_of
from edge_agent.buffer.export import ClipReport, plan_clip, write_clip
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import WRITE_ONLY, Config, load
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.files import fsync_folder
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json, progress_console
from edge_agent.trust.age import AgeWriter, Recipient, load_identities
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.policy import Access, Action
from edge_agent.when import iso_utc, parse_duration, parse_when, spoken

archive_app = app_of("archive", "Find, play and export recordings, by camera, date and time.")

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
        """What the three options mean; the last hour when none is given."""
        now_us = self.clock.utc_us()
        if length and end:
            raise UsageError("say --for or --to, not both")
        if start is None and end is None:
            span = parse_duration(length or "1h")
            return Interval(now_us - span, now_us)
        if start is None:
            raise UsageError("--to needs --from: say where to begin")
        start_us = parse_when(start, self.config.zone, now_us)
        end_us = parse_when(end, self.config.zone, now_us) if end else None
        if end_us is None:
            end_us = start_us + parse_duration(length) if length else now_us
        if end_us <= start_us:
            raise UsageError(f"the interval is empty: it ends {self.say(end_us)} and starts {self.say(start_us)}")
        return Interval(start_us, end_us)

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


@archive_app.command("list")
def _list(
    camera: Annotated[str | None, typer.Argument(help="One camera's recordings; all cameras' sums without it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """What there is: all cameras in sum, or one camera's recordings of an interval (the last hour by default)."""
    with open_archive(config, unseal=False) as archive:
        if camera is None:
            _print_holdings(archive, as_json)
        else:
            name = archive.camera(camera)
            _print_segments(archive, archive.library.segments(name, archive.interval(start, length, end)), as_json)


@archive_app.command("export")
def _export(
    camera: CameraArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to make; it must not exist. '-' is stdout.")],
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    recipient: Annotated[
        str | None, typer.Option(help="Seal to this age public key (age1…); plain MP4 without it.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the journal.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make one playable MP4 of an interval, cut to it."""
    sealed_to = Recipient.parse(recipient) if recipient else None
    with open_archive(config, unseal=True) as archive:
        name, interval = archive.camera(camera), archive.interval(start, length, end)
        args: dict[str, Any] = {"camera": name, "start_us": interval.start_us, "end_us": interval.end_us}
        args |= {"recipient": recipient or "nobody: plain", "out": str(out)}
        with _journalled(archive, args, reason), _new_file(out) as file:
            sink = AgeWriter(file, [sealed_to]) if sealed_to else file
            report = _write(archive, name, interval, sink)
            if isinstance(sink, AgeWriter):
                sink.finish()
        if as_json:
            print_json(_report_json(report, out))
        else:
            progress_console().print(_report_words(archive, report, out))


@archive_app.command("play")
def _play(
    camera: CameraArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the journal.")] = "",
) -> None:
    """Show an interval in ffplay or mpv where there is one and a screen, else write the MP4 to standard output."""
    with open_archive(config, unseal=True) as archive:
        name, interval = archive.camera(camera), archive.interval(start, length, end)
        args: dict[str, Any] = {"camera": name, "start_us": interval.start_us, "end_us": interval.end_us}
        with _journalled(archive, args | {"out": "player"}, reason):
            player = _player()
            if player is None:
                if sys.stdout.isatty():
                    raise UsageError(
                        "neither ffplay nor mpv can open a window here: send the output to a file or a pipe"
                    )
                _write(archive, name, interval, sys.stdout.buffer)
                sys.stdout.buffer.flush()
                return
            with subprocess.Popen(player, stdin=subprocess.PIPE) as process:
                assert process.stdin is not None
                try:
                    _write(archive, name, interval, process.stdin)
                    process.stdin.close()
                except BrokenPipeError:
                    return  # the window was closed


def _write(archive: Archive, camera: CameraId, interval: Interval, sink: Any) -> ClipReport:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=progress_console())
    with bar:
        task = bar.add_task(f"{camera}", total=1.0)
        plan = plan_clip(archive.library.sources(camera, interval), interval)
        return write_clip(plan, sink, lambda part: bar.update(task, completed=part))


@contextmanager
def _journalled(archive: Archive, args: dict[str, Any], reason: str) -> Iterator[None]:
    """Tell the journal before and after; RefusedError when it can't be told."""
    journal = Journal(archive.config.journal_path, archive.clock)
    who = os.environ.get("SUDO_USER") or getpass.getuser()

    def entry(outcome: Outcome, words: str) -> JournalEntry:
        return JournalEntry(
            JournalKind.ACCESS,
            outcome,
            who=f"user {who}",
            action=Action.EXPORT,
            access=Access.DIRECT,
            reason=words,
            args=args,
        )

    journal.append(entry(Outcome.ACCEPTED, reason))
    try:
        yield
    except BaseException as error:
        journal.append(entry(Outcome.FAILED, str(error) or type(error).__name__))
        raise
    journal.append(entry(Outcome.DONE, reason))


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
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
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or not sys.stdout.isatty():
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


def _print_holdings(archive: Archive, as_json: bool) -> None:
    rows = [(camera, archive.index.holdings(camera)) for camera in archive.index.cameras()]
    if as_json:
        print_json(
            [
                {
                    "camera": camera,
                    "recordings": held.files,
                    "bytes": held.size_bytes,
                    "from": iso_utc(held.first_us) if held.first_us is not None else None,
                    "to": iso_utc(held.last_us) if held.last_us is not None else None,
                }
                for camera, held in rows
            ]
        )
        return
    table = timetable("camera", "recordings", "size")
    for camera, held in rows:
        first = archive.say(held.first_us) if held.first_us is not None else "–"
        last = archive.say(held.last_us) if held.last_us is not None else "–"
        table.add_row(first, last, camera, str(held.files), f"{held.size_bytes / 1e6:.1f} MB")
    console().print(table)


def _print_segments(archive: Archive, segments: list[Segment], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "from": iso_utc(s.start_us),
                    "to": iso_utc(s.end_us),
                    "seconds": round(s.interval.seconds, 3),
                    "bytes": s.size_bytes,
                    "frames": s.frames,
                    "torn": s.torn,
                    "sha256": s.sha256,
                    "path": s.path,
                    "disk": s.disk,
                }
                for s in segments
            ]
        )
        return
    table = timetable("seconds", "size", "")
    for s in segments:
        mark = "torn" if s.torn else "" if s.sha256 else "being written"
        size = f"{s.size_bytes / 1e6:.1f} MB"
        table.add_row(archive.say(s.start_us), archive.say(s.end_us), f"{s.interval.seconds:.1f}", size, mark)
    console().print(table)
