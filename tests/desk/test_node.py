"""The desk against a real agent that records a real camera, through a real broker with mutual TLS."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import US, SystemClock
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.settings import broker_settings, load_desk
from edge_agent.errors import UplinkError
from edge_agent.trust.command import StatusArgs, sign
from edge_agent.trust.keys import load_key
from edge_agent.uplink.commands import claimed_nonce
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import Reply, ReplyState
from edge_agent.uplink.topics import Topics
from tests.desk.world import NAME, PASSPHRASE, Worker, command, environment, worker
from tests.peers.agent import NODE, SITE, RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

TOPICS = Topics(SITE, NODE)
CLOCK = SystemClock()


@dataclass(frozen=True)
class Town:
    """Everything that runs while this module's tests do."""

    folder: Path
    broker: Mosquitto
    agent: RunningAgent
    officer: Worker
    locked: Worker
    operator: Worker
    impostor: Worker

    @property
    def socket(self) -> str:
        return str(self.agent.socket)

    @property
    def released(self) -> Path:
        return self.folder / "released"

    def client(self, who: Worker, first_s: float = 10) -> DeskClient:
        return DeskClient(broker_settings(load_desk(who.config), who.id), CLOCK, Patience(first_s=first_s))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, street_h264: Path) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    (folder / "released").mkdir()
    (folder / "agent").mkdir()
    with (
        Mosquitto(folder) as broker,
        CameraServer({"/main": street_h264}, folder=folder / "cameras") as cameras,
    ):
        officer = worker(folder, "o-kovalenko", "archive_officer", broker)
        locked = worker(folder, "locked", "archive_officer", broker, locked=True)
        operator = worker(folder, "operator", "operator", broker, language="en")
        impostor = worker(folder, "impostor", "archive_officer", broker, language="en")
        # The impostor's desk claims to be the officer's.
        impostor.config.write_text(impostor.config.read_text("utf-8").replace('"impostor"', '"o-kovalenko"'), "utf-8")
        target = f'[[target]]\nkind = "folder"\nname = "usb"\npath = "{folder / "released"}"\n'
        with RunningAgent(
            folder / "agent",
            {"gate": cameras.url("/main"), "yard": "rtsp://127.0.0.1:1/nowhere"},
            broker=broker,
            more="\n".join([officer.block, locked.block, operator.block, target]),
        ) as agent:
            wait_until(lambda: len(agent.segments("gate")) >= 1, 40, "a first recording")
            yield Town(folder, broker, agent, officer, locked, operator, impostor)


def export(recipient: str, *more: str, camera: str = "gate") -> list[str]:
    span = ["--from", "6s ago", "--for", "3s", "--recipient", recipient, "--target", "usb", "--reason", "Запит 7/2026"]
    return ["export", NODE, camera, *span, *more]


def test_a_clip_is_asked_for_released_and_opened_by_its_recipient_alone(town: Town) -> None:
    ended = town.officer.desk(*export(town.officer.recipient, "--json"))
    assert ended.code == 0, ended.err
    assert ended.json | {"ok": True, "state": "done", "code": "released"} == ended.json
    assert "Прийнято" in ended.err
    sealed = Path(ended.json["location"])
    assert sealed.parent == town.released
    opened = town.folder / "clip.mp4"
    told = town.officer.desk("open", str(sealed), "--out", str(opened))
    assert told.code == 0, told.err
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(opened)]
    assert float(subprocess.run(probe, capture_output=True, check=True, text=True).stdout) == pytest.approx(3, abs=1.1)
    other = town.operator.desk("open", str(sealed), "--out", str(town.folder / "other.mp4"))
    assert (other.code, (town.folder / "other.mp4").exists()) == (74, False)
    assert "can't be opened" in other.err


@pytest.fixture(scope="module")
def clip(town: Town) -> Path:
    """One released to the officer."""
    ended = town.officer.desk(*export(town.officer.recipient, "--json"))
    assert ended.code == 0, ended.err
    return Path(ended.json["location"])


