"""`edge-desk roster`: the authority's work: who is in the city's roster, signing it, giving it to the nodes."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError

from edge_agent.clock import US, Clock, SystemClock
from edge_agent.desk.options import ConfigOption, PassphraseOption
from edge_agent.desk.output import say_json
from edge_agent.desk.settings import (
    DEFAULT_CONFIG,
    Desk,
    broker_settings,
    chosen_passphrase,
    load_desk,
    unlock,
)
from edge_agent.errors import NotFoundError, RefusedError, UplinkError, UsageError
from edge_agent.roster_screen import roster_json, show_diff, show_roster
from edge_agent.terminal import JsonOption, app_of, console
from edge_agent.trust.jws import mistakes
from edge_agent.trust.keys import create_key, parse_public_key, public_key_of
from edge_agent.trust.policy import Purpose, Role
from edge_agent.trust.roster import (
    DAYS,
    MAX_ROSTER_BYTES,
    Draft,
    RecipientKind,
    Roster,
    diff,
    draft_json,
    parse_draft,
    read_claims,
    sign,
    verify,
)
from edge_agent.uplink.link import Fate, LinkState, Phase
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.topics import roster_topic
from edge_agent.when import parse_when

roster_app = app_of("roster", "The city's people and recipients, for its authority to sign.")
add_app = app_of("add", "Enter a person or a recipient, or replace the one of the same id.")
roster_app.add_typer(add_app)

SEND_S = 30.0
DraftArgument = Annotated[Path, typer.Argument(metavar="DRAFT", help="The draft, a JSON file.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A signed roster, or a draft.")]
KeyOption = Annotated[Path, typer.Option("--key", help="The authority's key.")]
IdOption = Annotated[str, typer.Option("--id", help="a-z, 0-9, '-' and '_'")]
FromOption = Annotated[str | None, typer.Option("--from", help='Valid from: "2026-12-01 08:00", local time.')]
UntilOption = Annotated[str | None, typer.Option("--until", help="Valid until, said like --from.")]
_HOURS = re.compile(r"([a-z,-]+) (\d\d:\d\d)-(\d\d:\d\d)")


@roster_app.command("init")
def _init(
    draft: DraftArgument,
    city: Annotated[str, typer.Option(help="Whose roster it is.")],
    key: KeyOption,
    passphrase: Annotated[bool, typer.Option("--passphrase/--no-passphrase", help="Lock the key, or don't.")] = True,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the authority's key and an empty draft; print what the nodes pin."""
    empty = _draft({"city": city})
    if draft.exists():
        raise UsageError(f"{draft} exists already: choose another name")
    public = public_key_of(create_key(key, chosen_passphrase(passphrase_file) if passphrase else None))
    _write(draft, empty)
    if as_json:
        say_json({"ok": True, "authority": str(public)})
    else:
        print(f'[trust]\nauthority = "{public}"')


