"""Asking a node: a signed command goes out, its replies come in, over the broker or over the node's own socket.

The client carries tokens and believes no broker: what is no proper reply to this very request, signed by the node whose
key is known (`proof.py`), is passed over and counted.
"""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.desk.proof import Examiner, Keys, UnprovenError
from edge_agent.errors import UplinkError
from edge_agent.trust.command import RefusalCode
from edge_agent.uplink.commands import claimed_nonce
from edge_agent.uplink.link import Delivery, Fate, LinkSettings, LinkState, Phase, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import MAX_JSON_BYTES, Reply, ReplyState
from edge_agent.uplink.topics import Topics

QUEUED_EVENTS = 1000
"""A flood beyond this is dropped: the broker may be hostile, this memory is ours."""
LEAVE_S = 1.0
GRACE_S = 3.0
"""How long the node's own answer is awaited once one came that is not proved."""
_LINE_BYTES = MAX_JSON_BYTES + 1024
"""Of a reply with its signature."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds."""

    connect_s: float = 15.0
    """For the broker."""
    first_s: float = 60.0
    """For the node's first answer, the connecting included."""
    idle_s: float = 900.0
    """For each further one."""


def _nothing(_state: LinkState) -> None:
    """Nobody wants to know."""


class DeskClient:
    """Asks nodes over a broker (`LinkSettings`) or the node it runs at over its socket (`Path`).

    Every method raises UplinkError when the broker, the agent or an answer can't be had.  `on_link` hears how the
    connection to the broker fares, on the caller's thread.  `keys`: by which nodes' replies are believed; UnprovenError
    when only others come.
    """

    def __init__(
        self,
        way: LinkSettings | Path,
        clock: Clock,
        patience: Patience | None = None,
        on_link: Callable[[LinkState], None] = _nothing,
        keys: Keys | None = None,
    ) -> None:
        self._keys = keys
        self._way, self._clock, self._on_link = way, clock, on_link
        self._patience = patience or Patience()

    def ask(self, node: Topics, token: bytes) -> Iterator[Reply]:
        """Send a signed command and give its replies as they come, up to the final one."""
        if isinstance(self._way, Path):
            return _ask_locally(self._way, token, self._examiner(node, token), self._patience)
        return self._converse(self._way, node, claimed_nonce(token), token)

    def follow(self, node: Topics, request_id: str) -> Iterator[Reply]:
        """The replies that are still to come to a request sent before, up to the final one."""
        if isinstance(self._way, Path):
            raise UplinkError("a request at the node's socket is answered on its own connection only: follow it there")
        return self._converse(self._way, node, request_id, None)

    def send(self, node: Topics, token: bytes) -> Reply | None:
        """Send without waiting for the end: until the broker has the command, or the agent has first answered."""
        if isinstance(self._way, Path):
            with contextlib.closing(
                _ask_locally(self._way, token, self._examiner(node, token), self._patience)
            ) as replies:
                return next(replies)
        request_id, examiner = claimed_nonce(token), self._examiner(node, token)
        with contextlib.closing(_Conversation(self._way, node, request_id, token, self._clock, examiner)) as talk:
            deadline = self._clock.monotonic() + self._patience.connect_s
            while not talk.acknowledged:
                self._heard(talk, deadline, self._patience.connect_s)
        return None

    def _examiner(self, node: Topics, token: bytes) -> Examiner:
        return Examiner(node, claimed_nonce(token), token, self._keys)

    def _converse(self, settings: LinkSettings, node: Topics, request_id: str, token: bytes | None) -> Iterator[Reply]:
        patience, began = self._patience, self._clock.monotonic()
        examiner = Examiner(node, request_id, token, self._keys)
        with contextlib.closing(_Conversation(settings, node, request_id, token, self._clock, examiner)) as talk:
            deadline = began + patience.first_s
            while True:
                limit = deadline if talk.connected else min(deadline, began + patience.connect_s)
                if talk.doubted_at is not None:
                    limit = min(limit, talk.doubted_at + GRACE_S)
                reply = self._heard(talk, limit, patience.first_s if talk.replies == 0 else patience.idle_s)
                if reply is None:
                    continue
                yield reply
                if reply.state.final:
                    return
                deadline = self._clock.monotonic() + patience.idle_s

    def _heard(self, talk: _Conversation, deadline: float, waited_s: float) -> Reply | None:
        """What one event brings; UplinkError in words when the time is up."""
        left = deadline - self._clock.monotonic()
        # Whoever floods the topic must not keep the time from running out.
        event = talk.next(left) if left > 0 else None
        if event is None:
            raise talk.silence(waited_s)
        if isinstance(event, LinkState):
            self._on_link(event)
        return talk.take(event)


