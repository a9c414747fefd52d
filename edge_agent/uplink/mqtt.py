"""The connection to the broker; the one file that knows paho.

A `Link` has one thread, which owns the socket and makes a fresh paho client for every connection: nothing of an old
connection leaks into a new one, and resending is the outbox's business alone.  Other threads only leave requests in a
queue and wake it.  All callbacks come on the link's thread and must only enqueue.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import selectors
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.clock import Clock
from edge_agent.errors import ConfigError
from edge_agent.uplink.link import (
    Backoff,
    Delivery,
    Fate,
    LinkSettings,
    LinkState,
    Phase,
    Received,
    Token,
    Version,
    VersionChoice,
    Will,
)

__all__ = ["Delivery", "Fate", "Link", "LinkSettings", "LinkState", "Phase", "Received", "Token", "Will"]

log = logging.getLogger(__name__)

SILENCE_AT_5_S = 4.0
"""Some brokers fall silent at a CONNECT of version 5: the answer to it is not awaited as long as others."""
STEADY_S = 20.0
"""A connection that lasted this long, or carried a message, begins the delays anew."""
PENDING_LIMIT = 2000
IN_FLIGHT_LIMIT = 20
PACKET_OVERHEAD_BYTES = 64

_UNSUPPORTED_VERSION, _TOO_LARGE = 0x84, 0x95
_WORDS = {
    0x80: "the broker refuses without saying why",
    0x84: "the broker does not speak this MQTT version",
    0x85: "the broker does not accept this client id",
    0x86: "the broker refuses the username or password",
    0x87: "the broker says: not authorised (see certificate, username and the broker's access list)",
    0x88: "the broker says it is unavailable",
    0x89: "the broker says it is busy",
    0x8A: "the broker has banned this client",
    0x8B: "the broker is shutting down",
    0x8D: "the broker missed this client's keep-alive",
    0x8E: "another client has connected with the same client id",
    0x90: "the broker refuses the topic",
    0x95: "the message is larger than the broker takes",
    0x97: "the broker's quota is used up",
    0x99: "the broker refuses the payload",
}
_PASSING = {0x80, 0x83, 0x88, 0x89, 0x91, 0x97}

_Request = Token | tuple[str, int]


class _BrokenError(Exception):
    """This connection is over, for the reason in words."""


class _VersionRefusedError(_BrokenError):
    """Over before the broker agreed to the protocol version; `plainly` when it said so."""

    def __init__(self, reason: str, *, plainly: bool) -> None:
        super().__init__(reason)
        self.plainly = plainly


class Link:
    """A connection to one broker that is kept up for ever; `start`, then `stop`.

    `on_message` and `on_state` are called on the link's thread and must only enqueue.  ConfigError when the
    certificates can't be loaded.
    """

    def __init__(
        self,
        settings: LinkSettings,
        clock: Clock,
        on_message: Callable[[Received], None],
        on_state: Callable[[LinkState], None],
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._clock, self._on_message, self._on_state = clock, on_message, on_state
        self._context = _tls_context(settings) if settings.tls else None
        self._lock = threading.Lock()
        self._filters: dict[str, int] = {}
        self._requests: deque[_Request] = deque()
        self._urgent: deque[_Request] = deque()
        self._state = LinkState(Phase.OFFLINE, "not started")
        self._stop = threading.Event()
        self._flush_until = 0.0
        self._versions = VersionChoice()
        self._backoff = Backoff(settings.first_delay_s, settings.longest_delay_s, jitter)
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self.run, name="mqtt-link", daemon=True)

    @property
    def state(self) -> LinkState:
        return self._state

    def start(self) -> None:
        self._thread.start()

    def stop(self, flush_s: float = 5.0) -> None:
        """Send what is queued for at most `flush_s`, take leave of the broker (so that no will is sent) and end."""
        self._flush_until = self._clock.monotonic() + flush_s
        self._stop.set()
        self._wake()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(flush_s + 2 * self.settings.connect_timeout_s + 5)

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe now and anew at every later connect."""
        with self._lock:
            self._filters[topic_filter] = qos
            if self._state.phase is Phase.ONLINE:
                self._urgent.append((topic_filter, qos))
        self._wake()

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 1,
        retain: bool = False,
        acked: Callable[[Delivery], None] | None = None,
        *,
        urgent: bool = False,
    ) -> Token:
        """Hand a message to the link; offline, or with too many waiting, it is LOST at once.

        What is urgent goes before all that is not, in its own order.
        """
        if not topic or len(topic.encode()) > 0xFFFF or any(sign in topic for sign in "+#\0"):
            raise ValueError(f"not a topic to publish on: {topic[:80]!r}")
        token = Token(topic, payload, qos, retain, acked)
        with self._lock:
            online = self._state.phase is Phase.ONLINE and not self._stop.is_set()
            taken = online and len(self._requests) + len(self._urgent) < PENDING_LIMIT
            if taken:
                (self._urgent if urgent else self._requests).append(token)
        if taken:
            self._wake()
        else:
            token.settle(Delivery(Fate.LOST, "too many messages wait" if online else f"offline: {self._state.reason}"))
        return token

    def run(self) -> None:
        """Connect, serve, and after every end wait and begin again, until stopped."""
        while not self._stop.is_set():
            version = self._versions.next(self._clock.monotonic())
            at_once = False
            try:
                self.run_once(version)
                continue
            except _VersionRefusedError as error:
                reason = str(error)
                at_once = self._versions.refused(version, plainly=error.plainly)
            except _BrokenError as error:
                reason = str(error)
            except Exception as error:
                # paho meets a broker's garbage with exceptions of any kind, and this thread must outlive them all.
                log.exception("link %s: what the broker sent could not be understood", self.settings.where)
                reason = f"{self.settings.where}: not understood ({type(error).__name__}: {error})"
            self._enter(LinkState(Phase.OFFLINE, reason))
            if not at_once:
                self._clock.wait(self._stop, self._backoff.next())
        self._enter(LinkState(Phase.OFFLINE, "stopped"))
        self._wake_read.close()
        self._wake_write.close()

    def run_once(self, version: Version) -> None:
        """One connection from its first byte to its last; returns when stopped, raises _BrokenError otherwise."""
        self._enter(LinkState(Phase.CONNECTING, self.settings.where))
        began = self._clock.monotonic()
        timeout = self.settings.connect_timeout_s
        patience = min(timeout, SILENCE_AT_5_S) if version is Version.V5 else timeout
        connection = _Connection(self.settings, self._context, version, self._wake_read, self._on_message)
        try:
            connection.open()
            began = self._clock.monotonic()
            while not connection.answered(self._versions, self._clock.monotonic()):
                if self._stop.is_set() or self._clock.monotonic() - began > patience:
                    raise _VersionRefusedError(f"{self.settings.where}: no answer to the connect", plainly=False)
                connection.step(0.5)
            self._online(connection)
            while not self._flushed(connection):
                connection.step(0.1 if self._stop.is_set() else 1.0, self._next_request)
                if connection.complaint:
                    self._enter(LinkState(Phase.ONLINE, connection.complaint, version.words))
            connection.leave(self._clock)
        finally:
            if connection.useful or self._clock.monotonic() - began > STEADY_S:
                self._backoff.reset()
            with self._lock:
                # From here on `publish` refuses by itself: nothing slips in between and is forgotten.
                self._state = LinkState(Phase.CONNECTING, self.settings.where)
                waiting = [one for one in (*self._urgent, *self._requests) if isinstance(one, Token)]
                self._urgent.clear()
                self._requests.clear()
            connection.close()
            connection.settle_unacked()
            for token in waiting:
                token.settle(Delivery(Fate.LOST, "the connection was lost"))

    def _online(self, connection: _Connection) -> None:
        with self._lock:
            self._requests.clear()
            self._urgent.clear()
            self._urgent.extend(self._filters.items())
        # Subscriptions stand first in the queue, so a request published now finds its reply's subscription made.
        self._enter(LinkState(Phase.ONLINE, protocol=connection.version.words))

    def _flushed(self, connection: _Connection) -> bool:
        if not self._stop.is_set():
            return False
        return self._clock.monotonic() > self._flush_until or not (self._urgent or self._requests or connection.busy)

    def _next_request(self) -> _Request | None:
        with self._lock:
            queue = self._urgent or self._requests
            return queue.popleft() if queue else None

    def _enter(self, state: LinkState) -> None:
        with self._lock:
            changed, self._state = state != self._state, state
        if changed or state.phase is Phase.CONNECTING:
            log.info("link %s: %s %s", self.settings.where, state.phase, state.reason or state.protocol or "")
            self._on_state(state)

    def _wake(self) -> None:
        # It fails only when a wake-up is on its way already, or when the link has ended.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")


