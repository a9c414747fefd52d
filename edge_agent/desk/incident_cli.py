"""`edge-desk ack | comment | false | incidents | incident`: what people make of alarms, and the register of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from pydantic import ValidationError

from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Language
from edge_agent.desk.client import Patience
from edge_agent.desk.incident_texts import incident_texts
from edge_agent.desk.incidents import Rows, Told, export_line, fetch, incident_table, record_json
from edge_agent.desk.options import ConfigOption, NodeArgument, PassphraseOption, SocketOption, TimeoutOption
from edge_agent.desk.output import final_json, in_language, raise_unless_done, say_json
from edge_agent.desk.paper import form_of, plain, save, to_terminal
from edge_agent.desk.settings import DEFAULT_CONFIG, Desk, load_desk, node_named, signer
from edge_agent.desk.talk import Request, Talk, mistakes
from edge_agent.desk.texts import texts
from edge_agent.errors import UsageError
from edge_agent.terminal import JsonOption, app_of, console
from edge_agent.trust.command import CommandArgs, sign
from edge_agent.trust.incident_args import AcknowledgeArgs, IncidentArgs, IncidentsArgs
from edge_agent.uplink.commands import claimed_nonce
from edge_agent.uplink.topics import Topics
from edge_agent.when import parse_when, spoken

incident_app = app_of("incident", "One alarm of a node's register.")

AlarmArgument = Annotated[str, typer.Argument(metavar="ALARM", help="The alarm's id, or its beginning.")]
CommentOption = Annotated[str, typer.Option("--comment", help="In a few words; it stands in the register.")]


class Asking:
    """Somebody at a desk, who is asked for the passphrase once."""

    def __init__(
        self, config: Path, socket: Path | None, passphrase_file: Path | None, timeout_s: float, as_json: bool
    ) -> None:
        self.desk: Desk = load_desk(config)
        self.clock: Clock = SystemClock()
        self._config, self._socket, self._timeout_s, self._as_json = config, socket, timeout_s, as_json
        self._person, self._key = signer(self.desk, passphrase_file)

    def node(self, name: str) -> Topics:
        return node_named(name, self.desk.site)

    def ask(self, node: Topics, args: CommandArgs, *, quiet: bool = False) -> Mapping[str, Any]:
        """The result; said for people or scripts unless `quiet`.  RefusedError, EdgeError in the node's words."""
        token = sign(self._key, self._person, f"{node.site}/{node.node}", args, self.clock.utc_us())
        patience = Patience(first_s=self._timeout_s, idle_s=self._timeout_s)
        talk = Talk(self.desk, self.clock, self._socket, patience, self._config)
        reply = talk.hear(Request(node, claimed_nonce(token), token), self._as_json)
        if self._as_json and not (quiet and reply.state == "done"):
            say_json(final_json(reply))
        raise_unless_done(reply, talk.texts)
        if not self._as_json and not quiet:
            console().print(in_language(reply.words, talk.texts), markup=False, soft_wrap=True)
        return reply.result or {}


