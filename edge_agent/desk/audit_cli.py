"""`edge-desk audit`: ask nodes for their journals, and say plainly when one was shortened, rewritten or forked."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.clock import US, Clock, SystemClock
from edge_agent.desk.access_report import access_report
from edge_agent.desk.audit import NodeAnswer, gather
from edge_agent.desk.audit_words import TroubleKind, sound
from edge_agent.desk.board import printable
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.known_nodes import known_nodes
from edge_agent.desk.memory import Memory, memory_of
from edge_agent.desk.options import ConfigOption, PassphraseOption, SocketOption
from edge_agent.desk.output import say_json
from edge_agent.desk.paper import form_of, save
from edge_agent.desk.rows import journal_row
from edge_agent.desk.settings import DEFAULT_CONFIG, Desk, broker_settings, load_desk, node_named, signer
from edge_agent.desk.talk import mistakes
from edge_agent.desk.texts import Texts, texts
from edge_agent.desk.witness import believed, cosigned
from edge_agent.errors import UplinkError, UsageError
from edge_agent.terminal import JsonOption, console, progress_console
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.command import JournalArgs, sign
from edge_agent.trust.journal import BadLine, JournalEntry
from edge_agent.uplink.payloads import Reply
from edge_agent.uplink.topics import Topics
from edge_agent.when import parse_when, spoken

PROGRESS_AFTER_S = 2.0
_EXITS = {TroubleKind.SILENT: 69, TroubleKind.REFUSED: 77, TroubleKind.UNPROVEN: 77}


def audit_command(
    nodes: Annotated[
        list[str] | None, typer.Argument(metavar="[NODE]...", help="SITE/NODE, or NODE of the configured site.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All nodes that the broker tells of or that this desk remembers.")
    ] = False,
    start: Annotated[str | None, typer.Option("--from", help='"2026-11-22 10:15", "yesterday", "15m ago".')] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, said like --from.")] = None,
    person: Annotated[str | None, typer.Option(help="A person's id, or a part of the name.")] = None,
    action: Annotated[str | None, typer.Option(help="An action (export, …) or a kind of entry (start, …).")] = None,
    camera: Annotated[str | None, typer.Option(help="A camera's id.")] = None,
    number: Annotated[str | None, typer.Option(help="Of an order, a hold, a release or a command.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the whole journals: each entry's proof, and that none is missing.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for each answer.")] = 20,
    report: Annotated[
        Path | None, typer.Option("--report", help="Make the access journal of the period: FILE.pdf or FILE.csv.")
    ] = None,
    language: Annotated[str | None, typer.Option("--language", help="uk or en; the configured one without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one node or all for their journals, and prove that nothing in them was changed."""
    desk, clock = in_language(load_desk(config), language), SystemClock()
    if report is not None:
        form_of(report)
    query = audit_query(desk, clock, start, end, person, action, camera, number)
    memory = memory_of(desk)
    asked = _nodes(desk, clock, memory, nodes or [], every=every)
    asker = Asker(desk, clock, memory, socket, passphrase_file, Patience(first_s=timeout_s, idle_s=timeout_s))
    # Whoever asks only whether all is in order is not shown a hundred thousand lines.
    keep = not verify or query != AuditQuery() or report is not None
    witnesses = believed(desk)
    seen = cosigned(desk, witnesses, None if socket else broker_settings(desk, "audit"), clock)
    with ended_by_hand(), Progress(progress_console(), clock, texts(desk.language)) as told:
        answers = gather(
            asked,
            query,
            asker,
            memory,
            whole=verify,
            keep=keep,
            heard=told.heard,
            witnesses=witnesses,
            cosigned=seen,
        )
    if report is not None:
        save(access_report(answers, query, desk.zone, desk.language, clock.utc_us()), report)
    if as_json:
        for answer in answers:
            say_json(answer_json(answer))
    else:
        show(console(), desk, answers, whole=verify, entries=report is None)
    raise typer.Exit(exit_code(answers))


def in_language(desk: Desk, language: str | None) -> Desk:
    match language:
        case None:
            return desk
        case "uk" | "en":
            return desk.model_copy(update={"language": language})
    raise UsageError("--language: uk or en")


def audit_query(
    desk: Desk,
    clock: Clock,
    start: str | None,
    end: str | None,
    person: str | None,
    action: str | None,
    camera: str | None,
    number: str | None,
) -> AuditQuery:
    """What the options mean; UsageError when that makes no sense."""
    now_us = clock.utc_us()
    try:
        return AuditQuery(
            start_us=parse_when(start, desk.zone, now_us) if start else None,
            end_us=parse_when(end, desk.zone, now_us) if end else None,
            person=person,
            action=action,
            camera=camera,
            number=number,
        )
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error


