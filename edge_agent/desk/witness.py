"""A desk as the second witness: hears what nodes ask over a broker, cosigns what continues, tells what does not
(`docs/journal.md`, «Witnesses»)."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.desk.memory import Memory
from edge_agent.desk.retained import retained
from edge_agent.desk.settings import Desk, WitnessSection
from edge_agent.errors import ArchiveError, ConfigError, UplinkError
from edge_agent.trust.checkpoint import cosignatures, parse_checkpoint
from edge_agent.trust.keys import load_key, public_key_of
from edge_agent.trust.note import BadNoteError, Note, NoteKey, SignatureKind, parse_note, parse_note_key
from edge_agent.trust.witness import Told, Witness, state_file
from edge_agent.uplink.link import LinkSettings, LinkState, Phase, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.topics import TopicKind, Topics, parse, subscription, to_witness

QUEUED_MESSAGES = 2000
"""A flood beyond this is dropped: the broker may be hostile, this memory is ours."""
REPEAT_S = 10.0
"""An answer that was just given is not given again sooner, whoever replays the question."""
TURN_S = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """What became of one request; `told` None: it was none, or nothing could be signed, `trouble` says why."""

    at_us: int
    node: str = ""
    """`<site>/<node>`"""
    told: Told | None = None
    size: int = 0
    trouble: str = ""


class WitnessDesk:
    """Cosigns over one link; `tell` hears of everything that is news, on the caller's thread."""

    def __init__(self, settings: LinkSettings, witness: Witness, clock: Clock, tell: Callable[[Event], None]) -> None:
        self._witness, self._clock, self._tell = witness, clock, tell
        self._id = witness.key.key_id.hex()
        self._messages: queue.Queue[Received | LinkState] = queue.Queue(QUEUED_MESSAGES)
        self._answered: dict[str, tuple[float, str]] = {}
        self._said: dict[str, tuple[Told, int]] = {}
        self._connected = False
        self._why = f"{settings.where}: the broker does not answer"
        self._link = Link(settings, clock, self._put, self._put)
        self._link.subscribe(to_witness(self._id))

    def run(self, seconds: float | None) -> None:
        """Until interrupted or for so long; UplinkError when the broker could not be reached in all that time."""
        end = None if seconds is None else self._clock.monotonic() + seconds
        self._link.start()
        try:
            while end is None or self._clock.monotonic() < end:
                with contextlib.suppress(queue.Empty):
                    self._hear(self._messages.get(timeout=TURN_S))
        finally:
            self._link.stop(1.0)
        if not self._connected:
            raise UplinkError(self._why)

    def _hear(self, message: Received | LinkState) -> None:
        if isinstance(message, LinkState):
            self._connected = self._connected or message.phase is Phase.ONLINE
            self._why = message.reason if message.phase is Phase.OFFLINE else self._why
            if message.phase is Phase.ONLINE:
                self._answered.clear()  # the broker may have forgotten
            return
        now_us = self._clock.utc_us()
        try:
            decision = self._witness.consider(message.payload)
        except (BadNoteError, ArchiveError) as error:
            self._tell(Event(now_us, _place(message.topic), trouble=str(error)))
            return
        _, site, node = decision.node.name.split("/")
        if decision.answer is not None:
            self._answer(Topics(site, node), str(decision.answer))
        said = decision.told, decision.asked.size
        # Whoever repeats a message is not repeated here.
        if self._said.get(decision.node.name) != said:
            self._said[decision.node.name] = said
            self._tell(Event(now_us, f"{site}/{node}", *said))

    def _answer(self, node: Topics, note: str) -> None:
        now = self._clock.monotonic()
        at, before = self._answered.get(node.base, (0.0, ""))
        if note != before or now - at >= REPEAT_S:
            self._answered[node.base] = now, note
            self._link.publish(node.cosigned(self._id), note.encode(), retain=True)

    def _put(self, message: Received | LinkState) -> None:
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait(message)


def witness_of(desk: Desk, memory: Memory, clock: Clock) -> Witness:
    """The configured one, for all nodes whose key this desk knows; ConfigError where there is none."""
    section = _section(desk)
    nodes = [known for node in memory.nodes() if (known := memory.key(node))]
    if not nodes:
        raise ConfigError("no node's key is known here: add node_keys, or ask a node once (edge-desk status)")
    return Witness(Path(section.path), section.name, load_key(Path(section.key_file)), nodes, clock)


def own_key(desk: Desk) -> NoteKey:
    """By which others believe this desk's cosignatures; ConfigError where it is no witness."""
    section = _section(desk)
    return NoteKey(section.name, public_key_of(load_key(Path(section.key_file))), SignatureKind.COSIGNATURE)


def believed(desk: Desk) -> list[NoteKey]:
    """The witnesses whose word counts here: those that are named, and this desk itself."""
    named = [parse_note_key(text) for text in desk.witnesses]
    return list(dict.fromkeys([*named, *([own_key(desk)] if desk.witness else [])]))


def _section(desk: Desk) -> WitnessSection:
    if desk.witness is None:
        raise ConfigError("the desk's configuration makes it no witness: `edge-desk witness new` prints what it needs")
    return desk.witness


def cosigned(
    desk: Desk, witnesses: Sequence[NoteKey], way: LinkSettings | None, clock: Clock
) -> dict[str, tuple[Note, ...]]:
    """What these witnesses say of each node (by its journal's name), of which the node itself may be silent: from the
    broker, and from this desk's own folder.  UplinkError when the broker can't be reached."""
    texts: list[bytes] = []
    if way is not None and witnesses:
        filters = [subscription(TopicKind.COSIGNED).removesuffix("+") + key.key_id.hex() for key in witnesses]
        texts += retained(way, clock, filters).values()
    if desk.witness is not None:
        with contextlib.suppress(OSError):
            texts += [path.read_bytes() for path in sorted(Path(desk.witness.path).glob(state_file("*", "*")))]
    found: dict[str, list[Note]] = {}
    for text in texts:
        with contextlib.suppress(BadNoteError):
            note = parse_note(text)
            if cosignatures(note, witnesses) and note not in found.setdefault(parse_checkpoint(note.text).origin, []):
                found[parse_checkpoint(note.text).origin].append(note)
    return {origin: tuple(notes) for origin, notes in found.items()}


def _place(topic: str) -> str:
    try:
        address = parse(topic)
    except ValueError:
        return ""
    return f"{address.site}/{address.node}"
