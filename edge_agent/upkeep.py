"""What the archive's promise asks of the agent every now and then (`docs/retention.md`).

The clock is looked at, what is due goes and is journalled, the recorder is told to wait for room, hours are sealed, and
alarms say what is wrong with any of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from edge_agent.archive_alarms import ArchiveAlarms, PromiseAlarm
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.hours import journal_hours, roll_up
from edge_agent.buffer.index import Index
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.promise import DAY_US, OnFull, Rule
from edge_agent.buffer.retention import Deleter, Swept
from edge_agent.clock import Clock
from edge_agent.clock_watch import ClockWatch
from edge_agent.config import Config
from edge_agent.disk_watch import DiskWatch
from edge_agent.errors import EdgeError
from edge_agent.forecaster import Forecaster
from edge_agent.notes import note
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.uplink.hold_orders import restore
from edge_agent.workers import Workers

_log = logging.getLogger(__name__)
WAIT = 'the archive is full and on_full = "stop": recording waits for room'
LEISURE_S = 0.08
"""Between two slices of what can wait."""
SLICE_S = 0.02


class Upkeep:
    """Owned by the agent's main thread, which calls each of these when it is time to."""

    def __init__(
        self,
        index: Index,
        ledger: Ledger,
        deleter: Deleter,
        holds: Holds,
        documents: Documents,
        journal: Journal,
        clock_watch: ClockWatch,
        workers: Workers,
        disk_watch: DiskWatch,
        archive_alarms: ArchiveAlarms,
        clock: Clock,
    ) -> None:
        self._index, self._ledger, self._deleter = index, ledger, deleter
        self._holds, self._documents, self._journal = holds, documents, journal
        self._clock_watch, self._archive_alarms, self._clock = clock_watch, archive_alarms, clock
        self._workers, self._disk_watch = workers, disk_watch
        self._swept = Swept()
        self.more_to_sweep = False
        """There was not time for all that is due; `sweep` again soon."""
        self._rolling: Iterator[object] = iter(())
        self.auditing = True
        """The archive is still being compared with its index."""
        self._leisure_at = 0.0

    def keep_the_promise(self) -> None:
        """Delete what is due and may be deleted."""
        self.look_at_the_clock()
        self._archive_alarms.look_at_the_clock(self._clock_watch.distrusted_s, self._clock_watch.reason)
        if not self._holds.known:
            restore_holds(self._holds, self._documents, self._journal)
        try:
            self.sweep()
        finally:
            self.journal_swept()
            self.choose_disk()
            self._archive_alarms.look(self._deleter.standing(clock_trusted=self._clock_watch.trusted))

    def look_at_the_clock(self) -> None:
        self._clock_watch.look()
        self._ledger.clock_trusted = self._clock_watch.trusted

    def sweep(self) -> None:
        self.more_to_sweep = False
        swept = self._deleter.sweep(clock_trusted=self._clock_watch.trusted)
        self._swept += swept
        self.more_to_sweep = swept.more
        self._ledger.settle()

    def journal_swept(self) -> None:
        """What went since the last time, in one entry; each recording has its own receipt."""
        swept, self._swept = self._swept, Swept()
        if swept.by_age or swept.by_space:
            reason = f"{swept.by_age} recordings by age, {swept.by_space} for want of space"
            args: dict[str, Any] = {"by_age": swept.by_age, "by_space": swept.by_space}
            args |= {"freed_bytes": swept.freed_bytes, "holds": list(swept.holds)}
            note(self._journal, JournalEntry(JournalKind.DELETION, Outcome.DONE, reason=reason, args=args))

    def look_for_room(self) -> None:
        """With `on_full = "stop"`: tell the recorder when to wait and when to go on."""
        wait = self._deleter.must_wait()
        if wait != self._workers.waiting:
            _log.warning("recording %s", "waits: no room" if wait else "goes on: there is room again")
            self._workers.wait(WAIT if wait else "")

    def look_at_disks(self) -> None:
        """With several disks: which of them are there."""
        for disk in self._disk_watch.look():
            _log.warning("%s of the archive is there again", disk.name)
            self._ledger.disk_came(disk)
            self.auditing = True
            self.choose_disk()

    def choose_disk(self) -> None:
        """Tell the recorder which disk is to be used first."""
        self._workers.use_disks(self._deleter.in_turn(clock_trusted=self._clock_watch.trusted))

    def disk_changed(self, disk: str, words: str) -> None:
        """The recorder set a disk aside, or (without words) uses it again."""
        self._disk_watch.heard(disk, words)
        self.look_at_disks()

    def recorder_ended(self) -> None:
        """Its successor sees for itself which disks fail."""
        self._disk_watch.forget()

    def look_ahead(self, forecaster: Forecaster, alarm: PromiseAlarm) -> None:
        if forecaster.turn(clock_trusted=self._clock_watch.trusted):
            alarm.look(forecaster.latest)

    def seal_hours(self) -> None:
        journal_hours(self._index, self._journal, self._clock.utc_us())

    def roll_up(self) -> None:
        self._rolling = roll_up(self._index, self._clock.utc_us())

    def use_leisure(self) -> None:
        """A short slice of what can wait, when nobody waits for the loop."""
        now = self._clock.monotonic()
        if now - self._leisure_at < LEISURE_S:
            return
        self._leisure_at = now
        try:
            if self.auditing:
                self.auditing = False  # an error ends it
                self.auditing = self._ledger.audit(SLICE_S)
            else:
                next(self._rolling, None)
        except EdgeError as error:
            _log.error("%s", error)


def rule_of(config: Config) -> Rule:
    """What the configuration promises."""
    keep = config.retention
    return Rule(
        keep_us=round(keep.days * DAY_US),
        keep_us_of={c.camera_id: round(c.keep_days * DAY_US) for c in config.camera if c.keep_days is not None},
        max_size=keep.max_size,
        min_free=keep.min_free,
        min_size=keep.min_size,
        others_a_day=keep.others_a_day,
        on_full=OnFull(keep.on_full),
    )


def restore_holds(holds: Holds, documents: Documents, journal: Journal) -> None:
    """Documents that are lost lose no hold: the journal knows every order."""
    if not documents.fresh:
        return
    try:
        found = restore(holds, journal.read())
        documents.settle()
    except EdgeError as error:
        _log.critical("the holds can't be known, so nothing is deleted: %s", error)
        return
    if found:
        _log.error("%d holds were lost with the documents and made again from the journal", len(found))
