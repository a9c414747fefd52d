"""kill -9 of each process at random moments: a short soak (`scripts/soak-kill` is the long one)."""

from __future__ import annotations

from pathlib import Path

from tests.faults.soak import Soak
from tests.peers.cameras import CameraServer

KILLS = 7


def test_whoever_is_killed_nothing_closed_is_lost_and_the_index_equals_the_disk(
    tmp_path: Path, street_h264: Path, street_h265: Path
) -> None:
    mounts = {"/a": street_h264, "/b": street_h265, "/c": street_h264, "/d": street_h265}
    with CameraServer(mounts, folder=tmp_path / "cameras") as server:
        soak = Soak(tmp_path, {mount[1:]: server.url(mount) for mount in mounts}, seed=5)
        account = soak.run(KILLS, lambda _line: None)
    print(account)
    assert sum(account.killed.values()) >= KILLS - 2
    assert account.files > 8
