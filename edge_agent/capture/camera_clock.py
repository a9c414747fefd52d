"""A camera's own clock, as its RTCP sender reports tell it, against the node's.  Pure; one thread owns it, any reads
`state`.

A report says: at this tick it was this time by my clock.  What happens on its way only makes it come late, so of some
reports the least late one tells how far the camera's clock is from the node's.  The camera's clock is evidence, never
the time of a recording (`docs/time.md`); how its ticks go against it helps to follow their drift.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import linear_regression

from edge_agent.capture.rtp import SenderReport
from edge_agent.clock import US

JUMP_US = 2 * US
_RECENT = 8
_LATE_FOR_S = 10.0
"""A clock that seems behind may be a report that was held up, but not for so long."""
_MINUTE_S = 60.0
_MINUTES = 120
_MINUTES_FOR_DRIFT = 30
_PAIRS = 120
_RATE_OVER_US = 30 * US
_OFF_LINE_US = 50_000
"""A pair further from where the pairs before it point means that the camera's clock was set."""
MAX_PPM = 500.0
"""A quartz is not worse; what says so is not believed."""


@dataclass(frozen=True, slots=True)
class CameraClockState:
    """What is known now; None where nothing is."""

    offset_s: float | None = None
    """The camera's clock less the node's."""
    drift_ppm: float | None = None
    """By how much the camera's clock is faster than the node's."""
    jump_s: float | None = None
    """How far it last jumped, forwards being positive."""
    jumped_at: float = 0.0
    """Monotonic."""


class CameraClock:
    """Lives as long as the recorder does; `connected` at each new connection, whose ticks begin anew."""

    def __init__(self) -> None:
        self.state = CameraClockState()
        self._tick_us = Fraction(0)
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._minutes: deque[tuple[float, int]] = deque(maxlen=_MINUTES)
        self._pairs: deque[tuple[int, int]] = deque(maxlen=_PAIRS)
        """(ticks, UTC by the camera)"""
        self._behind_since: float | None = None

    def connected(self, time_base: Fraction) -> None:
        """Ticks of `time_base` begin anew."""
        self._tick_us = time_base * US
        self._pairs.clear()

    def hear(self, report: SenderReport, node_us: int, monotonic: float) -> None:
        """A report that came at `node_us` by the node's believed time."""
        self._pair(report)
        offset_us = report.utc_us - node_us
        if self._recent and self._jumped(offset_us - max(self._recent), monotonic):
            jump_s = round((offset_us - max(self._recent)) / US, 1)
            self.state = replace(self.state, drift_ppm=None, jump_s=jump_s, jumped_at=monotonic)
            self._recent.clear()
            self._minutes.clear()
        if self._behind_since is not None:
            return
        self._recent.append(offset_us)
        best_us = max(self._recent)
        if not self._minutes or monotonic - self._minutes[-1][0] >= _MINUTE_S:
            self._minutes.append((monotonic, best_us))
            if len(self._minutes) >= _MINUTES_FOR_DRIFT:
                slope, _ = linear_regression(*zip(*self._minutes, strict=True))
                self.state = replace(self.state, drift_ppm=round(slope, 1))
        self.state = replace(self.state, offset_s=round(best_us / US, 3))

    @property
    def tick_ppm(self) -> float | None:
        """By how much longer the camera's ticks are, in node's time, than their time base says."""
        if len(self._pairs) < 2:
            return None
        (ticks, utc_us), (last_ticks, last_us) = self._pairs[0], self._pairs[-1]
        if last_us - utc_us < _RATE_OVER_US or last_ticks <= ticks:
            return None
        ppm = ((last_us - utc_us) / float((last_ticks - ticks) * self._tick_us) - 1) * 1e6
        ppm -= self.state.drift_ppm or 0.0
        return ppm if abs(ppm) <= MAX_PPM else None

    def _jumped(self, away_us: int, monotonic: float) -> bool:
        if away_us >= -JUMP_US:
            self._behind_since = None
            return away_us > JUMP_US
        if self._behind_since is None:
            self._behind_since = monotonic
        if monotonic - self._behind_since < _LATE_FOR_S:
            return False
        self._behind_since = None
        return True

    def _pair(self, report: SenderReport) -> None:
        if self._pairs:
            ticks, utc_us = self._pairs[-1]
            expected_us = utc_us + (report.ticks - ticks) * self._tick_us
            # a rate that is believed at all moves a pair by so much, a clock that was set by more
            bound_us = _OFF_LINE_US + abs(report.utc_us - utc_us) * MAX_PPM / 1e6
            if report.ticks <= ticks or abs(report.utc_us - expected_us) > bound_us:
                self._pairs.clear()
        self._pairs.append((report.ticks, report.utc_us))
