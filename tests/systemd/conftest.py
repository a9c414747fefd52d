"""One booted machine for all tests of the unit, with a camera in it; each test gets its node afresh."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.nspawn import PREFIX, Machine
from tests.peers.support import wait_until
from tests.systemd.node import CAMERA_LOGIN, CAMERA_PORT, Node


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "root: boots a container, so it runs as root only")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        camera = (f"{PREFIX}/bin/python", "-m", "edge_agent.demo.camera")
        machine.run(
            "systemd-run", "--quiet", "--unit=camera", *camera, "--port", str(CAMERA_PORT), "--login", CAMERA_LOGIN
        )
        wait_until(lambda: '"main"' in machine.log("camera"), 20, "the camera in the container")
        yield machine


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    """A node as a contractor leaves it, not yet started."""
    node = Node(machine)
    node.install()
    yield node
    node.remove()
