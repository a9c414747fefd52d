"""The link against real brokers: mosquitto over TLS, amqtt for 3.1.1, and a port that lies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigError
from edge_agent.uplink.link import Fate, Phase, Will
from edge_agent.uplink.mqtt import Link
from tests.peers.mosquitto import Authority, Mosquitto, listening
from tests.peers.support import free_port, wait_until
from tests.uplink.ends import Amqtt, RecordingLink, plain, secured


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def test_speaks_mqtt_5_over_mutual_tls_and_hears_what_it_subscribed_to(broker: Mosquitto) -> None:
    with RecordingLink(secured(broker, "hears")) as end:
        end.online()
        assert end.link.state.protocol == "5"
        end.link.subscribe("hears/+")
        assert end.link.publish("hears/me", b"\x00\xff" * 1000).wait(5) is not None
        wait_until(lambda: end.messages, 30, "the message")
        assert end.messages[0].topic == "hears/me"
        assert end.messages[0].payload == b"\x00\xff" * 1000


def test_falls_back_to_3_1_1_where_the_broker_falls_silent_at_5(tmp_path: Path) -> None:
    with Amqtt(tmp_path) as old, RecordingLink(plain(old.port, "old")) as end:
        end.online(20)
        assert end.link.state.protocol == "3.1.1"
        end.link.subscribe("old/x")
        delivery = end.link.publish("old/x", b"1").wait(5)
        assert delivery is not None
        assert delivery.fate is Fate.ACKED
        wait_until(lambda: end.messages, 30, "the message")


class OldBroker(threading.Thread):
    """Answers a CONNECT of version 5 as told, and one of 3.1.1 with a proper CONNACK."""

    def __init__(self, answer_to_5: bytes) -> None:
        super().__init__(daemon=True)
        self._answer = answer_to_5
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.versions: list[int] = []
        self._open: list[socket.socket] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            hello = connection.recv(4096)
            self.versions.append(hello[hello.index(b"MQTT") + 4])
            if self.versions[-1] == 5:
                connection.sendall(self._answer)
                connection.close()
            else:
                connection.sendall(b"\x20\x02\x00\x00")
                self._open.append(connection)

    def drop(self) -> None:
        while self._open:
            self._open.pop().close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""], ids=["0x01", "0x84", "closes"])
def test_falls_back_to_3_1_1_and_remembers_it_however_5_is_refused(answer: bytes) -> None:
    old = OldBroker(answer)
    old.start()
    try:
        with RecordingLink(plain(old.port, "old")) as end:
            end.online()
            assert end.link.state.protocol == "3.1.1"
            old.drop()
            wait_until(lambda: len(old.versions) > 2, 30, "it to come again")
            assert old.versions[:3] == [5, 4, 4]
    finally:
        old.close()


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\x7f", b"\x20\x03\x00\xee\x00", b"\x20\x02", b"\xff" * 50],
)
def test_outlives_a_port_that_answers_with_garbage(garbage: bytes) -> None:
    liar = OldBroker(garbage)
    liar.start()
    try:
        with RecordingLink(plain(liar.port, "patient")) as end:
            end.online()
    finally:
        liar.close()


def test_a_message_that_claims_to_be_huge_cuts_the_broker_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = plain(int(listener.getsockname()[1]), "bounded", max_payload_bytes=10_000)
        with RecordingLink(settings) as end:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x20\x03\x00\x00\x00")
                end.online()
                connection.sendall(b"\x30\xff\xff\xff\x7f" + b"x" * 1000)
                end.says("too large")


def test_a_broker_that_leaves_over_a_too_large_message_means_the_largest() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        RecordingLink(plain(int(listener.getsockname()[1]), "large")) as end,
    ):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"\x20\x03\x00\x00\x00")
            end.online()
            tokens = [end.link.publish("t", b"x" * size) for size in (10, 5000, 20)]
            received = 0
            while received < 5030:
                received += len(connection.recv(65_536))
            connection.sendall(b"\xe0\x02\x95\x00")
            found = [token.wait(5) for token in tokens]
    assert [delivery.fate for delivery in found if delivery] == [Fate.LOST, Fate.REFUSED, Fate.LOST]


def test_an_incoming_payload_over_the_bound_is_never_delivered(broker: Mosquitto) -> None:
    with RecordingLink(secured(broker, "small", max_payload_bytes=1000)) as end:
        end.hears("bound")
        with RecordingLink(plain(broker.port, "big")) as other:
            other.online()
            for payload in (b"x" * 1001, b"y" * 200_000, b"z" * 1000):
                token = other.link.publish("bound", payload)
                assert token.wait(5) is not None
        wait_until(lambda: end.messages, 30, "the small one")
        assert end.payloads() == [b"z" * 1000]


def test_the_last_will_comes_when_the_client_vanishes_and_not_when_it_leaves(broker: Mosquitto) -> None:
    with RecordingLink(plain(broker.port, "watcher")) as watcher:
        watcher.hears("will/+")
        with RecordingLink(secured(broker, "leaver", will=Will("will/leaver", b"offline"))) as leaver:
            leaver.online()
        vanisher = RecordingLink(plain(broker.port, "vanisher", will=Will("will/vanisher", b"offline")))
        with vanisher:
            vanisher.online()
            with RecordingLink(plain(broker.port, "vanisher")) as usurper:
                usurper.says("", 1)
                wait_until(lambda: watcher.messages, 30, "the will")
                vanisher.link.stop(0)
        assert {message.topic for message in watcher.messages} == {"will/vanisher"}


def test_stop_sends_what_was_published_before(broker: Mosquitto) -> None:
    with RecordingLink(plain(broker.port, "listener")) as listener:
        listener.hears("last/#")
        with RecordingLink(secured(broker, "talker")) as talker:
            talker.online()
            tokens = [talker.link.publish("last/words", b"%d" % n) for n in range(100)]
        assert {token.delivery.fate for token in tokens if token.delivery} == {Fate.ACKED}
        wait_until(lambda: len(listener.messages) == 100, 30, "all of them")


def test_retained_state_is_there_for_who_comes_later(broker: Mosquitto) -> None:
    with RecordingLink(plain(broker.port, "teller")) as teller:
        teller.online().link.publish("kept", b"state", retain=True).wait(5)
    with RecordingLink(plain(broker.port, "late")) as late:
        late.hears("kept")
        wait_until(lambda: late.messages, 30, "the retained message")
        assert late.messages[0].retain


def test_subscribes_anew_after_the_broker_lost_its_memory(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, RecordingLink(secured(broker, "node", session_s=3600)) as node:
        node.hears("to/node")
        for number in range(1, 4):
            broker.kill()
            (broker.folder / "mosquitto.db").unlink(missing_ok=True)
            wait_until(lambda: node.link.state.phase is not Phase.ONLINE, 5, "noticing")
            broker.restart()
            with RecordingLink(plain(broker.port, "asker")) as asker:
                listening(node.link)
                asker.online().link.publish("to/node", b"%d" % number).wait(5)
            node.received(number)
        assert node.payloads() == [b"1", b"2", b"3"]


def test_a_command_sent_while_the_node_is_away_waits_in_its_session(broker: Mosquitto) -> None:
    settings = secured(broker, "sleeper", session_s=600)
    with RecordingLink(settings) as sleeper:
        sleeper.hears("to/sleeper")
        sleeper.link.publish("elsewhere", b"").wait(5)
    with RecordingLink(plain(broker.port, "caller")) as caller:
        caller.online().link.publish("to/sleeper", b"wake").wait(5)
    with RecordingLink(settings) as sleeper:
        wait_until(lambda: sleeper.payloads() == [b"wake"], 30, "what waited")


def test_says_that_the_brokers_certificate_is_not_trusted(broker: Mosquitto, tmp_path: Path) -> None:
    with RecordingLink(secured(broker, "doubter", ca_file=Authority(tmp_path).ca_file)) as end:
        end.says("the broker's certificate is not trusted")


def test_says_that_the_brokers_name_is_not_in_its_certificate(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path, server_hosts=("broker.example",)) as broker,
        RecordingLink(secured(broker, "careful")) as end,
    ):
        end.says("not trusted (IP address mismatch")
        assert end.link.state.phase is not Phase.ONLINE


def test_says_that_its_own_certificate_is_refused(broker: Mosquitto, tmp_path: Path) -> None:
    stranger = Authority(tmp_path).issue("stranger")
    settings = secured(broker, "x", cert_file=stranger.cert_file, key_file=stranger.key_file)
    with RecordingLink(settings) as end:
        end.says("certificate", 5)
        assert all(state.phase is not Phase.ONLINE for state in end.states)


def test_says_that_the_password_is_refused_and_gets_in_once_it_is_right(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, users={"node": "secret"}) as broker:
        for password in ("wrong", None):
            with RecordingLink(plain(broker.port, "n", username="node", password=password)) as end:
                end.says("not authorised" if password else "authorised")
        with RecordingLink(plain(broker.port, "n", username="node", password="secret")) as end:
            end.online()


def test_a_tls_client_at_a_plain_port_and_a_plain_one_at_a_tls_port_say_so(broker: Mosquitto) -> None:
    with RecordingLink(secured(broker, "tls-at-plain", port=broker.port, connect_timeout_s=0.5)) as end:
        end.says("is this the TLS port?")
    with RecordingLink(plain(broker.tls_port, "plain-at-tls")) as end:
        end.says("closed the connection unanswered")


def test_an_unknown_name_and_a_closed_port_are_retried_until_stopped() -> None:
    with RecordingLink(plain(free_port(), "lonely")) as end:
        end.says("cannot connect (Connection refused)")
    with RecordingLink(plain(1883, "lost", host="no-such-host.invalid")) as end:
        end.says("the name is not known")


def test_comes_online_when_the_broker_appears_later(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    with RecordingLink(plain(broker.port, "early")) as end:
        end.says("cannot connect")
        with broker:
            end.online()


def test_a_broker_that_stops_answering_is_noticed_within_twice_the_keepalive(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, RecordingLink(secured(broker, "n", keepalive_s=2)) as end:
        end.online()
        broker.freeze()
        try:
            wait_until(lambda: end.link.state.phase is not Phase.ONLINE, 6, "noticing")
        finally:
            broker.thaw()
        end.online()


def test_publishing_offline_is_lost_at_once_and_says_so() -> None:
    link = Link(plain(free_port(), "off"), SystemClock(), lambda _: None, lambda _: None)
    delivery = link.publish("t", b"x").wait(0)
    assert delivery is not None
    assert delivery.fate is Fate.LOST
    assert "not started" in delivery.reason


def test_a_topic_with_wildcards_is_not_published_on(broker: Mosquitto) -> None:
    with RecordingLink(plain(broker.port, "wild")) as end:
        for topic in ("a/+", "#", "", "a\0b", "x" * 70_000):
            with pytest.raises(ValueError, match="not a topic"):
                end.online().link.publish(topic, b"")


def test_unusable_certificates_are_a_configuration_error(broker: Mosquitto, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    for change in ({"ca_file": str(broken)}, {"cert_file": str(broken)}, {"ca_file": str(tmp_path / "none")}):
        with pytest.raises(ConfigError, match="can't be used"):
            RecordingLink(secured(broker, "c", **change))
