"""What a connection to a broker is made of, as values: settings, states, messages and their fates, versions, delays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from edge_agent.config import Mqtt
from edge_agent.toml_file import read_secret

FALLBACK_SURE_S, FALLBACK_GUESSED_S = 24 * 3600.0, 3600.0


class Phase(StrEnum):
    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class LinkState:
    """Where the link is, in words; `protocol` ("5" or "3.1.1") while online."""

    phase: Phase
    reason: str = ""
    protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for this client when it vanishes (QoS 1)."""

    topic: str
    payload: bytes
    retain: bool = True


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """All a link needs; files are paths of PEM files."""

    host: str
    port: int
    client_id: str
    tls: bool = True
    ca_file: str | None = None
    """The broker's authority; the system's authorities when None."""
    cert_file: str | None = None
    key_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    keepalive_s: int = 30
    will: Will | None = None
    session_s: int = 0
    """> 0: the broker keeps subscriptions, and what came for them, that long over a break (3.1.1: as it likes)."""
    max_payload_bytes: int = 1 << 20
    """What an incoming message may have: MQTT 5 brokers are told; one that sends more is cut off."""
    connect_timeout_s: float = 15.0
    """For the TCP connection, for the TLS handshake, and for the broker's answer, each."""
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


def settings_of(mqtt: Mqtt, client_id: str, **more: Any) -> LinkSettings:
    """From a configuration's `[mqtt]`; `more` are further fields.  ConfigError when a secret can't be read."""
    return LinkSettings(
        host=mqtt.host,
        port=mqtt.port,
        client_id=client_id,
        tls=mqtt.tls,
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        username=mqtt.username,
        password=read_secret(mqtt.password_file) if mqtt.password_file else None,
        keepalive_s=mqtt.keepalive_s,
        **more,
    )


@dataclass(frozen=True, slots=True)
class Received:
    topic: str
    payload: bytes
    retain: bool


class Fate(StrEnum):
    """What became of a published message."""

    ACKED = "acked"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Delivery:
    """REFUSED is the broker's word on this message; LOST means the link went first: it may or may not have arrived."""

    fate: Fate
    reason: str = ""
    sent: bool = False
    """Of a lost one: it had been handed to the network."""
    final: bool = True
    """Of a refused one: trying again is of no use (not a quota or a passing error)."""


class Token:
    """One published message on its way: `wait` for its fate, or have `acked` called with it on the link's thread."""

    def __init__(
        self, topic: str, payload: bytes, qos: int, retain: bool, acked: Callable[[Delivery], None] | None = None
    ) -> None:
        self.topic, self.payload, self.qos, self.retain = topic, payload, qos, retain
        self._acked = acked
        self._settled = threading.Event()
        self.delivery: Delivery | None = None

    def wait(self, seconds: float) -> Delivery | None:
        """The message's fate, or None when it is not known in time."""
        self._settled.wait(seconds)
        return self.delivery

    def settle(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self._settled.set()
        if self._acked:
            self._acked(delivery)


class Version(IntEnum):
    """MQTT's protocol level."""

    V311 = 4
    V5 = 5

    @property
    def words(self) -> str:
        return "5" if self is Version.V5 else "3.1.1"


class VersionChoice:
    """Which MQTT version to speak next: 5, unless this broker has shown that it only speaks 3.1.1.

    Times are monotonic seconds.  A plain refusal of 5 counts for a day; a connection that was merely closed before the
    answer may have had another cause, so what worked after that counts for an hour only.
    """

    def __init__(self) -> None:
        self._old_until: float | None = None
        self._trying_old_for_s: float | None = None

    def next(self, now: float) -> Version:
        if self._trying_old_for_s is not None or (self._old_until is not None and now < self._old_until):
            return Version.V311
        return Version.V5

    def accepted(self, version: Version, now: float) -> None:
        """The broker answered a connect in this version (be it to refuse the password)."""
        if version is Version.V5:
            self._old_until = None
        elif self._trying_old_for_s is not None:
            self._old_until = now + self._trying_old_for_s
        self._trying_old_for_s = None

    def refused(self, version: Version, *, plainly: bool) -> bool:
        """The broker would not talk; true when the other version should be tried at once."""
        if version is Version.V5:
            self._trying_old_for_s = FALLBACK_SURE_S if plainly else FALLBACK_GUESSED_S
            return True
        self._trying_old_for_s = None
        if plainly:
            self._old_until = None
        return False


class Backoff:
    """Delays between attempts: doubling from `first_s` to `longest_s`, each shortened by up to a half at random."""

    def __init__(self, first_s: float, longest_s: float, jitter: Callable[[], float]) -> None:
        self._first_s, self._longest_s, self._jitter = first_s, longest_s, jitter
        self._delay_s = first_s

    def reset(self) -> None:
        self._delay_s = self._first_s

    def next(self) -> float:
        delay = self._delay_s
        self._delay_s = min(delay * 2, self._longest_s)
        return delay * (0.5 + self._jitter() / 2)
