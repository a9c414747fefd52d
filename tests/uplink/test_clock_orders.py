"""Vouching for the node's clock: only for what it still shows, and only for what can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.buffer.documents import Documents
from edge_agent.clock import US
from edge_agent.clock_watch import ClockWatch
from edge_agent.errors import UsageError
from edge_agent.trust.command import ClockConfirmArgs, SignedCommand
from edge_agent.trust.door import Admitted
from edge_agent.trust.policy import Access, Action, Role
from edge_agent.uplink.clock_orders import READ_WITHIN_US, ClockOrders
from tests.simulators.clock import HandClock
from tests.trust.support import somebody


def confirmed(folder: Path, clock: HandClock, read_us: int) -> ClockWatch:
    watch = ClockWatch(Documents(folder / "documents.json", clock), clock, "boot-1", lambda _: None)
    person = somebody("m-petrenko", Role.CONTRACTOR, Ed25519PrivateKey.generate())
    args = ClockConfirmArgs(read_us=read_us)
    command = SignedCommand(person.person_id, "town/n1", 0, 0, "n" * 16, Action.CLOCK_CONFIRM, args)
    ClockOrders(watch, clock).carry_out(Admitted(command, person, Access.DIRECT), args)
    return watch


def test_a_clock_that_shows_what_was_read_is_confirmed(tmp_path: Path) -> None:
    clock = HandClock(follows_server=False)
    assert confirmed(tmp_path, clock, clock.utc_us() - READ_WITHIN_US).trusted


@pytest.mark.parametrize("off_us", [READ_WITHIN_US + 1, -2 * US], ids=["long-ago", "ahead"])
def test_a_clock_that_shows_another_time_by_now_is_not_confirmed(tmp_path: Path, off_us: int) -> None:
    clock = HandClock(follows_server=False)
    with pytest.raises(UsageError, match="read it anew"):
        confirmed(tmp_path, clock, clock.utc_us() - off_us)


def test_a_clock_of_1970_has_to_be_set_first(tmp_path: Path) -> None:
    clock = HandClock(utc_us=3600 * US, follows_server=False)
    with pytest.raises(UsageError, match=r"1970-01-01.*set it first"):
        confirmed(tmp_path, clock, clock.utc_us())
