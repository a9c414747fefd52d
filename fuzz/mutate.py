"""Changes to JSON that leave it JSON: libFuzzer's own seldom get past a parser that it can't see into."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, -(2**63), 10**17, 10**40, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "a", "\0", "\n", "\x1b[31m", "\u202e", "\ud800", "є", "x" * 600, "../x", "1", [], [[]],
    [None] * 70, {}, {"": 0},
)  # fmt: skip


def json_with_prefix(prefix: int) -> Callable[[bytes, random.Random], bytes | None]:
    """Changes one value, name or element of the JSON that follows `prefix` bytes."""

    def mutate(data: bytes, chance: random.Random) -> bytes | None:
        try:
            value = json.loads(data[prefix:])
        except (ValueError, RecursionError):
            return None
        places = list(_places(value, 0))
        if not places:
            return None
        holder, key = chance.choice(places)
        match chance.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(chance.choice(_ODD))[:40]] = holder.pop(key)
            case 2 if isinstance(holder[key], int | float):
                holder[key] += chance.choice((-1, 1, 60, -61, 300, 1e6, -1e9, 10**15))
            case 3:
                other_holder, other_key = chance.choice(places)
                holder[key] = json.loads(json.dumps(other_holder[other_key]))
            case _:
                holder[key] = chance.choice(_ODD)
        head = bytes(prefix and [*data[: prefix - 1], chance.choice((data[prefix - 1], chance.randrange(256)))])
        return head + json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")

    return mutate


def _places(value: Any, depth: int) -> Any:
    """(container, key) of every value inside."""
    if depth > 40 or not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _places(value[key], depth + 1)
