"""A contractor sets zones by eye: a still, a film, and the archive through other settings; all of it journalled."""

from __future__ import annotations

import json
from pathlib import Path

import av

from edge_agent.trust.policy import Role
from tests.peers.agent import RunningAgent, TestPerson
from tests.peers.cameras import CameraServer, make_clip
from tests.peers.support import wait_until

CONTRACTOR = TestPerson("contractor", Role.CONTRACTOR)
OPERATOR = TestPerson("operator", Role.OPERATOR)
ROAD = "[[0.02, 0.5], [0.98, 0.5], [0.98, 0.98], [0.02, 0.98]]"
SKY = "[[0.02, 0.01], [0.98, 0.01], [0.98, 0.1], [0.02, 0.1]]"
FENCE = '[[camera.watch.line]]\nid = "fence"\npoints = [[0.5, 0.45], [0.5, 0.98]]'
BOW = "[[0.1, 0.1], [0.3, 0.3], [0.3, 0.1], [0.1, 0.3]]"


def test_zones_are_seen_checked_filmed_and_tried_on_the_archive(clips: Path, tmp_path: Path) -> None:
    clip = make_clip(clips / "watch-sub.mp4", seconds=10)
    with CameraServer({"/main": clip}, folder=tmp_path / "cameras") as server:
        url = server.url("/main")
        lines = f'sub_url = "{url}"\n[[camera.watch.zone]]\nid = "road"\npolygon = {ROAD}\n{FENCE}'
        agent = RunningAgent(tmp_path, {"gate": url}, people=(CONTRACTOR, OPERATOR), camera_lines=lines, segment_s=4)
        sky = tmp_path / "sky.toml"
        sky.write_text(agent.config.read_text().replace(ROAD, SKY))
        bow = tmp_path / "bow.toml"
        bow.write_text(agent.config.read_text().replace(ROAD, BOW))
        with agent:
            wait_until(lambda: len(agent.segments("gate")) >= 4, 90, "footage")
            still, film = tmp_path / "still.jpg", tmp_path / "film.mp4"
            made = agent.by(CONTRACTOR, "zones", "gate", "--out", str(still))
            assert made.returncode == 0, made.stderr.decode()
            assert "road, fence" in made.stdout.decode()
            with av.open(str(still)) as picture:
                assert (picture.streams.video[0].width, picture.streams.video[0].height) == (640, 380)

            crossed = agent.cli("zones", "gate", "--check", "--config", str(bow), "--json")
            assert crossed.returncode == 78
            [fault] = json.loads(crossed.stdout)["faults"]
            assert (fault["place"], fault["serious"]) == ("road", True)
            assert "перетинає сам себе" in fault["text"]["uk"]

            span = ("--from", "22s ago", "--to", "2s ago")
            told = agent.by(CONTRACTOR, "watch", "gate", "--replay", "--settings", str(sky), *span, "--json")
            assert told.returncode == 0, told.stderr.decode()
            found = json.loads(told.stdout)
            assert "new" not in found["counts"]
            gone = [one["before"]["place"] for one in found["alarms"] if one["verdict"] == "gone"]
            assert set(gone) == {"road"}, "what the other settings no longer watch"
            kept = [one["after"]["place"] for one in found["alarms"] if one["verdict"] == "same"]
            assert set(kept) == {"fence"}, "the line is in both"
            made = agent.by(CONTRACTOR, "watch", "gate", "--preview", str(film), *span, "--json")
            assert made.returncode == 0, made.stderr.decode()
            assert {one["place"] for one in json.loads(made.stdout)["alarms"]} == {"road", "fence"}
            with av.open(str(film)) as container:
                assert sum(1 for _ in container.decode(video=0)) == json.loads(made.stdout)["pictures"] > 60

            assert agent.cli("watch", "gate", "--preview", str(tmp_path / "x.mp4"), *span).returncode == 64, (
                "nobody by name"
            )
            refused = agent.by(OPERATOR, "watch", "gate", "--preview", str(tmp_path / "x.mp4"), *span)
            assert refused.returncode == 77
            live = agent.by(CONTRACTOR, "watch", "gate", "--preview", str(tmp_path / "live.mp4"), "--seconds", "2")
            assert live.returncode == 0, live.stderr.decode()
            assert (tmp_path / "live.mp4").stat().st_size > 1000
            assert not (tmp_path / "x.mp4").exists()
            journal = [
                (entry["action"], entry["person_id"], entry["outcome"])
                for entry in agent.journal()
                if entry["kind"] == "access"
            ]
    mine = [
        (action, CONTRACTOR.id, outcome)
        for action in ("maintain", "play", "export")
        for outcome in ("accepted", "done")
    ]
    assert journal == [*mine, ("export", OPERATOR.id, "refused"), *mine[:2]]
