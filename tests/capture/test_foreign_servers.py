"""Recorded from a server that no one here wrote besides GStreamer's: LIVE555's, out of which cameras are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.messages import CameraChanged, SegmentClosed
from edge_agent.model import CameraFault, CameraState
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints, frame_digests
from tests.peers.cameras import CameraServer, compare, make_clip
from tests.peers.live555 import Live555, elementary_stream
from tests.peers.network import lose_packets, private_network, segments_sent_again

pytestmark = pytest.mark.root


def test_live555_is_recorded_bit_for_bit_and_again_when_it_falls_silent(lab: Lab, clips: Path) -> None:
    made = {
        "h264": make_clip(clips / "live555-h264.mp4", seconds=4, slices=4),
        "h265": make_clip(clips / "live555-h265.mp4", "h265", seconds=4, slices=2, seed=2),
    }
    served = {name: elementary_stream(clip, lab.folder) for name, clip in made.items()}
    with private_network(), Live555(lab.folder) as server:
        jobs = [camera(name, server.url(path.name)) for name, path in served.items()]
        with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
            for name in made:
                recorder.wait_for(CameraChanged, 20, camera=name, fault=CameraFault.STALLED)
                recorder.wait_for(CameraChanged, 10, camera=name, state=CameraState.RECORDING, count=2)
            assert recorder.stop() == 0
    for name, clip in made.items():
        # the last picture of a file is sent by LIVE555 with its first slice only
        sent, recorded = frame_digests(clip)[:-1], lab.digests(name)
        assert recorded[: len(sent)] == sent
        again = recorded[len(sent) :]
        assert again
        assert again == sent[: len(again)]
        assert [ffprobe_complaints(lab.opened(found)) for found in lab.segments(name)] == [""] * len(lab.segments(name))


def test_packets_that_the_network_loses_cost_no_picture(lab: Lab, street_h264: Path, street_h265: Path) -> None:
    with private_network():
        lose_packets(5)
        with CameraServer({"/main": street_h264, "/hevc": street_h265}, folder=lab.folder) as server:
            jobs = [camera(mount[1:], server.url(mount)) for mount in ("/main", "/hevc")]
            with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
                recorder.wait_for(SegmentClosed, 30, count=2)
                assert recorder.stop() == 0
        assert segments_sent_again() > 10
    assert [change for change in recorder.of(CameraChanged) if change.fault] == []
    for job in jobs:
        result = compare(server.sent(f"/{job.id}"), lab.digests(job.id))
        assert (result.missing, result.foreign) == ([], [])
        assert result.first is not None
