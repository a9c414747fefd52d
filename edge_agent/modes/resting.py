"""Cameras that a mode lets nothing be recorded of: told to the recorder, and accounted for (`docs/modes.md`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from edge_agent.buffer.ledger import Ledger
from edge_agent.errors import ArchiveError
from edge_agent.journal_notes import GapNotes
from edge_agent.model import CameraId
from edge_agent.workers import Workers

_log = logging.getLogger(__name__)


class Resting:
    """Owned by the agent's main thread."""

    def __init__(self, workers: Workers, ledger: Ledger, gap_notes: GapNotes, cameras: Iterable[CameraId]) -> None:
        self._workers, self._ledger, self._gap_notes = workers, ledger, gap_notes
        self._cameras = tuple(cameras)
        self._now: Mapping[CameraId, str] = {}
        self._begun = False

    def let(self, cameras: Mapping[CameraId, str]) -> None:
        """These rest now, each by that word, and no others."""
        self._now = cameras
        self._workers.rest(tuple(cameras.items()))
        if self._begun:
            self.account()

    def account(self) -> None:
        """Gaps by mode begin and end now; for the first time when the ledger has accounted for what was before."""
        self._begun = True
        for camera in self._cameras:
            try:
                for gap in self._ledger.rest(camera, self._now.get(camera)):
                    self._gap_notes.add(gap)
            except ArchiveError as error:
                _log.error("why %s is not recorded is not accounted for: %s", camera, error)
