from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.trust.age import Identity
from edge_agent.trust.command import CommandRefusedError, ExportArgs, RefusalCode, StatusArgs, sign
from edge_agent.trust.door import FLOOD_ENTRIES, FLOOD_WINDOW_S, Door
from edge_agent.trust.journal import Journal, JournalEntry, Outcome
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access, Role
from tests.simulators.clock import HandClock
from tests.trust.support import NOW_US, somebody

NODE = "melitopol/node-7"
OFFICER_KEY = Ed25519PrivateKey.generate()
OPERATOR_KEY = Ed25519PrivateKey.generate()
OFFICER = somebody("officer", Role.ARCHIVE_OFFICER, OFFICER_KEY)
OPERATOR = somebody("operator", Role.OPERATOR, OPERATOR_KEY)
EXPORT = ExportArgs(
    camera="gate",
    start_us=NOW_US - 60 * US,
    end_us=NOW_US,
    recipient=str(Identity.generate().recipient),
    target="disk",
    reason="Запит № 7",
)


class House:
    """A node's door with what stands behind it, on a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.journal_path = folder / "journal.jsonl"
        self.journal = Journal(self.journal_path, self.clock)
        self.nonces_path = folder / "nonces.sqlite"
        self.nonces = NonceStore(self.nonces_path, self.clock)
        people = {person.person_id: person for person in (OFFICER, OPERATOR)}
        self.door = Door(people, NODE, self.journal, self.nonces, self.clock)

    def token(self, key: Ed25519PrivateKey = OFFICER_KEY, person_id: str = "officer") -> bytes:
        return sign(key, person_id, NODE, EXPORT, self.clock.utc_us())

    def refused(self, token: bytes, access: Access = Access.REMOTE) -> RefusalCode:
        with pytest.raises(CommandRefusedError) as caught:
            self.door.enter(token, access)
        return caught.value.code

    def entries(self) -> list[JournalEntry]:
        found = list(self.journal.read())
        assert all(isinstance(entry, JournalEntry) for entry in found)
        return [entry for entry in found if isinstance(entry, JournalEntry)]

    def break_journal(self) -> None:
        self.journal_path.unlink(missing_ok=True)
        self.journal_path.mkdir()

    def mend_journal(self) -> None:
        self.journal_path.rmdir()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    yield built
    built.nonces.close()


def test_an_admitted_command_is_in_the_journal_before_it_is_done(house: House) -> None:
    admitted = house.door.enter(house.token(), Access.REMOTE)
    (entry,) = house.entries()
    assert (admitted.person, admitted.command.args, admitted.access) == (OFFICER, EXPORT, Access.REMOTE)
    assert entry.outcome is Outcome.ACCEPTED
    assert (entry.who, entry.person_id) == ("Шевченко Оксана Іванівна", "officer")
    assert (entry.action, entry.access, entry.at_us) == ("export", "remote", house.clock.utc_us())
    assert entry.args == EXPORT.model_dump(exclude_none=True)


@pytest.mark.parametrize("ok", [True, False])
def test_what_became_of_it_is_tied_to_its_admission(house: House, ok: bool) -> None:
    admitted = house.door.enter(house.token(), Access.REMOTE)
    house.clock.move(30)
    house.door.outcome(admitted, ok, "60 s of gate, 30 MB, to disk")
    accepted, ended = house.entries()
    assert ended.outcome is (Outcome.DONE if ok else Outcome.FAILED)
    assert ended.ref == accepted.ref == admitted.command.nonce
    assert ended.reason == "60 s of gate, 30 MB, to disk"


def test_a_replayed_command_is_refused_even_after_a_restart(house: House, tmp_path: Path) -> None:
    token = house.token()
    house.door.enter(token, Access.REMOTE)
    assert house.refused(token) is RefusalCode.REPLAYED
    house.nonces.close()
    again = House(tmp_path)
    with closing(again.nonces):
        assert again.refused(token) is RefusalCode.REPLAYED
        assert again.refused(token, Access.DIRECT) is RefusalCode.REPLAYED


def test_a_clock_set_back_opens_the_door_to_nothing_old(house: House) -> None:
    token = house.token()
    house.door.enter(token, Access.REMOTE)
    house.clock.move(3600)
    assert house.refused(token) is RefusalCode.EXPIRED
    house.clock.step(-3600)
    assert house.refused(token) is RefusalCode.REPLAYED


def test_who_may_not_is_refused_and_journalled_by_name(house: House) -> None:
    assert house.refused(house.token(OPERATOR_KEY, "operator")) is RefusalCode.NOT_PERMITTED
    (entry,) = house.entries()
    assert entry.outcome is Outcome.REFUSED
    assert entry.person_id == "operator"
    assert entry.reason.startswith("not_permitted: operator may not export")
    assert entry.args["camera"] == "gate"


def test_the_way_of_access_counts(house: House) -> None:
    token = sign(OPERATOR_KEY, "operator", NODE, StatusArgs(), NOW_US)
    assert house.refused(token, Access.DIRECT) is RefusalCode.NOT_PERMITTED
    house.door.enter(sign(OPERATOR_KEY, "operator", NODE, StatusArgs(), NOW_US), Access.REMOTE)


def test_a_refused_forgery_names_nobody(house: House) -> None:
    assert house.refused(house.token(OPERATOR_KEY, "officer")) is RefusalCode.BAD_SIGNATURE
    (entry,) = house.entries()
    assert (entry.who, entry.person_id) == ("", None)
    assert entry.reason.startswith("bad_signature: ")


def test_an_expired_command_names_its_signer(house: House) -> None:
    token = house.token()
    house.clock.move(3600)
    assert house.refused(token) is RefusalCode.EXPIRED
    (entry,) = house.entries()
    assert entry.person_id == "officer"


def test_without_a_journal_nothing_is_admitted(house: House) -> None:
    house.break_journal()
    assert house.refused(house.token()) is RefusalCode.JOURNAL_UNAVAILABLE
    assert house.refused(b"garbage") is RefusalCode.MALFORMED
    house.mend_journal()
    house.door.enter(house.token(), Access.REMOTE)


def test_a_command_that_could_not_be_journalled_must_be_signed_anew(house: House) -> None:
    token = house.token()
    house.break_journal()
    assert house.refused(token) is RefusalCode.JOURNAL_UNAVAILABLE
    house.mend_journal()
    assert house.refused(token) is RefusalCode.REPLAYED


def test_an_outcome_that_cannot_be_journalled_is_told(house: House) -> None:
    admitted = house.door.enter(house.token(), Access.REMOTE)
    house.break_journal()
    with pytest.raises(ArchiveError):
        house.door.outcome(admitted, True, "done")


def test_without_a_memory_nothing_is_admitted(house: House) -> None:
    with closing(sqlite3.connect(house.nonces_path)) as other:
        other.execute("DROP TABLE nonce")
    assert house.refused(house.token()) is RefusalCode.JOURNAL_UNAVAILABLE
    (entry,) = house.entries()
    assert (entry.outcome, entry.person_id) == (Outcome.REFUSED, "officer")


def test_a_flood_of_garbage_and_replays_is_counted_not_written(house: House) -> None:
    token = house.token()
    house.door.enter(token, Access.REMOTE)
    for _ in range(200):
        assert house.refused(b"garbage") is RefusalCode.MALFORMED
        assert house.refused(token) is RefusalCode.REPLAYED
    assert len(house.entries()) == 1 + FLOOD_ENTRIES
    house.clock.move(FLOOD_WINDOW_S)
    house.door.settle()
    summary = house.entries()[-1]
    assert summary.count == 400 - FLOOD_ENTRIES
    assert summary.reason == "flood: malformed 190, replayed 190"
    assert house.refused(b"garbage") is RefusalCode.MALFORMED
    assert house.entries()[-1].count == 1


def test_a_flood_hides_no_access_and_no_refusal_of_a_known_person(house: House) -> None:
    for _ in range(2 * FLOOD_ENTRIES):
        house.refused(b"garbage")
    house.door.enter(house.token(), Access.REMOTE)
    house.refused(house.token(OPERATOR_KEY, "operator"))
    accepted, refused = house.entries()[-2:]
    assert (accepted.person_id, refused.person_id) == ("officer", "operator")


def test_counts_survive_a_stop_and_a_journal_that_failed_meanwhile(house: House) -> None:
    for _ in range(FLOOD_ENTRIES + 7):
        house.refused(b"garbage")
    house.journal_path.rename(house.journal_path.with_suffix(".aside"))
    house.break_journal()
    house.clock.move(FLOOD_WINDOW_S)
    house.door.settle()
    house.mend_journal()
    house.door.settle(now=True)
    (summary,) = house.entries()
    assert summary.count == 7
    house.door.settle(now=True)
    assert len(house.entries()) == 1


def test_a_quiet_door_writes_nothing(house: House) -> None:
    house.clock.move(10 * FLOOD_WINDOW_S)
    house.door.settle()
    house.door.settle(now=True)
    assert house.entries() == []
