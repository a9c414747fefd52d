"""Holds: which recordings they keep, and that no crash loses them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.account import account, held_bytes
from edge_agent.buffer.coverage import UNKNOWN, UNTOLD
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Held, Holds, hold_id, merged
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.index_facts import Installed
from edge_agent.buffer.library import Library
from edge_agent.buffer.promise import UNDATED, Aged
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.model import CameraId, Gap, GapCause, Hold, Interval, Segment
from tests.simulators.clock import HandClock

GATE, YARD = CameraId("gate"), CameraId("yard")
BEGAN_US = 1_795_000_000 * US


def hold(start: int, end: int | None, *cameras: CameraId, id_: str = "h0000000001", ended: int | None = None) -> Hold:
    return Hold(id_, cameras, start, end, "12-р", "ДТП", "Мер", "Архіваріус", 1, ended)


def segment(start: int, end: int, camera: CameraId = GATE, size: int = 100) -> Segment:
    return Segment(camera, str(SegmentName(camera, start, 1)), start, end, size, None, None)


times = st.integers(0, 60)
spans = st.tuples(times, st.integers(1, 20)).map(lambda pair: Interval(pair[0], pair[0] + pair[1]))


@given(st.lists(spans, max_size=8), spans, times)
def test_what_is_held_is_what_any_hold_covers(held: list[Interval], recorded: Interval, mark: int) -> None:
    kept = Held(hold(one.start_us, one.end_us, GATE, id_=f"h{n}") for n, one in enumerate(held))
    aged = Aged(segment(recorded.start_us, recorded.end_us), mark)
    assert kept.keeps(aged) == any(one.overlaps(recorded) or one.start_us <= mark < one.end_us for one in held)
    beyond = kept.beyond(GATE, mark)
    assert (beyond is not None) == any(one.start_us <= mark < one.end_us for one in held)
    assert beyond is None or kept.beyond(GATE, beyond) is None
    assert kept.intervals(YARD) == ()


@given(st.lists(spans, max_size=10))
def test_merged_intervals_are_apart_in_order_and_the_same_time(parts: list[Interval]) -> None:
    whole = merged(parts)
    assert all(one.end_us < other.start_us for one, other in itertools.pairwise(whole))
    covered = {at for part in parts for at in range(part.start_us, part.end_us)}
    assert covered == {at for part in whole for at in range(part.start_us, part.end_us)}


def test_a_hold_without_an_end_keeps_what_is_undated_too_and_an_ended_one_keeps_nothing() -> None:
    aged = Aged(segment(10, 20), UNDATED + 1)
    assert Held([hold(30, None)]).keeps(aged)
    assert not Held([hold(0, None, ended=5)]).keeps(aged)
    assert not Held([hold(0, None, YARD)]).keeps(aged)


def test_a_hold_is_there_after_a_power_cut_and_after_it_was_ended_too(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    entered = hold(10, None, GATE, YARD)
    Holds(Documents(path, HandClock())).add(entered)
    again = Holds(Documents(path, HandClock()))
    assert again.all() == [entered]
    again.end(again.get("h0000"), 99, "Архіваріус", "13-р", "Заступник")
    [ended] = Holds(Documents(path, HandClock())).all()
    assert (ended.ended_us, ended.end_order_number, ended.end_ordered_by) == (99, "13-р", "Заступник")
    with pytest.raises(UsageError, match="already"):
        Holds(Documents(path, HandClock())).end(ended, 100, "x", "14-р", "y")


def test_a_hold_that_could_not_be_written_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    Holds(Documents(path, HandClock())).add(hold(1, 2))
    reader = Holds(Documents(path, HandClock(), read_only=True))
    with pytest.raises(ArchiveError):
        reader.add(hold(3, 4, id_="h0000000002"))
    assert [one.hold_id for one in reader.all()] == ["h0000000001"]


def test_a_hold_is_named_by_as_much_of_its_id_as_names_it_alone(tmp_path: Path) -> None:
    holds = Holds(Documents(tmp_path / "documents.json", HandClock()))
    holds.add(hold(1, 2, id_="h0123aa"))
    holds.add(hold(1, 2, id_="h0123bb"))
    assert holds.get("h0123a").hold_id == "h0123aa"
    with pytest.raises(UsageError, match="2 holds"):
        holds.get("h0123")
    with pytest.raises(NotFoundError):
        holds.get("h01")
    assert hold_id("pQ1mZ7x0aYk3bVt9Wc5u2g") == hold_id("pQ1mZ7x0aYk3bVt9Wc5u2g") != hold_id("other-nonce-other")


def test_a_hold_that_cannot_be_understood_makes_the_list_unknown(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    Holds(Documents(path, HandClock())).add(hold(1, 2))
    content = json.loads(path.read_text())
    content["hold"]["1"]["start_us"] = "some day"
    path.write_text(json.dumps(content))
    holds = Holds(Documents(path, HandClock()))
    assert not holds.known


def at(minutes: float) -> int:
    return BEGAN_US + round(minutes * 60 * US)


def test_a_hold_over_footage_that_went_says_exactly_what_is_missing(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite", HandClock(at(60)))
    recorded = [segment(at(n), at(n + 1)) for n in (0, 1, 2, 5, 6)]
    index.add(recorded)
    index.add_gap(Gap(GATE, at(3), at(4), GapCause.NETWORK, "no answer"))
    index.gone([(one, DeleteReason.SPACE) for one in recorded[:2]], at(50))
    index.note_installed(GATE, Installed(at(0), None))
    told = account(Library(tmp_path, index, (), HandClock(at(60))), GATE, Interval(at(-1), at(8)))
    assert [(p.interval, p.cause, p.evidence) for p in told.missing] == [
        (Interval(at(-1), at(0)), "outside", ""),
        (Interval(at(0), at(2)), "deleted", "space"),
        (Interval(at(3), at(4)), "network", "no answer"),
        (Interval(at(4), at(5)), "unknown", UNKNOWN),
        (Interval(at(7), at(8)), "unknown", UNTOLD),
    ]
    assert told.recorded_s == pytest.approx(180)
    assert held_bytes(index, Held([hold(at(2.5), at(5.5), GATE)]), GATE) == 200
    index.close()
