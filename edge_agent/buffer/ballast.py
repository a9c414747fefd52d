"""Room that is kept for databases: on a disk that others filled, deleting needs some bytes first."""

from __future__ import annotations

import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)


class Ballast:
    """Some bytes in a file; whoever may only free room by writing first (a database) takes them when there are none."""

    def __init__(self, path: Path, size: int = 4 << 20) -> None:
        self._path = path
        self._size = size

    @property
    def missing(self) -> int:
        """Bytes that are to be kept and are not."""
        return 0 if self._path.exists() else self._size

    def take_on(self, free: int) -> None:
        """Keep the room when there is that much."""
        if not self.missing or free < self._size:
            return
        try:
            with self._path.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError as error:
            _log.warning("no room could be kept in %s: %s", self._path.name, error.strerror)
            self.drop()

    def drop(self) -> bool:
        """Give the room to whoever writes next; false when there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
