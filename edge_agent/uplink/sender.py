"""Moves the outbox's messages over the link: in order, a few at a time, each until the broker has acknowledged it.

What is live goes before the backlog of an outage, and neither starves the other: the backlog fills part of the window
only, so that a live alarm always finds a place in it; the backlog's pictures wait for its texts.

One thread, woken by a put, an acknowledgement or a change of the link: nothing is polled.  The link's callbacks only
enqueue; the disk is touched by this thread alone.  What was on its way when the link broke is sent again, in order, so
a message may arrive twice but is never missing; receivers tell doubles by the ids in the payloads.

A message that the broker refuses is set aside with its reason.  One that makes the broker hang up every time (3.1.1
has no other way to say "too large") is found by sending alone, and set aside after `STRIKES_ALONE`.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass

from edge_agent.buffer.outbox import Keep, Outbox, OutboxItem
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.uplink.link import Delivery, Fate, LinkState, Phase
from edge_agent.uplink.mqtt import Link

log = logging.getLogger(__name__)

IN_FLIGHT, BACKLOG_IN_FLIGHT = 20, 12
PICTURE_BYTES_IN_FLIGHT = 256_000
"""More pictures are not handed over while so much is on its way: a live alarm must not queue behind megabytes."""
STRIKES_TOGETHER, STRIKES_ALONE = 2, 8
HANG_UP_S = 5.0
"""A connection that ends so soon after a send may have ended because of it; a slower end is the network's doing."""
RETRY_S = 10.0
"""Pause after a passing refusal (quota) or a disk error."""
BREATH_S = 0.1
"""Pause after the link would not take a message, so that a link about to close is not asked in circles."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is on its way."""

    item: OutboxItem
    at: float
    live: bool


@dataclass(frozen=True, slots=True)
class _Settled:
    item_id: int
    delivery: Delivery


