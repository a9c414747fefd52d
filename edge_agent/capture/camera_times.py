"""What outlives a camera's connections of its times, and what of a file's pictures was lost.

Owned by the camera's writer thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.capture.camera_clock import CameraClock
from edge_agent.capture.node_time import NodeTime
from edge_agent.capture.rtp import SenderReport
from edge_agent.capture.source import Packet

_MAX_HOLE = 250
"""Pictures; what is missing for longer is a jump of the camera's ticks rather than a loss."""


@dataclass(frozen=True, slots=True)
class CameraTimes:
    """The node's time that is believed for one camera, and the camera's own clock."""

    node: NodeTime
    camera: CameraClock

    def hear(self, report: SenderReport) -> float | None:
        """Take the camera's word of its clock; by how many ppm its ticks are longer than they say, None if unknown."""
        node_us = self.node.believe(report.arrival_us, report.arrival_monotonic)
        self.camera.hear(report, node_us, report.arrival_monotonic)
        return self.camera.tick_ppm


class Damage:
    """Counts the pictures of a file that were recorded damaged, and those that are missing between others because
    packets were lost; the latter by the hole that they leave in the decode times."""

    def __init__(self) -> None:
        self._count = 0
        self._last_dts: int | None = None
        self._lost_before = False

    def see(self, dts: int, step: int, packet: Packet) -> None:
        """The next picture, placed at `dts`; `step` was the time from picture to picture before it."""
        # a loss shows when a packet behind it comes, which may complete the picture before the hole
        if self._last_dts is not None and (self._lost_before or packet.lost_packets):
            missing = round((dts - self._last_dts) / step) - 1
            if 0 < missing <= _MAX_HOLE:
                self._count += missing
        self._count += packet.damaged
        self._last_dts, self._lost_before = dts, packet.lost_packets > 0

    def taken(self) -> int:
        """The count so far, which begins anew."""
        count, self._count = self._count, 0
        return count
