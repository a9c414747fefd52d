"""Orders to hold and to let go, through the door: carried out, journalled, and made again from the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.library import Library
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.model import CameraId, Hold, Segment
from edge_agent.trust.command import CommandArgs, CommandRefusedError, HoldArgs, HoldEndArgs, HoldsArgs, sign
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.order import Basis, OrderKind, Terms
from edge_agent.trust.order import sign as sign_order
from edge_agent.trust.policy import Access, Purpose, Role
from edge_agent.uplink.hold_orders import MAX_HOLDS, Done, HoldOrders, restore, restored
from edge_agent.uplink.payloads import MAX_JSON_BYTES, Reply, ReplyState, encode
from tests.simulators.clock import HandClock
from tests.trust.support import somebody

GATE = CameraId("gate")
KEY = Ed25519PrivateKey.generate()
OFFICER, MAYOR = "o-officer", "o-mayor"


class Node:
    """A node's door, holds and index on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.journal = Journal(folder / "journal.jsonl", self.clock)
        people = {
            p.person_id: p for p in (somebody(OFFICER, Role.ARCHIVE_OFFICER, KEY), somebody(MAYOR, Role.MAYOR, KEY))
        }
        nonces = NonceStore(folder / "nonces.sqlite", self.clock)
        self.door = Door(people, "town/n1", self.journal, nonces, self.clock)
        self.documents = Documents(folder / "documents.json", self.clock)
        self.holds = Holds(self.documents)
        self.index = Index(folder / "index.sqlite", self.clock)
        library = Library(folder / "archive", self.index, (), self.clock)
        self.orders = HoldOrders([GATE, CameraId("yard")], self.holds, self.index, library, self.clock)

    def admitted(self, args: CommandArgs, who: str = OFFICER, access: Access = Access.DIRECT) -> Admitted:
        return self.door.enter(sign(KEY, who, "town/n1", args, self.clock.utc_us()), access)

    def carry_out(self, args: CommandArgs) -> Done:
        admitted = self.admitted(args)
        done = self.orders.carry_out(admitted)
        self.door.outcome(admitted, True, done.said.en)
        return done

    def ago(self, minutes: float) -> int:
        return self.clock.utc_us() - round(minutes * 60 * US)

    def order(self, minutes: float, length: float | None = None, *cameras: str, **more: Any) -> HoldArgs:
        start_us = self.ago(minutes)
        end_us = None if length is None else start_us + round(length * 60 * US)
        return HoldArgs(
            cameras=cameras, start_us=start_us, end_us=end_us, order_number="12-р", ordered_by="Мер Іван", **more
        )

    def record(self, minutes: float) -> Segment:
        start_us = self.ago(minutes)
        path = str(SegmentName(GATE, start_us, 1))
        segment = Segment(GATE, path, start_us, start_us + 60 * US, 1000, None, None)
        self.index.add([segment])
        return segment


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.index.close()


def test_a_hold_is_entered_with_its_order_and_tells_what_is_there_and_what_is_not(node: Node) -> None:
    there, gone = node.record(9), node.record(10)
    node.index.gone([(gone, DeleteReason.AGE)], node.ago(1))
    done = node.carry_out(node.order(10, 2, "gate", reason="ДТП"))
    [hold] = node.holds.all()
    assert (hold.order_number, hold.ordered_by, hold.carried_out_by) == ("12-р", "Мер Іван", "Шевченко Оксана Іванівна")
    account = done.result["cameras"]["gate"]
    assert (account["recorded_s"], account["missing_s"], account["size_bytes"]) == (60.0, {"deleted": 60.0}, 1000)
    assert account["missing"][0] | {"cause": "deleted", "evidence": "age"} == account["missing"][0]
    assert done.said.en.endswith("There are 1 min of footage; missing: deleted 1 min")
    assert done.said.uk.endswith("Є 1 хв запису; бракує: знищено 1 хв")
    assert node.holds.held.intervals(GATE) == (there.interval.__class__(gone.start_us, there.end_us),)


def by_the_mayor(node: Node, args: HoldArgs) -> HoldArgs:
    """The same with the mayor's own order."""
    basis = Basis(kind=Purpose.OWN_DECISION, number="1", date="2026-09-20")
    terms = Terms(
        kind=OrderKind.HOLD,
        number=args.order_number,
        nodes=("town/n1",),
        cameras=args.cameras,
        start_us=args.start_us,
        end_us=args.end_us,
        basis=basis,
    )
    order = sign_order(KEY, MAYOR, terms, node.clock.utc_us()).decode()
    return args.model_copy(update={"order": order, "ordered_by": "Шевченко Оксана Іванівна"})


def test_an_order_that_comes_again_makes_no_second_hold(node: Node) -> None:
    args = by_the_mayor(node, node.order(10, 2, "gate"))
    first, second = node.carry_out(args), node.carry_out(args)
    assert first.result["hold"] == second.result["hold"]
    assert len(node.holds.all()) == 1
    assert [hold.hold_id for hold in restored(node.journal.read())] == [first.result["hold"]["hold_id"]]


