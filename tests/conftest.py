"""Fixtures of the real peers, for every test."""

from tests.peers.fixtures import camera_server, clips, street_h264, street_h265

__all__ = ["camera_server", "clips", "street_h264", "street_h265"]
