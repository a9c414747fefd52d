"""`edge-agent archive check`: what is wrong with the archive, what it means, and what `--repair` would do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from edge_agent.archive_disks import disks_of
from edge_agent.at_node import PassphraseOption
from edge_agent.at_work import MaybeKeyOption, MaybePersonOption, at_work
from edge_agent.buffer.check import Finding, Kind, Weight
from edge_agent.buffer.check_holds import of_holds
from edge_agent.buffer.check_hours import of_hours
from edge_agent.buffer.checkup import Checkup, Looked, still_there
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Config, load
from edge_agent.errors import ArchiveError, UsageError
from edge_agent.lock import DataLock, is_held, only_its_user
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json, progress_console
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.command import Work
from edge_agent.trust.journal import Journal
from edge_agent.uplink.hold_orders import restored

SHOWN = 10
"""Paths of one kind that people are shown; --json gives all."""
_SETTLE_S = 2.0
"""What the recorder and the agent need to finish a step that was seen half done."""
_STYLES = {Weight.LOSS: "bold red", Weight.FAULT: "yellow", Weight.NOTE: "dim"}


@dataclass(frozen=True, slots=True)
class _Result:
    looked: Looked
    running: bool
    deep: bool
    repaired: tuple[Finding, ...] = ()

    @property
    def bad(self) -> list[Finding]:
        """What is left that is more than a note."""
        return [f for f in self.looked.findings if f.rule.weight is not Weight.NOTE]


def check(
    config: ConfigOption = DEFAULT_CONFIG,
    deep: Annotated[bool, typer.Option("--deep", help="Read every recording and compare its SHA-256.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be; the agent must be stopped. Deletes no footage.")
    ] = False,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the archive with its index, the journal and its own rules; ends with 1 when something is wrong."""
    settings = load(config)
    if not disks_of(settings).there():
        raise ArchiveError(f"the archive's folder {settings.archive_dir} is not there: is its disk mounted?")
    # A look by nobody in particular changes nothing and shows nobody: it is no entry.
    work = Work.REPAIR if repair else Work.CHECK
    told = at_work(settings, SystemClock(), work, person, key, passphrase_file) if repair or key else nullcontext()
    with told, _lock(settings) if repair else nullcontext(), _bar() as progress:
        result = _checked(settings, deep, repair, progress)
    if as_json:
        print_json(_as_json(result))
    else:
        _print(result)
    if result.bad:
        raise typer.Exit(1)


def _checked(config: Config, deep: bool, repair: bool, progress: Callable[[float], None]) -> _Result:
    clock = SystemClock()
    running = not repair and is_held(config.data_dir)
    checkup = Checkup(disks_of(config), config.index_path, _identities(config), clock)

    def look(*, deep: bool) -> Looked:
        found = checkup.look(running=running, deep=deep, progress=progress)
        more = (*_of_holds(config, found.findings, clock), *_of_hours(config, found.findings, clock))
        return replace(found, findings=(*found.findings, *more))

    looked = look(deep=deep)
    if running and looked.findings:
        clock.wait(threading.Event(), _SETTLE_S)
        looked = still_there(looked, look(deep=False))
    if not (repair and any(finding.rule.repair for finding in looked.findings)):
        return _Result(looked, running, deep)
    checkup.repair(looked.findings)
    left = still_there(looked, look(deep=False))
    repaired = tuple(finding for finding in looked.findings if finding not in left.findings)
    return _Result(left, running, deep, repaired)


def _of_holds(config: Config, found: Sequence[Finding], clock: Clock) -> list[Finding]:
    """What the holds want against what is there; the index has to be readable for that."""
    path = config.data_dir / "documents.json"
    findings: list[Finding] = []
    try:
        documents = Documents(path, clock, read_only=True)
        known = Holds(documents)
        holds, complete, lost = known.all(), known.known, documents.fresh
    except ArchiveError as error:
        holds, complete, lost = [], False, True
        findings.append(Finding(Kind.HOLDS_UNKNOWN, path.name, str(error)))
    if lost:
        try:
            ordered = [hold for hold in restored(Journal(config.journal_path, clock).read()) if hold not in holds]
        except ArchiveError as error:
            return [Finding(Kind.HOLDS_UNKNOWN, path.name, str(error))]
        holds, complete = holds + ordered, complete and not ordered
    if not complete and not findings:
        findings.append(Finding(Kind.HOLDS_UNKNOWN, path.name))
    if _without_index(found):
        return findings
    index = Index(config.index_path, clock, read_only=True)
    try:
        library = Library(disks_of(config), index, (), clock)
        cameras = [camera.camera_id for camera in config.camera]
        return findings + of_holds(holds, cameras, index, library, found, clock.utc_us())
    finally:
        index.close()