@pytest.mark.parametrize("damage", ["torn", "tampered"])
def test_a_damaged_clip_is_not_opened_at_all(town: Town, clip: Path, tmp_path: Path, damage: str) -> None:
    data = bytearray(clip.read_bytes())
    if damage == "torn":
        del data[-100:]
    else:
        data[-5000] ^= 1
    bad = tmp_path / "bad.age"
    bad.write_bytes(data)
    assert town.officer.desk("open", str(bad), "--out", str(tmp_path / "out.mp4")).code == 74
    assert [path.name for path in tmp_path.iterdir()] == ["bad.age"]


def test_the_state_of_a_node_is_told_in_the_persons_language(town: Town) -> None:
    uk = town.officer.desk("status", NODE)
    assert uk.code == 0, uk.err
    assert "записує" in uk.out
    assert "втрачено: немає в мережі" in uk.out
    en = town.operator.desk("status", NAME, "--json")
    assert en.json["ok"]
    assert en.json["cameras"]["yard"]["fault"] == "unreachable"


def test_a_locked_key_is_opened_with_its_passphrase_only(town: Town) -> None:
    passphrase = str(town.locked.folder / "passphrase")
    assert town.locked.desk("status", NODE, "--passphrase-file", passphrase).code == 0
    without = town.locked.desk("status", NODE)
    assert (without.code, "--passphrase-file" in without.err) == (78, True)
    wrong = town.folder / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("no\n")
    ended = town.locked.desk("status", NODE, "--passphrase-file", str(wrong))
    assert (ended.code, PASSPHRASE in ended.err) == (78, False)


def test_a_key_that_is_not_the_persons_is_refused(town: Town) -> None:
    ended = town.impostor.desk(*export(town.impostor.recipient, "--json"))
    assert (ended.code, ended.json["state"], ended.json["code"]) == (77, "refused", "bad_signature")
    assert "Refused: the signature" in ended.err
    assert ended.json["ok"] is False


def test_what_the_role_does_not_allow_is_refused_in_words(town: Town) -> None:
    ended = town.operator.desk(*export(town.operator.recipient))
    assert (ended.code, ended.out) == (77, "")
    assert "operator may not export" in ended.err
    here = town.officer.desk("status", NODE, "--socket", town.socket)
    assert here.code == 77
    assert "Відмовлено: роль" in here.err


def test_people_at_the_node_ask_through_its_socket(town: Town) -> None:
    ended = town.officer.desk(*export(town.officer.recipient, "--json", "--socket", town.socket))
    assert ended.code == 0, ended.err
    assert Path(ended.json["location"]).is_file()
    sent = town.officer.desk(*export(town.officer.recipient, "--no-wait", "--socket", town.socket))
    assert sent.code == 0
    wait_until(lambda: list(town.released.glob(f"*_{sent.out[:8]}.mp4.age")), 30, "the clip asked for without waiting")


def test_an_officer_at_the_node_asks_for_its_journal_through_its_socket(town: Town) -> None:
    told = town.officer.desk("audit", NODE, "--socket", town.socket, "--action", "journal")
    assert (told.code, "✓ town/n1" in told.out, "дозволено" in told.out) == (0, True, True), told.err
    assert town.agent.journal()[-1]["access"] == "direct"
    assert town.operator.desk("audit", NODE, "--socket", town.socket).code == 77


def test_an_unknown_camera_fails_in_words(town: Town) -> None:
    ended = town.officer.desk(*export(town.officer.recipient, "--json", camera="roof"))
    assert (ended.code, ended.json["code"], ended.json["ok"]) == (1, "not_found", False)
    assert "there are: gate, yard" in ended.err


def last(client: DeskClient, token: bytes) -> Reply:
    replies = list(client.ask(TOPICS, token))
    assert all(not reply.state.final for reply in replies[:-1])
    return replies[-1]


