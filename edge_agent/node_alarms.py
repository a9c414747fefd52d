"""Alarms of the node itself: raised and ended once each, over restarts of the agent too (`docs/retention.md`)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from pydantic import TypeAdapter, ValidationError

from edge_agent.buffer.documents import Documents
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import AlarmPhase, NodeAlarm

_log = logging.getLogger(__name__)
TABLE = "node_alarm"


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence in the languages of the people who read it."""

    uk: str
    en: str


@cache
def _adapter() -> TypeAdapter[NodeAlarm]:
    return TypeAdapter(NodeAlarm)


class NodeAlarms:
    """Owned by the agent's main thread; `tell` gets the start and the end of each."""

    def __init__(
        self,
        documents: Documents,
        clock: Clock,
        tell: Callable[[NodeAlarm], None],
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._tell = tell
        self._new_id = new_id
        self._open: dict[str, NodeAlarm] = {}
        for document in documents.all(TABLE):
            try:
                alarm = _adapter().validate_python({key: value for key, value in document.items() if key != "id"})
            except ValidationError as error:
                _log.error("an alarm in the documents can't be understood and is left alone: %s", error)
            else:
                self._open[alarm.code] = alarm

    @property
    def open(self) -> list[NodeAlarm]:
        """Those that last, with the words of now."""
        return list(self._open.values())

    def set(self, code: str, said: Said | None) -> None:
        """What is said of it now; None: it is over."""
        known = self._open.get(code)
        if said is None:
            if known is not None:
                self._end(known)
        elif known is None:
            self._begin(code, said)
        else:
            self._open[code] = replace(known, uk=said.uk, en=said.en)

    def _begin(self, code: str, said: Said) -> None:
        now_us = self._clock.utc_us()
        alarm = NodeAlarm(self._new_id(), code, AlarmPhase.START, now_us, now_us, said.uk, said.en)
        self._open[code] = alarm
        _log.error("%s: %s", code, said.en)
        self._tell(alarm)
        try:
            self._documents.put(TABLE, {"id": code, **_adapter().dump_python(alarm, mode="json")})
        except ArchiveError as error:
            _log.error("the alarm may be raised again after a restart: %s", error)

    def _end(self, alarm: NodeAlarm) -> None:
        del self._open[alarm.code]
        at_us = max(self._clock.utc_us(), alarm.started_us)
        _log.info("%s is over", alarm.code)
        self._tell(replace(alarm, phase=AlarmPhase.END, at_us=at_us))
        try:
            self._documents.remove(TABLE, alarm.code)
        except ArchiveError as error:
            _log.error("the alarm may be ended again after a restart: %s", error)
