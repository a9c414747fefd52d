"""Alarm pictures as files: one folder, names made of checked ids, bounded in number and in bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from edge_agent.errors import ArchiveError
from edge_agent.trust.age import Identity, NoIdentityError
from edge_agent.uplink.alarm_pictures import SEALED, moment_of, open_sealed

MAX_FILES = 500
MAX_BYTES = 200_000_000

_NAME = re.compile(r"[a-z0-9_-]+\.[a-z0-9_-]+\.[a-z0-9_-]+\.[A-Za-z0-9_-]+(\.[a-z0-9]{1,8})?\.jpg(\.age)?")
_JPEG = b"\xff\xd8\xff"
"""What this folder's own files are called; nothing else in it is ever deleted."""


class Pictures:
    """Keeps the newest pictures in `folder`, which is made with mode 0700; ArchiveError when it can't be used."""

    def __init__(
        self,
        folder: Path,
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_BYTES,
        identities: Sequence[Identity] = (),
    ) -> None:
        """`identities` open sealed pictures; one that they don't open is kept sealed."""
        self._folder, self._max_files, self._max_bytes = folder, max_files, max_bytes
        self._identities = identities
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = [(path.stat(), path.name) for path in folder.iterdir() if _NAME.fullmatch(path.name)]
        except OSError as error:
            raise ArchiveError(f"the pictures' folder {folder} can't be used: {error.strerror}") from error
        self._sizes = {name: stat.st_size for stat, name in sorted(found, key=lambda entry: entry[0].st_mtime_ns)}

    def save(self, site: str, node: str, camera: str, alarm_id: str, picture: bytes) -> Path:
        """Put one picture in the place of an earlier one of the same moment; the oldest go when there are too many."""
        picture, ending = self._opened(picture, alarm_id)
        name = f"{site}.{node}.{camera}.{alarm_id}{ending}"
        if not _NAME.fullmatch(name):
            raise ValueError(f"no name for a picture: {name[:80]!r}")
        path = self._folder / name
        part = self._folder / f".{secrets.token_hex(8)}.part"
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(picture)
            part.rename(path)
        except OSError as error:
            raise ArchiveError(f"the picture {path} can't be saved: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        self._sizes.pop(name, None)
        self._sizes[name] = len(picture)
        self._prune()
        return path

    def _opened(self, picture: bytes, alarm_id: str) -> tuple[bytes, str]:
        """A sealed one as far as it can be, and how its file's name ends."""
        if picture.startswith(SEALED):
            try:
                opened = open_sealed(picture, self._identities)
            except NoIdentityError:
                return picture, f".{hashlib.sha256(picture).hexdigest()[:8]}.jpg.age"
            if not opened.startswith(_JPEG):
                raise ArchiveError("a sealed picture that is no JPEG")
            picture = opened
        moment = moment_of(picture, alarm_id)
        return picture, f".{moment}.jpg" if moment else ".jpg"

    def _prune(self) -> None:
        while len(self._sizes) > self._max_files or sum(self._sizes.values()) > self._max_bytes:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            with contextlib.suppress(OSError):
                (self._folder / oldest).unlink()
