"""Archives, disks and cameras of the fault tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.archive import Recordings, footage
from tests.peers.mosquitto import Mosquitto


@pytest.fixture(scope="session")
def movie(street_h264: Path) -> bytes:
    """Eight seconds of a street as a fragmented MP4."""
    return footage(street_h264)


@pytest.fixture
def recordings(tmp_path: Path, movie: bytes) -> Recordings:
    return Recordings.make(tmp_path, movie)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """In memory: hundreds of small disks are made there, one after another."""
    folder = Path(tempfile.mkdtemp(prefix="power-cut-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running
