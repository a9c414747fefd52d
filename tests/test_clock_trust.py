"""When recordings may be deleted by their age: what befalls a node's clock, and what is made of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from edge_agent import kernel_clock
from edge_agent.clock import US, SystemClock
from edge_agent.clock_trust import PROBATION_S, ClockTrustKeeper, Reading
from edge_agent.kernel_clock import KernelClock
from tests.simulators.clock import HandClock

YEAR_S = 365 * 86_400.0


def look(keeper: ClockTrustKeeper, clock: HandClock, seconds: float = 60) -> bool:
    """Time passes, the keeper looks; whether it trusts."""
    clock.move(seconds)
    keeper.observe(clock)
    return keeper.trusted


def test_a_clock_that_no_server_set_since_boot_is_not_trusted_until_one_does() -> None:
    clock, keeper = HandClock(follows_server=False), ClockTrustKeeper()
    assert not keeper.trusted
    assert not look(keeper, clock, YEAR_S)
    assert keeper.reason == "no time server has confirmed the node's clock since the node started"
    clock.follows_server = True
    assert look(keeper, clock)
    assert keeper.reason == "the node's clock follows a time server"


def test_a_clock_once_right_stays_trusted_through_days_without_a_network() -> None:
    clock, keeper = HandClock(), ClockTrustKeeper()
    assert look(keeper, clock)
    clock.follows_server = False
    assert look(keeper, clock, 20 * 86_400)
    assert "nobody has set it since" in keeper.reason


def test_a_boot_a_year_ahead_deletes_nothing_and_is_trusted_once_a_server_puts_it_right() -> None:
    clock, keeper = HandClock(follows_server=False), ClockTrustKeeper()
    clock.step(YEAR_S)
    assert not look(keeper, clock)
    clock.step(-YEAR_S, follows_server=True)
    clock.move(60)
    step = keeper.observe(clock)
    assert step is not None
    assert (step.seconds, step.synchronised) == (-YEAR_S, True)
    assert keeper.trusted


def test_a_trusted_clock_set_by_hand_is_trusted_again_when_it_is_set_back_or_a_server_agrees() -> None:
    clock, keeper = HandClock(), ClockTrustKeeper()
    look(keeper, clock)
    clock.step(YEAR_S, follows_server=False)
    assert not look(keeper, clock)
    assert "set by +31536000.0 s" in keeper.reason
    assert "no time server confirms it" in keeper.reason
    clock.step(-YEAR_S)
    assert look(keeper, clock)
    clock.step(-600, follows_server=False)
    assert not look(keeper, clock)
    clock.follows_server = True
    assert look(keeper, clock)


def test_a_server_that_moves_a_right_clock_by_a_year_has_to_stand_by_it_for_a_day() -> None:
    clock, keeper = HandClock(), ClockTrustKeeper()
    look(keeper, clock)
    clock.step(YEAR_S)
    assert not look(keeper, clock, 1)
    assert not look(keeper, clock, PROBATION_S - 10)
    assert "it has to stay so for 0.0 h more" in keeper.reason
    clock.follows_server = False
    assert not look(keeper, clock, 60), "a server that went away vouches for nothing"
    clock.follows_server = True
    assert not look(keeper, clock, 60)
    assert look(keeper, clock, PROBATION_S)


def test_a_person_can_vouch_for_the_clock_of_a_closed_network_but_not_for_1999() -> None:
    clock, keeper = HandClock(follows_server=False), ClockTrustKeeper()
    look(keeper, clock)
    keeper.confirm()
    assert keeper.trusted
    clock.step(-27 * YEAR_S)
    assert not look(keeper, clock)
    assert keeper.reason.startswith("the node's clock says 1999-")
    keeper.confirm()
    assert not keeper.trusted
    clock.follows_server = True
    assert not look(keeper, clock, 2 * PROBATION_S)


def test_a_leap_second_is_no_setting() -> None:
    clock, keeper = HandClock(), ClockTrustKeeper()
    look(keeper, clock)
    clock.step(-1, follows_server=False)
    assert look(keeper, clock)


def test_trust_outlives_the_agent_within_one_boot_but_not_what_was_done_meanwhile() -> None:
    clock, first = HandClock(), ClockTrustKeeper()
    look(first, clock)
    clock.follows_server = False
    assert look(ClockTrustKeeper(first.line_us), clock)
    clock.step(YEAR_S)
    again = ClockTrustKeeper(first.line_us)
    clock.move(5)
    step = again.observe(clock)
    assert step is not None
    assert step.seconds == YEAR_S
    assert not again.trusted
    assert again.line_us is None


class HeldUpClock(HandClock):
    """The process stands still between two readings."""

    held_up = 0

    def utc_us(self) -> int:
        now = super().utc_us()
        if self.held_up:
            self.held_up -= 1
            self.move(30)
        return now


def test_a_process_that_was_held_up_between_two_readings_sees_no_setting() -> None:
    clock, keeper = HeldUpClock(), ClockTrustKeeper()
    look(keeper, clock)
    for held_up in (1, 100):
        clock.held_up = held_up
        assert keeper.observe(clock) is None
        assert keeper.trusted
    assert Reading.of(clock) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pass", "step", "server", "no server"]),
            st.floats(-3 * YEAR_S, 3 * YEAR_S, allow_nan=False),
        ),
        max_size=30,
    )
)
def test_after_any_history_a_trusted_clock_was_vouched_for_where_it_is(history: list[tuple[str, float]]) -> None:
    clock, keeper = HandClock(follows_server=False), ClockTrustKeeper()
    vouched: set[int] = set()
    last: int | None = None
    for what, seconds in history:
        if what == "pass":
            clock.move(abs(seconds) / 100)
        elif what == "step":
            clock.step(seconds, follows_server=False)
        else:
            clock.follows_server = what == "server"
        line = clock.utc_us() - round(clock.monotonic() * US)
        step = keeper.observe(clock)
        assert (step is not None) == (last is not None and abs(line - last) > 2 * US)
        last = line
        if clock.follows_server:
            vouched.add(line)
        if keeper.trusted:
            assert any(abs(line - good) <= 30 * 2 * US for good in vouched)
            assert 2024 <= time.gmtime(clock.utc_us() // US).tm_year < 2100


def test_the_kernel_tells_and_its_limit_means_that_nothing_is_known() -> None:
    told = kernel_clock.read()
    assert told is not None
    assert SystemClock().synchronised() == told.synchronised
    assert not KernelClock(kernel_clock.UNKNOWN_ERROR_US, 0x40).synchronised
    assert KernelClock(17_288, 0x40).synchronised, "chrony without rtcsync"
    assert KernelClock(28_000, 0x2001).synchronised
    assert len(kernel_clock.boot_id()) == 36


def test_a_sandbox_that_refuses_the_call_leaves_the_clock_unsynchronised() -> None:
    adjtimex, clock_adjtime = (159, 305) if os.uname().machine == "x86_64" else (171, 266)
    script = f"""
import ctypes, struct, sys
sys.path[:0] = {sys.path!r}
from edge_agent.clock import SystemClock
from edge_agent import kernel_clock
load = lambda k: struct.pack("HBBI", 0x20, 0, 0, k)
refuse = lambda nr: struct.pack("HBBI", 0x15, 0, 1, nr) + struct.pack("HBBI", 6, 0, 0, 0x50001)
code = load(0) + refuse({adjtimex}) + refuse({clock_adjtime}) + struct.pack("HBBI", 6, 0, 0, 0x7fff0000)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0
print(kernel_clock.read(), SystemClock().synchronised())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"
