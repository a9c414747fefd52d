"""The desk without a node: its configuration, keys, pictures, the broker that is away, the socket's odd ends."""

from __future__ import annotations

import os
import queue
import socket
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.config import load
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.people import person_entry, toml_block
from edge_agent.desk.pictures import Pictures
from edge_agent.desk.settings import load_desk, node_named
from edge_agent.errors import UplinkError, UsageError
from edge_agent.toml_file import ConfigFileError
from edge_agent.trust.command import StatusArgs, sign
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Role
from edge_agent.uplink.commands import claimed_nonce
from edge_agent.uplink.link import LinkSettings, LinkState, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import Reply, ReplyState, Words, encode
from edge_agent.uplink.topics import Topics
from tests.desk.world import run, worker
from tests.peers.mosquitto import Mosquitto, listening
from tests.peers.support import free_port

CLOCK = SystemClock()
NODE = Topics("town", "n1")
TOKEN = sign(Ed25519PrivateKey.generate(), "someone", "town/n1", StatusArgs(), CLOCK.utc_us())
REQUEST = claimed_nonce(TOKEN)


def reply(state: ReplyState, code: str = "x", request: str = REQUEST) -> bytes:
    return encode(Reply(at_us=1, request_id=request, state=state, code=code, words=Words(uk="слова", en="words")))


def test_every_mistake_of_the_desks_configuration_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "desk.toml"
    path.write_text('language = "de"\nperson = "A B"\ntimezone = "Kyiv"\nkeyfile = "x"\n[mqtt]\nhost = 5\nprot = 1\n')
    with pytest.raises(ConfigFileError) as raised:
        load_desk(path)
    found = {mistake.place: mistake.allowed for mistake in raised.value.mistakes}
    assert set(found) == {"language", "person", "timezone", "keyfile", "mqtt.host", "mqtt.prot"}
    assert "did you mean key_file" in found["keyfile"]
    assert "did you mean port" in found["mqtt.prot"]


def test_a_key_file_that_is_not_there_and_a_person_without_one_are_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "desk.toml"
    path.write_text('person = "a"\n')
    with pytest.raises(ConfigFileError, match="both or neither"):
        load_desk(path)
    path.write_text('person = "a"\nkey_file = "nowhere.key"\n')
    with pytest.raises(ConfigFileError, match=r"nowhere\.key"):
        load_desk(path)


def test_the_files_of_the_desk_are_meant_from_its_own_folder(tmp_path: Path) -> None:
    for name in ("p.key", "ca.pem"):
        (tmp_path / name).touch()
    path = tmp_path / "desk.toml"
    path.write_text(
        'person = "a"\nkey_file = "p.key"\nidentity_file = "p.age"\n[mqtt]\nhost = "b"\nca_file = "ca.pem"\n'
    )
    desk = load_desk(path)
    assert (desk.key_file, desk.identity_file) == (str(tmp_path / "p.key"), str(tmp_path / "p.age"))
    assert desk.mqtt is not None
    assert desk.mqtt.ca_file == str(tmp_path / "ca.pem")


@given(st.text(max_size=80), st.none() | st.just("town"))
def test_the_name_of_a_node_is_a_topic_or_a_clear_refusal(name: str, site: str | None) -> None:
    try:
        topics = node_named(name, site)
    except UsageError:
        return
    assert name in (f"{topics.site}/{topics.node}", topics.node)


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_printed_block_is_toml_with_the_same_words(surname: str, name: str) -> None:
    key = public_key_of(Ed25519PrivateKey.generate())
    try:
        entry = person_entry("o-kovalenko", surname, name, "", Role.AUDITOR, key)
    except UsageError:
        assert not (surname and name and (surname + name).isprintable())
        return
    (person,) = tomllib.loads(toml_block(entry))["person"]
    assert (person["surname"], person["name"], person["public_key"]) == (surname, name, str(key))


@pytest.mark.parametrize("locked", [False, True])
def test_new_keys_are_private_fit_a_nodes_configuration_and_are_never_overwritten(tmp_path: Path, locked: bool) -> None:
    made = worker(tmp_path, "o-kovalenko", "archive_officer", None, locked=locked)
    node = tmp_path / "node.toml"
    camera = '[[camera]]\nid = "g"\nurl = "rtsp://x/y"\n'
    node.write_text(f'site = "town"\nnode = "n1"\ndata = "data"\n{camera}{made.block}', encoding="utf-8")
    person = load(node).person[0].person()
    assert person.full_name == "Коваленко Олена Петрівна"
    keys = made.folder / "keys"
    assert {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()} == {
        "person.key": 0o600,
        "person.age": 0o600,
    }
    passphrase = ["--passphrase-file", str(made.folder / "passphrase")] if locked else []
    shown = run("keys", "show", str(keys), "--json", *passphrase)
    assert shown.json == {"public_key": str(person.public_key), "recipients": [made.recipient]}
    before = {path: path.read_bytes() for path in keys.iterdir()}
    again = ["--id", "x", "--surname", "a", "--name", "b", "--role", "auditor", "--no-passphrase"]
    ended = run("keys", "new", str(keys), *again)
    assert (ended.code, "never overwritten" in ended.err) == (78, True)
    assert {path: path.read_bytes() for path in keys.iterdir()} == before


