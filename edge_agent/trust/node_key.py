"""The node's own Ed25519 key, under which it signs its journal: `keys/node.sign` in the data folder."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import ConfigError
from edge_agent.trust.keys import create_key, load_key, public_key_of
from edge_agent.trust.note import NoteKey

_log = logging.getLogger(__name__)


def node_key_path(data: Path) -> Path:
    return data / "keys" / "node.sign"


def node_signing_key(data: Path, *, signed_before: bool = False) -> Ed25519PrivateKey:
    """The key, made when there is none yet; ConfigError when it is open to others, is no key, or can't be made.

    `signed_before`: it has signed something already.  Then a key that is gone or damaged is a loss, which must not end
    the recording: a key is lent that fits nothing, so that nothing more is signed until the right one is back.
    """
    path = node_key_path(data)
    try:
        if path.exists():
            return load_key(path)
        if signed_before:
            raise ConfigError(f"the node's key {path} is gone, but it has signed the journal")
    except ConfigError as error:
        if not signed_before:
            raise
        _log.critical("%s: nothing more is signed; bring the key back (docs/journal.md)", error)
        return Ed25519PrivateKey.generate()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder of the node's key {path} can't be made: {error.strerror}") from error
    key = create_key(path)
    _log.info("made the node's signing key %s, public key %s", path, public_key_of(key))
    return key


def journal_key(origin: str, key: Ed25519PrivateKey) -> NoteKey:
    """What others have to know to believe this node's checkpoints."""
    return NoteKey(origin, public_key_of(key))
