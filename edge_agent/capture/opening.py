"""The first packets of a connection, looked at together before any of them is placed.  Pure.

A client that looks into the stream before it gives anything out gives its first packets late and at once, and does not
know all times of the first of them.  The packets behind them tell both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

from edge_agent.capture.source import VIDEO, Packet
from edge_agent.clock import US

MAX_EARLY_US = 5 * US


@dataclass(frozen=True, slots=True)
class Opening:
    """The packets, with missing times filled in, and by how much the first keyframe's arrival is to be put back."""

    packets: tuple[tuple[Packet, int], ...]
    early_us: int

    @classmethod
    def of(cls, packets: Sequence[tuple[Packet, int]], time_base: Fraction) -> Opening:
        """From (packet, pictures lost before it) as `Feed.take` gives them."""
        filled = _with_times(packets)
        return cls(tuple(filled), _early_us([packet for packet, _ in filled if packet.track == VIDEO], time_base))


def _early_us(pictures: Sequence[Packet], time_base: Fraction) -> int:
    """The packet that was held up least tells when the first keyframe would have come without being held up."""
    key = next((packet for packet in pictures if packet.keyframe), None)
    if key is None or key.dts is None:
        return 0
    came_us = [
        packet.arrival_us - int((packet.dts - key.dts) * time_base * US)
        for packet in pictures
        if packet.dts is not None and packet.arrival_monotonic >= key.arrival_monotonic
    ]
    return max(0, min(MAX_EARLY_US, key.arrival_us - min(came_us)))


def _with_times(packets: Sequence[tuple[Packet, int]]) -> list[tuple[Packet, int]]:
    """Decode times counted back from the first one known; the first picture just before all others presented."""
    pictures = [packet for packet, _ in packets if packet.track == VIDEO]
    known = [packet.dts for packet in pictures if packet.dts is not None]
    steps = [after - before for before, after in pairwise(known) if after > before]
    filled = list(packets)
    if not steps:
        return filled
    step = median_low(steps)
    first = next(place for place, (packet, _) in enumerate(filled) if packet.track == VIDEO)
    following: int | None = None
    for place in range(len(filled) - 1, -1, -1):
        packet, lost = filled[place]
        if packet.track != VIDEO:
            continue
        if packet.dts is None and following is not None:
            packet = packet._replace(dts=following - step)
            filled[place] = (packet, lost)
        if packet.pts is None and place == first:
            later = [other.pts for other, _ in filled[place + 1 :] if other.track == VIDEO and other.pts is not None]
            filled[place] = (packet._replace(pts=min(later) - step if later else None), lost)
        following = packet.dts
    return filled