def test_expired_replayed_and_unreadable_commands_are_refused(town: Town) -> None:
    key, client = load_key(town.officer.folder / "keys" / "person.key"), town.client(town.officer)
    old = sign(key, town.officer.id, NAME, StatusArgs(), CLOCK.utc_us() - 3600 * US)
    good = sign(key, town.officer.id, NAME, StatusArgs(), CLOCK.utc_us())
    other = sign(key, town.officer.id, f"{SITE}/n2", StatusArgs(), CLOCK.utc_us())
    stranger = sign(Ed25519PrivateKey.generate(), "nobody", NAME, StatusArgs(), CLOCK.utc_us())
    answers = [(last(client, token).state, last(client, token).code) for token in (old, other, stranger, b"rubbish")]
    assert [code for _, code in answers] == ["expired", "other_node", "unknown_person", "malformed"]
    assert {state for state, _ in answers} == {ReplyState.REFUSED}
    assert last(client, good).state is ReplyState.DONE
    assert last(client, good).code == "replayed"


def test_a_node_that_is_away_is_told_within_the_timeout(town: Town) -> None:
    ended = town.officer.desk("status", f"{SITE}/n2", "--timeout", "1", "--json")
    assert (ended.code, ended.json["state"]) == (69, "unreachable")
    assert f"{SITE}/n2 does not answer within 1 s" in ended.err


def test_rubbish_and_strangers_replies_on_the_reply_topic_are_passed_over(town: Town) -> None:
    key = load_key(town.officer.folder / "keys" / "person.key")
    token = sign(key, town.officer.id, f"{SITE}/n2", StatusArgs(), CLOCK.utc_us())
    topic = Topics(SITE, "n2").reply(claimed_nonce(token))
    foreign = Reply.model_validate(
        {"at_us": 1, "request_id": "other", "state": "done", "code": "x", "words": {"uk": "", "en": ""}}
    )
    stop = threading.Event()

    def flood(link: Link) -> None:
        while not stop.is_set():
            for payload in (b"\x00" * 1000, b"{}", foreign.model_dump_json().encode()):
                link.publish(topic, payload, qos=0)
            stop.wait(0.002)

    link = Link(broker_settings(load_desk(town.operator.config), "hostile"), CLOCK, lambda _: None, lambda _: None)
    link.start()
    thread = threading.Thread(target=flood, args=(link,), daemon=True)
    thread.start()
    try:
        with pytest.raises(UplinkError, match=r"does not answer within 1 s \(\d+ unreadable"):
            list(town.client(town.officer, 1).ask(Topics(SITE, "n2"), token))
    finally:
        stop.set()
        thread.join()
        link.stop(1)


def test_a_request_sent_without_waiting_can_be_followed(town: Town) -> None:
    sent = town.officer.desk(*export(town.officer.recipient, "--no-wait"))
    assert sent.code == 0, sent.err
    assert town.officer.desk("follow", NODE, "no such/id").code == 64
    wait_until(lambda: list(town.released.glob(f"*_{sent.out[:8]}.mp4.age")), 30, "the clip")
    late = town.officer.desk("follow", NODE, sent.out.strip(), "--idle", "1")
    assert late.code == 69


def test_ctrl_c_says_that_the_node_goes_on_and_how_to_look(town: Town) -> None:
    span = ["--from", "1m ago", "--for", "5s", "--recipient", town.officer.recipient, "--target", "usb"]
    process = subprocess.Popen(
        command("export", f"{SITE}/n9", "gate", *span),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(town.officer.config),
    )
    assert process.stderr is not None
    read = ""
    while f"{SITE}/n9" not in read:
        line = process.stderr.readline()
        assert line, read
        read += line
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 130
    rest = process.stderr.read()
    assert "Вузол працює далі" in rest
    assert f"edge-desk follow {SITE}/n9" in rest


