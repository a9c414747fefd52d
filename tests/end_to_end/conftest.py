"""People and peers around a whole agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.trust.policy import Role
from tests.peers.agent import TestPerson
from tests.peers.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def officer() -> TestPerson:
    return TestPerson("officer", Role.ARCHIVE_OFFICER)


@pytest.fixture
def mayor() -> TestPerson:
    return TestPerson("mayor", Role.MAYOR)
