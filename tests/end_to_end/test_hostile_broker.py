"""A broker that drops, doubles, reorders, forges and repeats: it can keep an answer from people, but invent none, and
have nothing done that nobody signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import US, SystemClock
from edge_agent.desk.settings import load_desk
from edge_agent.trust.age import Identity
from edge_agent.trust.command import ExportArgs, HoldArgs, StatusArgs, sign
from edge_agent.trust.keys import load_key, public_key_of
from edge_agent.trust.note import NoteKey, parse_note_key
from edge_agent.trust.reply import opened
from edge_agent.uplink.payloads import Reply, ReplyState, Words, encode_reply
from edge_agent.uplink.topics import Topics
from tests.desk.world import NAME, Worker, worker
from tests.peers.agent import NODE, SITE, RunningAgent
from tests.peers.hostile_broker import HostileBroker
from tests.peers.support import wait_until

TOPICS = Topics(SITE, NODE)
CLOCK = SystemClock()
AWAY = {"gate": "rtsp://127.0.0.1:9/x"}


@dataclass
class Town:
    broker: HostileBroker
    agent: RunningAgent
    officer: Worker
    contractor: Worker
    police: Worker
    key: NoteKey

    def accesses(self, since: int = 0) -> list[tuple[str, str]]:
        """Outcome and action or refusal's code of what people did or tried, from the journal."""
        found = [entry for entry in self.agent.journal()[since:] if entry["kind"] == "access"]
        return [
            (one["outcome"], one["reason"].split(":")[0] if one["outcome"] == "refused" else one["action"])
            for one in found
        ]

    def length(self) -> int:
        return len(self.agent.journal())


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "agent").mkdir()
    with HostileBroker(folder, [TOPICS]) as broker:
        officer = worker(folder, "officer", "archive_officer", broker.people, language="en")
        contractor = worker(folder, "contractor", "contractor", broker.people, language="en")
        police = worker(folder, "police", "law_enforcement", broker.people, language="en")
        blocks = "\n".join(one.block for one in (officer, contractor, police))
        target = f'[[target]]\nkind = "folder"\nname = "usb"\npath = "{folder}"\n'
        with RunningAgent(folder / "agent", AWAY, broker=broker.nodes, more=f"{blocks}\n{target}") as agent:
            wait_until(lambda: (agent.data / "journal.checkpoint").exists(), 60, "the agent runs")
            first = officer.desk("status", NODE)
            assert first.code == 0, first.err
            key = parse_note_key((officer.folder / "state" / SITE / f"{NODE}.key").read_text().strip())
            assert str(key) == agent.cli("journal", "checkpoint", "--key").stdout.decode().strip()
            yield Town(broker, agent, officer, contractor, police, key)


@pytest.fixture
def town(peopled: Town) -> Town:
    """An honest broker for now, and an officer's desk that knows the node."""
    peopled.broker.behave()
    return peopled


def invented(payload: bytes, key: Ed25519PrivateKey | None, state: ReplyState = ReplyState.DONE) -> bytes:
    """A reply to the command or in place of the reply that `payload` is, as only the broker wants it."""
    try:
        request = json.loads(payload)["request_id"]
    except ValueError:
        claims = payload.split(b".")[1]
        request = json.loads(base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4)))["jti"]
    words = Words(uk="усе зроблено", en="all done, says the broker")
    told = Reply(at_us=1, request_id=request, node=NAME, state=state, code="status", words=words)
    return encode_reply(told, key)


HOLD = ("hold", "add", NODE, "--from", "2026-11-22 10:00", "--for", "1h", "--order", "12-р", "--ordered-by", "Мер Іван")


def test_a_dropped_command_and_a_dropped_answer_are_silence_and_no_success(town: Town) -> None:
    before = town.length()
    town.broker.command = lambda _: []
    lost = town.officer.desk(*HOLD, "--timeout", "2", "--json")
    assert (lost.code, lost.json["state"]) == (69, "unreachable")
    assert town.accesses(before) == []
    town.broker.behave()
    town.broker.reply = lambda _: []
    lost = town.officer.desk(*HOLD, "--timeout", "4", "--json")
    assert (lost.code, lost.json["state"]) == (69, "unreachable")
    wait_until(lambda: town.accesses(before) == [("accepted", "hold"), ("done", "hold")], 30, "it was done")


@pytest.mark.parametrize("signer", ["nobody", "the-broker", "the-officer"])
def test_an_invented_done_is_an_error_and_no_success(town: Town, signer: str) -> None:
    keys = {
        "nobody": None,
        "the-broker": Ed25519PrivateKey.generate(),
        "the-officer": load_key(town.officer.folder / "keys" / "person.key"),
    }
    before = town.length()

    def swallow(token: bytes) -> list[bytes]:
        said = invented(token, keys[signer])
        town.broker.say(TOPICS.reply(json.loads(said)["request_id"]), said)
        return []

    town.broker.command = swallow
    told = town.officer.desk(*HOLD, "--timeout", "30", "--json")
    assert (told.code, told.json["state"], told.json["ok"]) == (77, "unproven", False)
    assert "nothing is proved to be done" in told.err
    assert town.accesses(before) == []


def test_a_changed_answer_is_not_believed(town: Town) -> None:
    town.broker.reply = lambda payload: [payload.replace(b'"state":"failed"', b'"state":"done"  ')]
    told = town.officer.desk("hold", "show", NODE, "h123456", "--json")
    assert (told.code, told.json["state"]) == (77, "unproven")


