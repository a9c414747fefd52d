from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.trust.age import Identity
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Access, Action, Purpose, Role, Wanted, decide
from edge_agent.trust.roster import (
    LEEWAY_S,
    MAX_LIFETIME_S,
    MAX_ROSTER_BYTES,
    TYPE,
    Draft,
    RosterRefusedError,
    diff,
    draft_json,
    newer,
    parse_draft,
    sign,
    verify,
)
from tests.trust.support import NOW_US

AUTHORITY = Ed25519PrivateKey.generate()
PINNED = public_key_of(AUTHORITY)
KEYS = [Ed25519PrivateKey.generate() for _ in range(3)]
POLICE = str(Identity.generate().recipient)
YEAR_S = 365 * 86400
MAYOR: dict[str, Any] = {
    "id": "mayor", "surname": "Мельник", "name": "Іван", "patronymic": "Петрович", "position": "міський голова",
    "roles": ["mayor"], "public_key": str(public_key_of(KEYS[0])),
}  # fmt: skip
OFFICER: dict[str, Any] = {
    "id": "o-shevchenko", "surname": "Шевченко", "name": "Оксана", "roles": ["archive_officer", "auditor"],
    "public_key": str(public_key_of(KEYS[1])), "valid_from": 1_700_000_000, "valid_until": 1_800_000_000,
    "limits": {
        "cameras": ["town/n1/*"], "hours": [{"days": ["mon", "tue"], "from": "08:00", "to": "17:00"}],
        "purposes": ["official_request"],
    },
}  # fmt: skip
COURT: dict[str, Any] = {"id": "court", "name": "Мелітопольський суд", "kind": "court", "age_key": POLICE}
CONTENT: dict[str, Any] = {"city": "Мелітополь", "people": [MAYOR, OFFICER], "recipients": [COURT]}


def draft(**changed: Any) -> Draft:
    return parse_draft(json.dumps(CONTENT | changed).encode())


def token(version: int = 1, key: Ed25519PrivateKey = AUTHORITY, **changed: Any) -> bytes:
    return sign(key, draft(**changed), version, NOW_US, YEAR_S)


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def forged(payload: Any, header: dict[str, Any] | None = None, key: Ed25519PrivateKey = AUTHORITY) -> bytes:
    head = {"alg": "EdDSA", "kid": "authority", "typ": TYPE} if header is None else header
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    text = b64(json.dumps(head).encode()) + b"." + b64(raw)
    return text + b"." + b64(key.sign(text))


