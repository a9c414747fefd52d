"""Whether the recorder may write: the agent's last word on it (`docs/retention.md`, `on_full = "stop"`)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.jobs import JobForm


@dataclass(frozen=True, slots=True)
class Order:
    """A line that the agent sends while the recorder runs."""

    wait: str
    """Why nothing may be recorded now; empty: record."""


ORDER = JobForm(Order, "recorder")


class Gate:
    """Set by the thread that hears the agent, asked by the one that writes."""

    def __init__(self) -> None:
        self.closed = ""
        """Why nothing may be recorded now; empty while it may."""

    def hear(self, line: bytes) -> None:
        """ConfigError for what is no order."""
        self.closed = ORDER.parse(line).wait
