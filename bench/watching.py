"""How well and how cheaply cameras are watched, beside Debian's Motion and a plain frame difference.

`python -m bench.watching [--quality] [--footage] [--cpu] [--latency] [--seed N] [--scene NAME …] [--no-peers]
[--hours H] [--notes] [--json]`; docs/watching.md tells what is measured and how.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from bench.report import Figure, print_figures
from bench.scenes.catalogue import RECIPES, scene
from bench.scenes.clips import clip, make
from bench.watching_cpu import measure
from bench.watching_footage import Footage, FootageScore, footage, product_on
from bench.watching_hours import DAY_S, most_a_day, through
from bench.watching_latency import latency
from bench.watching_motion import Case, motion_told
from bench.watching_peers import difference_told
from bench.watching_product import alarms_of_clip
from bench.watching_score import Score, total

PUBLISHED_SEED = 4242
CALM = "calm day"
FILM = "vtest"


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def product_score(name: str, seed: int) -> Score:
    """One scene through the product's watcher."""
    one, score = scene(name, seed), Score()
    score.add(one, alarms_of_clip(clip(one, seed), one.rules))
    return score


def difference_score(name: str, seed: int) -> Score:
    one, score = scene(name, seed), Score()
    score.add(one, difference_told(clip(one, seed), one.rules.zones, one.rules.min_area))
    return score


def quality(names: Sequence[str], seed: int, pool: Executor) -> dict[str, Score]:
    """By watcher; clips that are missing are encoded first."""
    for number, _ in enumerate(pool.map(make, names, [seed] * len(names)), start=1):
        if number % 10 == 0:
            say(f"{number} of {len(names)} scenes encoded")
    found = {}
    for who, judge in (("edge-agent", product_score), ("frame difference", difference_score)):
        say(f"{who} looks at {len(names)} scenes")
        found[who] = total(pool.map(judge, names, [seed] * len(names)))
    return found


def motion_quality(names: Sequence[str], seed: int, folder: Path) -> tuple[Score, int]:
    """(score, scenes that it is of): those that Motion could follow."""
    score = Score()
    scenes = {f"s{number}": scene(name, seed) for number, name in enumerate(names)}
    cases = [Case(mount, clip(one, seed), one.seconds, one.rules.zones) for mount, one in scenes.items()]
    calm = scene(CALM, seed)
    told = motion_told(cases, Case("control", clip(calm, seed), calm.seconds), folder, say)
    for mount, alarms in told.items():
        score.add(scenes[mount], alarms)
    return score, len(told)


def on_footage(film: Footage, folder: Path | None, notes: bool) -> list[Figure]:
    """All three on real footage; Motion needs a folder, and each zone a camera of its own, for it tells no places."""
    ours, plain = product_on(film), FootageScore(rules=False)
    for zone in film.zones:
        plain.movement(film, zone.name, difference_told(film.clip(), (zone,)))
    scores = {"edge-agent": ours, "frame difference": plain}
    if folder:
        cases = [Case(zone.name, film.clip(), film.seconds, (zone,), film.size) for zone in film.zones]
        told = motion_told(cases, Case("control", film.clip(), film.seconds, (), film.size), folder, say)
        scores["Motion"] = FootageScore(rules=False)
        for zone_name, alarms in told.items():
            scores["Motion"].movement(film, zone_name, alarms)
        if len(told) < len(film.zones):
            del scores["Motion"]
    found: list[Figure] = []
    for who, score in scores.items():
        found += score.figures(who)
        for note in score.notes if notes else ():
            say(f"{who}: {note}")
    return found


