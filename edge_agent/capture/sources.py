"""Which client takes which camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.capture.job import CameraJob
from edge_agent.clock import Clock

if TYPE_CHECKING:
    from edge_agent.capture.pyav_source import PyAvSource
    from edge_agent.capture.rtsp_source import RtspSource


def make_source(camera: CameraJob, clock: Clock) -> RtspSource | PyAvSource:
    """The product's own client for RTSP, libav for everything else; it is loaded only where something needs it."""
    if camera.url.lower().startswith(("rtsp:", "rtsps:")):
        from edge_agent.capture.rtsp_source import RtspSource

        return RtspSource(camera, clock)
    from edge_agent.capture.pyav_source import PyAvSource

    return PyAvSource(camera, clock)
