"""How well and how cheaply cameras are watched, beside Debian's Motion and a plain frame difference.

`python -m bench.watching [--quality] [--seed N] [--scene NAME …] [--notes] [--json]`; docs/watching.md tells what
is measured and how.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from bench.report import Figure, print_figures
from bench.scenes.catalogue import RECIPES, scene
from bench.scenes.clips import clip, clips
from bench.watching_product import alarms_of_clip
from bench.watching_score import Score, total

PUBLISHED_SEED = 2026


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def product_score(name: str, seed: int) -> Score:
    """One scene through the product's watcher."""
    one, score = scene(name, seed), Score()
    score.add(one, alarms_of_clip(clip(one, seed), one.rules))
    return score


def quality(names: Sequence[str], seed: int, workers: int) -> Score:
    for number, _ in enumerate(clips(names, seed, workers), start=1):
        if number % 10 == 0:
            say(f"{number} of {len(names)} scenes encoded")
    with ProcessPoolExecutor(workers) as pool:
        return total(pool.map(product_score, names, [seed] * len(names)))


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", action="store_true", help="the labelled scenes")
    parser.add_argument("--seed", type=int, default=PUBLISHED_SEED, help="below 100 for choosing constants")
    parser.add_argument("--scene", nargs="+", choices=sorted(RECIPES), default=[], metavar="NAME")
    parser.add_argument("--notes", action="store_true", help="tell every miss and every false alarm")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.scene or list(RECIPES)
    score = quality(names, options.seed, options.workers)
    if options.notes:
        for note in score.notes:
            say(note)
    print_figures(f"watching, seed {options.seed}", figures("edge-agent", score), as_json=options.json)


if __name__ == "__main__":
    main()
