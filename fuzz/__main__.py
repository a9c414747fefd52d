"""Fuzzes every target, or those that are named, each in a process of its own (`docs/fuzzing.md`)."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fuzz.names import MODULES
from fuzz.target import Target

HOME = Path(".cache/fuzz")
"""What a search learned stays here: the next one goes on from it."""
MAX_MEMORY_MB = 1024
_STAT = re.compile(r"^stat::(\w+):\s+(\d+)", re.MULTILINE)
_COVERAGE = re.compile(r"cov: (\d+)")


@dataclass(frozen=True, slots=True)
class Result:
    """What one target's search came to."""

    target: str
    code: int
    runs: int
    runs_a_second: int
    coverage: int
    """Branches and comparisons of the product that were seen, as atheris counts them."""
    memory_mb: int
    finding: Path | None
    tally: str
    said: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument(
        "target", nargs="*", choices=[[], *MODULES], help=f"of {', '.join(MODULES)}; all when none is named"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    length.add_argument("--runs", type=int, help="inputs for each target, however long that takes")
    length.add_argument("--input", type=Path, help="only this input: a finding is looked at again")
    asked = parser.parse_args()
    names = asked.target or list(MODULES)
    if asked.input is not None:
        if len(names) != 1:
            parser.error("--input: name the one target that it is for")
        return subprocess.run(_command(_target(names[0]), Path(tempfile.mkdtemp()), [str(asked.input)])).returncode
    limit = f"-runs={asked.runs}" if asked.runs is not None else f"-max_total_time={asked.seconds}"
    failed = []
    for name in names:
        result = _search(_target(name), limit)
        print(
            f"{name:14} {result.runs:9,d} inputs {result.runs_a_second:7,d}/s  coverage {result.coverage:5d}"
            f"  {result.memory_mb:4d} MB  {'ok' if result.code == 0 else 'FOUND'}  {result.tally}".rstrip(),
            flush=True,
        )
        if result.code:
            failed.append(name)
            print("\n".join(f"    {line}" for line in result.said.splitlines()[-40:]))
            if result.finding is not None:
                print(f"    look at it again:  scripts/fuzz {name} --input {result.finding}", flush=True)
    print(f"{len(names)} targets, {len(failed)} with findings" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _target(name: str) -> Target:
    module = importlib.import_module(MODULES[name])
    found: Target = next(target for target in module.TARGETS if target.name == name)
    return found


def _search(target: Target, limit: str) -> Result:
    home = HOME / target.name
    corpus, seeds = home / "corpus", home / "seeds"
    for folder in (corpus, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = home / "words"
    words.write_text(
        '"\\x00"\n' + "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words)
    )
    before = set(home.glob("*-*"))
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as scratch:
        options = [
            limit, f"-dict={words}", f"-max_len={target.max_bytes}", f"-timeout={target.seconds}",
            f"-rss_limit_mb={MAX_MEMORY_MB}", f"-artifact_prefix={home}/", "-print_final_stats=1",
            str(corpus), str(seeds),
        ]  # fmt: skip
        ran = subprocess.run(
            _command(target, Path(scratch), options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        tally = Path(scratch, "tally")
        told = tally.read_text() if tally.exists() else ""
    said = ran.stdout.decode("utf-8", "replace")
    stats = {name: int(value) for name, value in _STAT.findall(said)}
    seen = _COVERAGE.findall(said)
    return Result(
        target.name,
        ran.returncode,
        stats.get("number_of_executed_units", 0),
        stats.get("average_exec_per_sec", 0),
        int(seen[-1]) if seen else 0,
        stats.get("peak_rss_mb", 0),
        next(iter(set(home.glob("*-*")) - before), None),
        told,
        "\n".join(line for line in said.splitlines() if not line.startswith(("#", "INFO:", "stat::", "WARNING:"))),
    )


def _command(target: Target, scratch: Path, options: list[str]) -> list[str]:
    return [sys.executable, "-m", "fuzz.one", target.name, str(scratch), *options]


if __name__ == "__main__":
    sys.exit(main())