def claims(**changed: Any) -> dict[str, Any]:
    return CONTENT | {"version": 1, "iat": NOW_US // US, "exp": NOW_US // US + YEAR_S} | changed


def refused(made: bytes) -> str:
    with pytest.raises(RosterRefusedError) as caught:
        verify(made, PINNED)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_signed_roster_says_who_is_who() -> None:
    roster = verify(token(), PINNED)
    officer = roster.people["o-shevchenko"]  # type: ignore[index]
    assert officer.roles == (Role.ARCHIVE_OFFICER, Role.AUDITOR)
    assert (officer.from_us, officer.until_us) == (1_700_000_000 * US, 1_800_000_000 * US)
    assert officer.limits.cameras == frozenset({"town/n1/*"})
    assert officer.limits.purposes == frozenset({Purpose.OFFICIAL_REQUEST})
    assert officer.limits.hours is not None
    assert officer.limits.hours[0].days == frozenset({1, 2})
    assert roster.people["mayor"].full_name == "Мельник Іван Петрович"  # type: ignore[index]
    assert roster.version == 1


def test_its_people_are_judged_by_the_policy() -> None:
    officer = verify(token(), PINNED).people["o-shevchenko"]  # type: ignore[index]
    monday_us = 1_795_428_000 * US  # 2026-11-23 10:00 UTC
    here = Wanted("town/n1", cameras=("gate",), purpose=Purpose.OFFICIAL_REQUEST)
    assert decide(officer, Action.EXPORT, Access.REMOTE, monday_us, here).allowed
    assert not decide(officer, Action.EXPORT, Access.REMOTE, monday_us + 2 * 86400 * US, here).allowed


@pytest.mark.parametrize("who", ["mayor", "stranger"])
def test_only_the_authority_signs(who: str) -> None:
    key = KEYS[0] if who == "mayor" else Ed25519PrivateKey.generate()
    assert "signature" in refused(forged(claims(), key=key))
    assert "nobody called" in refused(forged(claims(), {"alg": "EdDSA", "kid": "mayor", "typ": TYPE}, key))


def test_a_command_is_no_roster() -> None:
    assert "typ" in refused(forged(claims(), {"alg": "EdDSA", "kid": "authority", "typ": "edge-command+jwt"}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"people": [MAYOR, MAYOR]}, "stands twice: mayor"),
        ({"people": [MAYOR, OFFICER | {"public_key": MAYOR["public_key"]}]}, "a public key stands twice"),
        ({"people": [MAYOR | {"public_key": str(PINNED)}]}, "the authority's own key"),
        ({"people": [MAYOR | {"roles": ["king"]}]}, "people.0.roles.0"),
        ({"people": [MAYOR | {"roles": []}]}, "people.0.roles"),
        ({"people": [MAYOR | {"public_key": "A" * 43}]}, "weak point"),
        ({"people": [MAYOR | {"surname": "М\n"}]}, "printable"),
        ({"people": [MAYOR | {"rank": "x"}]}, "people.0.rank"),
        ({"people": [MAYOR | {"valid_from": 5, "valid_until": 5}]}, "valid_until must be after"),
        ({"people": [MAYOR | {"limits": {"cameras": ["gate"]}}]}, "<site>/<node>/<camera>"),
        ({"people": [MAYOR | {"limits": {"hours": [{"days": ["sun"], "from": "24:00", "to": "1:00"}]}}]}, "time of"),
        ({"people": [MAYOR | {"limits": {"hours": [{"days": ["день"], "from": "08:00", "to": "17:00"}]}}]}, "mon, tue"),
        ({"recipients": [COURT | {"age_key": "age1"}]}, "recipients.0.age_key"),
        ({"recipients": [COURT, COURT]}, "stands twice: court"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"exp": NOW_US // US}, "after iat"),
        ({"exp": NOW_US // US + MAX_LIFETIME_S + 1}, "at most 400 days"),
        ({"more": 1}, "more"),
    ],
)
def test_a_roster_that_could_be_misread_is_refused_in_words(changed: dict[str, Any], said: str) -> None:
    assert said in refused(forged(claims(**changed)))


def test_size_and_numbers_are_bounded() -> None:
    assert "at most" in refused(b"a" * (MAX_ROSTER_BYTES + 1))
    many = [MAYOR | {"id": f"p{number}"} for number in range(401)]
    assert "people" in refused(forged(claims(people=many)))


def test_a_full_roster_fits_the_size_it_is_bounded_to() -> None:
    def key() -> str:
        return str(public_key_of(Ed25519PrivateKey.generate()))

    people = [OFFICER | {"id": f"p{number}", "public_key": key()} for number in range(200)]
    assert len(token(people=people)) < MAX_ROSTER_BYTES


def test_a_roster_is_in_force_between_its_dates() -> None:
    roster = verify(token(), PINNED)
    assert roster.in_force(NOW_US) is None
    assert roster.in_force(NOW_US - LEEWAY_S * US) is None
    assert "clock" in str(roster.in_force(NOW_US - LEEWAY_S * US - 1))
    assert roster.in_force(NOW_US + YEAR_S * US - 1) is None
    assert "expired" in str(roster.in_force(NOW_US + YEAR_S * US))


def test_a_roster_never_goes_back() -> None:
    two, three = (verify(token(version), PINNED) for version in (2, 3))
    assert newer(None, two)
    assert newer(two, three)
    assert not newer(two, two)
    with pytest.raises(RosterRefusedError, match="older than roster 3"):
        newer(three, two)
    with pytest.raises(RosterRefusedError, match="another roster 2"):
        newer(two, verify(token(2, people=[MAYOR]), PINNED))


def test_recordings_may_go_to_those_it_names_while_it_names_them() -> None:
    until = NOW_US // US + 10
    roster = verify(token(recipients=[COURT | {"valid_until": until}]), PINNED)
    assert roster.may_receive(POLICE, NOW_US)
    assert not roster.may_receive(POLICE, until * US)
    assert not roster.may_receive(str(Identity.generate().recipient), NOW_US)


def test_a_difference_names_who_and_what() -> None:
    old = draft()
    new = draft(people=[OFFICER | {"roles": ["auditor"]}, MAYOR | {"id": "mayor-2", "roles": ["deputy"]}])
    found = {(change.what, change.id): (change.kind, dict(change.fields)) for change in diff(old, new)}
    assert found == {
        ("people", "mayor"): ("removed", {}),
        ("people", "mayor-2"): ("added", {}),
        ("people", "o-shevchenko"): ("changed", {"roles": (["archive_officer", "auditor"], ["auditor"])}),
    }
    assert diff(old, old) == []


names = st.text(st.characters(categories=["L", "Zs"], exclude_characters="\xa0\u2028"), min_size=1, max_size=20).filter(
    str.isprintable
)
people = st.fixed_dictionaries(
    {"id": st.just("p"), "surname": names, "name": names, "public_key": st.just(MAYOR["public_key"])},
    optional={
        "patronymic": names,
        "position": names,
        "valid_until": st.integers(1, 10**11),
        "limits": st.sampled_from([{}, OFFICER["limits"], {"cameras": []}, {"hours": []}, {"purposes": []}]),
    },
).flatmap(lambda row: st.lists(st.sampled_from(Role), min_size=1, max_size=3).map(lambda r: row | {"roles": r}))


@settings(max_examples=60)
@given(people, st.integers(1, 10**9))
def test_what_was_signed_is_what_is_read(row: dict[str, Any], version: int) -> None:
    made = parse_draft(json.dumps(CONTENT | {"people": [row]}).encode())
    assert parse_draft(draft_json(made)) == made
    roster = verify(sign(AUTHORITY, made, version, NOW_US, YEAR_S), PINNED)
    assert roster.claims.draft() == made
    assert roster.version == version


@settings(max_examples=300)
@given(st.data())
def test_a_changed_roster_is_refused(data: st.DataObject) -> None:
    whole = bytearray(_TOKEN)
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    refused(bytes(whole))


@settings(max_examples=200)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(claims())), inner),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode())
)
def test_nonsense_is_refused_in_words_even_when_it_is_signed(payload: bytes) -> None:
    refused(payload)
    refused(forged(payload))
    with pytest.raises(RosterRefusedError):
        parse_draft(payload)


_TOKEN = token()
