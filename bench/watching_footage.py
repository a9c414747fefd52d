"""Real footage with people labelled by hand (`bench/footage/*.toml`), and how alarms compare with the labels.

An alarm lasts while anyone is in the zone, so one may stand for several people: a passage is *told* when an alarm of
its zone goes on during it, not when it has one of its own.  What follows from an alarm's delayed end (`QUIET_S`) is not
counted as going on.  Crossings of a line are counted one by one, each with its side.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.report import Figure
from bench.scenes.catalogue import Rules
from bench.scenes.clips import CACHE, encode
from bench.scenes.labels import Kind, Line, Zone
from bench.watching_peers import QUIET_S
from bench.watching_product import camera_of, crossings, raised, told
from bench.watching_score import DIRECTION_DEG, EARLY_S, LATE_S, Told, apart_deg
from edge_agent.model import AlarmNature

FOLDER = Path(__file__).parent / "footage"
EXAMPLES = Path("/usr/share/doc/opencv-doc/examples/data")
BITRATE = 1_000_000
LABEL_S = 0.5
"""How exact a label's times are."""
BESIDE_S = 1.5
"""An alarm so near to a passage is not false: somebody comes near, is half hidden, or is not yet gone."""
FRESH_S = QUIET_S + 1.5
"""A zone is empty, and the last alarm of it over, when nobody was there for so long."""
BEGINS_S = 3.0
"""Who is in the zone so soon after an alarm's start may be the one whose direction it tells."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Somebody in a zone; the direction is that of the way in."""

    zone: str
    from_s: float
    until_s: float
    direction_deg: float


@dataclass(frozen=True, slots=True)
class Crossing:
    line: str
    at_s: float
    until_s: float
    """Later than `at_s` for somebody who stops just beyond the line."""
    side: str


@dataclass(frozen=True, slots=True)
class Footage:
    name: str
    source: Path
    package: str
    """Debian's, that brings it."""
    size: tuple[int, int]
    seconds: float
    scored_from_s: float
    zones: tuple[Zone, ...]
    lines: tuple[Line, ...]
    passages: tuple[Passage, ...]
    crossings: tuple[Crossing, ...]

    def clip(self) -> Path:
        """As the stream of a camera (H.264), encoded when it is not kept already."""
        path = CACHE / f"footage-{self.name}.mp4"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(self.source)) as container:
                pictures = (
                    np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)
                )
                encode(pictures, path, self.size, BITRATE)
        return path


