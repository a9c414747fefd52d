"""Releases of clips: one at a time, remembered on disk until they are done or have failed for good.

The agent's thread keeps the queue; the work is the exporter's, a child of low priority.  What an exporter cut and
sealed stays for the next try, so that a cloud that is away costs no second cut.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.library import SETTLE_S
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError, EdgeError
from edge_agent.messages import ExportStep
from edge_agent.model import PersonId
from edge_agent.trust.command import ExportArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.policy import Access, Action

_log = logging.getLogger(__name__)
TABLE = "export"
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1800.0)
"""Between the tries of a release whose target could not be reached; after them it has failed."""


@dataclass(frozen=True, slots=True)
class Release:
    """One clip to be released, as it stands in the documents."""

    id: str
    """The command's nonce."""
    args: dict[str, Any]
    who: str
    person_id: PersonId
    access: Access
    tries: int = 0

    @property
    def export(self) -> ExportArgs:
        return ExportArgs.model_validate(self.args)


@dataclass(frozen=True, slots=True)
class ReleaseNews:
    """What the asker should hear."""

    release: Release
    step: ExportStep


@cache
def _adapter() -> TypeAdapter[Release]:
    return TypeAdapter(Release)


class Exports:
    """The queue of releases; owned by the agent's main thread."""

    def __init__(
        self,
        documents: Documents,
        staging: Path,
        journal: Journal,
        clock: Clock,
        start: Callable[[Release], None],
        tell: Callable[[ReleaseNews], None],
    ) -> None:
        self._documents = documents
        self._staging = staging
        self._journal = journal
        self._clock = clock
        self._start = start
        self._tell = tell
        self._waiting = [release for document in documents.all(TABLE) if (release := _parsed(document))]
        self._running: Release | None = None
        self._not_before: dict[str, float] = {}
        self._last_step: ExportStep | None = None
        self._forget_strays()

    @property
    def waiting(self) -> int:
        return len(self._waiting) + (self._running is not None)

    def add(self, admitted: Admitted, args: ExportArgs) -> Release:
        """Remember a release; it begins when it is its turn.  ArchiveError when it can't be remembered."""
        person = admitted.person
        release = Release(
            admitted.command.nonce, args.model_dump(), person.full_name, person.person_id, admitted.access
        )
        self._documents.put(TABLE, _adapter().dump_python(release, mode="json"))
        self._waiting.append(release)
        # Footage of just now is still on its way to the disk.
        early_s = (args.end_us - self._clock.utc_us()) / US + SETTLE_S
        if early_s > 0:
            self._not_before[release.id] = self._clock.monotonic() + early_s
        return release

    def look(self) -> None:
        """Begin the next release when there is one and none is running."""
        if self._running is not None:
            return
        now = self._clock.monotonic()
        due = next((release for release in self._waiting if self._not_before.get(release.id, now) <= now), None)
        if due is not None:
            self._waiting.remove(due)
            self._running, self._last_step = due, None
            try:
                self._start(due)
            except (EdgeError, OSError) as error:
                self._last_step = ExportStep(due.id, "failed", error=f"it could not be begun: {error}", again=True)
                self.ended(1)

    def stepped(self, step: ExportStep) -> None:
        """The exporter said something."""
        if self._running is None or step.job_id != self._running.id:
            return
        self._last_step = step
        if step.state == "running":
            self._tell(ReleaseNews(self._running, step))

    def ended(self, code: int) -> None:
        """The exporter is gone; what it said last decides, and one that said nothing is tried again."""
        release, step = self._running, self._last_step
        self._running = self._last_step = None
        if release is None:
            return
        if step is None or step.state == "running":
            step = ExportStep(release.id, "failed", error=f"the exporter ended unexpectedly ({code})", again=True)
        if step.state == "failed" and step.again and release.tries < len(PAUSES_S):
            pause = PAUSES_S[release.tries]
            _log.warning("release %s: %s; again in %.0f s", release.id, step.error, pause)
            release = dataclasses.replace(release, tries=release.tries + 1)
            self._documents.put(TABLE, _adapter().dump_python(release, mode="json"))
            self._waiting.append(release)
            self._not_before[release.id] = self._clock.monotonic() + pause
            waiting = dataclasses.replace(step, state="running", error=f"{step.error}; trying again in {pause:.0f} s")
            self._tell(ReleaseNews(release, waiting))
            return
        self._finish(release, step)

    def _finish(self, release: Release, step: ExportStep) -> None:
        done = step.state == "done"
        result = step.result or {}
        entry = JournalEntry(
            JournalKind.ACCESS,
            Outcome.DONE if done else Outcome.FAILED,
            who=release.who,
            person_id=release.person_id,
            action=Action.EXPORT,
            access=release.access,
            reason=step.error or f"released to {result.get('location')}, sha256 {result.get('sha256')}",
            args=release.args,
            ref=release.id,
        )
        try:
            self._journal.append(entry)
        except ArchiveError as error:
            _log.critical("the end of release %s could not be journalled: %s", release.id, error)
        self._not_before.pop(release.id, None)
        self._documents.remove(TABLE, release.id)
        for left in self._staging.glob(f"{release.id}.*"):
            left.unlink(missing_ok=True)
        self._tell(ReleaseNews(release, step))

    def _forget_strays(self) -> None:
        known = {release.id for release in self._waiting}
        for stray in self._staging.glob("*.*"):
            if stray.name.partition(".")[0] not in known:
                stray.unlink(missing_ok=True)


def _parsed(document: dict[str, Any]) -> Release | None:
    try:
        release = _adapter().validate_python(document)
        release.export  # noqa: B018 - parsing it is what checks it
    except ValidationError as error:
        _log.error("a release in the documents can't be understood and is left alone: %s", error)
        return None
    return release
