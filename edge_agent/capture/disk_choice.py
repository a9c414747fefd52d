"""Which disk of the archive the next file goes to: the first, in the agent's order, that works (`docs/archive.md`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from edge_agent.buffer.disks import Disk, Disks
from edge_agent.capture.gate import Gate
from edge_agent.clock import Clock
from edge_agent.messages import DiskChanged

_log = logging.getLogger(__name__)
ASIDE_S, ASIDE_MOST_S = 5.0, 60.0
"""For so long a disk that failed is not tried; twice as long each time that it fails again."""
_PROBE = ".edge-agent-probe"


@dataclass(frozen=True, slots=True)
class _Aside:
    until: float
    again_s: float


class DiskChoice:
    """Shared by all cameras' writers.  `tell` hears which disks are set aside, and which are used again."""

    def __init__(self, disks: Disks, gate: Gate, clock: Clock, tell: Callable[[DiskChanged], None]) -> None:
        self._disks = disks
        self._gate = gate
        self._clock = clock
        self._tell = tell
        self._aside: dict[str, _Aside] = {}
        self._doubtful: dict[str, float] = {}
        """Disks that answered again but have taken no file since, and for how long they were set aside."""

    def usable(self) -> list[Disk]:
        """In the order in which to try them; an archive's only disk always is."""
        if len(self._disks) == 1:
            return list(self._disks)
        order = {disk: place for place, disk in enumerate(self._gate.disks)}
        working = [disk for disk in self._disks if self._works(disk)]
        return sorted(working, key=lambda disk: order.get(disk.id, len(order)))

    def others(self, disk: str) -> bool:
        """Whether another disk can be used."""
        return any(other.id != disk for other in self.usable())

    def failed(self, disk: str, words: str) -> None:
        """A disk refused: for a while files go to the others."""
        if len(self._disks) == 1:
            return
        before = self._aside.get(disk)
        lasted_s = before.again_s if before else self._doubtful.pop(disk, 0.0)
        again_s = min(max(2 * lasted_s, ASIDE_S), ASIDE_MOST_S)
        self._aside[disk] = _Aside(self._clock.monotonic() + again_s, again_s)
        if before is None:
            self._tell(DiskChanged(disk, words))

    def wrote(self, disk: str) -> None:
        """A disk took what it was given, down to the platter."""
        self._doubtful.pop(disk, None)

    def _works(self, disk: Disk) -> bool:
        aside = self._aside.get(disk.id)
        if aside is not None and self._clock.monotonic() < aside.until:
            return False
        words = disk.fault()
        if not words and aside is not None:
            words = _probed(disk)
        if words:
            self.failed(disk.id, words)
            return False
        if aside is not None:
            self._doubtful[disk.id] = aside.again_s
            del self._aside[disk.id]
            self._tell(DiskChanged(disk.id, ""))
        return True


def _probed(disk: Disk) -> str:
    """Why a disk that failed still takes nothing; a camera's pictures would be lost in finding out."""
    path = disk.folder / _PROBE
    try:
        with path.open("wb") as file:
            file.write(bytes(64 << 10))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{disk.folder} takes nothing: {error.strerror}"
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return ""
