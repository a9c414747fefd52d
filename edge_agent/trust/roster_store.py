"""Keeps the node's roster: one file, always replaced whole, never by an older version (`docs/roster.md`).

The highest version is remembered beside it, so that a damaged file does not open the way back.  Several processes of
one node may use it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.trust.keys import PublicKey
from edge_agent.trust.roster import MAX_ROSTER_BYTES, Roster, RosterRefusedError, newer, verify

FILE_NAME, FLOOR_NAME = "roster.jws", "roster.version"


class RosterStore:
    """In the node's data folder, for the authority that its configuration pins."""

    def __init__(self, folder: Path, authority: PublicKey) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._authority = authority
        self._seen: tuple[int, int, int] | None = None

    def load(self) -> Roster | None:
        """The installed one, None before the first; RosterRefusedError when the file is none of this authority's.

        ArchiveError when it can't be read.
        """
        self._seen = self._stamp()
        try:
            with self._path.open("rb") as file:
                token = file.read(MAX_ROSTER_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveError(f"cannot read the roster {self._path}: {error.strerror}") from error
        return verify(token, self._authority)

    def changed(self) -> bool:
        """Whether somebody has replaced the file since this one read or wrote it."""
        return self._stamp() != self._seen

    def install(self, token: bytes) -> Roster | None:
        """Keep a roster, on the disk at return; None when it is the installed one.

        RosterRefusedError when it is not the authority's, or older than the installed one.  A file that is damaged, or
        of an authority that is no longer pinned, is replaced.
        """
        offered = verify(token, self._authority)
        with self._alone():
            try:
                current = self.load()
            except RosterRefusedError:
                current = None
            if not newer(current, offered):
                return None
            if offered.version < (floor := self._floor()):
                raise RosterRefusedError(f"roster {offered.version} is older than roster {floor}, which was here")
            self._replace(FLOOR_NAME, f"{self._authority} {offered.version}\n".encode())
            self._replace(FILE_NAME, token)
            self._seen = self._stamp()
        return offered

    def _floor(self) -> int:
        """The highest version of this authority that was ever here, as far as that can be read."""
        try:
            authority, _, version = (self._folder / FLOOR_NAME).read_text("ascii")[:200].strip().partition(" ")
            return int(version) if authority == str(self._authority) else 0
        except (OSError, ValueError):
            return 0

    def _replace(self, name: str, content: bytes) -> None:
        path = self._folder / name
        fresh = path.with_name(name + ".new")
        try:
            with fresh.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                if os.geteuid() == 0:  # root installs it for the service's user
                    owner = self._folder.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
            fsync_folder(self._folder)
        except OSError as error:
            raise ArchiveError(f"cannot write the roster's file {path}: {error.strerror}") from error

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ArchiveError(f"the data folder {self._folder} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
