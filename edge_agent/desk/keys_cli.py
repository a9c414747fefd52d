"""`edge-desk keys new | show` and `open`: a person's own keys, and opening what is sealed to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.desk.options import (
    ConfigOption,
    PassphraseOption,
)
from edge_agent.desk.output import (
    say_json,
)
from edge_agent.desk.people import AGE_FILE, SIGNING_FILE, check_entry, make_keys, person_entry, toml_block
from edge_agent.desk.settings import (
    DEFAULT_CONFIG,
    chosen_passphrase,
    identities_of,
    load_desk,
    signer,
    unlock,
    unlock_identities,
)
from edge_agent.terminal import JsonOption
from edge_agent.trust.age import open_file
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Role


def open_clip(
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


def new_keys(
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


def show_keys(
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
