"""What the configuration says of a camera, as the watcher is told it."""

from __future__ import annotations

from edge_agent.capture.calibration import Measure
from edge_agent.capture.regions import Line, Region
from edge_agent.capture.watch_job import DetectorJob, WatchedCamera
from edge_agent.capture.zone_check import Shape
from edge_agent.config import Camera, DetectorEntry
from edge_agent.model import AlarmNature, Kind, Side


def watched(camera: Camera, password: str | None = None) -> WatchedCamera:
    """The camera's sub-stream, or the keyframes of its main stream, with its zones and lines."""
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
        zones=tuple(
            Region(
                zone.id,
                zone.polygon,
                tuple(map(AlarmNature, zone.watch)),
                zone.loiter_s,
                zone.object_s,
                zone.crowd_part,
                tuple(map(Kind, zone.only)),
            )
            for zone in watch.zone
        ),
        whole=None if watch.whole is None else tuple(map(AlarmNature, watch.whole)),
        lines=tuple(Line(line.id, line.points, Side(line.side) if line.side else None) for line in watch.line),
        tampering=tuple(map(AlarmNature, watch.tampering)),
        bearing_deg=watch.bearing_deg,
        view_deg=watch.view_deg,
        measures=tuple(Measure(one.start, one.end, one.metres) for one in watch.measure),
    )


def detecting(entry: DetectorEntry) -> DetectorJob:
    """The city's model."""
    kinds = ((Kind.PERSON, entry.person), (Kind.VEHICLE, entry.vehicle), (Kind.ANIMAL, entry.animal))
    return DetectorJob(entry.model, kinds, entry.size, entry.threshold, entry.layout, entry.pixels, entry.rgb)


def shapes(camera: Camera) -> list[Shape]:
    """What is drawn into its picture."""
    watch = camera.watch
    zones = [Shape(zone.id, zone.polygon, closed=True) for zone in watch.zone]
    return zones + [Shape(line.id, line.points, closed=False) for line in watch.line]
