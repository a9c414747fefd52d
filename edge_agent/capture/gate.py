"""Whether the recorder may write, and where first: the agent's last word on it (`docs/retention.md`)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.jobs import JobForm


@dataclass(frozen=True, slots=True)
class Order:
    """A line that the agent sends while the recorder runs."""

    wait: str
    """Why nothing may be recorded now; empty: record."""
    disks: tuple[str, ...] = ()
    """The archive's disks in the order in which they are to be used; those that are not named come last."""
    rest: tuple[tuple[str, str], ...] = ()
    """Cameras that are not to be recorded now, each with why."""


ORDER = JobForm(Order, "recorder")


class Gate:
    """Set by the thread that hears the agent, asked by the one that writes."""

    def __init__(self) -> None:
        self.closed = ""
        """Why nothing may be recorded now; empty while it may."""
        self.disks: tuple[str, ...] = ()
        """As in `Order`."""
        self.resting: dict[str, str] = {}
        """Cameras that are not to be recorded now, and why."""

    def hear(self, line: bytes) -> None:
        """ConfigError for what is no order."""
        order = ORDER.parse(line)
        self.closed, self.disks, self.resting = order.wait, order.disks, dict(order.rest)