@contextlib.contextmanager
def ended_by_hand() -> Iterator[None]:
    """Ctrl-C: what was proved so far is kept, the rest is not asked any more."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


class Asker:
    """Signs and sends `journal` commands for one person, whose key is unlocked once; used by several threads."""

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        memory: Memory,
        socket: Path | None,
        passphrase_file: Path | None,
        patience: Patience,
    ) -> None:
        self._desk, self._clock, self._memory, self._socket, self._patience = desk, clock, memory, socket, patience
        self._person, self._key = signer(desk, passphrase_file)
        if socket is None:
            broker_settings(desk, "audit")  # a desk without a broker is told so at once, not once for each node

    def __call__(self, node: Topics, query: AuditQuery) -> Reply:
        way = self._socket or broker_settings(self._desk, "audit")
        client = DeskClient(way, self._clock, self._patience, keys=self._memory)
        args = JournalArgs(query=query)
        token = sign(self._key, self._person, f"{node.site}/{node.node}", args, self._clock.utc_us())
        for reply in client.ask(node, token):
            if reply.state.final:
                return reply
        raise UplinkError("the answer ended before its end")


class Progress:
    """How far it is, on a terminal's standard error, once it takes longer than one likes to wait."""

    def __init__(self, screen: Console, clock: Clock, words: Texts) -> None:
        self._clock, self._words = clock, words
        self._status = screen.status("")
        self._began = clock.monotonic()
        self._lock = threading.Lock()
        self._far: dict[str, tuple[int, int]] = {}
        self._shown = not screen.is_terminal

    def heard(self, node: str, came: int, there: int) -> None:
        with self._lock:
            self._far[node] = came, there
            if self._clock.monotonic() - self._began < PROGRESS_AFTER_S:
                return
            came, there = (sum(column) for column in zip(*self._far.values(), strict=True))
            self._status.update(Text(self._words.reading_journals.format(count=came, of=there, nodes=len(self._far))))
            if not self._shown:
                self._shown = True
                self._status.start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def exit_code(answers: Sequence[NodeAnswer]) -> int:
    """0 when all is proved; 1 for tampering, whatever else; then the others' own."""
    codes = {
        1 if answer.trouble.kind.tampering else _EXITS.get(answer.trouble.kind, 1)
        for answer in answers
        if answer.trouble is not None
    }
    return min(codes, default=0)


def show(screen: Console, desk: Desk, answers: Sequence[NodeAnswer], *, whole: bool, entries: bool = True) -> None:
    """The `entries` of all nodes by time, then a line for each node."""
    words, several = texts(desk.language), len(answers) > 1
    if entries and any(answer.entries for answer in answers):
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in (words.time, *((words.node,) if several else ()), *words.journal_columns):
            table.add_column(heading, overflow="fold")
        for node, entry in in_time(answers):
            time, *cells = journal_row(words, desk.zone, entry)
            table.add_row(*(Text(cell) for cell in (time, *((node,) if several else ()), *cells)))
        screen.print(table)
    for answer in answers:
        if answer.trouble is None:
            size = answer.checkpoint.size if answer.checkpoint else 0
            said = sound(answer.verdict, size, desk.language, whole=whole)
            line = Text(f"✓ {answer.node}: {said}{witnessed(answer, desk)}", "green")
        else:
            line = Text(f"✗ {answer.node}: {answer.trouble.said(desk.language)}", "bold red")
        screen.print(line, soft_wrap=True)


def witnessed(answer: NodeAnswer, desk: Desk) -> str:
    """How far and by whom, where this desk believes any witness."""
    told = [
        texts(desk.language).witnessed.format(
            size=seen.checkpoint.size,
            who=printable(seen.by.witness.name, 80),
            when=spoken(seen.by.time_s * US, desk.zone),
        )
        for seen in answer.witnessed
    ]
    if not told and (desk.witnesses or desk.witness):
        told = [texts(desk.language).unwitnessed]
    return "".join(f"; {one}" for one in told)


def in_time(answers: Sequence[NodeAnswer]) -> list[tuple[str, JournalEntry | BadLine]]:
    """All nodes' entries, oldest first; each node's own stay in their order, an unreadable one after the one before."""
    found, number = [], 0
    for answer in answers:
        at_us = 0
        for _, entry in answer.entries:
            at_us = max(at_us, entry.at_us or 0) if isinstance(entry, JournalEntry) else at_us
            found.append((at_us, number, answer.node, entry))
            number += 1
    return [(node, entry) for _, _, node, entry in sorted(found, key=lambda one: one[:2])]


def answer_json(answer: NodeAnswer) -> dict[str, Any]:
    checkpoint, told = answer.checkpoint, answer.trouble
    return {
        "node": answer.node,
        "ok": told is None,
        "verdict": answer.verdict,
        "trouble": told and {"kind": told.kind, "uk": told.uk, "en": told.en},
        "size": checkpoint and checkpoint.size,
        "checkpoint": answer.note and str(answer.note),
        "witnessed": [
            {
                "witness": seen.by.witness.name,
                "time_s": seen.by.time_s,
                "size": seen.checkpoint.size,
                "verdict": seen.verdict,
            }
            for seen in answer.witnessed
        ],
        "entries": [_entry_json(index, entry) for index, entry in answer.entries],
    }


def _entry_json(index: int, entry: JournalEntry | BadLine) -> dict[str, Any]:
    if isinstance(entry, BadLine):
        return {"index": index, "unreadable": entry.raw.decode("utf-8", "backslashreplace")}
    return {"index": index, **dataclasses.asdict(entry)}


def _nodes(desk: Desk, clock: Clock, memory: Memory, named: list[str], *, every: bool) -> list[Topics]:
    if bool(named) == every:
        raise UsageError("say which nodes, or --all")
    if not every:
        return list(dict.fromkeys(node_named(name, desk.site) for name in named))
    found = known_nodes(broker_settings(desk, "audit"), clock, memory.nodes())
    if not found:
        raise UsageError("no node is known: the broker tells of none, and this desk has asked none before")
    return found
