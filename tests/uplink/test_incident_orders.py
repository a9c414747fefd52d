"""What people make of alarms, through the door: plain answers, the first counts, nobody sees more than is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.register import MAX_NOTES, Entry, Incident, NoteKind, Register
from edge_agent.clock import US
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import Hold, PersonId
from edge_agent.trust.age import Identity
from edge_agent.trust.command import CommandArgs, CommandRefusedError, ExportArgs, HoldArgs, RefusalCode, sign
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.incident_args import AcknowledgeArgs, IncidentArgs, IncidentsArgs
from edge_agent.trust.journal import Journal
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access, Limits, Person, Role
from edge_agent.uplink.exports import Release
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.incident_orders import IncidentOrders
from edge_agent.uplink.payloads import MAX_JSON_BYTES, Reply, ReplyState, Words, encode
from tests.simulators.clock import HandClock
from tests.trust.support import person

KEYS = {
    name: Ed25519PrivateKey.generate()
    for name in ("first", "second", "yard", "mayor", "contractor", "officer", "stranger")
}


def people() -> dict[Any, Person]:
    limits = Limits(cameras=frozenset({"town/n1/yard"}))
    known = [
        person("first", KEYS["first"], Role.OPERATOR),
        person("second", KEYS["second"], Role.OPERATOR),
        person("yard", KEYS["yard"], Role.OPERATOR, limits=limits),
        person("mayor", KEYS["mayor"], Role.MAYOR),
        person("contractor", KEYS["contractor"], Role.CONTRACTOR),
        person("officer", KEYS["officer"], Role.ARCHIVE_OFFICER),
    ]
    return {one.person_id: one for one in known}


class Node:
    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.journal = Journal(folder / "journal.jsonl", self.clock)
        nonces = NonceStore(folder / "nonces.sqlite", self.clock)
        self.door = Door(people(), "town/n1", self.journal, nonces, self.clock)
        self.holds = Holds(Documents(folder / "documents.json", self.clock))
        self.register = Register(folder / "incidents.sqlite", self.clock)
        self.changed: list[Incident] = []
        self.orders = IncidentOrders(self.register, self.holds, self.door, self.changed.append, UTC, self.clock)
        for number in range(6):
            self.enter(number, "yard" if number % 2 else "gate")

    def enter(self, number: int, camera: str, words: str = "Рух") -> None:
        start_us = number * 60 * US
        self.register.enter(
            Entry(
                f"a{number:05}", camera, "motion", None, None, camera, "", words, words, None,
                start_us, start_us, start_us + US, None, 0,
            ),
            "{}",
            0,
        )  # fmt: skip

    def admitted(self, args: CommandArgs, who: str = "first", key: str = "") -> Admitted:
        return self.door.enter(sign(KEYS[key or who], who, "town/n1", args, self.clock.utc_us()), Access.REMOTE)

    def ask(self, args: CommandArgs, who: str = "first") -> Done:
        admitted = self.admitted(args, who)
        match args:
            case AcknowledgeArgs():
                done = self.orders.acknowledge(admitted, args)
            case IncidentArgs():
                done = self.orders.write(admitted, args)
            case IncidentsArgs():
                done = self.orders.tell(admitted, args)
            case _:
                raise AssertionError(args)
        self.clock.move(1)
        return done


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def of(done: Done) -> Mapping[str, Any]:
    incident: Mapping[str, Any] = done.result["incident"]
    return incident


def test_of_two_dispatchers_at_once_the_first_counts_and_the_second_is_told_who_was_first(node: Node) -> None:
    first = node.ask(AcknowledgeArgs(alarm="a00000", comment="їду"))
    second = node.ask(AcknowledgeArgs(alarm="a00000", comment="і я"), "second")
    assert first.result["changed"] is True
    assert second.result["changed"] is False
    assert "вже підтверджено: Шевченко Оксана Іванівна" in second.said.uk
    incident = node.register.get("a00000")
    assert incident.acknowledged
    assert incident.acknowledged.person_id == "first"
    assert [note.text for note in incident.notes] == ["їду", "і я"], "what the second one said is not lost"
    assert len(node.changed) == 2


def test_an_acknowledgement_that_comes_again_changes_nothing(node: Node) -> None:
    node.ask(AcknowledgeArgs(alarm="a00000"))
    again = node.ask(AcknowledgeArgs(alarm="a00000"))
    assert again.result["changed"] is False
    assert len(node.register.get("a00000").notes) == len(node.changed) == 1


def test_an_unknown_alarm_and_one_that_could_be_several_are_said_to_be_so(node: Node) -> None:
    with pytest.raises(NotFoundError, match="no alarm zzzz is known here"):
        node.ask(AcknowledgeArgs(alarm="zzzz"))
    with pytest.raises(UsageError, match="several alarms begin with a0000"):
        node.ask(AcknowledgeArgs(alarm="a0000"))


def test_a_mark_can_be_set_and_taken_back_and_is_not_set_twice(node: Node) -> None:
    assert of(node.ask(IncidentArgs(alarm="a00001", false_alarm=True, comment="кіт")))["false_alarm"]["who"]
    again = node.ask(IncidentArgs(alarm="a00001", false_alarm=True), "second")
    assert again.result["changed"] is False
    assert "вже позначено хибною" in again.said.uk
    back = node.ask(IncidentArgs(alarm="a00001", false_alarm=False, comment="то був не кіт"))
    assert "false_alarm" not in of(back)
    assert [note["kind"] for note in of(back)["notes"]] == ["false", "true"]


def test_a_hold_is_tied_by_its_whole_id_and_must_exist(node: Node) -> None:
    node.holds.add(Hold("h0123456789", (), 0, None, "12-р", "", "Мер", "Хтось", 0))
    done = node.ask(IncidentArgs(alarm="a00001", hold="h0123", release="7c1e5f0a9b3d4e21"))
    assert of(done)["holds"] == ["h0123456789"]
    assert of(done)["releases"] == ["7c1e5f0a9b3d4e21"]
    assert node.ask(IncidentArgs(alarm="a00001", hold="h0123456789")).result["changed"] is False
    with pytest.raises(NotFoundError):
        node.ask(IncidentArgs(alarm="a00001", hold="hffff"))


def test_nothing_to_write_is_no_command() -> None:
    with pytest.raises(ValidationError, match="nothing to write"):
        IncidentArgs(alarm="a00001")


def test_a_forged_acknowledgement_is_refused_and_changes_nothing(node: Node) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        node.admitted(AcknowledgeArgs(alarm="a00001"), "first", key="stranger")
    assert refused.value.code is RefusalCode.BAD_SIGNATURE
    assert node.register.get("a00001").notes == ()


@pytest.mark.parametrize("who", ["contractor", "mayor"])
def test_neither_contractor_nor_mayor_may_acknowledge_or_write(node: Node, who: str) -> None:
    for args in (AcknowledgeArgs(alarm="a00001"), IncidentArgs(alarm="a00001", comment="x")):
        with pytest.raises(CommandRefusedError) as refused:
            node.admitted(args, who)
        assert refused.value.code is RefusalCode.NOT_PERMITTED


def test_the_register_is_not_the_contractors_to_read_but_the_mayors(node: Node) -> None:
    with pytest.raises(CommandRefusedError):
        node.admitted(IncidentsArgs(), "contractor")
    assert len(node.ask(IncidentsArgs(), "mayor").result["incidents"]) == 6


def test_who_is_limited_to_a_camera_sees_and_acknowledges_that_one_only(node: Node) -> None:
    told = node.ask(IncidentsArgs(), "yard").result["incidents"]
    assert {incident["camera"] for incident in told} == {"yard"}
    assert node.ask(AcknowledgeArgs(alarm="a00001"), "yard").result["changed"]
    for args in (AcknowledgeArgs(alarm="a00000"), IncidentsArgs(alarm="a00000")):
        with pytest.raises(CommandRefusedError, match="limited to some cameras") as refused:
            node.ask(args, "yard")
        assert refused.value.code is RefusalCode.NOT_PERMITTED
    assert node.register.get("a00000").notes == ()


def pages(node: Node, **asked: Any) -> list[list[Mapping[str, Any]]]:
    found: list[list[Mapping[str, Any]]] = []
    after: dict[str, Any] = {}
    while True:
        result = node.ask(IncidentsArgs(**asked, **after)).result
        reply = Reply(
            at_us=0, request_id="r", state=ReplyState.DONE, code="incidents", words=Words(uk="", en=""), result=result
        )
        assert len(encode(reply)) < MAX_JSON_BYTES
        found.append(result["incidents"])
        if not result["more"]:
            return found
        last = result["incidents"][-1]
        after = {"after_us": last["started_us"], "after_id": last["alarm_id"]}


def test_pages_give_every_alarm_once_however_long_its_comments(node: Node) -> None:
    for number in range(300):
        node.enter(number, "gate", "Рух " * 100)
    for number in range(12):
        for _ in range(30):
            node.ask(IncidentArgs(alarm=f"a{number:05}", comment="щ" * 500))
    found = pages(node)
    assert [incident["alarm_id"] for page in found for incident in page] == [f"a{number:05}" for number in range(300)]
    assert len(found) > 2
    assert [len(page) for page in pages(node, most=4, end_us=10 * 60 * US)] == [4, 4, 2]


def held(number: int) -> Done:
    return Done(Words(uk="Утримується", en="It is held"), {"hold": {"hold_id": f"h{number:09}"}})


def test_a_hold_that_names_its_alarm_is_tied_to_it_once(node: Node) -> None:
    args = HoldArgs(start_us=0, order_number="12", ordered_by="Мер", incident="a00001")
    admitted = node.admitted(args, "officer")
    for _ in range(2):
        done = node.orders.with_hold(admitted, node.orders.found(admitted, "a00001"), held(1))
        assert done.result == {"hold": {"hold_id": "h000000001"}, "incident": "a00001"}
    assert done.said.uk == "Утримується. Тривогу a00001 пов'язано з утриманням"
    [note] = node.register.get("a00001").notes
    assert (note.kind, note.text, note.person_id, note.ref) == (
        NoteKind.HOLD, "h000000001", "officer", admitted.command.nonce,
    )  # fmt: skip


def test_a_register_that_is_full_holds_up_no_hold(node: Node) -> None:
    for number in range(MAX_NOTES):
        node.ask(IncidentArgs(alarm="a00001", comment=str(number)))
    admitted = node.admitted(HoldArgs(start_us=0, order_number="12", ordered_by="Мер", incident="a00001"), "officer")
    done = node.orders.with_hold(admitted, node.orders.found(admitted, "a00001"), held(1))
    assert done == held(1)


def test_a_release_is_tied_to_its_alarm_when_it_is_done_long_after(node: Node) -> None:
    args = ExportArgs(
        camera="gate",
        start_us=0,
        end_us=US,
        recipient=str(Identity.generate().recipient),
        target="usb",
        incident="a00002",
    )
    release = Release("n" * 20, args.model_dump(), "Коваль", PersonId("officer"), Access.REMOTE)
    assert node.orders.with_release(release) == "a00002"
    [note] = node.register.get("a00002").notes
    assert (note.kind, note.text, note.who) == (NoteKind.RELEASE, "n" * 20, "Коваль")
    gone = args.model_copy(update={"incident": "gone"}).model_dump()
    assert node.orders.with_release(Release("m" * 20, gone, "Коваль", PersonId("officer"), Access.REMOTE)) is None
