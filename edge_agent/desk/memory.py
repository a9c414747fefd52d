"""What a desk remembers of the nodes it asked: whose key a node's answers are signed with, and the newest checkpoint of
its journal that was verified (`docs/desk.md`, «What the desk remembers»).

Small files that people can read, copy and set aside: `<site>/<node>.key` (a C2SP verifier key),
`<site>/<node>.checkpoint` (a signed note), and what contradicts them, as evidence.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_agent.desk.settings import Desk
from edge_agent.errors import ConfigError
from edge_agent.files import fsync_folder, replace_durably
from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.checkpoint import Checkpoint, open_checkpoint, origin_of, parse_checkpoint
from edge_agent.trust.keys import PublicKey
from edge_agent.trust.note import MAX_NOTE_BYTES, BadNoteError, Note, NoteKey, parse_note, parse_note_key
from edge_agent.uplink.topics import Topics

_KEY, _CHECKPOINT = ".key", ".checkpoint"


class Memory:
    """One folder, which several desks of one person may use at once; ConfigError where it can't be read or written."""

    def __init__(self, folder: Path, given: Iterable[NoteKey] = ()) -> None:
        """`given`: keys that people have compared at the node; they are believed whatever the folder says."""
        self._folder = folder
        self._given = {key.name: key for key in given}

    def key(self, node: Topics) -> NoteKey | None:
        """Whose signature is that node's; None when it never answered here."""
        given = self._given.get(_origin(node))
        if given is not None:
            return given
        path = self.key_path(node)
        content = self._read(path)
        if content is None:
            return None
        try:
            key = parse_note_key(content.decode("utf-8", "replace").strip())
        except BadKeyError as error:
            raise ConfigError(f"{path}: {error}; set the file aside and compare the node's key anew") from error
        if key.name != _origin(node):
            raise ConfigError(f"{path} is the key of {key.name[:80]}, not of {_origin(node)}: set the file aside")
        return key

    def pin(self, node: Topics, public: PublicKey) -> NoteKey:
        """Believe this key from now on; the one that is believed already where there is one."""
        with self._locked(node):
            known = self.key(node)
            if known is None:
                known = NoteKey(_origin(node), public)
                self._replace(self.key_path(node), f"{known}\n")
            return known

    def checkpoint(self, node: Topics) -> tuple[Note, Checkpoint] | None:
        """The newest that was verified; None before the first.  ConfigError when the file holds something else."""
        key, path = self.key(node), self.checkpoint_path(node)
        content = self._read(path)
        if content is None:
            return None
        try:
            note = parse_note(content)
            # It was verified when it was kept.  Under a key that the node had before, it still binds the node.
            signed = key is not None and any(one.is_by(key) for one in note.signatures)
            checkpoint = open_checkpoint(note, key) if key and signed else parse_checkpoint(note.text)
        except BadNoteError as error:
            raise ConfigError(f"{path} is damaged: {error}; set the file aside, and see what became of it") from error
        if checkpoint.origin != _origin(node):
            raise ConfigError(
                f"{path} is a checkpoint of {checkpoint.origin[:80]}, not of {_origin(node)}: set it aside"
            )
        return note, checkpoint

    def keep(self, node: Topics, note: Note, checkpoint: Checkpoint) -> None:
        """A checkpoint that was verified to continue the one kept; never goes back to a shorter one."""
        with self._locked(node):
            kept = self.checkpoint(node)
            if kept is None or kept[1].size < checkpoint.size:
                self._replace(self.checkpoint_path(node), str(note))

    def set_evidence(self, node: Topics, note: Note, verdict: str) -> Path:
        """Keep a checkpoint that contradicts the one kept, beside it; each such once."""
        size = note.text.split("\n")[1]
        path = self._path(node, f".{verdict}-{size}")
        with self._locked(node):
            if not path.exists():
                self._replace(path, str(note))
        return path

    def nodes(self) -> list[Topics]:
        """Those that are remembered or whose key was given."""
        named = {
            (path.parent.name, path.stem) for end in (_KEY, _CHECKPOINT) for path in self._folder.glob(f"*/*{end}")
        }
        named |= {(site, node) for _, site, node in (name.split("/") for name in self._given)}
        found = []
        for site, node in sorted(named):
            with suppress(ValueError):  # a file that somebody else put there
                found.append(Topics(site, node))
        return found

    def key_path(self, node: Topics) -> Path:
        return self._path(node, _KEY)

    def checkpoint_path(self, node: Topics) -> Path:
        return self._path(node, _CHECKPOINT)

    def _path(self, node: Topics, ending: str) -> Path:
        return self._folder / node.site / f"{node.node}{ending}"

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror}") from error

    def _replace(self, path: Path, content: str) -> None:
        try:
            replace_durably(path, content.encode())
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}") from error

    @contextmanager
    def _locked(self, node: Topics) -> Iterator[None]:
        folder = self._folder / node.site
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                fsync_folder(folder.parent)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"the folder {folder} of what the desk remembers: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def memory_of(desk: Desk) -> Memory:
    return Memory(Path(desk.state_dir), [parse_note_key(text) for text in desk.node_keys])


def _origin(node: Topics) -> str:
    return origin_of(f"{node.site}/{node.node}")