def test_between_inventions_the_nodes_own_answer_is_found(town: Town) -> None:
    stranger = Ed25519PrivateKey.generate()
    town.broker.reply = lambda payload: [
        invented(payload, None),
        invented(payload, stranger, ReplyState.REFUSED),
        b"\x00rubbish",
        payload,
        invented(payload, stranger),
    ]
    told = town.officer.desk("hold", "list", NODE, "--json")
    assert (told.code, told.json["code"]) == (0, "holds"), told.err


def test_doubled_and_reordered_messages_do_everything_once(town: Town) -> None:
    before = town.length()
    late: list[bytes] = []

    def shuffle(payload: bytes) -> list[bytes]:
        late.append(payload)
        return late[::-1] * 2  # the newest first, and all that ever came again

    town.broker.command = lambda token: [token, token, token]
    town.broker.reply = shuffle
    assert town.officer.desk("status", NODE, "--json").code == 0
    assert town.officer.desk("status", NODE, "--json").code == 0
    wait_until(lambda: len(town.accesses(before)) == 8, 30, "the doubles are refused")
    told = town.accesses(before)
    assert told.count(("accepted", "status")) == told.count(("done", "status")) == 2
    assert told.count(("refused", "replayed")) == 4


def test_an_answer_to_another_request_does_not_pass_for_one_to_this(town: Town) -> None:
    assert town.officer.desk("status", NODE).code == 0
    (_, old), *_ = town.broker.replies

    def swallow(token: bytes) -> list[bytes]:
        request = json.loads(invented(token, None))["request_id"]
        town.broker.say(TOPICS.reply(request), old)
        town.broker.say(TOPICS.reply(request), old.replace(json.loads(old)["request_id"].encode(), request.encode()))
        return []

    town.broker.command = swallow
    assert town.officer.desk("status", NODE, "--timeout", "20").code == 77


def test_rubbish_sent_under_a_requests_id_does_not_make_its_answer_a_refusal(town: Town) -> None:
    def foul(token: bytes) -> list[bytes]:
        header, claims, _ = token.split(b".")
        spoiled = b".".join([header, claims, base64.urlsafe_b64encode(b"\x01" * 64).rstrip(b"=")])
        return [spoiled, token]

    town.broker.command = foul
    before = town.length()
    told = town.officer.desk("status", NODE, "--json")
    assert (told.code, told.json["code"]) == (0, "status")
    assert town.accesses(before)[0] == ("refused", "bad_signature")
    replies = [json.loads(payload) for _, payload in town.broker.replies]
    assert [one["code"] for one in replies] == ["bad_signature", "status"]
    assert all(opened(payload)[1] == town.key.public for _, payload in town.broker.replies)


def test_forged_repeated_redirected_and_old_commands_do_nothing_and_are_journalled(town: Town) -> None:
    own = load_key(town.officer.folder / "keys" / "person.key")
    now = CLOCK.utc_us()
    hold = HoldArgs(start_us=1, end_us=2, order_number="1", ordered_by="Мер Іван")
    good = sign(own, "officer", NAME, StatusArgs(), now)
    header, claims, signature = sign(own, "officer", NAME, hold, now).split(b".")
    widened = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + b"==").replace(b'"end_us":2', b'"end_us":9'))
    before = town.length()
    for token in (
        sign(Ed25519PrivateKey.generate(), "officer", NAME, hold, now),
        b".".join([header, widened.rstrip(b"="), signature]),
        sign(own, "officer", f"{SITE}/n2", hold, now),
        sign(own, "officer", NAME, hold, now - 3600 * US),
        good,
        good,
    ):
        town.broker.send(TOPICS, token)
    wait_until(lambda: len(town.accesses(before)) == 7, 30, "all are journalled")
    assert [code for outcome, code in town.accesses(before) if outcome == "refused"] == [
        "bad_signature", "bad_signature", "other_node", "expired", "replayed",
    ]  # fmt: skip
    assert [code for outcome, code in town.accesses(before) if outcome != "refused"] == ["status", "status"]


@pytest.mark.parametrize("who", ["contractor", "police"])
def test_the_archive_is_refused_to_them_from_afar_and_the_attempt_is_journalled(town: Town, who: str) -> None:
    person: Worker = getattr(town, who)
    before = town.length()
    recipient = str(Identity.generate().recipient)
    args = ["export", NODE, "gate", "--from", "5m ago", "--for", "1m", "--recipient", recipient, "--target", "usb"]
    told = person.desk(*args, "--json")
    assert (told.code, told.json["state"], told.json["code"]) == (77, "refused", "not_permitted")
    asked = person.desk("audit", NODE)
    assert asked.code == 77, asked.out
    (entry, second) = [one for one in town.agent.journal()[before:] if one["kind"] == "access"]
    assert (entry["outcome"], entry["person_id"], entry["action"], entry["access"]) == (
        "refused", who, "export", "remote",
    )  # fmt: skip
    assert entry["who"] == "Коваленко Олена Петрівна"
    assert ExportArgs.model_validate(entry["args"]).recipient == recipient
    assert (second["outcome"], second["action"]) == ("refused", "journal")


def test_a_key_that_people_compared_is_believed_and_no_other_is_pinned(town: Town, tmp_path: Path) -> None:
    wrong = NoteKey(town.key.name, public_key_of(Ed25519PrivateKey.generate()))
    text = town.officer.config.read_text("utf-8").replace('"state"', f'"{tmp_path}"')
    for key, code in ((wrong, 77), (town.key, 0)):
        config = town.officer.folder / "given.toml"
        config.write_text(f'node_keys = ["{key}"]\n{text}', encoding="utf-8")
        assert load_desk(config).node_keys == (str(key),)
        assert town.officer.desk("status", NODE, "-c", str(config)).code == code
    assert not (tmp_path / SITE).exists()
