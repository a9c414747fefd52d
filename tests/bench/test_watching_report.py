"""What the bench makes of alarms, and its report over two scenes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scenes.catalogue import scene
from bench.scenes.labels import Kind
from bench.watching_hours import most_a_day
from bench.watching_motion import STILL_S, Case, Heard, events, heard_of, lag_s
from bench.watching_score import Score, Told


def score_of(name: str, *told: Told) -> Score:
    score = Score()
    score.add(scene(name, 3), told)
    return score


def test_an_alarm_while_somebody_walks_counts_and_one_long_after_is_false() -> None:
    (label,) = scene("walker", 3).labels
    right = Told(label.start_s + 0.5, label.end_s, Kind.MOTION, None, label.directions_deg[0] + 20)
    found = score_of("walker", right)
    assert (found.events, found.noticed, found.named, found.directions_right, found.false_alarms) == (1, 1, 1, 1, 0)
    found = score_of("walker", Told(label.end_s + 8, label.end_s + 9, Kind.MOTION))
    assert (found.events, found.named, found.false_alarms, found.false_when_empty) == (1, 0, 1, 0)


def test_a_direction_that_is_too_far_off_or_not_told_is_not_right() -> None:
    (label,) = scene("walker", 3).labels
    for direction in (None, label.directions_deg[0] + 23):
        found = score_of("walker", Told(label.start_s, label.end_s, Kind.MOTION, None, direction))
        assert (found.directions, found.directions_right) == (1, 0)


def test_any_alarm_on_an_empty_street_is_false() -> None:
    found = score_of("snow", Told(5, 6))
    assert (found.events, found.false_when_empty, found.empty_s) == (0, 1, 30)


@pytest.mark.parametrize(("kind", "named"), [(Kind.COVERED, 1), (Kind.TURNED, 0), (Kind.MOTION, 0)])
def test_a_covered_camera_must_be_called_covered(kind: Kind, named: int) -> None:
    (label,) = scene("covered", 3).labels
    found = score_of("covered", Told(label.start_s + 2, label.end_s, kind))
    assert (found.events, found.named, found.false_alarms) == (1, named, 0)


def test_a_line_must_be_told_when_it_is_crossed_and_by_its_name() -> None:
    (label,) = [one for one in scene("crosses the line to the left", 3).labels if one.kind is Kind.LINE]
    for told, named in (
        (Told(label.start_s + 1, label.start_s + 5, Kind.LINE, "kerb"), 1),
        (Told(label.start_s + 1, label.start_s + 5, Kind.LINE, "gate"), 0),
        (Told(label.start_s + 6, label.start_s + 9, Kind.LINE, "kerb"), 0),
    ):
        score = score_of("crosses the line to the left", told)
        assert score.by_kind[Kind.LINE][2] == named


def test_each_of_those_who_cross_a_line_together_needs_a_count_of_its_own() -> None:
    first, second = [one for one in scene("two cross on the line", 3).labels if one.kind is Kind.LINE]
    both = ((first.start_s + 0.5, first.side), (second.start_s + 1, second.side))
    for crossings, named, false in (
        (both, 2, 0),
        (both[:1], 1, 0),
        ((*both, (second.start_s + 1, None)), 2, 1),
        (((first.start_s, first.side), (second.start_s + 1, first.side)), 1, 1),
    ):
        score = score_of(
            "two cross on the line",
            Told(first.start_s, second.start_s + 5, Kind.LINE, "kerb", first.directions_deg[0], crossings),
        )
        assert (score.by_kind[Kind.LINE][2], score.false_alarms) == (named, false)


def test_motions_events_are_told_in_the_clips_time_less_its_lag() -> None:
    lines = "1004.5 start s1 900\n1005.0 start s2 800\n1010.5 end s1 0\n1029.5 start s1 700\n1031 start s1 600\n"
    heard = heard_of(lines, "s1", 1_000.0)
    assert events(heard, 30, 0.5) == [Told(4.0, 6.0), Told(29.0, float("inf"))]
    early = [Heard(0.3, True, 90_000), Heard(7.0, False, 0), Heard(9.0, True, 900), Heard(20.0, False, 0)]
    assert events(early, 30, 0.5) == [Told(8.5, 15.5)]
    assert events([early[0], Heard(12.0, False, 0)], 30, 0.5) == [Told(4.0, 7.5)]


def test_motions_lag_is_when_it_tells_of_the_mark_and_nothing_else_passes_for_it() -> None:
    case = Case("s1", Path("clip.mp4"), 30, size=(100, 100))
    mark_s = 30 + STILL_S
    mark = Heard(mark_s + 0.4, True, 9_000)
    assert lag_s([mark], case) == pytest.approx(0.4)
    assert lag_s([Heard(mark_s + 0.1, True, 300), mark], case) == pytest.approx(0.4)
    assert lag_s([Heard(mark_s - 4, True, 9_000), Heard(mark_s + 3, False, 9_000)], case) is None


def test_no_false_alarm_in_three_days_says_with_confidence_that_there_is_hardly_one_a_day() -> None:
    assert most_a_day(0, 3 * 86_400) == pytest.approx(0.9986, abs=1e-3)
    assert most_a_day(2, 86_400) == pytest.approx(6.296, abs=1e-3)


def test_the_report_over_two_scenes_is_made_of_figures_with_their_goals() -> None:
    command = [sys.executable, "-m", "bench.watching", "--quality", "--no-peers", "--seed", "1", "--json"]
    command += ["--workers", "1", "--scene", "walker", "calm day"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=170, check=True)
    told = {figure["name"]: figure for figure in json.loads(done.stdout)["figures"]}
    recall = told["edge-agent: events told rightly"]
    assert (recall["value"], recall["unit"], recall["goal"], recall["met"]) == (1, "share", ">= 0.97", True)
    empty = told["edge-agent: false alarms in empty scenes"]
    assert (empty["value"], empty["unit"]) == (0, "in 30 s")
    assert told["frame difference: events told rightly"]["value"] == 1
