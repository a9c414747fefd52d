"""Orders by officials: whose they are, what they reach, and every way past them that must fail."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.clock import US
from edge_agent.trust import command, jws
from edge_agent.trust.age import Identity
from edge_agent.trust.command import CommandArgs, CommandRefusedError, ExportArgs, HoldArgs, HoldEndArgs, StatusArgs
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.journal import Journal, JournalEntry, Outcome
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.order import (
    MAX_LIFETIME_S,
    TYPE,
    Order,
    OrderRefusedError,
    Terms,
    read,
    sign,
    stay_within,
    verify,
)
from edge_agent.trust.policy import Access, Limits, Purpose, Role, Wanted
from edge_agent.trust.roster import parse_draft
from edge_agent.trust.roster import sign as sign_roster
from edge_agent.trust.roster import verify as verify_roster
from tests.simulators.clock import HandClock
from tests.trust.support import NOW_US, person

NODE = "town/n1"
HERE = Wanted(NODE)
DAY_S = 86400
KEYS = {role: Ed25519PrivateKey.generate() for role in Role}
PEOPLE = {someone.person_id: someone for someone in (person(str(role), KEYS[role], role) for role in Role)}
AUTHORITY = Ed25519PrivateKey.generate()
POLICE, OTHERS = (str(Identity.generate().recipient) for _ in range(2))
START, END = NOW_US - 600 * US, NOW_US - 300 * US
NAME = "Шевченко Оксана Іванівна"
BASIS = {"kind": "official_request", "number": "77/2026", "date": "2026-09-20"}
RELEASE: dict[str, Any] = {
    "kind": "release", "number": "12-р", "nodes": [NODE], "cameras": ["gate"], "start_us": START, "end_us": END,
    "recipient": POLICE, "basis": BASIS,
}  # fmt: skip
HOLD: dict[str, Any] = {
    "kind": "hold", "number": "13-р", "nodes": ["town/*"], "start_us": START, "basis": BASIS | {"kind": "own_decision"},
}  # fmt: skip
HOLD_END: dict[str, Any] = {
    "kind": "hold_end", "number": "14-р", "nodes": [NODE], "hold_id": "h123456789a", "destroy": True, "basis": BASIS,
}  # fmt: skip
EXPORT_ARGS: dict[str, Any] = {
    "camera": "gate", "start_us": START, "end_us": END, "recipient": POLICE, "target": "disk",
}  # fmt: skip


def terms(whole: dict[str, Any], **changed: Any) -> Terms:
    return Terms.model_validate({name: value for name, value in (whole | changed).items() if value is not ...})


def order(whole: dict[str, Any], role: Role = Role.MAYOR, at_us: int = NOW_US, **changed: Any) -> str:
    return sign(KEYS[role], str(role), terms(whole, **changed), at_us).decode()


def refused(token: str, now_us: int = NOW_US, here: Wanted = HERE) -> str:
    with pytest.raises(OrderRefusedError) as caught:
        verify(token, PEOPLE, here, now_us)
    assert "\n" not in str(caught.value)
    assert not caught.value.beyond
    return str(caught.value)


def export(token: str | None = None, **changed: Any) -> ExportArgs:
    return ExportArgs.model_validate(EXPORT_ARGS | changed | ({"order": token} if token else {}))


def hold(token: str | None = None, **changed: Any) -> HoldArgs:
    whole = {"start_us": START, "order_number": "13-р", "ordered_by": NAME}
    return HoldArgs.model_validate(whole | changed | ({"order": token} if token else {}))


def hold_end(token: str | None = None, **changed: Any) -> HoldEndArgs:
    whole = {"hold_id": "h123456789a", "order_number": "14-р", "ordered_by": NAME}
    return HoldEndArgs.model_validate(whole | changed | ({"order": token} if token else {}))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("whole", [RELEASE, HOLD, HOLD_END], ids=lambda whole: str(whole["kind"]))
def test_only_the_officials_of_the_table_order(role: Role, whole: dict[str, Any]) -> None:
    may = {Role.MAYOR} if whole is RELEASE else {Role.MAYOR, Role.DEPUTY}
    if role in may:
        found = verify(order(whole, role), PEOPLE, HERE, NOW_US)
        assert (str(found.official.person_id), str(found.terms.kind), found.terms.number) == (
            str(role),
            whole["kind"],
            whole["number"],
        )
    else:
        assert f"{role} may" in refused(order(whole, role))


def test_a_forged_order_is_refused() -> None:
    assert "signature" in refused(sign(KEYS[Role.DEPUTY], "mayor", terms(HOLD), NOW_US).decode())
    assert "nobody called" in refused(sign(AUTHORITY, "king", terms(HOLD), NOW_US).decode())


def test_a_command_or_a_roster_is_no_order() -> None:
    token = command.sign(KEYS[Role.MAYOR], "mayor", NODE, StatusArgs(), NOW_US).decode()
    assert "typ" in refused(token)


def test_a_signature_has_one_form() -> None:
    order_token = order(RELEASE)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(order_token[-1]) ^ 1]
    assert "one form" in refused(order_token[:-1] + spare)


def test_an_order_by_somebody_else_in_its_own_words_is_refused() -> None:
    head, _, _ = order(HOLD).split(".")
    claims = read(order(HOLD)).model_dump(mode="json", exclude_defaults=True) | {"iss": "deputy"}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    signature = KEYS[Role.MAYOR].sign(f"{head}.{body}".encode())
    token = f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert "another person" in refused(token)


def test_an_order_is_good_for_its_time() -> None:
    token = order(HOLD)
    verify(token, PEOPLE, HERE, NOW_US + 5 * DAY_S * US)
    assert "expired" in refused(token, NOW_US + (5 * DAY_S + 60) * US)
    assert "clock" in refused(token, NOW_US - 61 * US)
    for lifetime_s in (0, -1, MAX_LIFETIME_S + 1):
        with pytest.raises(ValueError, match="31 days"):
            sign(KEYS[Role.MAYOR], "mayor", terms(HOLD), NOW_US, lifetime_s=lifetime_s)


@pytest.mark.parametrize("elsewhere", ["town/n2", "city/n1"])
def test_an_order_for_another_node_is_refused(elsewhere: str) -> None:
    assert "this node is" in refused(order(RELEASE), here=Wanted(elsewhere))


def test_a_site_is_all_its_nodes_and_no_other_site() -> None:
    verify(order(HOLD), PEOPLE, Wanted("town/n9"), NOW_US)
    refused(order(HOLD), here=Wanted("town2/n9"))


def test_who_left_office_orders_nothing_even_with_an_order_of_before() -> None:
    token = order(HOLD)
    for change in ({"until_us": NOW_US + US}, {"from_us": NOW_US + US}):
        mayor = replace(PEOPLE["mayor"], **change)  # type: ignore[index, arg-type]
        with pytest.raises(OrderRefusedError):
            verify(token, {mayor.person_id: mayor}, HERE, NOW_US + 2 * US)


def test_an_official_may_be_limited_too() -> None:
    mayor = replace(PEOPLE["mayor"], limits=Limits(cameras=frozenset({f"{NODE}/gate"})))  # type: ignore[index]
    known = {mayor.person_id: mayor}
    verify(order(HOLD, cameras=["gate"]), known, HERE, NOW_US)
    with pytest.raises(OrderRefusedError, match="all cameras"):
        verify(order(HOLD), known, HERE, NOW_US)


@pytest.mark.parametrize(
    ("whole", "changed"),
    [
        (RELEASE, {"recipient": ...}),
        (RELEASE, {"end_us": ...}),
        (RELEASE, {"end_us": START}),
        (RELEASE, {"hold_id": "h123456789a"}),
        (RELEASE, {"destroy": True}),
        (RELEASE, {"basis": BASIS | {"kind": "own_decision"}}),
        (RELEASE, {"basis": ...}),
        (RELEASE, {"basis": BASIS | {"date": "20.09.2026"}}),
        (RELEASE, {"basis": BASIS | {"number": ""}}),
        (RELEASE, {"nodes": []}),
        (RELEASE, {"nodes": ["*/*"]}),
        (RELEASE, {"recipient": "age1"}),
        (HOLD, {"start_us": ...}),
        (HOLD, {"recipient": POLICE}),
        (HOLD_END, {"hold_id": ...}),
        (HOLD_END, {"destroy": False}),
        (HOLD_END, {"start_us": START}),
        (HOLD, {"kind": "mercy"}),
        (HOLD, {"more": 1}),
    ],
)
def test_an_order_says_all_its_kind_asks_and_no_more(whole: dict[str, Any], changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        terms(whole, **changed)


def judged(whole: dict[str, Any], args: CommandArgs) -> str:
    found = verify(order(whole), PEOPLE, HERE, NOW_US)
    with pytest.raises(OrderRefusedError) as caught:
        stay_within(found, args)
    assert caught.value.beyond
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"camera": "yard"}, "camera"),
        ({"start_us": START - 1}, "interval"),
        ({"end_us": END + 1}, "interval"),
        ({"recipient": OTHERS}, "recipient"),
    ],
)
def test_a_release_beyond_its_order_is_refused(changed: dict[str, Any], said: str) -> None:
    assert said in judged(RELEASE, export(**changed))


def test_a_part_of_what_was_ordered_may_be_released() -> None:
    found = verify(order(RELEASE, cameras=...), PEOPLE, HERE, NOW_US)
    stay_within(found, export(start_us=START + US, camera="yard"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cameras": ["gate"]}, "cameras"),
        ({"start_us": START + 1}, "interval"),
        ({"end_us": END}, "interval"),
        ({"order_number": "99"}, "order_number"),
        ({"ordered_by": "Хтось"}, "ordered_by"),
    ],
)
def test_a_hold_is_carried_out_as_ordered(changed: dict[str, Any], said: str) -> None:
    stay_within(verify(order(HOLD), PEOPLE, HERE, NOW_US), hold())
    assert said in judged(HOLD, hold(**changed))


@pytest.mark.parametrize("changed", [{"hold_id": "h123456789b"}, {"order_number": "1"}, {"ordered_by": "Хтось"}])
def test_the_end_of_a_hold_is_of_that_hold(changed: dict[str, Any]) -> None:
    stay_within(verify(order(HOLD_END), PEOPLE, HERE, NOW_US), hold_end())
    assert next(iter(changed)).split("_")[0] in judged(HOLD_END, hold_end(**changed))


def test_an_order_of_one_kind_is_none_of_another() -> None:
    every: list[tuple[dict[str, Any], CommandArgs]] = [(RELEASE, export()), (HOLD, hold()), (HOLD_END, hold_end())]
    for whole, own in every:
        for _, args in every:
            if args is not own:
                assert "not to" in judged(whole, args)
    assert "without an order" in judged(HOLD, StatusArgs())


inside = st.integers(START - 5, END + 5)


def test_names_that_nobody_asked_for_steer_no_terminal() -> None:
    claims = json.dumps({"\x1b[2J\n": 1}).encode()
    token = jws.encode(KEYS[Role.MAYOR], TYPE, "mayor", claims).decode()
    with pytest.raises(OrderRefusedError) as caught:
        read(token)
    assert str(caught.value).isprintable()


@given(st.sampled_from([(), ("gate",), ("gate", "yard")]), st.sampled_from(["gate", "yard"]), inside, inside)
def test_what_a_release_order_lets_out_lies_within_it(
    cameras: tuple[str, ...], camera: str, start: int, end: int
) -> None:
    if end <= start:
        start, end = end, start + 1
    mayor = PEOPLE["mayor"]  # type: ignore[index]
    found = Order("x" * 16, mayor, NOW_US, NOW_US + US, terms(RELEASE, cameras=list(cameras)))
    within = (not cameras or camera in cameras) and start >= START and end <= END
    try:
        stay_within(found, export(camera=camera, start_us=start, end_us=end))
    except OrderRefusedError:
        assert not within
    else:
        assert within


@settings(max_examples=300)
@given(st.data())
def test_a_changed_order_is_refused(data: st.DataObject) -> None:
    whole = bytearray(_TOKEN.encode())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(33, 126).filter(lambda sign_: sign_ != whole[place]))
    refused(whole.decode())


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_nonsense_is_no_order(text: str) -> None:
    refused(text)
    with pytest.raises(OrderRefusedError):
        read(text)


_TOKEN = order(RELEASE)


class Office:
    """A node's door with an authority: a roster of one person of each role and the police."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.journal = Journal(folder / "journal.jsonl", self.clock)
        self.nonces = NonceStore(folder / "nonces.sqlite", self.clock)
        self.door = Door(PEOPLE, NODE, self.journal, self.nonces, self.clock)
        self.content: dict[str, Any] = {
            "city": "Місто",
            "people": [
                {
                    "id": str(role), "surname": "Шевченко", "name": "Оксана", "patronymic": "Іванівна",
                    "roles": [str(role)], "public_key": str(public_key_of(KEYS[role])),
                }
                for role in Role
            ],
            "recipients": [{"id": "police", "name": "Поліція", "kind": "law_enforcement", "age_key": POLICE}],
        }  # fmt: skip

    def install(self, **changed: Any) -> None:
        draft = parse_draft(json.dumps(self.content | changed).encode())
        token = sign_roster(AUTHORITY, draft, 1, self.clock.utc_us(), 30 * DAY_S)
        self.door.rely_on(verify_roster(token, public_key_of(AUTHORITY)))

    def enter(self, args: CommandArgs, role: Role = Role.ARCHIVE_OFFICER, access: Access = Access.REMOTE) -> Admitted:
        return self.door.enter(command.sign(KEYS[role], str(role), NODE, args, self.clock.utc_us()), access)

    def refused(self, args: CommandArgs, role: Role = Role.ARCHIVE_OFFICER, access: Access = Access.REMOTE) -> str:
        with pytest.raises(CommandRefusedError) as caught:
            self.enter(args, role, access)
        last = self.entries()[-1]
        assert (last.outcome, last.person_id) == (Outcome.REFUSED, str(role))
        assert last.reason.startswith(f"{caught.value.code}: ")
        return str(caught.value.code)

    def entries(self) -> list[JournalEntry]:
        return [entry for entry in self.journal.read() if isinstance(entry, JournalEntry)]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    built = Office(tmp_path)
    yield built
    built.nonces.close()


