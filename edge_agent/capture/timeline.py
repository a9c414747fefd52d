"""From a camera's clock to UTC: when each picture was, as far as this node can know.  Pure; owned by one thread.

The first picture is placed at its arrival, by the node's time that is believed (`node_time`).  From there UTC goes with
the camera's own ticks, so that consecutive segments meet exactly.  Where a segment begins, a small bounded correction
follows slow drift, taken from the smoothed difference between arrival and place, and from the rate of the ticks where
the camera tells it.  A jump, be it of the camera's ticks or of the node's time, is carried over smoothly inside the
open segment and asks for a new one, which is placed at its arrival again.

After the node's clock was set back by up to a minute the recording's time goes on from where it was, and the difference
is worked off at 5 %, so that intervals do not overlap.  After more than that the new time counts at once: a recording
that is placed wrongly for hours would be worse than two that claim the same hour (`docs/time.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from edge_agent.capture.node_time import NodeTime
from edge_agent.clock import US
from edge_agent.model import ClockTrust, GapCause

JUMP_US = 2 * US
"""A difference that is no jitter."""
LATE_US = 5 * US
"""Pictures that stay late for as long are not just held up on their way."""
SMOOTHING_S = 10.0
MAX_CORRECTION_PPM = 2_000
BLIND_WEIGHT = 1 / 2
TOLD_WEIGHT = 1 / 8
"""Of the smoothed difference, at a cut: without and with a rate that the camera tells."""
CATCH_UP_PPM = 50_000
MAX_AHEAD_US = 60 * US
"""So far a recording runs ahead of the node's clock rather than overlap what was recorded before; 20 minutes' work."""
SNAP_US = US // 2
"""A jump that lost less than this lost nothing."""


class JumpKind(StrEnum):
    CAMERA_CLOCK = "the camera's clock jumped"
    NODE_CLOCK = "the node's clock was set"
    PAUSE = "the camera paused"


@dataclass(frozen=True, slots=True)
class Jump:
    """Why a new segment must begin; `seconds` is how far time jumped, forwards being positive."""

    kind: JumpKind
    seconds: float

    @property
    def words(self) -> str:
        return f"{self.kind.value} by {self.seconds:+.1f} s"

    @property
    def gap_cause(self) -> GapCause:
        return GapCause.CAMERA if self.kind is JumpKind.PAUSE else GapCause.CLOCK


class Placement(NamedTuple):
    """Where one picture is: ticks that never go back at a jump, and UTC."""

    pts: int
    dts: int
    utc_us: int


@dataclass(frozen=True, slots=True)
class Start:
    """A segment begins here; the one before it ends at `previous_end_us`, which is `start_us` when nothing is lost, and
    more than that only after the node's clock was set far back."""

    start_us: int
    previous_end_us: int | None
    jump: Jump | None = None
    previous_trust: ClockTrust = ClockTrust.FREE
    """How far the times of the segment before can be believed."""