class Sender:
    """Empties `outbox` into `link` while it is online; `link_changed` must be called at every change of its state.

    Start it after the link and stop it before; `close` waits until what is on its way is settled, at most `seconds`.
    """

    def __init__(self, outbox: Outbox, link: Link, clock: Clock) -> None:
        self._outbox, self._link, self._clock = outbox, link, clock
        self._events: queue.SimpleQueue[_Settled | None] = queue.SimpleQueue()
        self._in_flight: dict[int, _Sent] = {}
        self._strikes: dict[int, int] = {}
        self._alone: dict[int, int] = {}
        self._owed: set[int] = set()
        self._not_before = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self.run, name="uplink-sender", daemon=True)
        outbox.watch(self._wake)

    def start(self) -> None:
        self._thread.start()

    def link_changed(self, _state: LinkState) -> None:
        """To be called from the link's `on_state`; only wakes the sender."""
        self._wake()

    def close(self, seconds: float = 5.0) -> None:
        """Stop taking from the outbox, and end when the acknowledgements under way are written down."""
        self._closing.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def run(self) -> None:
        while not (self._closing.is_set() and not self._in_flight):
            try:
                self._settle(self._awaited())
                if not self._closing.is_set():
                    self.pump()
            except ArchiveError as error:
                log.error("sender: %s", error)
                self._not_before = self._clock.monotonic() + RETRY_S

    def pump(self) -> None:
        """Hand over what may go now: live texts, the backlog's share of them, and pictures while the way is clear."""
        if self._link.state.phase is not Phase.ONLINE or self._clock.monotonic() < self._not_before:
            return
        window = 1 if any(strikes >= STRIKES_TOGETHER for strikes in self._strikes.values()) else IN_FLIGHT
        self._hand_over_texts(window, live=True)
        self._hand_over_pictures(window, live=True)
        self._hand_over_texts(window, live=False)
        if not any(sent.item.keep is not Keep.PICTURE and not sent.live for sent in self._in_flight.values()):
            self._hand_over_pictures(window, live=False)
        if not self._in_flight:
            # Nothing is left to suspect; what was, the outbox has dropped meanwhile.
            self._strikes.clear()
            self._alone.clear()

    def _hand_over_texts(self, window: int, *, live: bool) -> None:
        free = window - len(self._in_flight)
        if not live:
            free = min(free, BACKLOG_IN_FLIGHT - sum(not sent.live for sent in self._in_flight.values()))
        if free > 0:
            for item in self._outbox.next(free, skip=self._held(), live=live):
                self._hand_over(item, live)

    def _hand_over_pictures(self, window: int, *, live: bool) -> None:
        while len(self._in_flight) < window and self._picture_bytes() < PICTURE_BYTES_IN_FLIGHT:
            pictures = self._outbox.next(1, skip=self._held(), pictures=True, live=live)
            if not pictures:
                break
            self._hand_over(pictures[0], live)

    def _hand_over(self, item: OutboxItem, live: bool) -> None:
        # What of its thread is on its way must not be overtaken in the link.
        follows = any(item.thread and sent.item.thread == item.thread for sent in self._in_flight.values())
        self._in_flight[item.item_id] = _Sent(item, self._clock.monotonic(), live)
        try:
            self._link.publish(
                item.topic,
                item.payload,
                retain=item.retain,
                acked=lambda delivery: self._events.put(_Settled(item.item_id, delivery)),
                urgent=live and item.keep is not Keep.PICTURE and not follows,
            )
        except ValueError as error:
            self._events.put(_Settled(item.item_id, Delivery(Fate.REFUSED, str(error))))

    def _held(self) -> set[int]:
        """What is on its way, or acknowledged but not yet struck off."""
        return self._owed.union(self._in_flight)

    def _awaited(self) -> list[_Settled]:
        """Whatever has happened, waiting for the first; empty after a mere wake-up."""
        pause = self._not_before - self._clock.monotonic()
        try:
            first = self._events.get(timeout=pause if pause > 0 else None)
        except queue.Empty:
            return []
        settled = [first]
        while not self._events.empty():
            settled.append(self._events.get())
        return [event for event in settled if event is not None]

    def _settle(self, events: list[_Settled]) -> None:
        alone = len(self._in_flight) == 1
        for event in events:
            sent = self._in_flight.pop(event.item_id)
            item, delivery = sent.item, event.delivery
            if delivery.fate is Fate.ACKED:
                self._owed.add(item.item_id)
            elif delivery.fate is Fate.REFUSED and delivery.final:
                self._reject(item, delivery.reason)
            elif delivery.fate is Fate.REFUSED:
                log.warning("sender: %s: %s; trying again in %g s", item.topic, delivery.reason, RETRY_S)
                self._not_before = self._clock.monotonic() + RETRY_S
            elif not delivery.sent:
                self._not_before = self._clock.monotonic() + BREATH_S
            elif self._clock.monotonic() - sent.at < HANG_UP_S:
                self._strike(item, alone)
        for item_id in self._owed:
            self._strikes.pop(item_id, None)
            self._alone.pop(item_id, None)
        # Should the disk fail here, they stay owed and are struck off later, and are not sent again meanwhile.
        self._outbox.done(*self._owed)
        self._owed.clear()

    def _strike(self, item: OutboxItem, alone: bool) -> None:
        self._strikes[item.item_id] = self._strikes.get(item.item_id, 0) + 1
        if alone:
            self._alone[item.item_id] = self._alone.get(item.item_id, 0) + 1
        if self._alone.get(item.item_id, 0) >= STRIKES_ALONE:
            self._reject(item, f"the broker hung up on it {STRIKES_ALONE} times")

    def _reject(self, item: OutboxItem, reason: str) -> None:
        log.error("sender: set aside a message for %s (%d bytes): %s", item.topic, len(item.payload), reason)
        self._strikes.pop(item.item_id, None)
        self._alone.pop(item.item_id, None)
        self._outbox.reject(item.item_id, reason)

    def _picture_bytes(self) -> int:
        return sum(len(sent.item.payload) for sent in self._in_flight.values() if sent.item.keep is Keep.PICTURE)

    def _wake(self) -> None:
        self._events.put(None)