def figures(who: str, score: Score) -> list[Figure]:
    wide, right = score.recall >= 0.97, score.direction_share >= 0.95
    found = [
        Figure(f"{who}: events told rightly", round(score.recall, 3), "share", ">= 0.97", wide),
        Figure(f"{who}: events noticed at all", round(score.noticing, 3), "share"),
        Figure(f"{who}: directions within 22.5°", round(score.direction_share, 3), "share", ">= 0.95", right),
        Figure(f"{who}: false alarms in empty scenes", score.false_when_empty, f"in {score.empty_s:.0f} s"),
        Figure(f"{who}: false alarms beside real events", score.false_alarms - score.false_when_empty, ""),
    ]
    if score.delays_s:
        late = sorted(score.delays_s)[int(len(score.delays_s) * 0.95)]
        found.append(Figure(f"{who}: movement told after, p95", round(late, 2), "s"))
    for kind, (events, noticed, named) in sorted(score.by_kind.items()):
        found.append(Figure(f"{who}: {kind}", named, f"of {events} ({noticed} noticed)"))
    return found


def hours_figures(hours: float, seed: int, pool: Executor) -> list[Figure]:
    say(f"{hours:g} hours of weather")
    count, seconds = through(hours, seed, pool, say)
    rate, most = count * DAY_S / seconds, most_a_day(count, seconds)
    return [
        Figure("edge-agent: false alarms of a camera-day, weather", round(rate, 2), "a day", "<= 1", rate <= 1),
        Figure("… with 95 % confidence not more than", round(most, 2), "a day"),
        Figure("… counted", count, f"in {seconds / 3600:g} h"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", action="store_true", help="the labelled scenes, and hours of weather")
    parser.add_argument("--footage", action="store_true", help="real footage, labelled by hand (Debian's opencv-doc)")
    parser.add_argument("--cpu", action="store_true", help="beside Motion, on live streams")
    parser.add_argument("--latency", action="store_true", help="through the agent to a subscriber, 1 and 16 cameras")
    parser.add_argument("--seed", type=int, default=PUBLISHED_SEED, help="below 100 for choosing constants")
    parser.add_argument("--scene", nargs="+", choices=sorted(RECIPES), default=[], metavar="NAME")
    parser.add_argument("--no-peers", action="store_true", help="Motion needs the clips' own time")
    parser.add_argument("--hours", type=float, default=1, help="of weather (72: 6 minutes on two idle cores)")
    parser.add_argument("--cameras", type=int, default=4, help="for --cpu")
    parser.add_argument("--seconds", type=float, default=40, help="for --cpu")
    parser.add_argument("--fps", type=float, default=5, help="pictures a second looked at, for --cpu")
    parser.add_argument("--notes", action="store_true", help="tell every miss and every false alarm")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.quality or options.cpu or options.latency or options.footage
    quality_too, film_too = options.quality or not chosen, options.footage or not (chosen or options.scene)
    if (options.cpu or ((quality_too or film_too) and not options.no_peers)) and shutil.which("motion") is None:
        parser.error("Motion is not installed: sudo apt-get install --no-install-recommends motion, or --no-peers")
    film = footage(FILM)
    if film_too and not film.source.exists():
        parser.error(f"{film.source} is missing: sudo apt-get install --no-install-recommends {film.package}")
    names = options.scene or list(RECIPES)
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name:
        if quality_too:
            with ProcessPoolExecutor(options.workers) as pool:
                scores = quality(names, options.seed, pool)
                if options.hours and not options.scene:
                    found += hours_figures(options.hours, options.seed, pool)
            if not options.no_peers:
                place = Path(name) / "scenes"
                place.mkdir()
                scores["Motion"], measured = motion_quality(names, options.seed, place)
                found.append(Figure("Motion: scenes that it could follow", measured, f"of {len(names)}"))
            for who, score in scores.items():
                found += figures(who, score)
                for note in score.notes if options.notes else ():
                    say(f"{who}: {note}")
        if film_too:
            found += on_footage(film, None if options.no_peers else Path(name), options.notes)
        if options.cpu:
            found += measure(options.seed, options.cameras, options.seconds, options.fps, Path(name))
        if options.latency:
            found += latency(options.seed, options.seconds, Path(name))
    print_figures(f"watching, seed {options.seed}", found, as_json=options.json)


if __name__ == "__main__":
    main()
