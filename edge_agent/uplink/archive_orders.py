"""What the archive has, told; and leave to play or take out an interval of it at the node (`docs/commands.md`)."""

from __future__ import annotations

from typing import Any

from edge_agent.buffer.account import Account, account
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import US, Clock
from edge_agent.config import WRITE_ONLY, Config
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust.command import ExportArgs, PlayArgs, SearchArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.policy import Access
from edge_agent.uplink import words
from edge_agent.uplink.hold_orders import Done, accounts_json

MAX_RECORDINGS = 300
MAX_PIECES = 200
"""Recordings and missing pieces that an answer lists; the sums are of all."""


class ArchiveOrders:
    """Owned by whoever owns the index, or reads it beside the agent."""

    def __init__(self, config: Config, index: Index, library: Library, clock: Clock) -> None:
        self._config, self._index, self._library, self._clock = config, index, library, clock

    def search(self, args: SearchArgs) -> Done:
        """NotFoundError when there is no such camera."""
        cameras = [self._camera(args.camera)] if args.camera else self._known()
        interval = args.interval
        if interval is None:
            holdings = {camera: self._holdings(camera) for camera in cameras}
            size = sum(held["size_bytes"] for held in holdings.values())
            return Done(words.archive_told(len(holdings), size), {"holdings": holdings})
        accounts = [self._account(camera, interval) for camera in cameras]
        result = {"start_us": interval.start_us, "end_us": interval.end_us, **accounts_json(accounts, MAX_PIECES)}
        if args.camera:
            found = self._library.segments(cameras[0], interval)
            result["recordings"] = [recording_json(segment) for segment in found[:MAX_RECORDINGS]]
            result["unlisted"] = max(0, len(found) - MAX_RECORDINGS)
        return Done(words.interval_told(accounts), result)

    def leave(self, admitted: Admitted, args: PlayArgs | ExportArgs) -> Done:
        """That what is asked for can be had, and may be read at the node now; EdgeError says why not."""
        if admitted.access is not Access.DIRECT:
            raise UsageError("this is done at the node: from afar, name a target to export to")
        self.look_for(args.camera, args.interval)
        who = admitted.person.full_name
        return Done(words.leave_given(who), {"who": who}, leave=True)

    def look_for(self, name: str, interval: Interval) -> None:
        """EdgeError when nothing can be had of this camera and interval."""
        camera, now_us = self._camera(name), self._clock.utc_us()
        if interval.start_us >= now_us:
            raise UsageError("the interval lies in the future")
        if interval.end_us > now_us + 60 * US:
            raise UsageError("the interval ends in the future: ask for what is past")
        if not self._config.archive.node_reads:
            raise UsageError(WRITE_ONLY)
        if not self._library.segments(camera, interval):
            raise NotFoundError(f"camera {camera} recorded nothing in this interval")

    def _camera(self, name: str) -> CameraId:
        known = self._known()
        if name not in known:
            raise NotFoundError(f"no camera {name} here; there are: {', '.join(known)}")
        return CameraId(name)

    def _known(self) -> list[CameraId]:
        return sorted({*self._index.cameras(), *(camera.camera_id for camera in self._config.camera)})

    def _holdings(self, camera: CameraId) -> dict[str, Any]:
        held = self._index.holdings(camera)
        return {
            "recordings": held.files,
            "size_bytes": held.size_bytes,
            "first_us": held.first_us,
            "last_us": held.last_us,
        }

    def _account(self, camera: CameraId, interval: Interval) -> Account:
        past = interval.clipped(Interval(0, max(self._clock.utc_us(), interval.start_us)))
        return account(self._library, camera, past)


def recording_json(segment: Segment) -> dict[str, Any]:
    """A recording as replies have it."""
    return {
        "start_us": segment.start_us,
        "end_us": segment.end_us,
        "size_bytes": segment.size_bytes,
        "frames": segment.frames,
        "torn": segment.torn,
        "sha256": segment.sha256,
        "path": segment.path,
        "disk": segment.disk,
    }
