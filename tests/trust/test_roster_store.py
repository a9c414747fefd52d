from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import ArchiveError
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.roster import RosterRefusedError
from edge_agent.trust.roster_store import FILE_NAME, FLOOR_NAME, RosterStore
from tests.trust.test_roster import AUTHORITY, MAYOR, PINNED, token


def test_before_the_first_there_is_none(tmp_path: Path) -> None:
    assert RosterStore(tmp_path, PINNED).load() is None


def test_an_installed_roster_is_there_after_a_restart(tmp_path: Path) -> None:
    installed = RosterStore(tmp_path, PINNED).install(token(3))
    assert installed is not None
    loaded = RosterStore(tmp_path, PINNED).load()
    assert loaded == installed
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_the_same_roster_again_changes_nothing(tmp_path: Path) -> None:
    store = RosterStore(tmp_path, PINNED)
    store.install(token(3))
    before = (tmp_path / FILE_NAME).stat().st_ino
    assert store.install(token(3)) is None
    assert (tmp_path / FILE_NAME).stat().st_ino == before


@pytest.mark.parametrize("restart", [False, True])
def test_an_older_roster_is_refused_for_ever(tmp_path: Path, restart: bool) -> None:
    store = RosterStore(tmp_path, PINNED)
    store.install(token(3))
    if restart:
        store = RosterStore(tmp_path, PINNED)
    for version in (1, 2):
        with pytest.raises(RosterRefusedError, match="older"):
            store.install(token(version))
    with pytest.raises(RosterRefusedError, match="another roster 3"):
        store.install(token(3, people=[MAYOR]))
    loaded = store.load()
    assert loaded is not None
    assert loaded.version == 3


@pytest.mark.parametrize("content", [b"", b"garbage", token(9, Ed25519PrivateKey.generate())])
def test_a_damaged_file_is_told_and_opens_no_way_back(tmp_path: Path, content: bytes) -> None:
    store = RosterStore(tmp_path, PINNED)
    store.install(token(3))
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(RosterRefusedError):
        store.load()
    with pytest.raises(RosterRefusedError, match="older than roster 3"):
        store.install(token(2))
    restored = store.install(token(3))
    assert restored is not None


def test_a_new_authority_begins_its_own_count(tmp_path: Path) -> None:
    RosterStore(tmp_path, PINNED).install(token(7))
    key = Ed25519PrivateKey.generate()
    store = RosterStore(tmp_path, public_key_of(key))
    with pytest.raises(RosterRefusedError):
        store.load()
    assert store.install(token(1, key)) is not None
    with pytest.raises(RosterRefusedError):
        store.install(token(8, AUTHORITY))


def test_a_cut_between_the_two_files_loses_neither_roster_nor_rule(tmp_path: Path) -> None:
    store = RosterStore(tmp_path, PINNED)
    store.install(token(3))
    (tmp_path / FLOOR_NAME).write_text(f"{PINNED} 4\n")  # the power went before roster 4 itself was there
    (tmp_path / (FILE_NAME + ".new")).write_bytes(token(4)[:100])
    again = RosterStore(tmp_path, PINNED)
    loaded = again.load()
    assert loaded is not None
    assert loaded.version == 3
    assert again.install(token(4)) is not None


def test_another_process_installing_is_noticed(tmp_path: Path) -> None:
    agent, person = RosterStore(tmp_path, PINNED), RosterStore(tmp_path, PINNED)
    agent.load()
    assert not agent.changed()
    person.install(token(1))
    assert agent.changed()
    agent.load()
    assert not agent.changed()


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="data folder"):
        RosterStore(tmp_path / "gone", PINNED).install(token())


def test_no_file_stays_open(tmp_path: Path) -> None:
    store = RosterStore(tmp_path, PINNED)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for version in range(1, 6):
        store.install(token(version))
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