@add_app.command("person")
def _add_person(
    draft: DraftArgument,
    person_id: IdOption,
    surname: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    roles: Annotated[list[Role], typer.Option("--role", help="May be said several times.")],
    public_key: Annotated[str, typer.Option("--public-key", help="As `edge-desk keys` prints it.")],
    patronymic: Annotated[str, typer.Option()] = "",
    position: Annotated[str, typer.Option()] = "",
    age_key: Annotated[str | None, typer.Option("--age-key", help="age1…")] = None,
    start: FromOption = None,
    until: UntilOption = None,
    cameras: Annotated[
        list[str] | None, typer.Option("--camera", help="SITE/NODE/CAMERA or 'SITE/NODE/*': these only.")
    ] = None,
    hours: Annotated[list[str] | None, typer.Option("--hours", help='"mon-fri 08:00-17:00": then only.')] = None,
    purposes: Annotated[list[Purpose] | None, typer.Option("--purpose", help="Of the archive: for these only.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Somebody, with roles and what they have less than the role."""
    limits: dict[str, Any] = {
        "cameras": cameras,
        "hours": [_hours(one) for one in hours] if hours else None,
        "purposes": [str(one) for one in purposes] if purposes else None,
    }
    row: dict[str, Any] = {
        "id": person_id, "surname": surname, "name": name, "patronymic": patronymic, "position": position,
        "roles": [str(role) for role in roles], "public_key": public_key, "age_key": age_key,
        "limits": {what: value for what, value in limits.items() if value} or None, **_times(start, until, config),
    }  # fmt: skip
    _enter(draft, "people", row)


@add_app.command("recipient")
def _add_recipient(
    draft: DraftArgument,
    recipient_id: IdOption,
    name: Annotated[str, typer.Option()],
    kind: Annotated[RecipientKind, typer.Option()],
    age_key: Annotated[str, typer.Option("--age-key", help="age1…")],
    start: FromOption = None,
    until: UntilOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """A body or a person that recordings may be released to."""
    row = {"id": recipient_id, "name": name, "kind": str(kind), "age_key": age_key, **_times(start, until, config)}
    _enter(draft, "recipients", row)


@roster_app.command("remove")
def _remove(draft: DraftArgument, name: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Take a person or a recipient out."""
    content = roster_json(_read_draft(draft))
    left = {what: [row for row in content.get(what, []) if row["id"] != name] for what in ("people", "recipients")}
    if all(len(rows) == len(content.get(what, [])) for what, rows in left.items()):
        raise NotFoundError(f"{draft} has nobody called {name}")
    _write(draft, _draft(content | left))


@roster_app.command("sign")
def _sign(
    draft: DraftArgument,
    key: KeyOption,
    after: Annotated[Path | None, typer.Option(help="The roster before it: the version is the next one.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Instead of --after.")] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="So long it is in force.")] = 365,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Print the signed roster."""
    if (after is None) == (version is None):
        raise UsageError("say --after LAST, or --version 1 for the first")
    content, authority = _read_draft(draft), unlock(key, passphrase_file)
    if after is not None:
        version = verify(_token(after), public_key_of(authority)).version + 1
    assert version is not None
    print(sign(authority, content, version, SystemClock().utc_us(), days * 86400).decode())


@roster_app.command("show")
def _show(file: FileArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print a roster or a draft; who signed it is not asked (`verify` asks)."""
    desk, draft = _desk(config), _any(file)
    if as_json:
        say_json(roster_json(draft))
    else:
        show_roster(console(), draft, desk.language, desk.zone)


@roster_app.command("diff")
def _diff(
    old: FileArgument, new: FileArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Print who was added, removed or changed, and how."""
    changes = diff(_any(old), _any(new))
    if as_json:
        say_json([{"what": one.what, "id": one.id, "kind": one.kind, "fields": dict(one.fields)} for one in changes])
    else:
        show_diff(console(), changes, _desk(config).language)


@roster_app.command("verify")
def _verify(
    file: FileArgument,
    authority: Annotated[str, typer.Option(help="The authority's public key, as nodes pin it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Whether this authority signed it and it is in force now; 77 when not."""
    roster: Roster = verify(_token(file), parse_public_key(authority))
    trouble = roster.in_force(SystemClock().utc_us())
    if as_json:
        say_json({"ok": trouble is None, "version": roster.version, "trouble": trouble})
    else:
        desk = _desk(config)
        show_roster(console(), roster.claims, desk.language, desk.zone, trouble)
    if trouble:
        raise RefusedError(trouble)


@roster_app.command("send")
def _send(
    file: FileArgument,
    sites: Annotated[list[str], typer.Argument(metavar="SITE…", help="The sites whose nodes are to have it.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Leave a signed roster at the broker for all nodes of some sites, those that are offline now included."""
    token = _token(file)
    read_claims(token)
    try:
        topics = [roster_topic(site) for site in sites]
    except ValueError as error:
        raise UsageError(str(error)) from error
    publish_retained(load_desk(config), topics, token)
    for site in sites:
        print(f"{site}: {len(token)} B")


def publish_retained(desk: Desk, topics: list[str], payload: bytes) -> None:
    """On the broker when it returns; UplinkError says why it is not."""
    states: queue.SimpleQueue[LinkState] = queue.SimpleQueue()
    ignore: Callable[[Any], None] = lambda _: None  # noqa: E731
    clock = SystemClock()
    link = Link(broker_settings(desk, "roster"), clock, ignore, states.put)
    link.start()
    try:
        _until_online(states, clock)
        for token in [link.publish(topic, payload, retain=True) for topic in topics]:
            delivery = token.wait(SEND_S)
            if delivery is None or delivery.fate is not Fate.ACKED:
                why = delivery.reason if delivery else link.state.reason or "no answer"
                raise UplinkError(f"the broker did not take {token.topic}: {why}")
    finally:
        link.stop()


def _until_online(states: queue.SimpleQueue[LinkState], clock: Clock) -> None:
    deadline, reason = clock.monotonic() + SEND_S, "no answer"
    while (left := deadline - clock.monotonic()) > 0:
        try:
            state = states.get(timeout=left)
        except queue.Empty:
            break
        if state.phase is Phase.ONLINE:
            return
        reason = state.reason or reason
    raise UplinkError(f"the broker can't be reached: {reason}")


def _enter(draft: Path, what: str, row: dict[str, Any]) -> None:
    content = roster_json(_read_draft(draft))
    row = {name: value for name, value in row.items() if value not in (None, "")}
    rows = [one for one in content.get(what, []) if one["id"] != row["id"]]
    _write(draft, _draft(content | {what: [*rows, row]}))


def _times(start: str | None, until: str | None, config: Path) -> dict[str, int]:
    zone: ZoneInfo = _desk(config).zone
    now_us = SystemClock().utc_us()
    said = {"valid_from": start, "valid_until": until}
    return {name: parse_when(text, zone, now_us) // US for name, text in said.items() if text}


def _hours(text: str) -> dict[str, Any]:
    found = _HOURS.fullmatch(text.strip().lower())
    days: list[str] = []
    for part in found[1].split(",") if found else ():
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            found = None
            break
        start, length = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
        days += [DAYS[(start + step) % 7] for step in range(length)]
    if found is None:
        raise UsageError(f'--hours: "mon-fri 08:00-17:00" or "sat,sun 22:00-06:00", not "{text}"')
    return {"days": list(dict.fromkeys(days)), "from": found[2], "to": found[3]}


def _any(file: Path) -> Draft:
    raw = _token(file)
    return parse_draft(raw) if raw.lstrip().startswith(b"{") else read_claims(raw)


def _token(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            return source.read(MAX_ROSTER_BYTES + 2).rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def _read_draft(file: Path) -> Draft:
    return parse_draft(_token(file))


def _draft(content: dict[str, Any]) -> Draft:
    try:
        return Draft.model_validate(content)
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error


def _write(file: Path, draft: Draft) -> None:
    """Whole or not at all."""
    fresh = file.with_name(file.name + ".new")
    try:
        fresh.write_bytes(draft_json(draft))
        fresh.rename(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def _desk(config: Path) -> Desk:
    """The authority's computer may have no configuration at all."""
    return load_desk(config) if config.expanduser().exists() else Desk()
