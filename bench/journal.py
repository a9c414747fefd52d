"""The journal of a busy year: how large it is, how fast it grows, proves, answers and opens again.

`python -m bench.journal [--entries 300000] [--dir FOLDER] [--json]`.  The folder should be on the disk that counts,
for each append waits for it.  An entry is what an export, a status or an hour's root leaves.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.report import Figure, print_figures
from edge_agent.clock import US, SystemClock
from edge_agent.model import PersonId
from edge_agent.trust.audit import AuditPage, AuditQuery, answer, open_page
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_check import check_journal
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.policy import Access

YEAR_US = 365 * 86400 * US
BEGAN_US = 1_760_000_000 * US
BATCH = 100
PEOPLE = 40
RARE = 997
"""One entry in so many is about the camera that is asked for."""


def entry(number: int, of: int) -> JournalEntry:
    """One of a year's, in the proportions of a busy node."""
    at_us = BEGAN_US + number * (YEAR_US // of)
    if number % 4 == 0:
        args = {"hour": "2026-11-22T10:00:00Z", "batch": 0, "count": 480, "root": f"{number:064x}"}
        reason = "480 recordings that ended within the hour"
        return JournalEntry(JournalKind.SEGMENTS, Outcome.DONE, reason=reason, args=args, at_us=at_us)
    person = number % PEOPLE
    camera = "gate-rare" if number % RARE == 0 else f"gate-{number % 16}"
    return JournalEntry(
        JournalKind.ACCESS,
        Outcome.ACCEPTED if number % 2 else Outcome.DONE,
        who=f"Шевченко Оксана Іванівна {person}",
        person_id=PersonId(f"o-shevchenko-{person}"),
        action="export" if number % 3 else "status",
        access=Access.REMOTE,
        reason="archive_officer may export by remote access",
        args={"camera": camera, "start_us": at_us, "end_us": at_us + 300 * US, "recipient": "age1" + "q" * 58,
              "target": "usb-disk", "reason": f"Запит {number}/2026"},
        ref=f"{number:022}",
        at_us=at_us,
    )  # fmt: skip


def worst_ms(act: Callable[[int], object], times: int) -> float:
    """The longest of some runs."""
    worst = 0.0
    for number in range(times):
        began = time.perf_counter()
        act(number)
        worst = max(worst, time.perf_counter() - began)
    return worst * 1000


def measure(count: int, folder: Path) -> list[Figure]:
    journal = Journal(folder / "journal.jsonl", SystemClock())
    log = JournalLog(journal, folder / "journal.checkpoint", "edge-agent/bench/year", Ed25519PrivateKey.generate())
    singles = min(500, count // 2)
    began = time.perf_counter()
    for number in range(singles):
        journal.append(entry(number, count))
    single = singles / (time.perf_counter() - began)
    began = time.perf_counter()
    for low in range(singles, count, BATCH):
        journal.append_all([entry(number, count) for number in range(low, min(low + BATCH, count))])
    batched = (count - singles) / (time.perf_counter() - began)
    began = time.perf_counter()
    log.checkpoint()
    first_checkpoint_ms = (time.perf_counter() - began) * 1000

    sizes = {path.suffix: path.stat().st_size for path in folder.iterdir()}
    month = BEGAN_US + 6 * YEAR_US // 12, BEGAN_US + 7 * YEAR_US // 12

    def ask(query: AuditQuery) -> AuditPage:
        with journal.tree() as tree:
            return answer(tree, log.checkpoint_of(tree), query)

    def month_of(**conditions: str) -> float:
        query = AuditQuery.model_validate({"start_us": month[0], "end_us": month[1], "seen": count // 3, **conditions})
        return worst_ms(lambda _: ask(query), 7)

    step = max(1, count // 101)
    proof_ms = worst_ms(lambda number: log.prove(number * step), 100)
    queries = {
        "all of it": month_of(),
        "a person": month_of(person="o-shevchenko-7"),
        "a name": month_of(person="шевченко оксана іванівна 7"),
        "a camera": month_of(camera="gate-rare"),
        "what is not there": month_of(number="0000/2026"),
    }
    query = AuditQuery(start_us=month[0], end_us=month[1], seen=count // 3)
    token = log.audit(query)
    opened_ms = worst_ms(lambda _: open_page(token, log.key, query), 5)
    reopen_ms = worst_ms(lambda _: log.settle(), 3)
    for suffix in (".hashes", ".places"):
        (folder / "journal").with_suffix(suffix).unlink()
    began = time.perf_counter()
    log.settle()
    rebuild_s = time.perf_counter() - began
    with journal.tree() as tree:
        root = tree.root(tree.count)
    began = time.perf_counter()
    checked = check_journal(folder / "journal.jsonl", [])
    check_s = time.perf_counter() - began
    assert checked.root == root

    return [
        Figure("entries", count, ""),
        Figure("journal.jsonl", round(sizes[".jsonl"] / 1e6, 1), "MB"),
        Figure("its tree", round((sizes[".hashes"] + sizes[".places"]) / 1e6, 1), "MB"),
        Figure("durable appends, one at a time", round(single), "1/s"),
        Figure(f"durable appends, {BATCH} together", round(batched), "1/s", "≥ 500", batched >= 500),
        Figure("checkpoint after the year", round(first_checkpoint_ms, 1), "ms"),
        Figure("proof of an entry, worst of 100", round(proof_ms, 2), "ms", "≤ 10", proof_ms <= 10),
        *(
            Figure(f"a month by {name}, a page of 100, worst of 7", round(ms, 1), "ms", "≤ 100", ms <= 100)
            for name, ms in queries.items()
        ),
        Figure("such a page verified", round(opened_ms, 1), "ms"),
        Figure("opened again, worst of 3", round(reopen_ms, 1), "ms"),
        Figure("tree made again from the lines", round(rebuild_s, 2), "s"),
        Figure("journal verified", round(check_s, 2), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--dir", type=Path, default=None, help="where to write; a temporary folder without it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.dir:
        options.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        print_figures("journal", measure(options.entries, Path(folder)), as_json=options.json)


if __name__ == "__main__":
    main()
