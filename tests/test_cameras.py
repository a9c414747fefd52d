"""What the agent makes of the recorder's words about a camera."""

from __future__ import annotations

from edge_agent.cameras import Cameras
from edge_agent.config import Camera
from edge_agent.messages import CameraStats
from edge_agent.model import CameraId
from edge_agent.uplink.payloads import Gaps

GATE = CameraId("gate")


def test_health_tells_a_cameras_clock_and_warns_when_it_is_off() -> None:
    cameras = Cameras([Camera(id="gate", url="rtsp://192.0.2.1/main")])
    assert cameras.report(GATE, Gaps()).clock_offset_s is None
    cameras.recorder_counts(CameraStats(GATE, 0, 25.0, 4e6, 0, 100, clock_offset_s=0.12, clock_drift_ppm=3.0))
    good = cameras.report(GATE, Gaps())
    assert (good.clock_offset_s, good.clock_drift_ppm, good.clock_warning) == (0.12, 3.0, None)
    cameras.recorder_counts(CameraStats(GATE, 0, 25.0, 4e6, 0, 100, clock_offset_s=-3600.0))
    off = cameras.report(GATE, Gaps())
    assert off.clock_warning is not None
    assert "60 minutes behind" in off.clock_warning.en
