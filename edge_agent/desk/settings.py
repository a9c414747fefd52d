"""The desk's own configuration: which broker, who signs with which key, in which language (`docs/desk.md`)."""

from __future__ import annotations

import getpass
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, model_validator

from edge_agent.config import Language, Mqtt, Slug, ZoneName, witness_key
from edge_agent.errors import ConfigError, UsageError
from edge_agent.toml_file import PathSection, load_toml, read_secret, resolve_path
from edge_agent.trust.age_keys import Identity, parse_identities, read_secret_file
from edge_agent.trust.age_passphrase import MAGIC, unseal
from edge_agent.trust.checkpoint import origin_of
from edge_agent.trust.keys import load_key
from edge_agent.trust.note import SignatureKind, parse_note_key
from edge_agent.uplink.link import LinkSettings, settings_of
from edge_agent.uplink.topics import Topics


def _verifier_key(text: str) -> str:
    key = parse_note_key(text)
    parts = key.name.split("/")
    if key.kind is not SignatureKind.NOTE or len(parts) != 3 or parts[0] != origin_of("").rstrip("/"):
        raise ValueError("not the key of a node: edge-agent/<site>/<node>+…")
    Topics(parts[1], parts[2])
    return text


DEFAULT_CONFIG = Path("~/.config/edge-desk.toml")
VerifierKey = Annotated[str, AfterValidator(_verifier_key)]
"""`edge-agent/<site>/<node>+…`, as `edge-agent journal checkpoint --key` prints it."""
ANSWER_SESSION_S = 900
"""An answer that comes while the connection is broken is kept by the broker for so long."""


class WitnessSection(PathSection):
    """Of a desk that cosigns nodes' checkpoints."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s+]+$")]
    """Of the key, as all who check a cosignature will read it."""
    key_file: str
    """Ed25519, mode 0600, without a passphrase: a witness works alone."""
    path: str
    """The folder of what was cosigned."""


class Desk(PathSection):
    """The whole file; each command asks for what it needs of it."""

    mqtt: Mqtt | None = None
    person: Slug | None = None
    key_file: str | None = None
    identity_file: str | None = None
    node_keys: tuple[VerifierKey, ...] = ()
    """Of nodes whose key was compared by people; those of others are believed as they first come."""
    state_dir: str = "~/.local/state/edge-desk"
    """Where the desk remembers nodes' keys and checkpoints."""
    witnesses: tuple[Annotated[str, AfterValidator(witness_key)], ...] = Field((), max_length=64)
    """Verifier keys of witnesses whose word counts in an audit."""
    witness: WitnessSection | None = None
    site: Slug | None = None
    language: Language = "uk"
    timezone: ZoneName = "Europe/Kyiv"

    @model_validator(mode="after")
    def _consistent(self) -> Desk:
        if (self.person is None) != (self.key_file is None):
            raise ValueError("person and key_file: both or neither")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def resolved(self, folder: Path) -> Any:
        """With absolute paths, those of its `[mqtt]` included."""
        changed = super().resolved(folder).model_copy(update={"state_dir": resolve_path(self.state_dir, folder)})
        parts = {name: part.resolved(folder) for name in ("mqtt", "witness") if (part := getattr(self, name))}
        return changed.model_copy(update=parts)


def load_desk(path: Path) -> Desk:
    """ConfigFileError lists all that is wrong."""
    return load_toml(Desk, path.expanduser(), lambda desk, folder: desk.resolved(folder))


def node_named(name: str, site: str | None) -> Topics:
    """The node that `site/node`, or `node` of the desk's own site, means; UsageError when none can be."""
    given, slash, node = name.rpartition("/")
    if not slash and site is None:
        raise UsageError(f'"{name}": say SITE/NODE, or set `site` in the desk\'s configuration')
    try:
        return Topics(given if slash else str(site), node)
    except ValueError as error:
        raise UsageError(str(error)) from error


def broker_settings(desk: Desk, purpose: str, *, session_s: int = 0) -> LinkSettings:
    """How to reach the broker, under a client id of this run's own, for several desks may work at once."""
    if desk.mqtt is None:
        raise ConfigError("the desk's configuration names no broker: add [mqtt], or work at the node with --socket")
    client_id = f"edge-desk-{purpose}-{secrets.token_hex(6)}"
    return settings_of(desk.mqtt, client_id, connect_timeout_s=10.0, longest_delay_s=10.0, session_s=session_s)


def signer(desk: Desk, passphrase_file: Path | None) -> tuple[str, Ed25519PrivateKey]:
    """Who signs and with what; the passphrase is read from its file or asked for on the terminal."""
    if desk.person is None or desk.key_file is None:
        raise ConfigError("the desk's configuration names nobody who signs: add person and key_file")
    return desk.person, unlock(Path(desk.key_file), passphrase_file)


def unlock(path: Path, passphrase_file: Path | None) -> Ed25519PrivateKey:
    """A person's key; a passphrase is asked for only when the key is locked."""
    if b"BEGIN ENCRYPTED PRIVATE KEY" not in read_secret_file(path):
        return load_key(path)
    return load_key(path, read_passphrase(f"Passphrase of {path}: ", passphrase_file))


def read_passphrase(prompt: str, file: Path | None) -> str:
    """From the file, else from the terminal; ConfigError where there is neither."""
    if file is not None:
        return read_secret(str(file))
    if not sys.stdin.isatty():
        raise ConfigError("a passphrase is needed and there is no terminal to ask on: use --passphrase-file")
    return getpass.getpass(prompt)


def chosen_passphrase(file: Path | None) -> str:
    """For a new key: from the file, or typed twice; ConfigError when that can't be."""
    if file is not None:
        return read_passphrase("", file)
    first = read_passphrase("Passphrase for the new key: ", None)
    if not first:
        raise ConfigError("an empty passphrase protects nothing: choose one, or say --no-passphrase")
    if read_passphrase("The same again: ", None) != first:
        raise ConfigError("the two passphrases differ: nothing was made, try again")
    return first


def identities_of(desk: Desk, passphrase_file: Path | None = None) -> list[Identity]:
    """Who opens clips."""
    if desk.identity_file is None:
        raise ConfigError("the desk's configuration names no age key: add identity_file, or say --identity FILE")
    return unlock_identities(Path(desk.identity_file), passphrase_file)


def openers_of(desk: Desk, passphrase_file: Path | None) -> list[Identity]:
    """Who opens what comes by itself: nobody where there is no age key, or nobody to unlock it."""
    if desk.identity_file is None:
        return []
    locked = read_secret_file(Path(desk.identity_file)).startswith(MAGIC)
    if locked and passphrase_file is None and not sys.stdin.isatty():
        return []
    return identities_of(desk, passphrase_file)


def unlock_identities(path: Path, passphrase_file: Path | None) -> list[Identity]:
    """A person's age keys; a passphrase is asked for only when they are locked."""
    content = read_secret_file(path)
    if content.startswith(MAGIC):
        content = unseal(content, read_passphrase(f"Passphrase of {path}: ", passphrase_file))
    return parse_identities(content, path)