def test_with_its_order_a_command_is_carried_out_and_the_journal_has_both(office: Office) -> None:
    office.install()
    for whole, args in ((RELEASE, export), (HOLD, hold), (HOLD_END, hold_end)):
        token = order(whole)
        admitted = office.enter(args(token))
        assert admitted.order is not None
        entry = office.entries()[-1]
        assert entry.args["order"] == token
        assert f"order {whole['number']} of {NAME}" in entry.reason


def test_where_there_is_an_authority_nothing_goes_without_an_order(office: Office) -> None:
    office.enter(hold())
    office.door.rely_on(None)
    assert office.refused(hold()) == "order_needed"
    office.install()
    assert [office.refused(args) for args in (export(), hold(), hold_end())] == ["order_needed"] * 3
    assert office.refused(export(), Role.CONTRACTOR, Access.DIRECT) == "order_needed"


def test_an_officer_orders_no_hold_alone(office: Office) -> None:
    office.install()
    assert office.refused(hold(order(HOLD, Role.ARCHIVE_OFFICER))) == "bad_order"


def test_the_mayor_does_not_carry_out_and_the_deputy_does_not_release(office: Office) -> None:
    office.install()
    assert office.refused(hold(order(HOLD)), Role.MAYOR) == "not_permitted"
    assert office.refused(export(order(RELEASE, Role.DEPUTY))) == "bad_order"


