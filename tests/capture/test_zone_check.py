"""Zones and lines that can't work are found, and said in plain words; good ones are left alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.regions import Point, area, contains
from edge_agent.capture.zone_check import check_line, check_together, check_zone, self_crossing

SQUARE: list[Point] = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
LEAST = 0.002


def words(zone: list[Point]) -> list[str]:
    return [fault.en for fault in check_zone("z", zone, LEAST)]


@given(st.lists(st.floats(0, 6.2), min_size=3, max_size=12, unique=True), st.floats(0.2, 0.5))
def test_no_fault_is_found_with_a_round_zone_and_its_middle_is_inside(angles: list[float], radius: float) -> None:
    angles = sorted({round(angle, 1) for angle in angles})
    ring = [(0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle)) for angle in angles]
    if len(ring) < 3 or area(ring) < 0.05:
        return
    assert self_crossing(ring) is None
    assert words(ring) == []
    middle = sum(x for x, _ in ring) / len(ring), sum(y for _, y in ring) / len(ring)
    assert contains(ring, middle)


@given(st.permutations(SQUARE))
def test_a_square_is_found_crossed_exactly_when_its_corners_are_in_a_wrong_order(corners: list[Point]) -> None:
    turned = [corners.index(corner) for corner in SQUARE]
    neighbours = {abs(turned[n] - turned[(n + 1) % 4]) for n in range(4)}
    assert (self_crossing(corners) is None) == (neighbours <= {1, 3})


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ([(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)], ["its edge crosses itself near [0.50, 0.50]"]),
        ([(0.1, 0.1), (0.14, 0.1), (0.14, 0.14)], ["too small: 0.08% of the picture (4% x 4%)"]),
        ([(0.1, 0.1), (0.9, 0.1), (0.9, 0.115), (0.1, 0.115)], ["too small: 1.20% of the picture (80% x 2%)"]),
        ([(0.1, 0.1), (0.9, 0.1), (1.2, 0.9)], ["the corner [1.20, 0.90] is outside the picture"]),
        ([(0.1, 0.1), (0.9, 0.1), (0.9, 0.1), (0.5, 0.9)], ["the corner [0.90, 0.10] stands there twice"]),
        ([(0.1, 0.1), (0.9, 0.9), (0.1, 0.1)], ["the corner [0.10, 0.10] stands there twice", "fewer than three"]),
        ([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)], ["it is nearly the whole picture"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(zone: list[Point], expected: list[str]) -> None:
    said = words(zone)
    assert len(said) == len(expected)
    assert all(one.startswith(begin) for one, begin in zip(said, expected, strict=True))


def test_a_line_may_be_bent_but_not_crossed_or_a_point() -> None:
    assert check_line("l", [(0.1, 0.5), (0.5, 0.6), (0.9, 0.5)]) == []
    assert "too short" in check_line("l", [(0.5, 0.5), (0.51, 0.5)])[0].en
    assert "crosses itself" in check_line("l", [(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)])[0].en


def test_the_same_place_drawn_twice_is_told_once_and_is_no_obstacle() -> None:
    nearly = [(x + 0.002, y) for x, y in SQUARE]
    [fault] = check_together([("a", SQUARE), ("b", nearly), ("c", [(0.0, 0.0), (0.3, 0.0), (0.3, 0.3)])])
    assert (fault.place, fault.serious) == ("b", False)
    assert "zone a" in fault.en
