from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.trust.policy import (
    ALL_CAMERAS,
    OF_THE_ARCHIVE,
    POLICY,
    Access,
    Action,
    Hours,
    Limits,
    Person,
    Purpose,
    Role,
    Wanted,
    decide,
)
from tests.trust.support import NOW_US, person, somebody

KEY = Ed25519PrivateKey.generate()
KYIV = ZoneInfo("Europe/Kyiv")
HERE = "town/n1"

# The requirements' own table, as the city's page has it; the last three rows are not on that page.
REQUIREMENTS = """
| action | mayor, first deputy, deputies | archive officer | contractor | law enforcement | operator (15-80) | auditor |
| see health, alarms with pictures | remote | remote | direct | – | remote | – |
| live view | remote | remote, direct | direct | remote | remote | – |
| search, play, export the archive | – | remote, direct | direct | – | – | – |
| order a hold; order its destruction | order | carries out | – | – | – | – |
| decide a release (upload) | mayor decides | carries out | – | recipient | – | – |
| change the mode, acknowledge an alarm, write the incident register | – | remote, direct | – | – | remote, direct | – |
| read the journal | remote | remote, direct | – | – | – | remote |
| maintain the node (restart, configuration, diagnostics) | – | – | direct | – | – | – |
| read the incident register | remote | remote, direct | – | – | remote, direct | – |
| see what is held | remote | remote, direct | – | – | – | – |
| vouch for the clock | – | direct | direct | – | – | – |
"""
COLUMNS = [
    ("mayor", "deputy"), ("archive_officer",), ("contractor",), ("law_enforcement",), ("operator",), ("auditor",),
]  # fmt: skip
ROWS = [
    ("status",), ("live",), ("search", "play", "export"), ("order_hold", "order_hold_end"), ("decide_release",),
    ("mode", "acknowledge", "incident"), ("journal",), ("maintain",), ("incidents",), ("holds",), ("clock_confirm",),
]  # fmt: skip
CARRY_OUT = {"order_hold": "hold", "order_hold_end": "hold_end", "decide_release": "export"}


def allowed_by_requirements() -> set[tuple[str, str, str]]:
    found = set()
    for line, actions in zip(REQUIREMENTS.strip().splitlines()[1:], ROWS, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
        for (cell, roles), action in itertools.product(zip(cells, COLUMNS, strict=True), actions):
            for role in roles:
                match cell:
                    case "–" | "recipient":
                        continue
                    case "order":
                        found.add((role, action, "order"))
                    case "mayor decides":
                        found |= {(role, action, "order")} if role == "mayor" else set()
                    case "carries out":
                        found |= {(role, CARRY_OUT[action], way) for way in ("remote", "direct")}
                    case _:
                        found |= {(role, action, way) for way in cell.split(", ")}
    return found


ALLOWED = allowed_by_requirements()


@pytest.mark.parametrize("asked", list(itertools.product(Role, Action, Access)), ids=" ".join)
def test_the_table_of_the_order_is_kept(asked: tuple[Role, Action, Access]) -> None:
    role, action, access = asked
    decision = decide(somebody("o-shevchenko", role, KEY), action, access, NOW_US)
    assert decision.allowed == ((str(role), str(action), str(access)) in ALLOWED)
    assert role in decision.reason
    assert action in decision.reason


def test_every_action_has_its_row() -> None:
    assert set(POLICY) == set(Action)
    assert {action for _, action, _ in ALLOWED} == set(Action)


def test_a_refusal_names_the_access_that_would_do() -> None:
    decision = decide(somebody("p", Role.CONTRACTOR, KEY), Action.EXPORT, Access.REMOTE, NOW_US)
    assert decision.reason == "contractor may export by direct access only, not remote"


def test_somebody_of_two_roles_has_what_either_has_and_no_more() -> None:
    both = person("p", KEY, Role.OPERATOR, Role.AUDITOR)
    for action, access in itertools.product(Action, Access):
        either = any((role, action, access) in ALLOWED for role in ("operator", "auditor"))
        assert decide(both, action, access, NOW_US).allowed == either


def test_somebody_without_a_role_may_nothing() -> None:
    for action, access in itertools.product(Action, Access):
        assert not decide(person("p", KEY), action, access, NOW_US).allowed


def test_nobody_may_anything_before_and_after_their_time() -> None:
    deputy = person("p", KEY, Role.DEPUTY, from_us=NOW_US, until_us=NOW_US + US)
    times = {NOW_US - 1: False, NOW_US: True, NOW_US + US - 1: True, NOW_US + US: False}
    for at_us, allowed in times.items():
        decision = decide(deputy, Action.LIVE, Access.REMOTE, at_us)
        assert decision.allowed == allowed
    assert "may do nothing since 2026-09-21" in decision.reason


def limited(**limits: object) -> Person:
    return person("p", KEY, Role.ARCHIVE_OFFICER, limits=Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cameras", "wanted", "allowed"),
    [
        ({f"{HERE}/gate"}, ("gate",), True),
        ({f"{HERE}/gate"}, ("gate", "yard"), False),
        ({f"{HERE}/gate"}, (ALL_CAMERAS,), False),
        ({f"{HERE}/gate"}, (), True),
        ({f"{HERE}/*"}, ("gate", "yard"), True),
        ({f"{HERE}/*"}, (ALL_CAMERAS,), True),
        ({"town/n2/gate"}, ("gate",), False),
        ({"town/n2/*"}, (), False),
        (set(), (), False),
    ],
)
def test_cameras_narrow(cameras: set[str], wanted: tuple[str, ...], allowed: bool) -> None:
    decision = decide(
        limited(cameras=frozenset(cameras)), Action.PLAY, Access.REMOTE, NOW_US, Wanted(HERE, cameras=wanted)
    )
    assert decision.allowed == allowed
    assert decision.allowed or "limited" in decision.reason


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("2026-11-23 08:00", True),  # a Monday
        ("2026-11-23 07:59", False),
        ("2026-11-23 17:00", False),
        ("2026-11-22 10:00", False),
        ("2026-11-27 23:30", True),  # Friday's night shift …
        ("2026-11-28 05:59", True),  # … ends on Saturday
        ("2026-11-28 06:00", False),
        ("2026-11-27 05:59", False),
    ],
)
def test_hours_narrow_in_the_zone_of_the_site(said: str, allowed: bool) -> None:
    spans = (Hours(frozenset({1, 2, 3, 4}), 480, 1020), Hours(frozenset({5}), 1320, 360))
    at_us = int(datetime.fromisoformat(said).replace(tzinfo=KYIV).astimezone(UTC).timestamp()) * US
    assert decide(limited(hours=spans), Action.PLAY, Access.REMOTE, at_us, Wanted(HERE, KYIV)).allowed == allowed


