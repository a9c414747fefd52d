"""Fixtures of the real peers, for every test; hypothesis measures nothing, for the machine may be busy."""

import os
import signal

from hypothesis import settings

from tests.peers.fixtures import camera_server, clips, street_h264, street_h265

__all__ = ["camera_server", "clips", "street_h264", "street_h265"]

settings.register_profile("edge-agent", deadline=None)
settings.load_profile("edge-agent")

# The tests start many processes: what they import is compiled once, even where the environment forbids to keep it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell's background job ignores Ctrl-C, and all that it starts would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
