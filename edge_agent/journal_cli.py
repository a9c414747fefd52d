"""`edge-agent journal`: read it, check it, prove an entry of it, print its newest checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from edge_agent.archive_cli import FromOption, ToOption
from edge_agent.clock import US, SystemClock
from edge_agent.config import Config, load
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.checkpoint import Checkpoint, Verdict, cosignatures, open_checkpoint, origin_of, parse_checkpoint
from edge_agent.trust.journal import BadLine, Journal, JournalEntry, parse_line
from edge_agent.trust.journal_check import JournalCheck, check_journal
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.keys import load_key
from edge_agent.trust.node_key import journal_key, node_key_path
from edge_agent.trust.note import BadNoteError, Note, NoteKey, parse_note, parse_note_key
from edge_agent.trust.tlog_proof import parse_proof
from edge_agent.trust.witnessed import witnessed_store
from edge_agent.when import parse_when, spoken

journal_app = app_of("journal", "Who did what here: read it, check that nothing was changed, prove an entry.")

KeyOption = Annotated[
    str | None, typer.Option("--key", help="The node's verifier key, where its own key file is not at hand.")
]
_WORDS = {
    Verdict.SAME: "same: the journal is exactly what was signed",
    Verdict.GROWN: "grown: all that was signed is there, unchanged",
    Verdict.SHORTENED: "SHORTENED: entries that were signed are missing at the end, or this is an older copy",
    Verdict.REWRITTEN: "REWRITTEN: the entries are not those that were signed",
    Verdict.FORKED: "FORKED: the node's key has signed two journals that contradict each other",
    Verdict.ANOTHER: "ANOTHER: the checkpoint is of another node's journal",
}


@journal_app.command("show")
def _show(
    config: ConfigOption = DEFAULT_CONFIG,
    start: FromOption = None,
    end: ToOption = None,
    who: Annotated[str | None, typer.Option(help="A person's id, or a part of the name.")] = None,
    action: Annotated[str | None, typer.Option(help="An action (export, …) or a kind of entry (start, …).")] = None,
    camera: Annotated[str | None, typer.Option(help="A camera's id.")] = None,
    number: Annotated[str | None, typer.Option(help="Of an order, a hold or a command.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the entries that fit, oldest first; with --json one object a line."""
    settings = _settings(config)
    now_us = SystemClock().utc_us()
    try:
        query = AuditQuery(
            start_us=parse_when(start, settings.zone, now_us) if start else None,
            end_us=parse_when(end, settings.zone, now_us) if end else None,
            person=who,
            action=action,
            camera=camera,
            number=number,
        )
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"]) from error
    found = _fitting(settings, query)
    if as_json:
        for index, entry in found:
            print_json({"index": index, **_as_json(entry)})
        return
    table = Table("#", "time", "outcome", "who", "what", "why", box=None, header_style="bold")
    for index, entry in found:
        table.add_row(str(index), *(escape(_printable(text)) for text in _row(settings, entry)))
    console().print(table)


@journal_app.command("verify")
def _verify(
    config: ConfigOption = DEFAULT_CONFIG,
    checkpoint: Annotated[
        list[Path] | None, typer.Option("--checkpoint", help="One that you kept; the node's own newest without it.")
    ] = None,
    proof: Annotated[Path | None, typer.Option("--proof", help="A .tlog-proof, checked without any node.")] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="A copy, instead of this node's.")] = None,
    key: KeyOption = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness", help="A witness's verifier key: kept checkpoints and proofs must be cosigned by one."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every entry against what was signed; ends with 1 when the journal was shortened, rewritten or forked."""
    witnesses = [parse_note_key(text) for text in witness or ()]
    if proof is not None:
        _verify_proof(proof, _key(config, key), witnesses, as_json)
        return
    settings = None if journal else _settings(config)
    path = settings.journal_path if settings else Path(str(journal))
    believed = _key(config, key)
    own_path = path.with_suffix(".checkpoint")
    own = open_checkpoint(own_path.read_bytes(), believed) if own_path.exists() else None
    kept = [_kept(parse_note(_read(file)), believed, witnesses) for file in checkpoint or ()]
    if settings is not None:
        store = witnessed_store(settings.checkpoint_path, settings.witnesses)
        kept += [parse_checkpoint(note.text) for note in store.notes()]
    signed = [*kept, *([own] if own else [])]
    if not signed:
        raise NotFoundError(f"no checkpoint to compare with: {own_path} is not there; give one with --checkpoint")
    result = check_journal(path, signed, own)
    if as_json:
        print_json(_check_json(result, signed))
    else:
        _print_check(path, result, signed)
    if not result.honest:
        raise typer.Exit(1)


