"""Cameras and a folder for each test of the recorder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capture.support import Lab
from tests.peers.fixtures import camera_server, clips, street_h264, street_h265

__all__ = ["camera_server", "clips", "lab", "street_h264", "street_h265"]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.make(tmp_path)
