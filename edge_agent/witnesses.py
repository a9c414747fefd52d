"""The node's side of its witnesses: asks them over the broker, hears and keeps what they cosign (`docs/journal.md`,
«Witnesses»)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.trust.checkpoint import parse_checkpoint
from edge_agent.trust.journal_log import BrokenJournalError, JournalLog
from edge_agent.trust.note import BadNoteError, NoteKey, parse_note
from edge_agent.uplink.topics import TopicKind, parse

_log = logging.getLogger(__name__)
ALARM = "journal_contradicted"
REFUSALS_EVERY_S = 600.0


class Witnesses:
    """Owned by the agent's main thread; `ask` publishes a request to the witness whose key has this id."""

    def __init__(
        self,
        log: JournalLog,
        keys: Sequence[NoteKey],
        alarms: NodeAlarms,
        ask: Callable[[str, bytes], None],
        clock: Clock,
    ) -> None:
        self._log, self._alarms, self._ask, self._clock = log, alarms, ask, clock
        self._keys = {key.key_id.hex(): key for key in keys}
        self._seen: dict[str, int] = {}
        """How far each says that it has seen the journal."""
        self._asked: dict[str, bytes] = {}
        self._contradicted: set[str] = set()
        self._told_at: float | None = None

    def look(self) -> None:
        """Ask those who have not cosigned the newest checkpoint, once for each; ArchiveError when a disk refuses."""
        for witness, key in self._keys.items():
            if witness not in self._seen:
                known = self._log.witnessed_by(key)
                self._seen[witness] = parse_checkpoint(known.text).size if known else 0
            request = self._log.ask_witness(self._seen[witness])
            if parse_checkpoint(request.note.text).size == self._seen[witness]:
                continue
            content = str(request).encode()
            if content != self._asked.get(witness):
                self._asked[witness] = content
                self._ask(witness, content)

    def online(self) -> None:
        """The broker may have forgotten what was asked."""
        self._asked.clear()

    def hear(self, topic: str, content: bytes) -> bool:
        """Whether the message was for here.  What is no cosignature by a witness of this node changes nothing."""
        try:
            address = parse(topic)
        except ValueError:
            return False
        if address.kind is not TopicKind.COSIGNED:
            return False
        if (key := self._keys.get(address.witness)) is not None:
            self._hear(address.witness, key, content)
        return True

    def _hear(self, witness: str, key: NoteKey, content: bytes) -> None:
        try:
            self._seen[witness] = self._log.keep_witnessed(content, key).size
            self._contradicted.discard(witness)
            if not self._contradicted:
                self._alarms.set(ALARM, None)
        except BrokenJournalError as error:
            self._contradicted.add(witness)
            # Asked to prove that, this journal fails: then the witness tells its people, too.
            self._seen[witness] = parse_checkpoint(parse_note(content).text).size
            said = Said(
                f"Журнал вузла суперечить тому, що засвідчив {key.name}: записи вкорочено або підмінено",
                f"The node's journal contradicts what was witnessed: {error}",
            )
            self._alarms.set(ALARM, said)
        except BadNoteError as error:
            self._refuse(key.name, str(error))
        except ArchiveError as error:
            _log.error("%s", error)

    def _refuse(self, witness: str, why: str) -> None:
        """A broker can send rubbish as often as it likes."""
        now = self._clock.monotonic()
        if self._told_at is None or now - self._told_at >= REFUSALS_EVERY_S:
            self._told_at = now
            _log.warning("what came as of the witness %s is refused: %s", witness, why)
