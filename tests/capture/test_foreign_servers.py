"""A server that no one here wrote besides GStreamer's, LIVE555's; and networks that lose packets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.messages import CameraChanged, SegmentClosed
from edge_agent.model import CameraFault, CameraState
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints, frame_digests
from tests.capture.test_rtsp_source import certificate
from tests.peers.cameras import CameraServer, compare, make_clip
from tests.peers.live555 import Live555, elementary_stream
from tests.peers.network import black_hole, lose_packets, private_network, segments_sent_again

pytestmark = pytest.mark.root


def test_live555_is_recorded_bit_for_bit_to_the_end_of_its_file(lab: Lab, clips: Path) -> None:
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
            assert recorder.stop() == 0
    for name, clip in made.items():
        sent = frame_digests(clip)
        # of the last picture of a file LIVE555 sends the first slice only
        assert lab.digests(name)[: len(sent) - 1] == sent[:-1]
        assert [ffprobe_complaints(lab.opened(found)) for found in lab.segments(name)] == ["", ""]


def test_packets_that_the_network_loses_cost_no_picture_of_an_encrypted_camera_either(
    lab: Lab, street_h264: Path, street_h265: Path
) -> None:
    tls, login = certificate(lab.folder), ("op er", 'p@ss:"w\\rd')
    with private_network():
        lose_packets(5)
        with (
            CameraServer({"/open": street_h264}, folder=lab.folder / "open") as plain,
            CameraServer({"/tls": street_h265}, login, tls=tls, folder=lab.folder / "tls") as secure,
        ):
            jobs = [
                camera("open", plain.url("/open")),
                camera(
                    "tls",
                    secure.url("/tls", with_login=False),
                    username=login[0],
                    password=login[1],
                    ca_file=str(tls[0]),
                ),
            ]
            with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
                recorder.wait_for(SegmentClosed, 30, count=2)
                assert recorder.stop() == 0
        assert segments_sent_again() > 0
    assert [change for change in recorder.of(CameraChanged) if change.fault] == []
    for name, server in (("open", plain), ("tls", secure)):
        result = compare(server.sent(f"/{name}"), lab.digests(name))
        assert (result.missing, result.foreign) == ([], [])
        assert result.first is not None


def test_a_black_hole_before_one_camera_is_noticed_and_left_and_disturbs_no_other(lab: Lab, street_h264: Path) -> None:
    with (
        private_network(),
        CameraServer({"/near": street_h264}, folder=lab.folder / "near") as near,
        CameraServer({"/far": street_h264}, folder=lab.folder / "far") as far,
    ):
        jobs = [camera("near", near.url("/near")), camera("far", far.url("/far"))]
        with RecorderProcess(lab.job(*jobs), lab.folder) as recorder:
            recorder.wait_for(CameraChanged, 15, state=CameraState.RECORDING, count=2)
            with black_hole(far.port):
                recorder.wait_for(CameraChanged, 6, camera="far", fault=CameraFault.STALLED)
                recorder.wait_for(CameraChanged, 10, camera="far", fault=CameraFault.UNREACHABLE)
            recorder.wait_for(CameraChanged, 15, camera="far", state=CameraState.RECORDING, count=2)
            assert recorder.stop() == 0
    assert [change for change in recorder.of(CameraChanged) if change.camera == "near" and change.fault] == []
    result = compare(near.sent("/near"), lab.digests("near"))
    assert (result.missing, result.foreign) == ([], [])
    assert all(before.end_us == after.start_us for before, after in pairwise(lab.segments("near")))
    assert compare(far.sent("/far"), lab.digests("far")).foreign == []