@journal_app.command("proof")
def _proof(
    index: Annotated[int, typer.Argument(help="The entry's number, as `journal show` prints it.", min=0)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Print a proof that an entry stands in the journal (C2SP tlog-proof); it is checked without the node."""
    print(_log(config).prove(index), end="")


@journal_app.command("checkpoint")
def _checkpoint(
    config: ConfigOption = DEFAULT_CONFIG,
    key: Annotated[bool, typer.Option("--key", help="Print the node's verifier key instead.")] = False,
) -> None:
    """Print the newest checkpoint, signed now when entries were added; keep it to notice changes later."""
    if key:
        print(_key(config, None))
    else:
        print(_log(config).checkpoint(), end="")


@journal_app.command("witnesses")
def _witnesses(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print how much of the journal each configured witness has cosigned, and when."""
    settings = _settings(config)
    store = witnessed_store(settings.checkpoint_path, settings.witnesses)
    with Journal(settings.journal_path, SystemClock()).tree() as tree:
        entries = tree.count
    for witness in settings.witnesses:
        note = store.note(witness)
        size = parse_checkpoint(note.text).size if note else 0
        time_s = cosignatures(note, [witness])[0].time_s if note else None
        if as_json:
            told = {"witness": witness.name, "size": size, "entries": entries, "time_s": time_s}
            print_json({**told, "note": note and str(note)})
        else:
            when = spoken(time_s * US, settings.zone) if time_s is not None else "never"
            print(f"{witness.name}: {size} of {entries} entries, {when}")


def _settings(config: Path) -> Config:
    settings = load(config)
    if not settings.journal_path.exists():
        raise NotFoundError(f"there is no journal yet: {settings.journal_path} is made by the agent's first start")
    return settings


def _log(config: Path) -> JournalLog:
    settings = _settings(config)
    path = _key_file(settings)
    journal = Journal(settings.journal_path, SystemClock())
    origin = origin_of(settings.audience)
    log = JournalLog(journal, settings.checkpoint_path, origin, load_key(path), settings.witnesses)
    log.settle()  # the agent may not have run since a power cut
    return log


def _key_file(settings: Config) -> Path:
    path = node_key_path(settings.data_dir)
    if not path.exists():
        raise NotFoundError(f"there is no key yet: {path} is made by the agent's first start")
    return path


def _key(config: Path, said: str | None) -> NoteKey:
    """Whose checkpoints are believed."""
    if said is not None:
        return parse_note_key(said)
    settings = load(config)
    return journal_key(origin_of(settings.audience), load_key(_key_file(settings)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path} can't be read: {error.strerror}") from error


def _fitting(settings: Config, query: AuditQuery) -> Iterator[tuple[int, JournalEntry | BadLine]]:
    low, high = query.start_us or 0, query.end_us if query.end_us is not None else 1 << 62
    at_us = 0
    for index, entry in enumerate(Journal(settings.journal_path, SystemClock()).read()):
        if isinstance(entry, JournalEntry) and entry.at_us is not None:
            at_us = entry.at_us
        if low <= at_us < high and query.matches(entry):
            yield index, entry


def _row(settings: Config, entry: JournalEntry | BadLine) -> tuple[str, str, str, str, str]:
    if isinstance(entry, BadLine):
        return "", "", "", "unreadable", entry.raw[:80].decode("utf-8", "replace")
    assert entry.at_us is not None
    more = (entry.args.get(name) for name in ("work", "camera"))
    what = " ".join(str(part) for part in (entry.action or entry.kind, *more) if part)
    return spoken(entry.at_us, settings.zone), entry.outcome, entry.who, what, entry.reason


def _as_json(entry: JournalEntry | BadLine) -> dict[str, Any]:
    if isinstance(entry, BadLine):
        return {"unreadable": entry.raw.decode("utf-8", "backslashreplace")}
    return {name: getattr(entry, name) for name in entry.__slots__}


def _printable(text: str) -> str:
    """What strangers wrote must not steer a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _kept(note: Note, key: NoteKey, witnesses: Sequence[NoteKey]) -> Checkpoint:
    """What a checkpoint says; where witnesses are named, one of them must stand by it, whoever else signed it."""
    if not witnesses:
        return open_checkpoint(note, key)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name or not cosignatures(note, witnesses):
        raise BadNoteError(f"a checkpoint of {checkpoint.origin[:80]} that no witness who was named has cosigned")
    return checkpoint


def _verify_proof(path: Path, key: NoteKey, witnesses: Sequence[NoteKey], as_json: bool) -> None:
    proof = parse_proof(_read(path))
    if proof.extra is None:
        raise UsageError(f"{path} does not hold the entry itself, so there is nothing to compare")
    _kept(proof.note, key, witnesses)
    checkpoint = proof.verify(proof.extra, key)
    entry = parse_line(proof.index + 1, proof.extra)
    if as_json:
        print_json({"index": proof.index, "size": checkpoint.size, "origin": checkpoint.origin, **_as_json(entry)})
        return
    print(f"entry {proof.index} of {checkpoint.size} in the journal of {checkpoint.origin}:")
    print(_printable(proof.extra.decode("utf-8", "replace")))


def _check_json(result: JournalCheck, signed: Sequence[Checkpoint]) -> dict[str, Any]:
    return {
        "honest": result.honest,
        "entries": result.entries,
        "root": result.root.hex(),
        "unreadable": list(result.unreadable),
        "torn_bytes": result.torn_bytes,
        "checkpoints": [
            {"origin": one.origin, "size": one.size, "root": one.root.hex(), "verdict": verdict}
            for one, verdict in zip(signed, result.verdicts, strict=True)
        ],
        "changed": result.changed,
    }


def _print_check(path: Path, result: JournalCheck, signed: Sequence[Checkpoint]) -> None:
    print(f"{path}: {result.entries} entries")
    for index in result.unreadable:
        print(f"entry {index} can't be read: torn by a power cut, or damaged")
    if result.torn_bytes:
        print(f"{result.torn_bytes} bytes at the end are an entry that was not finished")
    for one, verdict in zip(signed, result.verdicts, strict=True):
        print(f"checkpoint of {one.size} entries: {_WORDS[verdict]}")
    if result.changed is not None:
        print(f"entry {result.changed} is the first that is not the one which was signed")
    if not result.honest:
        print("keep this journal and the checkpoints as they are: they are evidence (docs/journal.md)", file=sys.stderr)
