"""What is lost: four real cameras recorded for a while, then recorder, watcher and agent killed one after another.

`python -m bench.integrity [--seconds 60] [--json]`.  Frames are counted against what the cameras sent, by the digests
of their slices; the files are opened with `age` and decoded with ffmpeg.
"""

from __future__ import annotations

import argparse
import io
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.report import Figure, print_figures
from edge_agent.buffer.mp4 import TrackKind
from edge_agent.buffer.mp4_read import read_fragments
from edge_agent.clock import US, SystemClock
from tests.end_to_end.media import digests, opened, probe_errors
from tests.peers.agent import RunningAgent
from tests.peers.cameras import CameraServer, Codec, compare, make_clip
from tests.peers.support import wait_until
from tests.peers.vcl import vcl_digest

CAMERAS: dict[str, Codec] = {"a": "h264", "b": "h265", "c": "h264", "d": "h265"}


@dataclass(frozen=True, slots=True)
class Account:
    """One camera's frames."""

    recorded: int
    missing: int
    foreign: int
    unclean: int
    """Files that ffmpeg complains about."""


def account(agent: RunningAgent, server: CameraServer, camera: str, folder: Path) -> Account:
    """Everything in the archive against everything that was sent in between."""
    plain = folder / "opened" / camera
    plain.mkdir(parents=True, exist_ok=True)
    recorded, unclean = [], 0
    for segment in agent.segments(camera):
        if segment.torn:
            recorded += torn_digests(agent.unsealed(segment), CAMERAS[camera])
        else:
            movie = opened(agent.archive / segment.path, agent.data / "keys" / "node.age", plain)
            unclean += bool(probe_errors(movie))
            recorded += digests([movie], CAMERAS[camera])
    result = compare(server.sent(f"/{camera}"), recorded)
    return Account(len(recorded), len(result.missing), len(result.foreign), unclean)


def torn_digests(movie: bytes, codec: Codec) -> list[str]:
    """Of the pictures that a torn file wholly holds."""
    track = read_fragments(io.BytesIO(movie), salvage=True).first(TrackKind.VIDEO)
    places = zip(track.samples.offset, track.samples.size, strict=True) if track else ()
    return [vcl_digest(movie[at : at + size], codec) for at, size in places]


def gaps_s(agent: RunningAgent) -> float:
    return sum(gap.interval.seconds for camera in CAMERAS for gap in agent.gaps(camera))


def all_record(agent: RunningAgent) -> bool:
    """Every camera's newest file grew lately."""
    now = SystemClock().utc_us()
    newest = [
        max((p.stat().st_mtime_ns // 1000 for p in agent.archive.glob(f"{c}/*/*.age")), default=0) for c in CAMERAS
    ]
    return agent.recording(*CAMERAS) and min(newest) > now - 2 * US


def measure(seconds: float, folder: Path) -> list[Figure]:
    # Each clip is longer than the run, so that no two pictures are alike.
    whole = seconds + 150
    clips = {
        name: make_clip(folder / f"{name}.mp4", codec, fps=25, size=(640, 360), seconds=whole, gop=25, seed=n)
        for n, (name, codec) in enumerate(CAMERAS.items())
    }
    clock = SystemClock()
    figures: list[Figure] = []
    with CameraServer({f"/{name}": clip for name, clip in clips.items()}, folder=folder) as server:
        cameras = {name: server.url(f"/{name}") for name in CAMERAS}
        with RunningAgent(folder, cameras, segment_s=5) as agent:
            wait_until(lambda: all_record(agent), 60, "all cameras are recorded")
            end = clock.monotonic() + seconds
            wait_until(lambda: clock.monotonic() > end, seconds + 5, "the time is over")
            agent.stop()
            before = {name: account(agent, server, name, folder) for name in CAMERAS}
            missing, unclean = (
                sum(a.missing + a.foreign for a in before.values()),
                sum(a.unclean for a in before.values()),
            )
            recorded = min(sum(s.interval.seconds for s in agent.segments(name)) for name in CAMERAS)
            figures += [
                Figure("recorded of each camera", round(recorded, 1), "s", f">= {seconds:g}", recorded >= seconds),
                Figure("frames recorded", sum(a.recorded for a in before.values()), "frames"),
                Figure("frames sent while connected and not recorded", missing, "frames", "0", missing == 0),
                Figure("files that age or ffmpeg complain about", unclean, "files", "0", unclean == 0),
            ]
            figures.append(chunk_figure(agent))
            for victim in ("watcher", "recorder", "agent"):
                start_anew(agent)
                figures += kill(victim, agent, server, folder)
    return figures


def chunk_figure(agent: RunningAgent) -> Figure:
    """A killed recorder loses what the sealer holds back, beside up to a second: so long that is here."""
    segments = [segment for name in CAMERAS for segment in agent.segments(name)]
    bytes_a_second = sum(s.size_bytes for s in segments) / sum(s.interval.seconds for s in segments)
    return Figure("an age chunk (64 KiB) of these cameras lasts", round((64 << 10) / bytes_a_second, 2), "s")


def start_anew(agent: RunningAgent) -> None:
    """Run until each camera has a file that was begun and closed by this run."""
    since_us = SystemClock().utc_us()
    agent.start()
    wait_until(
        lambda: all(any(s.start_us > since_us for s in agent.segments(name)) for name in CAMERAS), 60, "closed files"
    )


def kill(victim: str, agent: RunningAgent, server: CameraServer, folder: Path) -> list[Figure]:
    """SIGKILL; how long nothing was recorded and how many frames that cost, of all four cameras."""
    clock = SystemClock()
    before = {name: account(agent, server, name, folder).missing for name in CAMERAS}
    lost_before = gaps_s(agent)
    began, killed_us = clock.monotonic(), clock.utc_us()
    if victim == "agent":
        agent.process.signal(signal.SIGKILL)
        agent.process.wait(10)
        agent.start()
        wait_until(lambda: agent.child("recorder") is not None, 20, "back")
    else:
        pid = agent.kill_child(victim)
        wait_until(lambda: (child := agent.child(victim)) is not None and child.pid != pid, 10, "back")
    back_s = clock.monotonic() - began
    if victim == "watcher":
        count = {name: len(agent.segments(name)) for name in CAMERAS}
        wait_until(lambda: all(len(agent.segments(n)) > count[n] + 1 for n in CAMERAS), 60, "two more files of each")
    else:
        wait_until(lambda: all(gap_after(agent, name, killed_us) for name in CAMERAS), 60, "gaps")
    wait_until(lambda: all_record(agent), 60, "all cameras are recorded again")
    agent.stop()
    lost = sum(account(agent, server, name, folder).missing - before[name] for name in CAMERAS)
    gap = gaps_s(agent) - lost_before
    goal = "0" if victim == "watcher" else ""
    return [
        Figure(f"{victim} killed: process back after", round(back_s, 2), "s", "<= 1", back_s <= 1),
        Figure(f"{victim} killed: frames lost, four cameras", lost, "frames", goal, lost == 0 if goal else None),
        Figure(f"{victim} killed: gaps in the ledger, four cameras", round(gap, 2), "s"),
    ]


def gap_after(agent: RunningAgent, camera: str, at_us: int) -> bool:
    return any(gap.end_us > at_us for gap in agent.gaps(camera))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as folder:
        print_figures("integrity", measure(options.seconds, Path(folder)), as_json=options.json)


if __name__ == "__main__":
    main()
