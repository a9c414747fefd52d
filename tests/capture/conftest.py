"""Cameras and a folder for each test of the recorder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capture.support import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.make(tmp_path)