_Event = Received | LinkState | Delivery


class _Conversation:
    """One request over one link of its own."""

    def __init__(
        self,
        settings: LinkSettings,
        node: Topics,
        request_id: str,
        token: bytes | None,
        clock: Clock,
        examiner: Examiner,
    ) -> None:
        self._examiner, self._clock = examiner, clock
        self._node, self._request_id, self._token, self._where = node, request_id, token, settings.where
        self._reply_topic = node.reply(request_id)
        self._events: queue.Queue[_Event] = queue.Queue(QUEUED_EVENTS)
        self._last_state = LinkState(Phase.CONNECTING)
        self._sent = 0
        self._malformed = 0
        self.acknowledged = False
        self.connected = False
        """Has been, be it not now."""
        self.replies = 0
        self.doubted_at: float | None = None
        """When a reply came that is not proved, before any that is."""
        self._link = Link(settings, clock, self._put, self._put)
        # Made before the link starts, it stands first in the link's queue: no answer can come before it.
        self._link.subscribe(self._reply_topic)
        self._link.start()

    def close(self) -> None:
        self._link.stop(LEAVE_S)

    def next(self, seconds: float) -> _Event | None:
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def take(self, event: _Event) -> Reply | None:
        match event:
            case LinkState():
                self._state_changed(event)
            case Delivery(fate=Fate.ACKED):
                self.acknowledged = True
            case Delivery(fate=Fate.REFUSED, reason=reason):
                raise UplinkError(f"{self._where}: the broker does not take the command: {reason}")
            case Received(topic=topic, payload=payload, retain=False) if topic == self._reply_topic:
                return self._reply(payload)
        return None

    def silence(self, waited_s: float) -> UplinkError | UnprovenError:
        """Why nothing came that can be believed."""
        if self._examiner.doubt is not None and not self.replies:
            return self._examiner.doubt
        return UplinkError(self._silence(waited_s))

    def _silence(self, waited_s: float) -> str:
        if not self.connected:
            return self._last_state.reason or f"{self._where}: the broker does not answer"
        bad = f" ({self._malformed} unreadable replies were passed over)" if self._malformed else ""
        name = f"{self._node.site}/{self._node.node}"
        if self._last_state.phase is not Phase.ONLINE:
            return f"the broker is away ({self._last_state.reason}) and no answer of {name} came{bad}"
        if self.replies:
            return f"no news of request {self._request_id} from {name} for {waited_s:.0f} s{bad}; the node goes on"
        return f"{name} does not answer within {waited_s:.0f} s{bad}: is it online? `edge-desk watch` shows it"

    def _state_changed(self, state: LinkState) -> None:
        if state.phase is not Phase.CONNECTING:
            self._last_state = state
        if state.phase is not Phase.ONLINE:
            return
        self.connected = True
        if state.reason:
            raise UplinkError(f"{self._where}: {state.reason}: the answer could not be heard")
        if self._token is not None and not self.acknowledged:
            self._sent += 1
            self._link.publish(self._node.command, self._token, qos=1, acked=self._put)

    def _reply(self, payload: bytes) -> Reply | None:
        reply = self._examiner.reply(payload)
        if reply is None:
            self._malformed += 1
            if self._examiner.doubt is not None and self.doubted_at is None and not self.replies:
                self.doubted_at = self._clock.monotonic()
            return None
        again = reply.state is ReplyState.REFUSED and reply.code == RefusalCode.REPLAYED
        if again and (self.replies or self._sent > 1):
            # QoS 1 may deliver a command twice: the second is refused, the first is being carried out.
            return None
        self.replies += 1
        self.doubted_at = None
        return reply

    def _put(self, event: _Event) -> None:
        with contextlib.suppress(queue.Full):
            self._events.put_nowait(event)


def _ask_locally(path: Path, token: bytes, examiner: Examiner, patience: Patience) -> Generator[Reply, None, None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience.first_s)
        try:
            connection.connect(str(path))
            connection.sendall(token + b"\n")
            lines = connection.makefile("rb")
            while line := lines.readline(_LINE_BYTES):
                reply = examiner.reply(line.rstrip(b"\n"))
                if reply is None:
                    raise examiner.doubt or UplinkError(f"{path}: what answers there is no edge-agent")
                yield reply
                if reply.state.final:
                    return
                connection.settimeout(patience.idle_s)
        except TimeoutError as error:
            raise UplinkError(f"{path}: the agent does not answer") from error
        except OSError as error:
            raise UplinkError(
                f"{path}: {error.strerror or error}: does edge-agent run here, and may you ask?"
            ) from error
    raise UplinkError(f"{path}: the agent ended the connection before its last answer; it may go on")
