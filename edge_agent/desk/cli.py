"""`edge-desk`: the command line of the people at the centre, and of those who stand at a node."""

from __future__ import annotations

import contextlib
import logging
import signal
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError

from edge_agent import __version__
from edge_agent.clock import Clock, SystemClock
from edge_agent.desk import incident_cli
from edge_agent.desk.audit_cli import audit_command
from edge_agent.desk.client import Patience
from edge_agent.desk.hold_cli import hold_app
from edge_agent.desk.mode_cli import mode
from edge_agent.desk.options import (
    ConfigOption,
    IdleOption,
    IncidentOption,
    NodeArgument,
    PassphraseOption,
    SocketOption,
    TimeoutOption,
)
from edge_agent.desk.order_cli import OrderFileOption, order_app, read_order
from edge_agent.desk.output import (
    final_json,
    in_language,
    json_line,
    raise_unless_done,
    say_json,
)
from edge_agent.desk.people import AGE_FILE, SIGNING_FILE, check_entry, make_keys, person_entry, toml_block
from edge_agent.desk.pictures import Pictures
from edge_agent.desk.roster_cli import roster_app
from edge_agent.desk.rows import Wording
from edge_agent.desk.screen import health_screen
from edge_agent.desk.search_cli import search
from edge_agent.desk.settings import (
    DEFAULT_CONFIG,
    Desk,
    broker_settings,
    chosen_passphrase,
    identities_of,
    load_desk,
    node_named,
    openers_of,
    signer,
    unlock,
    unlock_identities,
)
from edge_agent.desk.talk import Request, Talk, mistakes
from edge_agent.desk.texts import Texts, texts
from edge_agent.desk.watch import JsonView, LineView, LiveView, View, Watch
from edge_agent.desk.witness_cli import witness_app
from edge_agent.errors import EdgeError, UsageError
from edge_agent.terminal import JsonOption, app_of, console, run_app
from edge_agent.trust.age import open_file
from edge_agent.trust.command import ExportArgs, StatusArgs
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Role
from edge_agent.uplink.payloads import Health, Reply
from edge_agent.when import parse_duration, parse_when, spoken

app = app_of("edge-desk", "Watch the nodes, ask them for clips, open what they release.")
keys_app = app_of("keys", "Make and show a person's own keys.")
app.add_typer(keys_app)
app.add_typer(hold_app)
app.add_typer(order_app)
app.add_typer(roster_app)
app.command("search")(search)
app.add_typer(incident_cli.incident_app)
for _command in (incident_cli.ack, incident_cli.comment, incident_cli.false, incident_cli.incidents):
    app.command()(_command)
app.add_typer(witness_app)
app.command("mode")(mode)
app.command("audit")(audit_command)


@app.callback()
def _top() -> None:
    """Watch the nodes, ask them for clips, open what they release."""
    # What goes wrong is told by exceptions; log lines would only tear the live table.
    logging.basicConfig(handlers=[logging.NullHandler()])


@app.command("version")
def _version() -> None:
    """Print the version."""
    print(__version__)


