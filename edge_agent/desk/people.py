"""A person's own keys: one that signs commands, one that opens clips, and the lines a node's configuration needs."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from edge_agent.config import PersonEntry
from edge_agent.errors import ConfigError, UsageError
from edge_agent.trust.age_keys import Identity, Recipient
from edge_agent.trust.age_passphrase import seal
from edge_agent.trust.keys import PublicKey, create_key, public_key_of, write_secret_file
from edge_agent.trust.policy import Role

SIGNING_FILE, AGE_FILE = "person.key", "person.age"


def person_entry(
    person_id: str, surname: str, name: str, patronymic: str, role: Role, public_key: PublicKey
) -> PersonEntry:
    """What a node will know of somebody; UsageError says what can't be."""
    for what, text in (("surname", surname), ("name", name), ("patronymic", patronymic)):
        if not text.isprintable() or len(text) > 100:
            raise UsageError(f"--{what}: printable letters in one line, at most 100")
    try:
        return PersonEntry(
            id=person_id, surname=surname, name=name, patronymic=patronymic, role=role, public_key=str(public_key)
        )
    except ValidationError as error:
        places = [f"--{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
        raise UsageError("; ".join(places)) from error


def toml_block(entry: PersonEntry) -> str:
    """The `[[person]]` table.  JSON's strings of printable signs are TOML's, too."""
    fields = {"id": entry.id, "surname": entry.surname, "name": entry.name, "patronymic": entry.patronymic}
    fields |= {"role": str(entry.role), "public_key": entry.public_key}
    return "\n".join(
        ["[[person]]", *(f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in fields.items())]
    )


def make_keys(folder: Path, passphrase: str | None) -> tuple[Ed25519PrivateKey, Recipient]:
    """Both keys as new files of mode 0600 in `folder`, both or neither, each locked where there is a passphrase.

    ConfigError when one exists already.
    """
    signing, opening = folder / SIGNING_FILE, folder / AGE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"the folder {folder} can't be made: {error.strerror}") from error
    if opening.exists():
        raise ConfigError(f"{opening} exists already, and a key is never overwritten: choose another folder")
    key = create_key(signing, passphrase)
    identity = Identity.generate()
    try:
        text = f"# public key: {identity.recipient}\n{identity}\n".encode()
        write_secret_file(opening, seal(text, passphrase) if passphrase else text)
    except ConfigError:
        signing.unlink(missing_ok=True)  # nobody has seen it yet
        raise
    return key, identity.recipient


def check_entry(person_id: str, surname: str, name: str, patronymic: str, role: Role) -> None:
    """UsageError before any key is made."""
    person_entry(person_id, surname, name, patronymic, role, public_key_of(Ed25519PrivateKey.generate()))