def _of_hours(config: Config, found: Sequence[Finding], clock: Clock) -> list[Finding]:
    """The roots of the journal against the index; where the journal can't be read, nothing is known of them."""
    if _without_index(found):
        return []
    index = Index(config.index_path, clock, read_only=True)
    try:
        return of_hours(Journal(config.journal_path, clock).read(), index, clock.utc_us())
    finally:
        index.close()


def _without_index(found: Sequence[Finding]) -> bool:
    return any(finding.kind in (Kind.INDEX_MISSING, Kind.INDEX_DAMAGED) for finding in found)


def _identities(config: Config) -> Sequence[Identity]:
    return load_identities(config.identity_path) if config.archive.node_reads and config.identity_path.exists() else []


@contextmanager
def _lock(config: Config) -> Iterator[None]:
    """The data folder to oneself; BusyError while an agent runs."""
    if not config.data_dir.is_dir():
        raise UsageError(f"there is nothing to repair: {config.data_dir} is not there")
    only_its_user(config.data_dir, "--repair")
    with DataLock(config.data_dir, SystemClock(), patience_s=0):
        yield


@contextmanager
def _bar() -> Iterator[Callable[[float], None]]:
    columns = TextColumn("looking at the archive"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    shown = progress_console()
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda part: bar.update(task, completed=part)


def _as_json(result: _Result) -> dict[str, Any]:
    looked = result.looked
    return {
        "ok": not result.bad,
        "agent_running": result.running,
        "deep": result.deep,
        "files": looked.files,
        "bytes": looked.size_bytes,
        "bytes_read": looked.read_bytes,
        "findings": [_finding_json(finding, repaired=False) for finding in looked.findings]
        + [_finding_json(finding, repaired=True) for finding in result.repaired],
    }


def _finding_json(finding: Finding, *, repaired: bool) -> dict[str, Any]:
    rule = finding.rule
    return {
        "kind": finding.kind,
        "weight": rule.weight,
        "path": os.fsencode(finding.path).decode("utf-8", "replace"),
        "detail": finding.detail,
        "means": rule.means,
        "invariant": rule.invariant,
        "repair": rule.repair or None,
        "repaired": repaired,
    }


def _print(result: _Result) -> None:
    out, looked = console(), result.looked
    read = f"{looked.read_bytes / 1e6:.1f} MB of them read" if result.deep else "names and outsides only; --deep reads"
    out.print(f"{looked.files} recordings, {looked.size_bytes / 1e6:.1f} MB ({read})")
    _print_findings(out, result.repaired, "repaired: ")
    _print_findings(out, looked.findings, "")
    if not result.bad:
        out.print("nothing is wrong", style="green")
    elif any(finding.rule.repair for finding in result.bad):
        hint = "stop the agent, then: " if result.running else ""
        out.print(f"{hint}edge-agent archive check --repair puts right what says so above")


def _print_findings(out: Console, findings: Sequence[Finding], before: str) -> None:
    def kind_of(finding: Finding) -> Kind:
        return finding.kind

    order = list(Kind)
    for kind, group in groupby(sorted(findings, key=lambda f: (order.index(f.kind), f.path)), kind_of):
        found = list(group)
        rule = found[0].rule
        broken = f" (docs/archive.md, invariant {rule.invariant})" if rule.invariant else ""
        out.print(f"{before}{len(found)} × {kind}: {escape(rule.means)}{broken}", style=_STYLES[rule.weight])
        for finding in found[:SHOWN]:
            words = f": {finding.detail}" if finding.detail else ""
            out.print(f"    {escape(_printable(finding.path + words))}")
        if len(found) > SHOWN:
            out.print(f"    and {len(found) - SHOWN} more; --json tells all")
        if not before:
            out.print(f"    --repair {escape(rule.repair or 'leaves it as it is')}", style="dim")


def _printable(text: str) -> str:
    """Names of foreign files may hold anything; a terminal must not be steered by them."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