@app.command("export")
def _export(
    node: NodeArgument,
    camera: Annotated[str, typer.Argument(metavar="CAMERA", help="The camera's id.")],
    start: Annotated[
        str,
        typer.Option(
            "--from", help='Start: "2026-11-22 10:15", "yesterday 22:30", "15m ago"; local unless it ends in Z.'
        ),
    ],
    recipient: Annotated[str, typer.Option(help="Who alone can open the clip: an age public key (age1…).")],
    target: Annotated[str, typer.Option(help="Where the node puts the clip: a target of its configuration.")],
    length: Annotated[str | None, typer.Option("--for", help='Length: "90s", "5m", "1h30m".')] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, said like --from; instead of --for.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the node's journal.")] = "",
    order_file: OrderFileOption = None,
    incident: IncidentOption = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only print the request id.")
    ] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    idle_s: IdleOption = 900,
    as_json: JsonOption = False,
) -> None:
    """Have a node cut, seal and release a clip, and show how it goes."""
    desk, clock = load_desk(config), SystemClock()
    topics = node_named(node, desk.site)
    start_us, end_us = _interval(desk, clock, start, length, end)
    try:
        args = ExportArgs(
            camera=camera,
            start_us=start_us,
            end_us=end_us,
            recipient=recipient,
            target=target,
            reason=reason,
            order=read_order(order_file),
            incident=incident,
        )
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error
    request = Request.signed(desk, clock, topics, args, passphrase_file)
    talk = Talk(desk, clock, socket, Patience(first_s=timeout_s, idle_s=idle_s), config)
    if not wait:
        talk.send(request, as_json)
        return
    reply = talk.hear(request, as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        _print_done(reply, talk.texts, desk.zone)


@app.command("status")
def _status(
    node: NodeArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Ask a node how it and its cameras are."""
    desk, clock = load_desk(config), SystemClock()
    topics = node_named(node, desk.site)
    request = Request.signed(desk, clock, topics, StatusArgs(), passphrase_file)
    talk = Talk(desk, clock, socket, Patience(first_s=timeout_s, idle_s=timeout_s), config)
    reply = talk.hear(request, as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        try:
            health = Health.model_validate(reply.result)
        except ValidationError as error:
            raise EdgeError(f"{node} answered with what is no state of a node: {mistakes(error)}") from error
        console().print(health_screen(Wording(talk.texts, desk.zone), topics, health, clock.utc_us()))


@app.command("follow")
def _follow(
    node: NodeArgument,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="The id that `export` printed.")],
    config: ConfigOption = DEFAULT_CONFIG,
    idle_s: IdleOption = 900,
    as_json: JsonOption = False,
) -> None:
    """Go on hearing of a request that still runs; what was said before is not repeated."""
    desk, clock = load_desk(config), SystemClock()
    topics = node_named(node, desk.site)
    try:
        topics.reply(request_id)
    except ValueError as error:
        raise UsageError(str(error)) from error
    talk = Talk(desk, clock, None, Patience(first_s=idle_s, idle_s=idle_s), config)
    reply = talk.hear(Request(topics, request_id, None), as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        _print_done(reply, talk.texts, desk.zone)


@app.command("watch")
def _watch(
    config: ConfigOption = DEFAULT_CONFIG,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so long; without it, at Ctrl-C.")] = None,
    site: Annotated[str | None, typer.Option(help="One site's nodes only.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Save the alarms' pictures into this folder, the newest 500.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all nodes and the last alarms, live; one line an event where there is no terminal."""
    desk, screen = load_desk(config), console()
    settings = broker_settings(desk, "watch")
    wording = Wording(texts(desk.language), desk.zone)
    view: View
    if as_json:
        view = JsonView()
    elif screen.is_terminal:
        view = LiveView(screen, wording, settings.where)
    else:
        view = LineView(wording, settings.where)
    folder = Pictures(pictures, identities=openers_of(desk, passphrase_file)) if pictures else None
    try:
        watch = Watch(settings, SystemClock(), view, wording, site, folder)
    except ValueError as error:
        raise UsageError(str(error)) from error
    # The terminal must be given back in order, whoever ends the watch.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        watch.run(seconds)


@app.command("open")
def _open(
    clip: Annotated[Path, typer.Argument(help="A sealed clip, ….mp4.age")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to make; it must not exist.")],
    identity: Annotated[
        Path | None, typer.Option(help="The age key to open it with; the configured identity_file without it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a sealed clip with the person's own age key, whole or not at all."""
    identities = (
        unlock_identities(identity, passphrase_file) if identity else identities_of(load_desk(config), passphrase_file)
    )
    size = open_file(clip, out, identities)
    if as_json:
        say_json({"ok": True, "path": str(out), "bytes": size})
    else:
        print(f"{out}: {size} B")


@keys_app.command("new")
def _new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the keys are put; made when it is not there.")],
    person_id: Annotated[str, typer.Option("--id", help="a-z, 0-9, '-' and '_': how nodes call the person.")],
    surname: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    role: Annotated[Role, typer.Option()],
    patronymic: Annotated[str, typer.Option()] = "",
    passphrase: Annotated[
        bool, typer.Option("--passphrase/--no-passphrase", help="Lock the keys with a passphrase, or don't.")
    ] = True,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a person's keys, and print what a node's configuration needs to know of them."""
    check_entry(person_id, surname, name, patronymic, role)
    key, recipient = make_keys(folder, chosen_passphrase(passphrase_file) if passphrase else None)
    print(toml_block(person_entry(person_id, surname, name, patronymic, role, public_key_of(key))))
    print(f"# clips for this person are sealed to: {recipient}")


@keys_app.command("show")
def _show(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the keys are; the configured ones without it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the public halves of a person's keys."""
    if folder is None:
        desk = load_desk(config)
        key = signer(desk, passphrase_file)[1]
        identities = identities_of(desk, passphrase_file) if desk.identity_file else []
    else:
        key = unlock(folder / SIGNING_FILE, passphrase_file)
        identities = unlock_identities(folder / AGE_FILE, passphrase_file)
    recipients = [str(identity.recipient) for identity in identities]
    if as_json:
        say_json({"public_key": str(public_key_of(key)), "recipients": recipients})
        return
    print(f"public_key  {public_key_of(key)}")
    for recipient in recipients:
        print(f"recipient   {recipient}")


def _interval(desk: Desk, clock: Clock, start: str, length: str | None, end: str | None) -> tuple[int, int]:
    if (length is None) == (end is None):
        raise UsageError("say how long: --for or --to, one of them")
    now_us = clock.utc_us()
    start_us = parse_when(start, desk.zone, now_us)
    return start_us, parse_when(end, desk.zone, now_us) if end else start_us + parse_duration(str(length))


def _print_done(reply: Reply, words: Texts, zone: ZoneInfo) -> None:
    """The node's words, what the clip covers, and the digest to check the file by."""
    screen, result = console(), reply.result or {}
    screen.print(in_language(reply.words, words), markup=False, soft_wrap=True)
    start_us, end_us = result.get("start_us"), result.get("end_us")
    with contextlib.suppress(OverflowError):
        if isinstance(start_us, int) and isinstance(end_us, int):
            print(f"  {spoken(start_us, zone)} … {spoken(end_us, zone)}")
    for key in ("sha256", "notes"):
        if result.get(key):
            print(f"  {key} {json_line(result[key])}"[:500])


def main() -> None:
    run_app(app, "edge-desk")