def test_wrong_words_for_a_person_make_no_keys(tmp_path: Path) -> None:
    wrong = ["--id", "Bad Id", "--surname", "", "--name", "b", "--role", "auditor", "--no-passphrase"]
    ended = run("keys", "new", str(tmp_path / "k"), *wrong)
    assert ended.code == 64
    assert "--id" in ended.err
    assert "--surname" in ended.err
    assert not (tmp_path / "k").exists()


def test_pictures_are_bounded_and_nothing_else_is_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    pictures = Pictures(folder, max_files=3, max_bytes=25)
    (folder / "mine.jpg").write_bytes(b"x")
    for number in range(5):
        pictures.save("town", "n1", "gate", f"a{number}", b"1234567890")
    names = {"town.n1.gate.a3.jpg", "town.n1.gate.a4.jpg", "mine.jpg"}
    assert {path.name for path in folder.iterdir()} == names
    Pictures(folder, max_files=1).save("town", "n1", "gate", "a4", b"again")
    assert {path.name for path in folder.iterdir()} == {"town.n1.gate.a4.jpg", "mine.jpg"}
    assert (folder / "town.n1.gate.a4.jpg").read_bytes() == b"again"


@pytest.mark.parametrize("bad", ["../x", "a/b", "", "a\0b", "ж"])
def test_no_id_makes_a_picture_leave_its_folder(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        Pictures(tmp_path).save("town", "n1", "gate", bad, b"x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", [("status", "n1"), ("watch", "--seconds", "1")])
def test_a_broker_that_is_away_is_told_in_words(tmp_path: Path, order: tuple[str, ...]) -> None:
    made = worker(tmp_path, "officer", "archive_officer", None)
    port = free_port()
    with made.config.open("a") as file:
        file.write(f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\ntls = false\n')
    ended = made.desk(*order, *(("--timeout", "1") if order[0] == "status" else ()))
    assert ended.code == 69
    assert f"127.0.0.1:{port}: cannot connect (Connection refused)" in ended.err


def test_without_a_broker_or_a_socket_that_answers_the_way_out_is_named(tmp_path: Path) -> None:
    made = worker(tmp_path, "officer", "archive_officer", None)
    nowhere = made.desk("status", "n1")
    assert (nowhere.code, "--socket" in nowhere.err) == (78, True)
    deaf = made.desk("status", "n1", "--socket", str(tmp_path / "agent.sock"))
    assert (deaf.code, "does edge-agent run here" in deaf.err) == (69, True)


def plain(broker: Mosquitto, name: str) -> LinkSettings:
    return LinkSettings("127.0.0.1", broker.port, name, tls=False, first_delay_s=0.1, longest_delay_s=0.3)


def test_an_answer_is_heard_although_the_broker_died_meanwhile(tmp_path: Path) -> None:
    heard: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with Mosquitto(tmp_path) as broker:
        node = Link(plain(broker, "node"), CLOCK, heard.put, lambda _: None)
        node.subscribe(NODE.command)
        node.start()
        states: list[LinkState] = []
        answers: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        client = DeskClient(plain(broker, "desk"), CLOCK, Patience(first_s=20), states.append)

        def ask() -> None:
            for one in client.ask(NODE, TOKEN):
                answers.put(one)

        asking = threading.Thread(target=ask, daemon=True)
        try:
            listening(node)
            asking.start()
            assert heard.get(timeout=10).payload == TOKEN
            node.publish(NODE.reply(REQUEST), reply(ReplyState.ACCEPTED))
            assert answers.get(timeout=10).state is ReplyState.ACCEPTED
            broker.kill()
            broker.restart()
            # Until the asker has subscribed anew there is nobody to hear: told again until it is heard.
            while asking.is_alive():
                node.publish(NODE.reply(REQUEST), reply(ReplyState.REFUSED, "replayed"))
                node.publish(NODE.reply(REQUEST), reply(ReplyState.DONE))
                asking.join(0.2)
            assert answers.get(timeout=1).state is ReplyState.DONE
        finally:
            node.stop(1)


def served(path: Path, answer: Callable[[socket.socket], None]) -> socket.socket:
    """A Unix socket on which somebody answers one connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.makefile("rb").readline()
            answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "ended the connection"),
        (b"rubbish\n", "no edge-agent"),
        (reply(ReplyState.DONE, request="another") + b"\n", "no edge-agent"),
        (reply(ReplyState.ACCEPTED) + b"\n", "ended the connection"),
        (b"x" * 300_000, "no edge-agent"),
    ],
    ids=["nothing", "rubbish", "another's", "half", "endless"],
)
def test_a_socket_that_answers_oddly_is_an_error_in_words(tmp_path: Path, answer: bytes, words: str) -> None:
    path = tmp_path / "s"
    with served(path, lambda connection: connection.sendall(answer)), pytest.raises(UplinkError, match=words):
        list(DeskClient(path, CLOCK, Patience(first_s=5)).ask(NODE, TOKEN))


def test_a_clip_that_is_none_is_not_opened(tmp_path: Path) -> None:
    made = worker(tmp_path, "officer", "archive_officer", None)
    (tmp_path / "clip.age").write_bytes(os.urandom(2000))
    ended = made.desk("open", str(tmp_path / "clip.age"), "--out", str(tmp_path / "clip.mp4"))
    assert ended.code == 74
    assert not (tmp_path / "clip.mp4").exists()
