"""One target under libFuzzer, or one input of it: what `fuzz.__main__` starts in a process of its own."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import atheris

from fuzz.names import MODULES


def main(name: str, folder: str, *options: str) -> None:
    """`options` are libFuzzer's; a finding ends the process with another code than 0."""
    with atheris.instrument_imports(include=["edge_agent"]):
        module = importlib.import_module(MODULES[name])
    target = next(target for target in module.TARGETS if target.name == name)
    scratch = Path(folder)
    scratch.mkdir(parents=True, exist_ok=True)

    seeds: Sequence[bytes] = target.seeds()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if target.mutate is not None and seed % 2:
            # parsers of other libraries show no coverage, so the search soon forgets what they liked: it gets it again
            changed: bytes | None = target.mutate(data, chance) or target.mutate(chance.choice(seeds), chance)
            if changed is not None and len(changed) <= max_size:
                return changed
        found: bytes = atheris.Mutate(data, max_size)
        return found

    more = {"custom_mutator": mutate} if target.mutate is not None else {}
    atheris.Setup([sys.argv[0], *options], target.start(scratch), **more)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
