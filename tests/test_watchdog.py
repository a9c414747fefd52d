"""What systemd hears, on a socket as systemd makes it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge_agent.watchdog import Watchdog
from tests.simulators.clock import HandClock


def test_systemd_is_told_ready_then_of_progress_in_time_then_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "8000000")
        clock = HandClock()
        watchdog = Watchdog(clock)
        watchdog.ready("2 cameras")
        for _ in range(40):
            watchdog.progress()
            clock.move(0.1)
        watchdog.stopping()
        heard = [systemd.recv(1000)]
        while heard[-1] != b"STOPPING=1":
            heard.append(systemd.recv(1000))
    assert heard == [b"READY=1\nSTATUS=recording 2 cameras", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nothing_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Watchdog(HandClock()).ready("")
