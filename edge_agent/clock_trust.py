"""Whether the node's clock is good enough to delete by age now, and what befell it (`docs/time.md`).  Pure.

What goes by age goes for ever, so the clock must have been vouched for: by a time server, or by a person.  Once it was,
it stays trusted without a server, for a quartz is off by seconds a day and the promise counts in days.  Whoever sets it
takes the trust away until a server vouches for the new time.  A server is believed at once, except where it moves by
more than an hour a clock that was trusted already: that is a wrong server or an attack as easily as a correction, so it
has to stand by it for a day, while an alarm can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from edge_agent.clock import US, Clock

STEP_US = 2 * US
"""The wall clock was set when it moved against the monotonic clock by more; a leap second is less."""
FAR_US = 3600 * US
"""No clock that was right needs to be set by more."""
PROBATION_S = 86_400.0
_EARLIEST_US = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * US
_LATEST_US = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * US
_READ_WITHIN_S = 0.1
_READINGS = 5


def plausible(utc_us: int) -> bool:
    """Whether it can be that time at all while this product is in use."""
    return _EARLIEST_US <= utc_us < _LATEST_US


@dataclass(frozen=True, slots=True)
class ClockStep:
    """Somebody set the wall clock from `before_us` to `after_us`, at one and the same moment."""

    before_us: int
    after_us: int
    synchronised: bool
    """A time server vouched for the new time when this was noticed."""

    @property
    def seconds(self) -> float:
        return (self.after_us - self.before_us) / US

    @property
    def words(self) -> str:
        whose = "a time server confirms it" if self.synchronised else "no time server confirms it"
        return f"the node's clock was set by {self.seconds:+.1f} s, to {_shown(self.after_us)}; {whose}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment; `line_us` is the wall clock less the monotonic one, which only a setting changes."""

    utc_us: int
    monotonic: float
    synchronised: bool

    @classmethod
    def of(cls, clock: Clock) -> Reading | None:
        """None when this process was held up at each try: times read far apart would look like a setting."""
        for _ in range(_READINGS):
            before = clock.monotonic()
            synchronised, utc_us = clock.synchronised(), clock.utc_us()
            after = clock.monotonic()
            if after - before <= _READ_WITHIN_S:
                return cls(utc_us, after, synchronised)
        return None

    @property
    def line_us(self) -> int:
        return self.utc_us - round(self.monotonic * US)


class ClockTrustKeeper:
    """Looks at the clock whenever asked, at least once a minute; one thread owns it.

    `line_us` is what `line_us` of an earlier keeper said in this same boot of the machine (`kernel_clock.boot_id`):
    with it the trust outlives the agent.
    """

    def __init__(self, line_us: int | None = None) -> None:
        self._line_us = line_us
        self._vouched = line_us is not None
        self._vouched_line_us = line_us
        """Where a trusted clock last was."""
        self._synchronised = False
        self._since: float | None = None
        """Monotonic time since which a server vouches for the time as it is now."""
        self._now = 0.0
        self._utc_us: int | None = None
        self._step: ClockStep | None = None

    def observe(self, clock: Clock) -> ClockStep | None:
        """Look at the clock; what was done to it since the last look, for journal and ledger."""
        reading = Reading.of(clock)
        if reading is None:
            return None
        step = self._stepped(reading)
        self._line_us, self._now, self._utc_us = reading.line_us, reading.monotonic, reading.utc_us
        self._synchronised = reading.synchronised
        if not reading.synchronised:
            self._since = None
        elif self._since is None:
            self._since = reading.monotonic
        if self._returned or (self._since is not None and reading.monotonic - self._since >= self._probation_s):
            self.confirm()
        if self._vouched:
            self._vouched_line_us = reading.line_us
        return step

    def confirm(self) -> None:
        """Somebody who may says that the clock is right as it was last seen; a time that cannot be stays distrusted."""
        if self._utc_us is not None and plausible(self._utc_us):
            self._vouched, self._vouched_line_us = True, self._line_us

    @property
    def trusted(self) -> bool:
        """Whether recordings may be deleted by their age now."""
        return self._vouched and self._utc_us is not None and plausible(self._utc_us)

    @property
    def line_us(self) -> int | None:
        """To be handed to the next keeper of the same boot; None while the clock is not trusted."""
        return self._line_us if self.trusted else None

    @property
    def reason(self) -> str:
        """Why the clock is trusted, or is not."""
        if self._utc_us is None:
            return "the node's clock was not looked at yet"
        if not plausible(self._utc_us):
            return f"the node's clock says {_shown(self._utc_us)}, which cannot be"
        if self._vouched:
            if self._synchronised:
                return "the node's clock follows a time server"
            return "the node's clock was right when it was last compared, and nobody has set it since"
        if self._step is None:
            return "no time server has confirmed the node's clock since the node started"
        if self._since is not None:
            hours = max(0.0, self._probation_s - (self._now - self._since)) / 3600
            return f"{self._step.words}, but it was trusted before: it has to stay so for {hours:.1f} h more"
        return self._step.words

    def _stepped(self, reading: Reading) -> ClockStep | None:
        if self._line_us is None or abs(reading.line_us - self._line_us) <= STEP_US:
            return None
        before_us = reading.utc_us - (reading.line_us - self._line_us)
        self._step = ClockStep(before_us, reading.utc_us, reading.synchronised)
        self._vouched, self._since = False, None
        return self._step

    @property
    def _returned(self) -> bool:
        """The clock is where it was while it was trusted: what moved it was undone."""
        return (
            not self._vouched
            and self._vouched_line_us is not None
            and self._line_us is not None
            and abs(self._line_us - self._vouched_line_us) <= STEP_US
        )

    @property
    def _probation_s(self) -> float:
        """How long a server has to stand by the time as it is now."""
        if self._vouched or self._vouched_line_us is None or self._line_us is None:
            return 0.0
        return PROBATION_S if abs(self._line_us - self._vouched_line_us) > FAR_US else 0.0


def _shown(utc_us: int) -> str:
    seconds = utc_us // US
    if not 0 <= seconds < 253_402_300_800:
        return f"{seconds} s from 1970"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
