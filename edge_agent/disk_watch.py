"""Whether all disks of the archive are well, as an alarm of the node (`docs/retention.md`, "Alarms of the node")."""

from __future__ import annotations

import logging

from edge_agent.buffer.disks import Disk, Disks
from edge_agent.buffer.index import Index
from edge_agent.node_alarms import NodeAlarms, Said

_log = logging.getLogger(__name__)
DISK_ALARM = "archive_disk"


class DiskWatch:
    """Knows which disks are not there, or fail while they are written; the agent's loop owns it."""

    def __init__(self, disks: Disks, index: Index, alarms: NodeAlarms) -> None:
        self._disks = disks
        self._index = index
        self._alarms = alarms
        self._absent = disks.absent() if len(disks) > 1 else {}
        self._failing: dict[str, str] = {}

    def heard(self, disk: str, words: str) -> None:
        """The recorder set a disk aside, or (without words) uses it again."""
        if words:
            self._failing[disk] = words
        else:
            self._failing.pop(disk, None)
        _log.warning("disk %s of the archive: %s", disk or "«first»", words or "works again")

    def forget(self) -> None:
        """The recorder that failed to write is gone; the next one sees for itself."""
        self._failing.clear()

    def look(self) -> list[Disk]:
        """Raise, renew or end the alarm; the disks that came back since the last look."""
        if len(self._disks) == 1:
            return []
        absent = self._disks.absent()
        back = [disk for disk in self._disks if disk.id in self._absent and disk.id not in absent]
        self._absent = absent
        wrong = {**self._failing, **absent}
        self._alarms.set(DISK_ALARM, self._said(wrong) if wrong else None)
        return back

    def _said(self, wrong: dict[str, str]) -> Said:
        held = self._index.held_on()
        uk, en = [], []
        for disk, words in sorted(wrong.items()):
            files, size = held.get(disk, (0, 0))
            uk.append(f"{disk or 'перший'} ({words}); на ньому записів: {files}, {size / 1e9:.1f} ГБ")
            en.append(f"{disk or 'the first'} ({words}); {files} recordings are on it, {size / 1e9:.1f} GB")
        return Said(
            f"Диск архіву не працює: {'; '.join(uk)}. Запис іде на інші диски",
            f"A disk of the archive does not work: {'; '.join(en)}. Recording goes on on the others",
        )
