"""The node's age key file: recordings are sealed to the first identity, those below it are kept to read older ones
(`docs/sealing.md`, «Keys»)."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import ConfigError, NotFoundError, UsageError
from edge_agent.files import fsync_folder
from edge_agent.trust.age_keys import Identity, Recipient, load_identities, read_secret_file
from edge_agent.trust.keys import write_secret_file


def key_text(identity: Identity, made: str) -> str:
    """As `age-keygen` writes it; `made` says when and for whom."""
    return f"# made {made}\n# public key: {identity.recipient}\n{identity}\n"


def put_first(path: Path, identity: Identity, made: str) -> None:
    """Put an identity before those that are there; ConfigError, and the file as it was, when that can't be."""
    load_identities(path)
    _replace(path, key_text(identity, made).encode() + read_secret_file(path))


def old_identity(path: Path, recipient: Recipient) -> Identity:
    """One that is kept to read only; NotFoundError when there is none such, UsageError when it is the present one."""
    present, *old = load_identities(path)
    if present.recipient == recipient:
        raise UsageError(f"{recipient} is the node's present key: rotate first, and restart the agent")
    found = next((identity for identity in old if identity.recipient == recipient), None)
    if found is None:
        raise NotFoundError(f"{path} holds no key {recipient}")
    return found


def drop(path: Path, recipient: Recipient) -> None:
    """Take an old identity out of the file, with the comments right above it."""
    secret = str(old_identity(path, recipient))
    kept: list[str] = []
    for line in read_secret_file(path).decode().splitlines():
        if line.strip() != secret:
            kept.append(line)
            continue
        while kept and kept[-1].startswith("#"):
            kept.pop()
    _replace(path, "".join(f"{line}\n" for line in kept).encode())


def _replace(path: Path, content: bytes) -> None:
    """In one step, with the owner that the file has."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        status = path.stat()
        write_secret_file(fresh, content)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(fresh, status.st_uid, status.st_gid)
        fresh.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be changed: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