@pytest.mark.parametrize("role", [Role.CONTRACTOR, Role.LAW_ENFORCEMENT, Role.OPERATOR, Role.AUDITOR, Role.MAYOR])
def test_even_with_the_mayors_order_the_archive_is_remotely_the_officers_alone(office: Office, role: Role) -> None:
    office.install()
    assert office.refused(export(order(RELEASE)), role) == "not_permitted"


def test_a_rescoped_command_is_refused(office: Office) -> None:
    office.install()
    assert office.refused(export(order(RELEASE), recipient=OTHERS)) == "beyond_order"
    assert office.refused(hold(order(HOLD, cameras=["gate"]))) == "beyond_order"
    assert office.refused(hold(order(RELEASE))) == "beyond_order"


def test_a_recipient_whom_the_roster_does_not_know_gets_nothing(office: Office) -> None:
    office.install()
    assert office.refused(export(order(RELEASE, recipient=OTHERS), recipient=OTHERS)) == "bad_order"


def test_an_old_order_and_one_for_another_node_are_refused(office: Office) -> None:
    office.install()
    old = order(HOLD, at_us=NOW_US - 6 * DAY_S * US)
    assert office.refused(hold(old)) == "bad_order"
    assert office.refused(hold(order(HOLD, nodes=["town/n2"]))) == "bad_order"


