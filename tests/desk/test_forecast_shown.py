"""The desk shows what a node foretells: days kept beside each camera, and the day its promise breaks."""

from __future__ import annotations

import io
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console

from edge_agent.desk.rows import Wording
from edge_agent.desk.screen import health_screen
from edge_agent.desk.texts import texts
from edge_agent.model import CameraState
from edge_agent.uplink.payloads import PROMISE_ALARM, CameraReport, Health, Kept, Promise, Trouble, Words
from edge_agent.uplink.topics import Topics

NOW_US = 1_795_356_309_000_000
TOLD = Words(uk="З 26.11.2026 забракне місця", en="From 2026-11-26 there will be too little room")


def promise(breaks_us: int | None, text: Words = TOLD) -> Promise:
    return Promise(
        at_us=NOW_US,
        breaks_us=breaks_us,
        room_bytes=10**12,
        need_bytes=10**12,
        held_bytes=0,
        bytes_per_day=10**11,
        add_bytes=0,
        lower_percent=None,
        text=text,
    )


def shown(kept: Kept | None, language: str = "en", **more: Any) -> str:
    health = Health(
        at_us=NOW_US,
        version="1",
        uptime_s=1,
        cpu_percent=1,
        load_1m=1,
        memory_used_bytes=1,
        memory_total_bytes=1,
        disk_total_bytes=1,
        disk_free_bytes=1,
        archive_bytes=1,
        cameras={"gate": CameraReport(state=CameraState.RECORDING, kept=kept)},
        **more,
    )
    out = io.StringIO()
    wording = Wording(texts("uk" if language == "uk" else "en"), ZoneInfo("Europe/Kyiv"))
    Console(file=out, width=140).print(health_screen(wording, Topics("town", "n1"), health, NOW_US))
    return out.getvalue()


def test_days_kept_promised_and_foretold_stand_beside_the_camera() -> None:
    assert "6.6 of 10 → 7.8" in shown(Kept(days=6.6, promised_days=10, will_keep_days=7.8))
    assert "6.6 з 10 → 7.8" in shown(Kept(days=6.6, promised_days=10, will_keep_days=7.8), "uk")
    enough = shown(Kept(days=3, promised_days=10, will_keep_days=10))
    assert "3 of 10" in enough
    assert "→" not in enough
    assert "days kept" in shown(None)


def test_the_day_is_told_once_by_the_forecast_or_by_its_alarm() -> None:
    breaks = promise(NOW_US + 10**12)
    assert TOLD.en in shown(None, promise=breaks)
    assert TOLD.uk in shown(None, "uk", promise=breaks)
    alarm = Trouble(code=PROMISE_ALARM, since_us=NOW_US, text=TOLD)
    assert shown(None, promise=breaks, troubles=(alarm,)).count(TOLD.en) == 1


def test_what_a_node_says_can_not_steer_the_terminal() -> None:
    hostile = promise(None, Words(uk="[red]x[/]", en="[bold]as promised[/]"))
    assert "[bold]as promised[/]" in shown(None, promise=hostile)
