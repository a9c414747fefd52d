"""`edge-agent archive coverage`, `proof`, `rebuild`: what became of every second, and what can be proved of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edge_agent.archive_cli import CameraArgument, ForOption, FromOption, ToOption, open_archive, timetable
from edge_agent.archive_disks import disks_of
from edge_agent.at_node import PassphraseOption
from edge_agent.at_work import MaybeKeyOption, MaybePersonOption, at_work
from edge_agent.buffer.coverage import Piece, PieceState
from edge_agent.buffer.hours import leaf_of, prove
from edge_agent.buffer.rebuild import Rebuilt
from edge_agent.buffer.rebuild import rebuild as rebuild_index
from edge_agent.clock import SystemClock
from edge_agent.config import load
from edge_agent.lock import DataLock
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json, progress_console
from edge_agent.trust.command import Work
from edge_agent.trust.merkle import leaf_hash
from edge_agent.when import iso_utc

_STYLES = {PieceState.RECORDED: "green", PieceState.GAP: "red", PieceState.DELETED: "yellow"}


def coverage(
    camera: CameraArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Account for every moment of an interval: recorded, deleted, missing and why (the last hour by default)."""
    with open_archive(config, unseal=False) as archive:
        name, interval = archive.camera(camera), archive.interval(start, length, end)
        pieces = archive.library.coverage(name, interval)
        seconds: defaultdict[str, float] = defaultdict(float)
        for piece in pieces:
            seconds[piece.state] += piece.interval.seconds
        if as_json:
            sums = {state: round(seconds[state], 3) for state in PieceState}
            print_json({"camera": name, "seconds": sums, "pieces": [_piece_json(piece) for piece in pieces]})
            return
        table = timetable("seconds", "")
        table.title = f"{name}: " + ", ".join(
            f"{seconds[state]:.0f} s {state}" for state in PieceState if seconds[state]
        )
        for piece in pieces:
            ends = (archive.say(piece.start_us), archive.say(piece.end_us))
            words = _words(piece, archive.say(piece.at_us) if piece.at_us is not None else "")
            table.add_row(*ends, f"{piece.interval.seconds:.1f}", words, style=_STYLES.get(piece.state, "dim"))
        console().print(table)


def proof(
    path: Annotated[str, typer.Argument(help="A recording, as `archive list CAMERA --json` names it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Prove that a recording stands under its hour's Merkle root, which the journal has; a deleted one, too."""
    with open_archive(config, unseal=False) as archive:
        found = prove(archive.index, path)
        hour, leaf = found.hour, leaf_of(found.segment)
        if as_json:
            print_json(
                {
                    "path": path,
                    "leaf": leaf.decode(),
                    "leaf_hash": leaf_hash(leaf).hex(),
                    "hour": iso_utc(hour.hour_us),
                    "batch": hour.batch,
                    "count": hour.count,
                    "index": found.index,
                    "audit_path": [node.hex() for node in found.path],
                    "root": hour.root.hex(),
                }
            )
            return
        lines = [
            f"{path} is number {found.index} of {hour.count} recordings of the hour {archive.say(hour.hour_us)}",
            f"root {hour.root.hex()}",
            *(f"     {node.hex()}" for node in found.path),
            "Compare the root with the entry «segments» of this hour in the journal.",
        ]
        console().print("\n".join(lines), soft_wrap=True)


def rebuild(
    config: ConfigOption = DEFAULT_CONFIG,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the index again from the files; the agent must be stopped. The old index stays beside."""
    settings, clock = load(config), SystemClock()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        at_work(settings, clock, Work.REBUILD, person, key, passphrase_file),
        DataLock(settings.data_dir, clock, patience_s=0),
        Progress(*columns, console=progress_console()) as bar,
    ):
        task = bar.add_task("recordings", total=None)
        result = rebuild_index(
            disks_of(settings),
            settings.index_path,
            clock,
            lambda count: bar.update(task, description=f"{count} recordings"),
        )
    if as_json:
        print_json(_rebuilt_json(result))
    else:
        console().print(_rebuilt_words(result), soft_wrap=True)


def _words(piece: Piece, when: str) -> str:
    match piece.state:
        case PieceState.GAP:
            return f"missing: {piece.cause or 'unknown'}, {piece.evidence}"
        case PieceState.DELETED:
            return f"deleted: {piece.reason}, {when}"
        case PieceState.OPEN:
            return "too fresh to be known"
        case PieceState.OUTSIDE:
            return "the camera was not installed, or it is not yet"
        case PieceState.RECORDED:
            return "recorded"


def _piece_json(piece: Piece) -> dict[str, Any]:
    values: dict[str, Any] = {"from": iso_utc(piece.start_us), "to": iso_utc(piece.end_us)}
    values |= {"seconds": round(piece.interval.seconds, 6), "state": piece.state}
    if piece.state is PieceState.GAP:
        values |= {"cause": piece.cause, "evidence": piece.evidence}
    if piece.state is PieceState.DELETED and piece.at_us is not None:
        values |= {"reason": piece.reason, "deleted": iso_utc(piece.at_us)}
    return values


def _rebuilt_json(result: Rebuilt) -> dict[str, Any]:
    return {
        "recordings": result.segments,
        "seconds": round(result.seconds, 3),
        "recordings_per_second": round(result.per_second),
        "unfinished": result.unfinished,
        "without_hash": result.unhashed,
        "vanished": result.vanished,
        "kept": result.kept,
        "unknown": list(result.unknown),
        "before": None if result.before is None else str(result.before),
    }


def _rebuilt_words(result: Rebuilt) -> str:
    lines = [f"{result.segments} recordings in {result.seconds:.1f} s, {result.per_second:.0f} a second"]
    if result.kept:
        lines.append("kept of the old index: " + ", ".join(f"{count} {name}" for name, count in result.kept.items()))
    if result.unfinished:
        lines.append(f"{result.unfinished} were not closed or lost their end: the agent looks at them when it starts")
    if result.unhashed:
        lines.append(f"{result.unhashed} have no hash in a day log: the agent computes it when it has time")
    if result.vanished:
        lines.append(f"{result.vanished} that the old index knew are gone: they have receipts")
    lines += [f"not known: {words}" for words in result.unknown]
    if result.before is not None:
        lines.append(f"the old index is {result.before}")
    return "\n".join(lines)