def test_a_bad_order_is_refused_where_none_is_needed_either(office: Office) -> None:
    assert office.refused(hold(order(HOLD, Role.ARCHIVE_OFFICER))) == "bad_order"


def test_an_officer_limited_to_requests_of_the_police_serves_no_others(office: Office) -> None:
    officer = office.content["people"][2] | {"limits": {"purposes": ["official_request"]}}
    office.install(people=[*office.content["people"][:2], officer])
    office.enter(export(order(RELEASE)))
    memo = order(RELEASE, basis=BASIS | {"kind": "memo"})
    assert office.refused(export(memo)) == "not_permitted"
    assert "official_request" in office.entries()[-1].reason
    assert Purpose.MEMO in office.entries()[-1].reason


def test_without_a_roster_in_force_only_the_node_is_seen_to(office: Office) -> None:
    office.install()
    office.clock.move(30 * DAY_S)
    assert office.refused(hold(order(HOLD, at_us=office.clock.utc_us()))) == "no_roster"
    assert office.refused(StatusArgs(), Role.OPERATOR) == "no_roster"
    office.enter(StatusArgs(), Role.CONTRACTOR, Access.DIRECT)
    office.door.rely_on(None, "the roster is damaged")
    assert office.refused(StatusArgs(), Role.OPERATOR) == "no_roster"
    office.install()
    office.enter(StatusArgs(), Role.OPERATOR)


def test_who_is_not_in_the_roster_is_a_stranger_whatever_the_configuration_says(office: Office) -> None:
    office.install(people=office.content["people"][:2])
    with pytest.raises(CommandRefusedError) as caught:
        office.enter(StatusArgs(), Role.OPERATOR)
    assert caught.value.code == "unknown_person"
