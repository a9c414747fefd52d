"""Fixtures around the camera peers; a conftest imports them by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.cameras import CameraServer, make_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's folder for `make_clip`: a clip made once there serves every test."""
    return tmp_path_factory.mktemp("clips", numbered=False)


@pytest.fixture(scope="session")
def street_h264(clips: Path) -> Path:
    """8 s of 640x360 at 15 fps, a keyframe a second, each picture in two slices as hardware encoders like to do."""
    return make_clip(clips / "street-h264.mp4", slices=2)


@pytest.fixture(scope="session")
def street_h265(clips: Path) -> Path:
    """The same in H.265, another seed."""
    return make_clip(clips / "street-h265.mp4", "h265", seed=2)


@pytest.fixture
def camera_server(tmp_path: Path, street_h264: Path, street_h265: Path) -> Iterator[CameraServer]:
    """A running server without login: `/main` plays H.264, `/hevc` H.265."""
    with CameraServer({"/main": street_h264, "/hevc": street_h265}, folder=tmp_path / "cameras") as server:
        yield server