class _Connection:
    """One paho client on one socket, in one MQTT version; used by the link's thread only."""

    def __init__(
        self,
        settings: LinkSettings,
        context: ssl.SSLContext | None,
        version: Version,
        wake: socket.socket,
        on_message: Callable[[Received], None],
    ) -> None:
        self.version = version
        self.useful = False
        self.complaint = ""
        """A refused subscription, in words."""
        self._settings, self._context, self._wake, self._on_received = settings, context, wake, on_message
        self._unacked: dict[int, Token] = {}
        self._subscribing: dict[int, str] = {}
        self._answer: ReasonCode | None = None
        self._ended: str | None = None
        self._last_error = ""
        self._too_large = False
        self._max_packet_bytes = 268_435_455
        self._in_flight_limit = IN_FLIGHT_LIMIT
        self._retain_available = True
        self._selector = selectors.DefaultSelector()
        self._client = self._make_client()

    def open(self) -> None:
        """Resolve, connect, TLS handshake and CONNECT; blocks for at most `connect_timeout_s` each."""
        settings = self._settings
        where = settings.where
        kwargs: dict[str, Any] = {}
        if self.version is Version.V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = settings.max_payload_bytes + 65_536 + PACKET_OVERHEAD_BYTES
            if settings.session_s:
                properties.SessionExpiryInterval = settings.session_s
            kwargs = {"clean_start": not settings.session_s, "properties": properties}
        try:
            self._client.connect(settings.host, settings.port, settings.keepalive_s, **kwargs)
        except socket.gaierror as error:
            raise _BrokenError(f"{where}: the name is not known ({error.strerror})") from error
        except ssl.SSLCertVerificationError as error:
            raise _BrokenError(f"{where}: the broker's certificate is not trusted ({error.verify_message})") from error
        except ssl.SSLError as error:
            raise _BrokenError(f"{where}: TLS fails ({error.reason or error}); is this the TLS port?") from error
        except TimeoutError as error:
            hint = "; is this the TLS port?" if self._context is not None else ""
            raise _BrokenError(f"{where}: no answer within {settings.connect_timeout_s:g} s{hint}") from error
        except OSError as error:
            hint = "; is this the TLS port?" if self._context is not None and error.errno == errno.ECONNRESET else ""
            raise _BrokenError(f"{where}: cannot connect ({error.strerror or error}){hint}") from error
        sock = self._client.socket()
        if not isinstance(sock, socket.socket):
            self._raise_ended()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Data that the network swallows ends the connection as surely as a missed ping does.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.keepalive_s * 1000)
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def answered(self, versions: VersionChoice, now: float) -> bool:
        """Whether the broker has accepted; raises when it refused, and tells `versions` what it learned."""
        if self._answer is None:
            return False
        code = self._answer.value
        reason = f"{self._settings.where}: {_words(code)}"
        if code == _UNSUPPORTED_VERSION:
            raise _VersionRefusedError(reason, plainly=True)
        versions.accepted(self.version, now)
        if self._answer.is_failure:
            raise _BrokenError(reason)
        return True

    def step(self, timeout_s: float, next_request: Callable[[], _Request | None] = lambda: None) -> None:
        """Send what may be sent, wait for the network or a wake-up, serve it; raises _BrokenError when it is over."""
        client = self._client
        # What the socket does not take waits in the link's own bounded queue, not in paho's.
        while not client.want_write() and len(self._unacked) < self._in_flight_limit and (request := next_request()):
            self._send(request)
        sock = client.socket()
        if isinstance(sock, socket.socket):
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
            self._selector.modify(sock, wanted)
            for key, events in self._selector.select(0 if _pending(sock) else timeout_s):
                if key.fileobj is self._wake:
                    self._wake.recv(4096)
                elif events & selectors.EVENT_WRITE:
                    client.loop_write()
            # Asked whether readable or not: what TLS has decrypted already does not show on the socket.
            client.loop_read()
            self._check_incoming()
            client.loop_misc()
        if self._answer is not None and self._answer.is_failure:
            return
        if self._ended is not None or client.socket() is None:
            self._raise_ended()

    @property
    def busy(self) -> bool:
        return bool(self._unacked) or self._client.want_write()

    def settle_unacked(self) -> None:
        """The link is gone: what had no answer is lost, but for the one that the broker ended it over."""
        unacked = list(self._unacked.values())
        self._unacked.clear()
        # Which one was too large it does not say; if any was, the largest was.
        culprit = max(unacked, key=lambda token: len(token.payload), default=None) if self._too_large else None
        for token in unacked:
            if token is culprit:
                token.settle(Delivery(Fate.REFUSED, _words(_TOO_LARGE)))
            else:
                token.settle(Delivery(Fate.LOST, "the connection was lost", sent=True))

    def leave(self, clock: Clock) -> None:
        """DISCONNECT, and wait for the broker to close: a reset of unread data could cost the farewell itself."""
        self._client.disconnect()
        deadline = clock.monotonic() + 1.0
        with contextlib.suppress(_BrokenError):
            while clock.monotonic() < deadline:
                self.step(0.1)

    def close(self) -> None:
        """Close the socket without a farewell."""
        self._selector.close()
        self._client.on_disconnect = None
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _make_client(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if self.version is Version.V5 else not settings.session_s,
            protocol=MQTTProtocolVersion(int(self.version)),
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(0)
        if self._context is not None:
            client.tls_set_context(self._context)
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if settings.will is not None:
            client.will_set(settings.will.topic, settings.will.payload, qos=1, retain=settings.will.retain)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_log = self._logged
        return client

    def _send(self, request: _Request) -> None:
        if not isinstance(request, Token):
            topic_filter, qos = request
            mid = self._client.subscribe(topic_filter, qos)[1]
            if mid is not None:
                self._subscribing[mid] = topic_filter
            return
        size = len(request.topic.encode()) + len(request.payload) + PACKET_OVERHEAD_BYTES
        if size > self._max_packet_bytes:
            words = f"{_words(_TOO_LARGE)} ({size} of {self._max_packet_bytes} bytes)"
            request.settle(Delivery(Fate.REFUSED, words))
            return
        retain = request.retain and self._retain_available
        info = self._client.publish(request.topic, request.payload, request.qos, retain)
        if request.qos:
            self._unacked[info.mid] = request
        else:
            request.settle(Delivery(Fate.ACKED))

    def _check_incoming(self) -> None:
        # paho would collect a packet of any length; there is no public way to see how long the coming one claims to be.
        claimed = self._client._in_packet["remaining_length"]
        if claimed > self._settings.max_payload_bytes + 65_536 + PACKET_OVERHEAD_BYTES:
            reason = f"{self._settings.where}: the broker sends a message of {claimed} bytes, too large"
            raise _BrokenError(reason) if self._answer else _VersionRefusedError(reason, plainly=False)

    def _raise_ended(self) -> NoReturn:
        where = self._settings.where
        if self._answer is not None:
            raise _BrokenError(f"{where}: {self._ended or 'the connection was lost'}")
        if self._context is not None and "ALERT" in self._last_error.upper():
            raise _BrokenError(f"{where}: the broker refuses this client's certificate ({self._last_error})")
        # The alert that tells why is often lost behind the broker's close.
        detail = " (does it accept this client's certificate?)" if self._context is not None else ""
        raise _VersionRefusedError(f"{where}: the broker closed the connection unanswered{detail}", plainly=False)

    def _connected(
        self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, found: Properties | None
    ) -> None:
        self._answer = reason
        self._max_packet_bytes = min(
            self._max_packet_bytes, getattr(found, "MaximumPacketSize", self._max_packet_bytes)
        )
        self._in_flight_limit = min(IN_FLIGHT_LIMIT, getattr(found, "ReceiveMaximum", IN_FLIGHT_LIMIT))
        self._retain_available = bool(getattr(found, "RetainAvailable", 1))
        if getattr(found, "MaximumQoS", 2) < 1:
            raise _BrokenError(f"{self._settings.where}: the broker acknowledges nothing (QoS 0 only): not usable")

    def _disconnected(self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, _found: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._too_large = reason.value == _TOO_LARGE
            self._ended = _words(reason.value) if reason.value else "the broker ended the connection"
        else:
            ended = {0x8D: "the broker no longer answers", 0x82: "the broker broke the protocol"}
            self._ended = ended.get(reason.value, "the connection was lost")

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if len(message.payload) > self._settings.max_payload_bytes:
            log.warning("link %s: dropped a message of %d bytes", self._settings.where, len(message.payload))
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.warning("link %s: dropped a message whose topic is not UTF-8", self._settings.where)
            return
        self._on_received(Received(topic, bytes(message.payload), message.retain))

    def _published(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _found: Any) -> None:
        token = self._unacked.pop(mid, None)
        self.useful = True
        if token is None:
            return
        if reason.is_failure:
            token.settle(Delivery(Fate.REFUSED, _words(reason.value), final=reason.value not in _PASSING))
        else:
            token.settle(Delivery(Fate.ACKED))

    def _subscribed(self, _client: Client, _data: Any, mid: int, reasons: list[ReasonCode], _found: Any) -> None:
        topic_filter = self._subscribing.pop(mid, "?")
        for reason in reasons:
            if reason.is_failure:
                self.complaint = f"subscription {topic_filter}: {_words(reason.value)}"

    def _logged(self, _client: Client, _data: Any, _level: int, text: str) -> None:
        if "failed to receive" in text or "failed to send" in text:
            self._last_error = text.partition(": ")[2]


def _words(code: int) -> str:
    return _WORDS.get(code, f"the broker gives reason 0x{code:02X}")


def _pending(sock: socket.socket) -> bool:
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _tls_context(settings: LinkSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer, the broker's name verified."""
    files = ", ".join(str(name) for name in (settings.ca_file, settings.cert_file, settings.key_file) if name)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file:
            # An encrypted key must not make a service without a terminal ask for its password.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(f"mqtt: the certificates can't be used ({error}); see {files}") from error
    return context
