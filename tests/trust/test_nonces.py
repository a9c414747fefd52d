from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import PersonId
from edge_agent.trust.command import LEEWAY_S, MAX_LIFETIME_S, SignedCommand, StatusArgs
from edge_agent.trust.nonces import KEPT, NonceStore
from edge_agent.trust.policy import Action
from tests.simulators.clock import HandClock
from tests.trust.support import NOW_US


def command(nonce: str, expires_us: int = NOW_US + 120 * US, person: str = "o-shevchenko") -> SignedCommand:
    return SignedCommand(PersonId(person), "site/node", NOW_US, expires_us, nonce, Action.STATUS, StatusArgs())


@contextmanager
def store(path: Path, clock: HandClock | None = None, kept: int = KEPT) -> Iterator[NonceStore]:
    with closing(NonceStore(path, clock or HandClock(), kept=kept)) as nonces:
        yield nonces


def test_a_command_is_fresh_once(tmp_path: Path) -> None:
    with store(tmp_path / "nonces.sqlite") as nonces:
        assert nonces.claim(command("a"))
        assert not nonces.claim(command("a"))
        assert nonces.claim(command("b"))


def test_nobody_can_take_the_nonce_of_another(tmp_path: Path) -> None:
    with store(tmp_path / "nonces.sqlite") as nonces:
        assert nonces.claim(command("a"))
        assert not nonces.claim(command("a", person="mayor"))


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "nonces.sqlite"
    with store(path) as nonces:
        assert nonces.claim(command("a"))
    with store(path) as nonces:
        assert not nonces.claim(command("a"))


def test_two_processes_of_a_node_share_the_memory(tmp_path: Path) -> None:
    with store(tmp_path / "nonces.sqlite") as daemon, store(tmp_path / "nonces.sqlite") as tool:
        assert daemon.claim(command("a"))
        assert not tool.claim(command("a"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=60), st.integers(1, 6))
def test_no_command_is_fresh_twice_however_little_is_kept(
    tmp_path_factory: pytest.TempPathFactory, tries: list[tuple[int, bool]], kept: int
) -> None:
    path = tmp_path_factory.mktemp("nonces") / "nonces.sqlite"
    seen: set[int] = set()
    nonces = NonceStore(path, HandClock(), kept=kept)
    for number, restart in tries:
        if restart:
            nonces.close()
            nonces = NonceStore(path, HandClock(), kept=kept)
        if nonces.claim(command(f"nonce {number}", NOW_US + number // 3 * US)):
            assert number not in seen
            seen.add(number)
    nonces.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM nonce").fetchone()[0] <= kept


def test_a_clock_set_forward_and_back_revives_nothing(tmp_path: Path) -> None:
    path, clock = tmp_path / "nonces.sqlite", HandClock()
    with store(path, clock, kept=3) as nonces:
        old = command("old", NOW_US + 60 * US)
        assert nonces.claim(old)
        clock.step(10 * 365 * 86400)
        for n in range(5):
            assert nonces.claim(command(f"later {n}", clock.utc_us() + n * US))
        clock.step(-10 * 365 * 86400)
        assert not nonces.claim(old)
        assert not nonces.claim(command("as old", NOW_US + 60 * US))


def test_ordinary_commands_are_fresh_long_after_the_memory_is_full(tmp_path: Path) -> None:
    with store(tmp_path / "nonces.sqlite", kept=5) as nonces:
        assert all(nonces.claim(command(f"n{n}", NOW_US + n * US)) for n in range(50))


def test_a_damaged_memory_lets_nothing_in_that_it_may_have_held(tmp_path: Path) -> None:
    path, clock = tmp_path / "nonces.sqlite", HandClock()
    path.write_bytes(b"not a database" * 1000)
    with store(path, clock) as nonces:
        assert not nonces.claim(command("a", NOW_US + (MAX_LIFETIME_S + LEEWAY_S) * US))
        assert nonces.claim(command("a", NOW_US + (MAX_LIFETIME_S + LEEWAY_S + 1) * US))
    assert list(tmp_path.glob("nonces.sqlite.damaged-*"))


def test_a_memory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nonces.sqlite"
    with store(path) as nonces, closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE nonce")
        for _ in range(2):
            with pytest.raises(ArchiveError, match="cannot write the nonce store"):
                nonces.claim(command("a"))
