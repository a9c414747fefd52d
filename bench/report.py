"""How every bench tells its figures: a table for people, one JSON object for scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and what it should be; `met` is None where there is no goal."""

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None


def print_figures(title: str, figures: Sequence[Figure], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"bench": title, "figures": [asdict(figure) for figure in figures]}))
        return
    table = Table("figure", "value", "unit", "goal", "met", title=title)
    for figure in figures:
        met = "" if figure.met is None else "yes" if figure.met else "NO"
        table.add_row(figure.name, f"{figure.value:g}", figure.unit, figure.goal, met)
    Console().print(table)
