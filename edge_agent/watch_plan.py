"""What the configuration says of a camera, as the watcher is told it."""

from __future__ import annotations

from edge_agent.capture.alarms import Region
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.capture.zone_check import Shape
from edge_agent.config import Camera


def watched(camera: Camera, password: str | None = None) -> WatchedCamera:
    """The camera's sub-stream, or the keyframes of its main stream, with its zones."""
    watch = camera.watch
    return WatchedCamera(
        id=camera.camera_id,
        url=camera.sub_url or camera.url,
        keyframes_only=camera.sub_url is None,
        username=camera.username,
        password=password,
        basic=camera.basic_login,
        ca_file=camera.ca_file,
        fps=watch.fps,
        min_area=watch.min_area,
        zones=tuple(Region(zone.id, zone.polygon) for zone in watch.zone),
    )


def shapes(camera: Camera) -> list[Shape]:
    """What is drawn into its picture."""
    return [Shape(zone.id, zone.polygon, closed=True) for zone in camera.watch.zone]
