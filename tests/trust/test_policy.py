from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.trust.policy import POLICY, Access, Action, Role, decide
from tests.trust.support import somebody

KEY = Ed25519PrivateKey.generate()

ALLOWED = {
    (Role.MAYOR, Action.STATUS, Access.REMOTE),
    (Role.DEPUTY, Action.STATUS, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.STATUS, Access.REMOTE),
    (Role.CONTRACTOR, Action.STATUS, Access.DIRECT),
    (Role.OPERATOR, Action.STATUS, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.EXPORT, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.EXPORT, Access.DIRECT),
    (Role.CONTRACTOR, Action.EXPORT, Access.DIRECT),
    (Role.ARCHIVE_OFFICER, Action.HOLD, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.HOLD, Access.DIRECT),
    (Role.ARCHIVE_OFFICER, Action.HOLD_END, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.HOLD_END, Access.DIRECT),
    (Role.ARCHIVE_OFFICER, Action.HOLDS, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.HOLDS, Access.DIRECT),
    (Role.MAYOR, Action.HOLDS, Access.REMOTE),
    (Role.DEPUTY, Action.HOLDS, Access.REMOTE),
    (Role.ARCHIVE_OFFICER, Action.CLOCK_CONFIRM, Access.DIRECT),
    (Role.CONTRACTOR, Action.CLOCK_CONFIRM, Access.DIRECT),
}


@pytest.mark.parametrize("asked", list(itertools.product(Role, Action, Access)), ids=" ".join)
def test_the_table_of_the_order_is_kept(asked: tuple[Role, Action, Access]) -> None:
    role, action, access = asked
    decision = decide(somebody("o-shevchenko", role, KEY), action, access)
    assert decision.allowed == (asked in ALLOWED)
    assert role in decision.reason
    assert action in decision.reason


def test_every_action_has_its_row() -> None:
    assert set(POLICY) == set(Action)


def test_a_refusal_names_the_access_that_would_do() -> None:
    decision = decide(somebody("p", Role.CONTRACTOR, KEY), Action.EXPORT, Access.REMOTE)
    assert decision.reason == "contractor may export by direct access only, not remote"
