"""The agent's look ahead on a real index, a real table and a real disk; and what it says at the node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.forecast import Forecast, Room
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.rates import DAY_US, HOUR_US, Basis
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.config import Config, load
from edge_agent.errors import ArchiveError
from edge_agent.forecaster import EVERY_S, Forecaster, in_sight
from edge_agent.model import CameraId, Hold, Segment
from edge_agent.uplink.forecast_words import promise_words
from tests.simulators.clock import HandClock

GATE, YARD = CameraId("gate"), CameraId("yard")
NOW_US = SystemClock().utc_us()
STEP_US = 600 * US
SIZE = 50_000_000


def config_of(folder: Path, retention: str = 'max_size = "30 GB"', yard: str = "") -> Config:
    path = folder / "edge-agent.toml"
    path.write_text(
        f'site = "town"\nnode = "n1"\ndata = "data"\n[retention]\ndays = 4\nmin_free = 0\n{retention}\n'
        f'[[camera]]\nid = "gate"\nurl = "rtsp://192.0.2.1/a"\n[[camera]]\nid = "yard"\nurl = "rtsp://192.0.2.1/b"\n{yard}',
        encoding="utf-8",
    )
    config = load(path)
    config.archive_dir.mkdir(parents=True, exist_ok=True)
    return config


def recorded(camera: CameraId, begin_us: int, end_us: int) -> list[Segment]:
    return [
        Segment(camera, str(SegmentName(camera, start, number)), start, start + STEP_US, SIZE, 1, "00" * 32)
        for number, start in enumerate(range(begin_us, end_us - STEP_US + 1, STEP_US), 1)
    ]


def fill(config: Config, clock: HandClock | SystemClock, days: float = 2) -> Index:
    index = Index(config.index_path, clock)
    for camera in (GATE, YARD):
        index.add(recorded(camera, NOW_US - round(days * DAY_US), NOW_US))
    return index


def hold(start_us: int, end_us: int | None, *cameras: CameraId) -> Hold:
    return Hold("h0000000001", cameras, start_us, end_us, "412-р", "", "", "", NOW_US)


def look(forecaster: Forecaster, clock: HandClock) -> Forecast:
    for _ in range(100):
        if forecaster.turn(clock_trusted=True):
            break
        clock.move(1)
    assert forecaster.latest is not None
    return forecaster.latest


def test_a_node_of_two_days_knows_when_its_quota_breaks_the_promise(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path)
    forecaster = Forecaster(config, fill(config, clock), lambda: (), clock)
    found = look(forecaster, clock)
    assert (found.room.size_bytes, found.room.by_quota) == (30 * 10**9, True)
    # Two cameras of 7.2 GB a day: 28.8 GB after two days, 30 GB two hours later.
    assert found.breaks_us is not None
    assert (found.breaks_us - NOW_US) / HOUR_US == pytest.approx(2, abs=1.1)
    assert [round(camera.kept_us / DAY_US, 2) for camera in found.cameras] == [2, 2]
    assert [round(camera.will_keep_us / DAY_US, 2) for camera in found.cameras] == pytest.approx([2.08] * 2, abs=0.05)


def test_what_is_recorded_meanwhile_is_counted_and_looked_at_every_ten_minutes(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path, 'max_size = "100 GB"')
    index = fill(config, clock)
    forecaster = Forecaster(config, index, lambda: (), clock)
    first = look(forecaster, clock)
    assert first.breaks_us is None
    # The camera's bitrate is tripled.
    clock.move(6 * 3600)
    index.add([replace(s, size_bytes=3 * SIZE) for c in (GATE, YARD) for s in recorded(c, NOW_US, clock.utc_us())])
    assert forecaster.turn(clock_trusted=True)
    later = forecaster.latest
    assert later is not None
    assert later.bytes_per_day > first.bytes_per_day * 1.05
    clock.move(EVERY_S - 1)
    assert not forecaster.turn(clock_trusted=True)
    clock.move(2)
    assert forecaster.turn(clock_trusted=True)


def test_promises_of_its_own_holds_and_cameras_that_are_gone_are_reckoned_with(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path, yard="keep_days = 8\n")
    index = fill(config, clock)
    index.add(recorded(CameraId("old"), NOW_US - DAY_US, NOW_US - DAY_US // 2))
    held = hold(NOW_US - 2 * DAY_US, NOW_US - DAY_US, GATE)
    found = look(Forecaster(config, index, lambda: [held], clock), clock)
    kept = {camera.camera: camera for camera in found.cameras}
    assert (kept[YARD].promised_us, kept[GATE].promised_us) == (8 * DAY_US, 4 * DAY_US)
    assert kept[CameraId("old")].basis is None
    assert [share.size_bytes / 1e9 for share in found.holds] == [pytest.approx(7.2, abs=0.3)]
    # What the hold keeps lies next to what is kept anyway.
    assert kept[GATE].kept_us / DAY_US == pytest.approx(2, abs=0.05)
    ended = replace(held, ended_us=NOW_US)
    assert look(Forecaster(config, index, lambda: [ended], clock), clock).holds == ()


def test_a_hold_over_everything_is_stepped_over_in_one(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path)
    index = fill(config, clock)
    found = look(Forecaster(config, index, lambda: [hold(0, None)], clock), clock)
    assert [round(camera.kept_us / DAY_US, 1) for camera in found.cameras] == [2, 2]


def test_a_disk_that_refuses_is_tried_again_a_minute_later(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path)
    index = fill(config, clock)
    config.volumes_path.mkdir()
    forecaster = Forecaster(config, index, lambda: (), clock)
    with pytest.raises(ArchiveError, match="volumes"):
        forecaster.turn(clock_trusted=True)
    assert not forecaster.turn(clock_trusted=True)
    config.volumes_path.rmdir()
    clock.move(61)
    assert look(forecaster, clock).kept_bytes > 0


def test_nothing_recorded_is_nothing_foretold_until_something_is(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path)
    index = Index(config.index_path, clock)
    forecaster = Forecaster(config, index, lambda: (), clock)
    assert not forecaster.turn(clock_trusted=True)
    index.add(recorded(GATE, NOW_US - STEP_US, NOW_US))
    assert forecaster.turn(clock_trusted=True)
    assert forecaster.latest is not None
    assert [camera.basis for camera in forecaster.latest.cameras] == [Basis.MEAN, Basis.OTHERS]


def test_a_clock_a_year_ahead_drops_nothing_from_the_table(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path)
    forecaster = Forecaster(config, fill(config, clock), lambda: (), clock)
    before = look(forecaster, clock)
    clock.step(365 * 86400)
    clock.move(EVERY_S + 1)
    forecaster.turn(clock_trusted=False)
    clock.step(-365 * 86400)
    clock.move(EVERY_S + 1)
    assert forecaster.turn(clock_trusted=True)
    assert forecaster.latest is not None
    assert forecaster.latest.bytes_per_day == pytest.approx(before.bytes_per_day, rel=0.01)


def made_up(breaks_us: int | None) -> Forecast:
    return Forecast(NOW_US, (), Room(10**12), 0, 0, 2 * 10**12, breaks_us, None, ())


@given(st.floats(0, 30), st.floats(0, 30))
def test_the_alarm_comes_in_time_and_does_not_flap(days: float, warn_days: float) -> None:
    found, warn_us = made_up(NOW_US + round(days * DAY_US)), round(warn_days * DAY_US)
    raised = in_sight(found, warn_us, told=False)
    assert raised == (round(days * DAY_US) <= warn_us)
    if raised:
        an_hour_later = made_up(NOW_US + round(days * DAY_US) + HOUR_US)
        assert in_sight(an_hour_later, warn_us, told=True)
    assert not in_sight(made_up(None), warn_us, told=True)
    assert not in_sight(None, warn_us, told=True)


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "130", "EDGE_AGENT_CONFIG": str(folder / "edge-agent.toml")}
    command = [sys.executable, "-m", "edge_agent", "archive", "forecast", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_people_at_the_node_read_the_forecast_without_changing_anything(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    fill(config, SystemClock()).close()
    Holds(Documents(config.data_dir / "documents.json", SystemClock())).add(
        hold(NOW_US - 2 * DAY_US, NOW_US - DAY_US, GATE)
    )
    before = {path.name: path.read_bytes() for path in config.data_dir.iterdir() if path.suffix in (".json", ".sqlite")}
    en, uk = cli(tmp_path, "--lang", "en"), cli(tmp_path)
    assert en.returncode == 0, en.stderr
    assert "too little room" in en.stdout
    assert "raise max_size by" in en.stdout
    assert re.search(r"412-р: (7\.\d|7|6\.9) GB", en.stdout)
    assert "забракне місця" in uk.stdout
    assert "збільшити max_size на" in uk.stdout
    found: dict[str, Any] = json.loads(cli(tmp_path, "--json").stdout)
    assert [camera["camera"] for camera in found["cameras"]] == ["gate", "yard"]
    assert found["by_quota"]
    assert found["lower_percent"] > 40
    assert found["holds"][0]["order_number"] == "412-р"
    after = {path.name: path.read_bytes() for path in config.data_dir.iterdir() if path.suffix in (".json", ".sqlite")}
    assert after == before


def test_without_recordings_people_are_sent_to_the_plan(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert cli(tmp_path).returncode == 66
    Index(config.index_path, SystemClock()).close()
    ended = cli(tmp_path)
    assert (ended.returncode, "edge-agent plan" in ended.stderr) == (66, True)


def test_words_say_what_helps_and_only_what_helps(tmp_path: Path) -> None:
    clock, config = HandClock(NOW_US), config_of(tmp_path)
    found = look(Forecaster(config, fill(config, clock), lambda: (), clock), clock)
    roomy = Room(30 * 10**9, by_quota=True, beyond_quota_bytes=10**12)
    found = replace(found, room=roomy)
    words = promise_words(found, ZoneInfo("Europe/Kyiv"))
    assert "(4 days), about 2 days will be kept" in words.en
    assert "(4 доби), зберігатиметься близько 2 діб" in words.uk
    assert "What helps: raise max_size by 28 GB; or lower the bitrate of all cameras by 48 %." in words.en
    full = replace(found, room=replace(roomy, beyond_quota_bytes=10 * 10**9))
    assert "raise max_size by 28 GB and add 18 GB of disk; or" in promise_words(full, ZoneInfo("Europe/Kyiv")).en
    assert "й додати 18 ГБ диска" in promise_words(full, ZoneInfo("Europe/Kyiv")).uk
    no_quota = replace(found, room=Room(30 * 10**9))
    assert "What helps: add 28 GB of disk; or" in promise_words(no_quota, ZoneInfo("Europe/Kyiv")).en
    stops = replace(found, room=replace(found.room, stops=True))
    assert (
        "recording will stop until older recordings have had their time (4 days)"
        in promise_words(stops, ZoneInfo("Europe/Kyiv")).en
    )
    plenty = replace(found, breaks_us=None, need_bytes=20 * 10**9, lower_part=None)
    assert promise_words(plenty, ZoneInfo("Europe/Kyiv")).en == (
        "Recordings will be kept as promised (4 days): 20 GB of 30 GB are needed."
    )
