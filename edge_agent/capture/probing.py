"""One look at a camera, as the agent itself would take it: certificate, login, stream, clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from edge_agent.capture.certificate import look
from edge_agent.capture.job import CameraJob
from edge_agent.capture.meter import Meter
from edge_agent.capture.probe import Report
from edge_agent.capture.rtsp_source import RtspSource
from edge_agent.capture.source import CameraFailed
from edge_agent.capture.sources import make_source
from edge_agent.clock import Clock
from edge_agent.model import CameraFault

_SECURE_PORTS = {"rtsps": 322, "https": 443}


def probe(job: CameraJob, clock: Clock, seconds: float, tell: Callable[[str], None]) -> Report:
    """Look for about `seconds` once the camera sends; what fails stands in the report.  `tell` hears what is done."""
    report = Report(job, seconds, clock.utc_us())
    parts = urlsplit(job.url)
    try:
        if (port := _SECURE_PORTS.get(parts.scheme.lower())) is not None:
            tell("looking at its certificate")
            report = replace(report, certificate=look(parts.hostname or "", parts.port or port, job.ca_file))
        return _streamed(report, clock, tell)
    except CameraFailed as failure:
        return replace(report, failure=failure)


def _streamed(report: Report, clock: Clock, tell: Callable[[str], None]) -> Report:
    tell("asking for its picture")
    source = make_source(report.job, clock)
    meter: Meter | None = None
    failure: CameraFailed | None = None
    try:
        meter = Meter(source.open())
        until = clock.monotonic() + report.seconds
        for packet in source.packets():
            meter.put(packet)
            left = until - clock.monotonic()
            if left <= 0:
                break
            tell(f"{meter.pictures} pictures came, {left:.0f} s to go")
    except CameraFailed as failed:
        failure = failed
    if failure is None and meter is not None and not meter.pictures:
        failure = CameraFailed(CameraFault.NO_VIDEO, f"no picture came within {report.seconds:g} s")
    native = source if isinstance(source, RtspSource) else None
    heard = native.sender_report if native else None
    report = replace(
        report,
        told=source.told,
        measured=meter.measured() if meter and meter.pictures else None,
        clock_offset_us=heard.offset_us if heard else None,
        lost_packets=native.lost_packets if native else 0,
        failure=failure,
    )
    source.close()
    return report