class Timeline:
    """One connection to one camera; `floor_us` is where the camera's last recorded interval ended, `early_us` how long
    before its arrival here the first picture really came (`Opening`).  `tick_ppm` may be set to how much longer than
    `time_base` the camera's ticks are (`CameraClock`)."""

    def __init__(self, time_base: Fraction, node: NodeTime, floor_us: int = 0, early_us: int = 0) -> None:
        self.tick_ppm: float | None = None
        self._node = node
        tick_us = time_base * US
        self._numerator, self._denominator = tick_us.numerator, tick_us.denominator
        self._floor_us = floor_us
        self._early_us = early_us
        self._anchor: tuple[int, int] | None = None
        """(ticks, UTC) of the open segment's first picture."""
        self._ahead_us = 0
        """How far UTC here is ahead of the node's clock, which must not make intervals overlap."""
        self._shift = 0
        """Added to the camera's ticks, so that they go on where they jumped."""
        self._step = max(1, int(US / 25 / tick_us))
        """Ticks from picture to picture, as last seen."""
        self._last_dts: int | None = None
        self._last_given_dts: int | None = None
        self._reorder = 0
        """Presentation less decode time of the first keyframe; pictures arrive at the pace of decode times."""
        self._top = 0
        """The latest presentation time so far."""
        self._top_before = 0
        """The same without the picture placed last."""
        self._wall_us = 0
        """Wall clock minus monotonic clock, when the segment began."""
        self._wall_now_us = 0
        self._error_us = 0.0
        self._error_at = 0.0
        self._late_since: float | None = None
        self._arrival_us = 0
        self._pending: Jump | None = None
        self._trust = ClockTrust.FREE
        """Of the open segment up to the last picture placed."""
        self._trust_before = ClockTrust.FREE
        """The same without that picture."""

    @property
    def trust(self) -> ClockTrust:
        """How far the times of the open segment can be believed."""
        return self._trust

    @property
    def pending(self) -> Jump | None:
        """The next keyframe should begin a new segment, because of this."""
        return self._pending

    @property
    def end_us(self) -> int:
        """Where the last picture placed ends."""
        return self._utc(self._top + self._step)

    @property
    def step(self) -> int:
        """Ticks from one picture to the next."""
        return self._step

    def utc(self, pts: int) -> int:
        """UTC of a presentation time in the camera's own ticks, as things stand (for its other tracks)."""
        return self._utc(pts + self._shift)

    def place(
        self, pts: int | None, dts: int | None, keyframe: bool, arrival_us: int, arrival_monotonic: float
    ) -> Placement:
        """Place the next picture in decode order; the first one ever must be a keyframe."""
        self._trust_before = self._trust
        self._arrival_us = self._node.believe(arrival_us, arrival_monotonic)
        self._wall_now_us = self._node.line_us
        given = pts if pts is not None else dts
        if self._anchor is None:
            came_us = self._arrival_us - self._early_us
            start_us = self._floor_us if 0 < self._floor_us - came_us <= MAX_AHEAD_US else came_us
            self._top = self._top_before = given or 0
            self._anchor = (self._top, start_us)
            self._ahead_us = start_us - came_us
            self._wall_us = self._wall_now_us
            self._error_at = arrival_monotonic
            self._last_given_dts = dts
            self._last_dts = dts if dts is not None and dts <= self._top else self._top
            self._reorder = self._top - self._last_dts
            return Placement(self._top, self._last_dts, start_us)
        if given is None:
            given = self._top + self._step - self._shift
        ticks = given + self._shift
        utc_us = self._utc(ticks)
        if self._leaps(ticks, utc_us, keyframe):
            ticks = self._top + self._step
            utc_us = self._utc(ticks)
        if self._pending is None and abs(self._wall_now_us - self._wall_us) > JUMP_US:
            self._jump(JumpKind.NODE_CLOCK, self._wall_now_us - self._wall_us)
        decode = self._decode_time(ticks, dts, keyframe)
        due = decode + self._reorder
        self._follow(utc_us if due == ticks else self._utc(due), arrival_monotonic)
        self._top_before = self._top
        if ticks > self._top:
            self._top = ticks
        if self._pending is not None or self._node.carrying:
            self._trust = ClockTrust.CARRIED
        return Placement(ticks, decode, utc_us)

    def begin(self, placement: Placement) -> Start:
        """A segment begins with the keyframe placed last."""
        assert self._anchor is not None
        first, anchor_us = self._anchor
        before = self._trust_before
        if placement.pts == first:
            self._begin_trust()
            return Start(anchor_us, None)
        jump, self._pending = self._pending, None
        if jump is None:
            elapsed_us = placement.utc_us - anchor_us
            start_us = placement.utc_us + self._correction(elapsed_us)
            self._anchor = (placement.pts, start_us)
            self._begin_trust()
            return Start(start_us, start_us, None, before)
        end_us = self._utc(self._top_before + self._step)
        start_us = self._arrival_us
        if -MAX_AHEAD_US <= start_us - end_us < SNAP_US:
            start_us = end_us
        elif start_us < end_us and jump.kind is not JumpKind.NODE_CLOCK:
            # ticks that ran away: no camera makes its recordings last into the future
            start_us = end_us = max(anchor_us, start_us)
        self._anchor = (placement.pts, start_us)
        self._ahead_us = max(0, start_us - self._arrival_us)
        self._wall_us = self._wall_now_us
        self._error_us = 0.0
        self._late_since = None
        self._begin_trust()
        return Start(start_us, end_us, jump, before)

    def _begin_trust(self) -> None:
        self._trust = self._node.trust()
        if self._ahead_us > SNAP_US:
            self._trust = ClockTrust.CARRIED

    def _utc(self, ticks: int) -> int:
        assert self._anchor is not None
        first, anchor_us = self._anchor
        return anchor_us + (ticks - first) * self._numerator // self._denominator

    def _us(self, ticks: int) -> int:
        return ticks * self._numerator // self._denominator

    def _leaps(self, ticks: int, utc_us: int, keyframe: bool) -> bool:
        """Whether the camera's clock jumped here; its ticks are shifted then, to go on after those before."""
        ahead_us = self._us(ticks - self._top)
        back = ahead_us < -US or (keyframe and ticks <= self._top)
        early_us = utc_us - self._arrival_us - self._ahead_us
        # an arrival can be late for many reasons; before its time it can be only by a clock that jumped
        if not back and (early_us < JUMP_US or ahead_us < JUMP_US):
            return False
        self._jump(JumpKind.CAMERA_CLOCK, ahead_us)
        self._shift += self._top + self._step - ticks
        self._last_given_dts = None
        return True

    def _follow(self, due_us: int, monotonic: float) -> None:
        """Smooth the difference between arrival and place."""
        if self._pending is not None:
            return
        error_us = self._arrival_us - due_us + self._ahead_us
        if error_us < -JUMP_US:
            self._jump(JumpKind.CAMERA_CLOCK, -error_us)
            return
        if error_us > JUMP_US:
            self._late_since = monotonic if self._late_since is None else self._late_since
            if (monotonic - self._late_since) * US >= LATE_US:
                self._jump(JumpKind.PAUSE, error_us)
            return
        self._late_since = None
        passed = max(0.0, monotonic - self._error_at)
        self._error_at = monotonic
        self._error_us += (error_us - self._error_us) * min(1.0, passed / SMOOTHING_S)

    def _correction(self, elapsed_us: int) -> int:
        bound = elapsed_us * MAX_CORRECTION_PPM // 10**6
        # arrivals tell a rate only through their jitter; where the camera tells it they need less weight
        known_us = self.tick_ppm * elapsed_us / 10**6 if self.tick_ppm is not None else 0.0
        weight = BLIND_WEIGHT if self.tick_ppm is None else TOLD_WEIGHT
        correction = max(-bound, min(bound, int(known_us + (self._error_us - known_us) * weight)))
        self._error_us -= correction
        catch_up = min(self._ahead_us, elapsed_us * CATCH_UP_PPM // 10**6)
        self._ahead_us -= catch_up
        # slow steering of the node's clock by NTP is no step
        self._wall_us = self._wall_now_us
        return correction - catch_up

    def _decode_time(self, ticks: int, dts: int | None, keyframe: bool) -> int:
        """The camera's decode time where it gives one that grows; otherwise one picture after the last."""
        last = self._last_dts
        assert last is not None
        if dts is not None:
            if self._last_given_dts is not None:
                step = dts - self._last_given_dts
                if step != self._step and 0 < self._us(step) < US:
                    self._step = step
            self._last_given_dts = dts
            dts += self._shift
        elif keyframe:
            dts = ticks
        else:
            dts = last + self._step
        self._last_dts = max(last + 1, dts)
        return self._last_dts

    def _jump(self, kind: JumpKind, by_us: int) -> None:
        if self._pending is None:
            self._pending = Jump(kind, by_us / US)