def ack(
    node: NodeArgument,
    alarm: AlarmArgument,
    comment: CommentOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Acknowledge an alarm: you take care of it, and all dispatchers see so."""
    asking = Asking(config, socket, passphrase_file, timeout_s, as_json)
    asking.ask(asking.node(node), _made(AcknowledgeArgs, alarm=alarm, comment=comment))


def comment(
    node: NodeArgument,
    alarm: AlarmArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="At most 500 characters, in one line.")],
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Write a comment beside an alarm."""
    asking = Asking(config, socket, passphrase_file, timeout_s, as_json)
    asking.ask(asking.node(node), _made(IncidentArgs, alarm=alarm, comment=text))


def false(
    node: NodeArgument,
    alarm: AlarmArgument,
    comment: CommentOption = "",
    back: Annotated[bool, typer.Option("--not", help="It was none after all: take the mark back.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Mark an alarm as a false one."""
    asking = Asking(config, socket, passphrase_file, timeout_s, as_json)
    asking.ask(asking.node(node), _made(IncidentArgs, alarm=alarm, comment=comment, false_alarm=not back))


@incident_app.command("link")
def link(
    node: NodeArgument,
    alarm: AlarmArgument,
    hold: Annotated[str | None, typer.Option(help="The hold that keeps its recordings.")] = None,
    release: Annotated[str | None, typer.Option(help="The request that released them, as `export` printed it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Tie a hold or a release to an alarm."""
    asking = Asking(config, socket, passphrase_file, timeout_s, as_json)
    asking.ask(asking.node(node), _made(IncidentArgs, alarm=alarm, hold=hold, release=release))


@incident_app.command("show")
def show(
    node: NodeArgument,
    alarm: AlarmArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """All that the register has of one alarm, and how to have its recordings released."""
    asking = Asking(config, socket, passphrase_file, timeout_s, as_json)
    topics = asking.node(node)
    told = fetch(topics, _made(IncidentsArgs, alarm=alarm), lambda args: asking.ask(topics, args, quiet=True))
    for record in told.records:
        if as_json:
            say_json({"ok": True, **record_json(topics, record)})
            continue
        desk, screen = asking.desk, console()
        words = incident_texts(desk.language)
        rows = Rows(texts(desk.language), words, desk.zone)
        cells = (record.alarm_id, *rows.row(topics, record)[1:])
        for title, cell in zip(words.columns, cells, strict=True):
            lines = plain(cell).split("\n")
            screen.print(f"{title}:", " · ".join(lines) if cell else "–", markup=False, soft_wrap=True)
        if line := export_line(topics, record):
            screen.print(f"{words.release_with}:", f"{line} --recipient … --target …", markup=False, soft_wrap=True)


def incidents(
    nodes: Annotated[list[str], typer.Argument(metavar="NODE…", help="One node or several.")],
    start: Annotated[str, typer.Option("--from", help='Since when: "yesterday 22:30", "2d ago".')] = "24h ago",
    end: Annotated[str | None, typer.Option("--to", help="Until when; without it, now.")] = None,
    camera: Annotated[str | None, typer.Option(help="One camera's only.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only those that are open, ended, waiting, acknowledged or false.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Make this file, .csv or .pdf, instead.")] = None,
    language: Annotated[str | None, typer.Option(help="Of the report: uk or en; the desk's without it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """The incident register: alarms that went on in a time, and what people made of them."""
    if language not in (None, "uk", "en"):
        raise UsageError("--language: uk or en")
    if report is not None:
        form_of(report)
    asking = Asking(config, socket, passphrase_file, timeout_s, as_json)
    desk, now_us = asking.desk, asking.clock.utc_us()
    start_us = parse_when(start, desk.zone, now_us)
    end_us = parse_when(end, desk.zone, now_us) if end else now_us + 60_000_000
    wanted = _made(IncidentsArgs, start_us=start_us, end_us=end_us, camera=camera, state=state)
    told = [_fetched(asking, asking.node(name), wanted) for name in nodes]
    tongue = cast(Language, language or desk.language)
    title = f"{incident_texts(tongue).title}: {spoken(start_us, desk.zone)} – {spoken(min(end_us, now_us), desk.zone)}"
    table = incident_table(told, title, now_us, desk.zone, tongue)
    if report is not None:
        save(table, report)
    if as_json:
        found = [record_json(one.node, record) for one in told for record in one.records]
        complete = {one.name: {"complete_from_us": one.complete_from_us, "cut": one.cut} for one in told}
        say_json({"ok": True, "incidents": found, "nodes": complete, "report": str(report) if report else None})
    elif report is not None:
        print(f"{report}: {len(table.rows)}")
    else:
        console().print(to_terminal(table))


def _fetched(asking: Asking, node: Topics, wanted: IncidentsArgs) -> Told:
    return fetch(node, wanted, lambda args: asking.ask(node, args, quiet=True))


def _made(kind: type[Any], **fields: Any) -> Any:
    try:
        return kind(**fields)
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error
