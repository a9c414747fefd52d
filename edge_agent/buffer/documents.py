"""Small documents of people (export jobs today) in TinyDB, over a file that is always replaced whole."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinydb import Query, TinyDB
from tinydb.storages import Storage

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.when import from_us

_log = logging.getLogger(__name__)
UNSETTLED = "unsettled"
"""A table that stands in the file until what a lost file held was made good."""


class AtomicJsonStorage(Storage):
    """write → fsync → rename → fsync of the folder: a crash leaves the old file or the new one, never a mixture."""

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._read_only = read_only
        self.fresh = True
        """There was no file, or a damaged one, and nobody has made good what it may have held."""
        self._content: dict[str, dict[str, Any]] | None = self._load()

    def read(self) -> dict[str, dict[str, Any]] | None:
        return self._content

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        if self._read_only:
            raise ArchiveError(f"the documents {self._path} are the agent's to write")
        data = {table: content for table, content in data.items() if table != UNSETTLED}
        text = json.dumps(data | {UNSETTLED: {}} if self.fresh else data, ensure_ascii=False, indent=1).encode()
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            with fresh.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self._path)
            fsync_folder(self._path.parent)
        except OSError as error:
            self._content = self._load()
            raise ArchiveError(f"cannot write the documents {self._path}: {error.strerror}") from error
        self._content = json.loads(text)

    def _load(self) -> dict[str, dict[str, Any]] | None:
        try:
            content = json.loads(self._path.read_bytes())
            if not isinstance(content, dict):
                raise ValueError("not a JSON object")
        except FileNotFoundError:
            return None
        except ValueError as error:
            if self._read_only:
                raise ArchiveError(f"the documents {self._path} are damaged: {error}") from error
            aside = self._path.with_name(f"{self._path.name}.damaged-{from_us(self._clock.utc_us()):%Y%m%dT%H%M%SZ}")
            _log.error("%s is damaged (%s): set aside as %s, a new one is begun", self._path, error, aside.name)
            self._path.rename(aside)
            return None
        except OSError as error:
            raise ArchiveError(f"cannot read the documents {self._path}: {error.strerror}") from error
        self.fresh = UNSETTLED in content
        return content


class Documents:
    """Tables of JSON objects, each with an `id` of its own; one thread owns it."""

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        """`read_only` reads beside the agent; ArchiveError for a damaged file then, which is else set aside."""
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make: Callable[..., Storage] = AtomicJsonStorage
        self._db = TinyDB(path, clock, read_only=read_only, storage=make)

    @property
    def fresh(self) -> bool:
        """Opened without a sound file: what was in it before is not known here."""
        storage = self._db.storage
        assert isinstance(storage, AtomicJsonStorage)
        return storage.fresh

    def settle(self) -> None:
        """What a lost file held was made good, or there never was one: from now on there is."""
        storage = self._db.storage
        assert isinstance(storage, AtomicJsonStorage)
        before, storage.fresh = storage.fresh, False
        try:
            storage.write(storage.read() or {})
        except ArchiveError:
            storage.fresh = before
            raise

    def put(self, table: str, document: dict[str, Any]) -> None:
        """Enter or replace the document with this `id`; durable when it returns."""
        self._db.table(table, cache_size=0).upsert(document, Query().id == document["id"])

    def get(self, table: str, document_id: str) -> dict[str, Any] | None:
        found = self._db.table(table, cache_size=0).get(Query().id == document_id)
        return dict(found) if isinstance(found, dict) else None

    def all(self, table: str) -> list[dict[str, Any]]:
        return [dict(document) for document in self._db.table(table, cache_size=0).all()]

    def remove(self, table: str, document_id: str) -> None:
        self._db.table(table, cache_size=0).remove(Query().id == document_id)
