"""How what a watcher told compares with what happened: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.scenes.catalogue import Scene
from bench.scenes.labels import SPOILT, Kind, Label

EARLY_S, LATE_S = 0.7, 3.0
"""A label of a moment (a line crossed) may be told so much beside it."""
SLOW_S = 10.0
"""What lasts may be told within so long after its start."""
NEAR_S = 3.0
"""An alarm so near to an event is not false, though its time is not exact."""
DIRECTION_DEG = 22.5


@dataclass(frozen=True, slots=True)
class Told:
    """One alarm of a watcher, from its start to its end.  `kind` None: it can tell «motion» only, and no place."""

    start_s: float
    end_s: float
    kind: Kind | None = None
    zone: str | None = None
    direction_deg: float | None = None
    crossings: tuple[tuple[float, str | None], ...] = ()
    """Of a line, each that was counted: when that was told, and to which side, where that is known."""


@dataclass(slots=True)
class Score:
    """Of one watcher over scenes."""

    events: int = 0
    noticed: int = 0
    """Events with an alarm of any kind at their place and time."""
    named: int = 0
    """… of their own kind."""
    by_kind: dict[Kind, tuple[int, int, int]] = field(default_factory=dict)
    """(events, noticed, named)"""
    directions: int = 0
    directions_right: int = 0
    directions_untold: int = 0
    false_alarms: int = 0
    """Alarms where nothing that they tell of happened."""
    false_when_empty: int = 0
    """Those in scenes in which nothing happens."""
    empty_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    """From plainly visible to told, of movements."""
    notes: list[str] = field(default_factory=list)
    """What was missed, wrong or false, for people."""

    def add(self, scene: Scene, told: Sequence[Told]) -> None:
        said = [(alarm.zone, *one) for alarm in told for one in _crossings(alarm)]
        for label in expected(scene):
            self._event(scene, label, told, said)
        for line, at_s, side in said:
            if any(one.kind is Kind.LINE and abs(one.start_s - at_s) < SLOW_S for one in scene.labels):
                self.false_alarms += 1
                self.notes.append(f"{scene.name}: counted one too many to the {side} of {line} at {at_s:.1f} s")
        false = [alarm for alarm in told if not any(_explains(label, alarm) for label in scene.labels)]
        self.false_alarms += len(false)
        for alarm in false:
            what = alarm.kind or "motion"
            self.notes.append(f"{scene.name}: false {what} at {alarm.start_s:.1f} s in {alarm.zone or 'the picture'}")
        if scene.empty:
            self.empty_s += scene.seconds
            self.false_when_empty += len(false)

    def _event(
        self, scene: Scene, label: Label, told: Sequence[Told], said: list[tuple[str | None, float, str | None]]
    ) -> None:
        """said: crossings that were told and stand for no label yet."""
        near = [alarm for alarm in told if _at(label, alarm)]
        right = [alarm for alarm in near if alarm.kind is label.kind and alarm.zone == label.zone]
        if label.kind is Kind.LINE:
            since_s, until_s = _window(label)
            fitting = [
                one
                for one in said
                if one[0] == label.zone and since_s <= one[1] <= until_s and one[2] in (label.side, None)
            ]
            right = right if fitting else []
            if fitting:
                said.remove(min(fitting, key=lambda one: one[2] is None))
        # A plain «motion» is what was asked for, whoever tells it.
        named = bool(right) or (label.kind is Kind.MOTION and bool(near))
        self.events += 1
        self.noticed += bool(near)
        self.named += named
        count, noticed, known = self.by_kind.get(label.kind, (0, 0, 0))
        self.by_kind[label.kind] = (count + 1, noticed + bool(near), known + named)
        if not named:
            self.notes.append(
                f"{scene.name}: {label.kind} at {label.start_s:.1f} s {'not named' if near else 'missed'}"
            )
        if label.kind is Kind.MOTION and near:
            self.delays_s.append(max(0.0, min(alarm.start_s for alarm in near) - label.start_s))
        if label.directions_deg:
            self._direction(scene, label, right or near)

    def _direction(self, scene: Scene, label: Label, near: Sequence[Told]) -> None:
        self.directions += 1
        said = [alarm.direction_deg for alarm in near if alarm.direction_deg is not None]
        if not said:
            self.directions_untold += 1
            self.notes.append(f"{scene.name}: no direction of {label.kind} at {label.start_s:.1f} s")
            return
        # one alarm of a line stands for all who cross meanwhile, and tells the direction of one of them
        beside = [
            direction
            for one in scene.labels
            if one.kind is label.kind is Kind.LINE
            and one.zone == label.zone
            and abs(one.start_s - label.start_s) < NEAR_S
            for direction in one.directions_deg
        ]
        off = min(apart_deg(said[0], other) for other in (*label.directions_deg, *beside))
        if off <= DIRECTION_DEG:
            self.directions_right += 1
        else:
            self.notes.append(f"{scene.name}: direction of {label.kind} at {label.start_s:.1f} s is {off:.0f}° off")

    @property
    def recall(self) -> float:
        """Of all events, named rightly."""
        return self.named / self.events if self.events else 1.0

    @property
    def noticing(self) -> float:
        return self.noticed / self.events if self.events else 1.0

    @property
    def direction_share(self) -> float:
        """Right ones of all that there were to tell; what is not told is not right."""
        return self.directions_right / self.directions if self.directions else 1.0


def expected(scene: Scene) -> list[Label]:
    """The labels that the camera is asked to tell of."""
    asked = {Kind.MOTION} | SPOILT | scene.rules.tells
    return [label for label in scene.labels if label.kind in asked]


def _crossings(alarm: Told) -> Sequence[tuple[float, str | None]]:
    """What an alarm of a line counted: at least one."""
    return (alarm.crossings or ((alarm.start_s, None),)) if alarm.kind is Kind.LINE else ()


def apart_deg(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def _window(label: Label) -> tuple[float, float]:
    """When an alarm must begin, or still be open."""
    if label.end_s == label.start_s:
        return label.start_s - EARLY_S, label.start_s + LATE_S
    return label.start_s - EARLY_S, min(label.end_s + LATE_S, label.start_s + max(SLOW_S, label.end_s - label.start_s))


def _at(label: Label, alarm: Told) -> bool:
    """At the label's place and time.  What happens for a while may be told while it lasts."""
    if alarm.zone not in (None, label.zone):
        return False
    if label.kind in SPOILT and alarm.kind not in (None, *SPOILT):
        return False
    since_s, until_s = _window(label)
    return alarm.start_s <= until_s and alarm.end_s >= since_s


def _explains(label: Label, alarm: Told) -> bool:
    """Whether the alarm may be of this."""
    if alarm.start_s > label.end_s + NEAR_S or alarm.end_s < label.start_s - NEAR_S:
        return False
    if alarm.kind is None:
        return True
    if label.kind in SPOILT:
        # While somebody turns or covers the camera the picture moves, and one may look like the other.
        return alarm.kind is Kind.MOTION or alarm.kind in SPOILT
    return alarm.kind is label.kind and alarm.zone == label.zone


def total(scores: Iterable[Score]) -> Score:
    """Of several scenes' scores."""
    whole = Score()
    for score in scores:
        for name in ("events", "noticed", "named", "directions", "directions_right", "directions_untold",
                     "false_alarms", "false_when_empty", "empty_s"):  # fmt: skip
            setattr(whole, name, getattr(whole, name) + getattr(score, name))
        whole.delays_s += score.delays_s
        whole.notes += score.notes
        for kind, counts in score.by_kind.items():
            before = whole.by_kind.get(kind, (0, 0, 0))
            whole.by_kind[kind] = (before[0] + counts[0], before[1] + counts[1], before[2] + counts[2])
    return whole