def test_watch_tells_lines_where_there_is_no_terminal(town: Town) -> None:
    ended = town.officer.desk("watch", "--seconds", "1.5")
    assert ended.code == 0, ended.err
    for words in ("є зв'язок", f"{NAME} на зв'язку", f"{NAME} gate: записує", f"{NAME} yard: втрачено: немає в мережі"):
        assert words in ended.out


def test_watch_tells_events_as_json_counts_rubbish_and_saves_pictures(town: Town) -> None:
    pictures = town.folder / "pictures"
    link = Link(broker_settings(load_desk(town.operator.config), "hostile"), CLOCK, lambda _: None, lambda _: None)
    link.start()
    wait_until(lambda: link.state.protocol, 30, "online")
    process = subprocess.Popen(
        command("watch", "--seconds", "2.5", "--json", "--pictures", str(pictures)),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(town.officer.config),
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while '"health"' not in lines[-1]:
        lines.append(process.stdout.readline())
    hostile = Topics("evil", "n1")
    link.publish(hostile.picture("gate", "a1"), b"\xff\xd8\xff picture")
    link.publish(hostile.picture("gate", "a2"), b"<script>")
    link.publish(hostile.health, b'{"v": 1, "cameras": "\xff')
    link.publish(f"{hostile.base}/alarm/..", b"{}")
    events = [json.loads(line) for line in (*lines, *process.stdout.readlines())]
    link.stop(1)
    assert process.wait(10) == 0
    kinds = [event["event"] for event in events]
    assert {"link", "status", "health", "picture"} <= set(kinds)
    assert kinds.count("malformed") == 3
    saved = pictures / "evil.n1.gate.a1.jpg"
    assert saved.read_bytes() == b"\xff\xd8\xff picture"
    assert (pictures.stat().st_mode & 0o777, saved.stat().st_mode & 0o777) == (0o700, 0o600)


def test_watch_shows_a_live_table_on_a_terminal_and_ends_in_order(town: Town) -> None:
    ours, theirs = pty.openpty()
    env = {**environment(town.officer.config), "LINES": "30", "TERM": "xterm"}
    process = subprocess.Popen(command("watch"), stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    seen = bytearray()

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                seen.extend(piece)
        except OSError:
            return  # the other end is closed

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        wait_until(lambda: "записує".encode() in seen and "немає в мережі".encode() in seen, 30, "the table")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        reader.join(5)
        assert seen.rindex(b"\x1b[?1049l") < seen.rindex("записує".encode())
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_hold_is_ordered_told_and_ended_from_afar(town: Town) -> None:
    order = ["--order", "12-р", "--ordered-by", "Мер Іван"]
    made = town.officer.desk(
        "hold", "add", NODE, "--from", "20s ago", "--for", "1h", "--camera", "gate", *order, "--json"
    )
    assert made.code == 0, made.err
    hold = made.json["hold"]
    assert (hold["order_number"], hold["carried_out_by"]) == ("12-р", "Коваленко Олена Петрівна")
    assert made.json["cameras"]["gate"]["size_bytes"] > 0
    listed = town.officer.desk("hold", "list", NODE)
    assert (listed.code, hold["hold_id"] in listed.out, "діє" in listed.out) == (0, True, True)
    shown = town.officer.desk("hold", "show", NODE, hold["hold_id"][:6], "--socket", town.socket)
    assert "gate: є" in shown.out
    refused = town.operator.desk("hold", "end", NODE, hold["hold_id"], *order)
    assert (refused.code, "operator may not hold_end" in refused.err) == (77, True)
    ended = town.officer.desk("hold", "end", NODE, hold["hold_id"], *order, "--json")
    assert ended.json["hold"]["ended_us"] is not None
    nothing = town.officer.desk("hold", "show", NODE, "h00000000")
    assert (nothing.code, "немає" in nothing.err or "no hold" in nothing.err) == (1, True)
    wrong = town.officer.desk("hold", "add", NODE, "--from", "1h ago", "--order", "", "--ordered-by", "x")
    assert (wrong.code, "order_number" in wrong.err) == (64, True)