def test_a_hold_that_was_ended_is_not_made_again_by_its_old_order(node: Node) -> None:
    args = by_the_mayor(node, node.order(10, 2, "gate"))
    held = node.carry_out(args).result["hold"]["hold_id"]
    node.carry_out(HoldEndArgs(hold_id=held, order_number="14-р", ordered_by="Мер Іван"))
    admitted = node.admitted(args)
    with pytest.raises(UsageError, match="has been ended"):
        node.orders.carry_out(admitted)
    node.door.outcome(admitted, False, "ended")
    [restored_hold] = restored(node.journal.read())
    assert restored_hold == node.holds.all()[0]
    assert restored_hold.ended_us is not None


def test_a_hold_of_the_future_says_so(node: Node) -> None:
    done = node.carry_out(node.order(-60, 30))
    assert done.result["cameras"] == {}
    assert done.said.en.endswith("all cameras. The interval lies ahead")


def test_an_unknown_camera_is_refused_and_holds_nothing(node: Node) -> None:
    with pytest.raises(NotFoundError, match="roof"):
        node.carry_out(node.order(5, 1, "gate", "roof"))
    assert node.holds.all() == []


def test_a_hold_is_ended_once_by_an_order_of_its_own(node: Node) -> None:
    id_ = node.carry_out(node.order(5)).result["hold"]["hold_id"]
    end = HoldEndArgs(hold_id=id_[:6], order_number="13-р", ordered_by="Мер Іван")
    done = node.carry_out(end)
    assert done.result["hold"]["ended_us"] == node.clock.utc_us()
    assert node.holds.held.intervals(GATE) == ()
    with pytest.raises(UsageError, match="already"):
        node.carry_out(end)
    told = node.carry_out(HoldsArgs())
    assert told.said.en == "Holds in force: 0, keeping 0.0 GB"
    assert [hold["end_order_number"] for hold in told.result["holds"]] == ["13-р"]


def test_all_holds_are_told_with_the_bytes_they_keep(node: Node) -> None:
    node.record(9)
    node.carry_out(node.order(10, 5))
    assert node.carry_out(HoldsArgs()).result["held_bytes"] == {"gate": 1000, "yard": 0}


def test_a_list_of_many_holds_still_fits_an_answer_and_has_those_in_force(node: Node) -> None:
    number, name, why = "№" * 64, "Ї" * 200, "Ї" * 500
    for at in range(100):
        node.holds.add(Hold(f"h{at:04}", (GATE,) * 64, 1, 2, number, why, name, name, at, at or None, name))
    told = node.carry_out(HoldsArgs())
    assert (len(told.result["holds"]), told.result["unlisted"]) == (MAX_HOLDS, 100 - MAX_HOLDS)
    assert [hold["hold_id"] for hold in told.result["holds"][:2]] == ["h0000", "h0099"]
    reply = Reply(at_us=1, request_id="r", state=ReplyState.DONE, code="holds", words=told.said, result=told.result)
    assert len(encode(reply)) < MAX_JSON_BYTES


def test_only_the_archive_officer_carries_out_what_an_official_orders(node: Node) -> None:
    with pytest.raises(CommandRefusedError, match="mayor may not hold"):
        node.admitted(node.order(5), MAYOR, Access.REMOTE)
    node.admitted(HoldsArgs(), MAYOR, Access.REMOTE)


@pytest.mark.parametrize("wrong", [{"order_number": ""}, {"ordered_by": ""}, {"end_us": 0}, {"cameras": ("A",)}])
def test_an_order_without_its_facts_is_no_order(wrong: dict[str, Any]) -> None:
    good = {"start_us": 5, "order_number": "12-р", "ordered_by": "Мер"}
    HoldArgs.model_validate(good)
    with pytest.raises(ValueError, match="validation error"):
        HoldArgs.model_validate(good | wrong)


def test_lost_documents_lose_no_hold_for_the_journal_has_the_orders(node: Node, tmp_path: Path) -> None:
    first = node.carry_out(node.order(50, 20, "gate")).result["hold"]["hold_id"]
    second = node.carry_out(node.order(40)).result["hold"]["hold_id"]
    node.carry_out(HoldEndArgs(hold_id=first, order_number="13-р", ordered_by="Мер"))
    before = node.holds.all()
    (tmp_path / "documents.json").write_text("{torn")
    documents = Documents(tmp_path / "documents.json", node.clock)
    assert documents.fresh
    holds = Holds(documents)
    assert {hold.hold_id for hold in restore(holds, node.journal.read())} == {first, second}
    assert holds.all() == before
    documents.settle()
    assert not Documents(tmp_path / "documents.json", node.clock).fresh


def test_an_order_that_was_accepted_and_then_lost_power_counts_as_carried_out(node: Node) -> None:
    node.admitted(node.order(5))
    failed = node.admitted(node.order(6))
    node.door.outcome(failed, False, "the disk is full")
    assert [hold.start_us for hold in restored(node.journal.read())] == [node.ago(5)]


def test_an_order_in_the_journal_that_cannot_be_understood_stops_all_deletion(node: Node) -> None:
    node.journal.append(JournalEntry(JournalKind.ACCESS, Outcome.ACCEPTED, action="hold", args={"what": 1}, ref="x"))
    with pytest.raises(ArchiveError, match="understood"):
        restore(node.holds, node.journal.read())
    assert not node.holds.known