@pytest.mark.parametrize("action", [Action.PLAY, Action.HOLD, Action.LIVE, Action.STATUS])
@pytest.mark.parametrize("purpose", [None, *Purpose])
def test_purposes_narrow_what_is_done_with_the_archive(action: Action, purpose: Purpose | None) -> None:
    officer = limited(purposes=frozenset({Purpose.OFFICIAL_REQUEST}))
    wanted = Wanted(HERE, purpose=purpose)
    allowed = action not in OF_THE_ARCHIVE or purpose is Purpose.OFFICIAL_REQUEST
    assert decide(officer, action, Access.REMOTE, NOW_US, wanted).allowed == allowed


cameras = st.none() | st.frozensets(st.sampled_from([f"{HERE}/gate", f"{HERE}/*", "town/n2/*"]))
spans = st.builds(
    Hours, st.frozensets(st.integers(1, 7)), st.integers(0, 1439), st.integers(0, 1439)
)  # fmt: skip
limits = st.builds(
    Limits,
    cameras,
    st.none() | st.lists(spans, max_size=3).map(tuple),
    st.none() | st.frozensets(st.sampled_from(Purpose)),
)


@given(
    limits,
    st.sampled_from(Role),
    st.sampled_from(Action),
    st.sampled_from(Access),
    st.integers(0, 4 * 10**15),
    st.sampled_from([(), ("gate",), (ALL_CAMERAS,)]),
    st.none() | st.sampled_from(Purpose),
)
def test_no_limit_ever_widens_the_table(
    limits: Limits,
    role: Role,
    action: Action,
    access: Access,
    at_us: int,
    named: tuple[str, ...],
    purpose: Purpose | None,
) -> None:
    someone = person("p", KEY, role, limits=limits)
    if decide(someone, action, access, at_us, Wanted(HERE, KYIV, named, purpose)).allowed:
        assert (role, action, access) in ALLOWED


@given(st.integers(0, 1439), st.integers(1, 7))
def test_a_span_that_ends_when_it_starts_lasts_a_day(start: int, day: int) -> None:
    span = Hours(frozenset({day}), start, start)
    assert sum(span.hold(d, minute) for d in range(1, 8) for minute in range(1440)) == 1440