def footage(name: str) -> Footage:
    """What the label file says."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        text: dict[str, Any] = tomllib.load(file)
    return Footage(
        name,
        EXAMPLES / text["file"],
        text["package"],
        (text["size"][0], text["size"][1]),
        text["seconds"],
        text["scored_from_s"],
        tuple(Zone(zone["name"], tuple((x, y) for x, y in zone["polygon"])) for zone in text["zone"]),
        tuple(Line(line["name"], *(tuple(point) for point in line["points"])) for line in text["line"]),
        tuple(Passage(zone["name"], **passage) for zone in text["zone"] for passage in zone["passages"]),
        tuple(
            Crossing(line["name"], one["at_s"], one.get("until_s", one["at_s"]), one["side"])
            for line in text["line"]
            for one in line["crossings"]
        ),
    )


@dataclass(slots=True)
class FootageScore:
    rules: bool = True
    """Whether the watcher knows directions and lines at all."""
    passages: int = 0
    told: int = 0
    alarms: int = 0
    """Of movement in a zone."""
    false_alarms: int = 0
    """Nobody was near the zone from their beginning to their end."""
    idle_s: float = 0.0
    """What alarms went on for while nobody was near the zone."""
    empty_s: float = 0.0
    """Seconds of zones in which nobody was near, that is in which an alarm would be false."""
    directions: int = 0
    directions_right: int = 0
    crossings: int = 0
    crossings_told: int = 0
    crossings_false: int = 0
    delays_s: list[float] = field(default_factory=list)
    """From entering to the alarm, of those who come into a zone that was empty."""
    notes: list[str] = field(default_factory=list)

    def movement(self, film: Footage, zone: str, alarms: Sequence[Told]) -> None:
        """Adds one zone; `alarms` are those of movement in it, without their delayed ends."""
        there = [passage for passage in film.passages if passage.zone == zone]
        spans = [(passage.from_s - BESIDE_S, passage.until_s + BESIDE_S) for passage in there]
        for passage in there:
            if passage.from_s < film.scored_from_s:
                continue
            self.passages += 1
            near = [a for a in alarms if a.start_s <= passage.until_s + LABEL_S and a.end_s >= passage.from_s - LABEL_S]
            if near:
                self.told += 1
                if all(one is passage or not (one.from_s <= passage.from_s < one.until_s + FRESH_S) for one in there):
                    self.delays_s.append(max(0.0, near[0].start_s - passage.from_s))
            else:
                self.notes.append(f"{film.name}: nothing told of {zone} at {passage.from_s:.1f} s")
        self.empty_s += outside(film.scored_from_s, film.seconds, spans)
        for alarm in alarms:
            self.alarms += 1
            self.idle_s += outside(alarm.start_s, min(alarm.end_s, film.seconds), spans)
            if not any(alarm.start_s <= until_s and alarm.end_s >= from_s for from_s, until_s in spans):
                self.false_alarms += 1
                self.notes.append(f"{film.name}: false alarm in {zone} at {alarm.start_s:.1f} s")
            elif alarm.start_s >= film.scored_from_s and self.rules:
                self._direction(film, zone, alarm, there)

    def _direction(self, film: Footage, zone: str, alarm: Told, there: Sequence[Passage]) -> None:
        begins = [
            passage.direction_deg
            for passage in there
            if passage.from_s <= alarm.start_s + BEGINS_S and passage.until_s >= alarm.start_s - BESIDE_S
        ]
        self.directions += 1
        said = alarm.direction_deg
        if said is not None and any(apart_deg(said, label) <= DIRECTION_DEG for label in begins):
            self.directions_right += 1
        else:
            words = "untold" if said is None else f"{said:.0f}°"
            right = ", ".join(f"{label:.0f}°" for label in begins)
            self.notes.append(f"{film.name}: direction in {zone} at {alarm.start_s:.1f} s {words}, labelled {right}")

    def lines(self, film: Footage, said: Sequence[tuple[float, str | None]]) -> None:
        """Each crossing that was told (seconds, side when it is known) stands for one that was labelled, at most."""
        left = [one for one in said if one[0] >= film.scored_from_s]
        for crossing in film.crossings:
            if crossing.at_s < film.scored_from_s:
                continue
            self.crossings += 1
            since_s, until_s = crossing.at_s - EARLY_S, crossing.until_s + LATE_S
            fitting = [one for one in left if since_s <= one[0] <= until_s and one[1] in (crossing.side, None)]
            if fitting:
                self.crossings_told += 1
                left.remove(min(fitting, key=lambda one: one[1] is None))
            else:
                self.notes.append(f"{film.name}: crossing to the {crossing.side} at {crossing.at_s:.1f} s not told")
        self.crossings_false += len(left)
        self.notes += [f"{film.name}: told of a crossing to the {side} at {at_s:.1f} s" for at_s, side in left]

    def figures(self, who: str) -> list[Figure]:
        found = [
            _share(f"{who}: footage, people in zones told", self.told, self.passages, 0.97),
            Figure(f"{who}: footage, alarms of movement", self.alarms, ""),
            Figure(f"{who}: footage, false alarms", self.false_alarms, f"in {self.empty_s:.0f} s of empty zones"),
            Figure(f"{who}: footage, alarms went on over empty zones", round(self.idle_s, 1), "s"),
        ]
        if self.delays_s:
            worst = round(max(self.delays_s), 1)
            found.append(Figure(f"{who}: footage, told after, slowest", worst, f"s of {len(self.delays_s)}"))
        if self.rules:
            found += [
                _share(f"{who}: footage, directions within 22.5°", self.directions_right, self.directions, 0.95),
                _share(f"{who}: footage, line crossings told", self.crossings_told, self.crossings, 0.97),
                Figure(f"{who}: footage, crossings told that were none", self.crossings_false, ""),
            ]
        return found


def _share(name: str, part: int, whole: int, goal: float) -> Figure:
    share = part / max(1, whole)
    return Figure(name, round(share, 3), f"of {whole}", f">= {goal}", share >= goal)


def outside(since_s: float, until_s: float, spans: Iterable[tuple[float, float]]) -> float:
    """How much of a time is in none of the spans."""
    free_s, at_s = 0.0, since_s
    for from_s, to_s in sorted(spans):
        free_s += max(0.0, min(from_s, until_s) - at_s)
        at_s = max(at_s, to_s)
    return free_s + max(0.0, until_s - at_s)


def product_on(film: Footage) -> FootageScore:
    """The product's watcher, with neither measured lengths nor a bearing."""
    rules = Rules(film.zones, film.lines)
    alarms, began_us = raised(film.clip(), camera_of(rules, measures=()))
    score = FootageScore()
    for zone in film.zones:
        there = [one for one in alarms if one.zone == zone.name and one.nature is AlarmNature.MOTION]
        score.movement(film, zone.name, [short(one) for one in told(there, began_us)])
    score.lines(film, crossings(alarms, began_us))
    for one in told(alarms, began_us):
        if one.kind not in (Kind.MOTION, Kind.LINE):
            score.false_alarms += 1
            score.notes.append(f"{film.name}: false {one.kind} at {one.start_s:.1f} s")
    return score


def short(alarm: Told) -> Told:
    """Without the time that it was kept open for in case that somebody came back."""
    return Told(
        alarm.start_s, max(alarm.start_s, alarm.end_s - QUIET_S), alarm.kind, alarm.zone, alarm.direction_deg
    )  # fmt: skip
