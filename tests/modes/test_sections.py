"""Modes in the configuration: what they mean, and every mistake in plain words."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from edge_agent.config import Config, load
from edge_agent.model import AlarmNature, CameraId, Severity
from edge_agent.modes.programme import ARMED, EVERY_DAY, HOLIDAY, ModeId, Programme
from edge_agent.toml_file import ConfigFileError

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "modes.md"
NODE = """
site = "town"
node = "n1"
data = "data"
[[camera]]
id = "gate"
url = "rtsp://192.0.2.1/main"
[[camera.watch.zone]]
id = "door"
polygon = [[0, 0], [1, 0], [1, 1]]
[[camera]]
id = "yard"
url = "rtsp://192.0.2.2/main"
"""
GATE, YARD = CameraId("gate"), CameraId("yard")


def loaded(folder: Path, more: str) -> Config:
    path = folder / "edge-agent.toml"
    path.write_text(NODE + more, encoding="utf-8")
    return load(path)


def mistakes(folder: Path, more: str) -> dict[str, str]:
    with pytest.raises(ConfigFileError) as raised:
        loaded(folder, more)
    return {mistake.place: f"{mistake.found} | {mistake.allowed}" for mistake in raised.value.mistakes}


def test_nothing_configured_is_always_armed_and_told_as_ever(tmp_path: Path) -> None:
    plan = loaded(tmp_path, "").plan
    assert plan.of(GATE) == plan.of(None) == Programme(ARMED)
    armed = plan.modes[ARMED]
    assert {armed.severity_of(GATE, None, nature) for nature in AlarmNature} == {Severity.WARNING}


def test_the_example_of_the_documentation_is_right(tmp_path: Path) -> None:
    example = DOCUMENT.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    plan = loaded(tmp_path, example).plan
    spans = plan.programme.spans
    assert (spans[0].start_min, spans[0].end_min, spans[0].days) == (22 * 60 + 30, 6 * 60 + 15, frozenset(range(1, 6)))
    assert (spans[1].end_min, spans[1].days) == (1440, frozenset({6, 7, HOLIDAY}))
    assert date(2030, 1, 1) in plan.programme.holidays
    assert date(2027, 5, 2) in plan.programme.holidays
    assert date(2028, 5, 2) not in plan.programme.holidays
    day = plan.modes[ModeId("day")]
    assert day.severity_of(GATE, "door", AlarmNature.MOTION) is Severity.INFO
    assert day.severity_of(GATE, None, AlarmNature.MOTION) is Severity.SILENT
    assert day.severity_of(YARD, None, AlarmNature.MOTION) is Severity.SILENT


def test_a_lost_camera_is_told_in_every_mode(tmp_path: Path) -> None:
    rules = '[[mode]]\nid = "off"\nseverity = "silent"\n[[mode.rule]]\nnatures = ["lost"]\nseverity = "silent"\n'
    off = loaded(tmp_path, rules).plan.modes[ModeId("off")]
    assert off.severity_of(GATE, None, AlarmNature.LOST) is Severity.WARNING


def test_a_lost_camera_may_be_louder_than_usual(tmp_path: Path) -> None:
    night = loaded(tmp_path, '[[mode]]\nid = "night"\nseverity = "critical"\n').plan.modes[ModeId("night")]
    assert night.severity_of(GATE, None, AlarmNature.LOST) is Severity.CRITICAL


def test_a_camera_has_its_own_programme_and_the_nodes_holidays(tmp_path: Path) -> None:
    gate = '[camera.programme]\nmode = "disarmed"\n[programme]\nholidays = ["02-29"]\n'
    plan = loaded(tmp_path, gate).plan
    assert plan.of(YARD).mode == "disarmed"
    assert date(2028, 2, 29) in plan.of(YARD).holidays
    assert plan.of(GATE).mode == ARMED


def test_days_wrap_round_the_week(tmp_path: Path) -> None:
    weekend = '[programme]\n[[programme.span]]\nmode = "armed"\ndays = ["sat-mon"]\nfrom = "00:00"\nto = "24:00"\n'
    always = '[[programme.span]]\nmode = "armed"\nfrom = "00:00"\nto = "00:00"\n'
    spans = loaded(tmp_path, weekend + always).plan.programme.spans
    assert [span.days for span in spans] == [frozenset({6, 7, 1}), EVERY_DAY]


def test_every_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        [[mode]]
        id = "programme"
        severity = "loud"
        [[mode]]
        id = "a"
        [[mode.rule]]
        severity = "info"
        natures = ["smoke"]
        [programme]
        holidays = ["31-12", "2026-02-30"]
        [[programme.span]]
        mode = "a"
        days = ["mo"]
        from = "24:00"
        to = "9:00"
        until = "x"
        """,
    )
    assert "what ends an override" in found["mode 1 (programme).id"]
    assert "silent" in found["mode 1 (programme).severity"]
    assert "motion" in found["mode 2 (a).rule 1.natures 1"]
    assert '"31-12" | a day of every year' in found["programme.holidays 1"]
    assert '"2026-02-30" | a day of every year' in found["programme.holidays 2"]
    assert "mon, tue" in found["programme.span 1.days 1"]
    assert '"24:00" | a time of day from' in found["programme.span 1.from"]
    assert '"9:00" | a time of day' in found["programme.span 1.to"]
    assert "mode, days, from, to" in found["programme.span 1.until"]


def test_names_that_stand_for_nothing_are_mistakes(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        [camera.programme]
        mode = "nihgt"
        [[mode]]
        id = "night"
        [[mode.rule]]
        severity = "info"
        cameras = ["gete"]
        [[mode.rule]]
        severity = "info"
        cameras = ["yard"]
        zones = ["door"]
        [programme]
        [[programme.span]]
        mode = "nite"
        from = "22:00"
        to = "06:00"
        """,
    )
    assert found == {
        "camera 2 (yard).programme.mode": '"nihgt" | a mode: armed, disarmed, night',
        "mode 1 (night).rule 1.cameras": '"gete" | a camera: gate, yard',
        "mode 1 (night).rule 2.zones": '"door" | a zone of these cameras: there is none',
        "programme.span 1.mode": '"nite" | a mode: armed, disarmed, night',
    }
