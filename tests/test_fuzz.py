"""The fuzz targets hold for what they begin with and for a few thousand changes of it; `scripts/fuzz` goes deeper.

Those that would close a process to the network or silence its log are tried in a process of their own.
"""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.names import MODULES
from fuzz.target import Check, Target

ALONE = ("client", "commands")


def target_named(name: str) -> Target:
    module = importlib.import_module(MODULES[name])
    (found,) = [target for target in module.TARGETS if target.name == name]
    assert isinstance(found, Target)
    return found


def changed(data: bytes, chance: random.Random) -> bytes:
    """A few bytes other, more or less."""
    edited = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(edited))
        edited[at : at + chance.choice((0, 1, 1, 4, 40))] = chance.randbytes(chance.choice((0, 1, 1, 2, 5)))
    return bytes(edited)


def try_out(target: Target, check: Check, inputs: int) -> None:
    chance = random.Random(7)
    seeds = target.seeds()
    for seed in seeds:
        assert len(seed) <= target.max_bytes
        check(seed)
    for _ in range(inputs):
        seed = chance.choice(seeds)
        better = target.mutate(seed, chance) if target.mutate is not None else None
        check(better or changed(seed, chance))


def test_every_target_is_found_under_its_name() -> None:
    for module in set(MODULES.values()):
        assert [target.name for target in importlib.import_module(module).TARGETS] == [
            name for name, where in MODULES.items() if where == module
        ]


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ALONE])
def test_what_a_target_begins_with_and_changes_of_it_pass(name: str, tmp_path: Path) -> None:
    target = target_named(name)
    try_out(target, target.start(tmp_path), 200)


@pytest.mark.parametrize("name", ALONE)
def test_targets_that_change_their_process_pass_in_one_of_their_own(name: str, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, tests.test_fuzz as t\n"
        "target = t.target_named(sys.argv[1])\n"
        "t.try_out(target, target.start(pathlib.Path(sys.argv[2])), 300)\n"
    )
    subprocess.run([sys.executable, "-c", code, name, str(tmp_path)], check=True, timeout=180)


@pytest.mark.parametrize(
    "sabotage",
    [
        "door.decide = lambda *_: policy.Decision(True, 'whoever asks')",
        "nonces.NonceStore.claim = lambda *_: True",
        "command.MAX_LIFETIME_S = 10**9",
        "journal.Journal.append = lambda *_: None",
    ],
    ids=["anybody may", "replays pass", "commands live for ever", "nothing is journalled"],
)
def test_the_check_of_commands_finds_a_door_that_was_left_open(sabotage: str, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, tests.test_fuzz as t\n"
        "from edge_agent.trust import command, door, journal, nonces, policy\n"
        "from fuzz import commands\n"
        f"{sabotage}\n"
        "commands.INPUTS_A_HOUSE = 150\n"
        "t.try_out(commands.COMMANDS, commands.COMMANDS.start(pathlib.Path(sys.argv[1])), 300)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert "AssertionError: a" in done.stderr


@pytest.mark.parametrize(
    ("target", "sabotage"),
    [
        ("roster", "roster_store.newer = lambda *_: True"),
        ("roster", "roster.jws.decode = read_unproven"),
        ("roster", "roster.MAX_LIFETIME_S = 10**9"),
        ("order", "roster.jws.decode = read_unproven"),
        ("order", "order.decide = lambda *_: policy.Decision(True, 'whoever signs')"),
        ("order", "order.MAX_LIFETIME_S = 10**9"),
    ],
    ids=["rollback", "any authority", "rosters live for ever", "anybody signs", "anybody orders", "orders for ever"],
)
def test_the_checks_of_rosters_and_orders_find_what_is_believed_too_easily(
    target: str, sabotage: str, tmp_path: Path
) -> None:
    code = (
        "import base64, json, sys, pathlib, tests.test_fuzz as t\n"
        "from edge_agent.trust import jws, order, policy, roster, roster_store\n"
        "from fuzz import papers\n"
        "def read_unproven(token, kind, what, most, key_of):\n"
        "    head = token.split(b'.')[0]\n"
        "    try:\n"
        "        kid = json.loads(base64.urlsafe_b64decode(head + b'=' * (-len(head) % 4)))['kid']\n"
        "    except (ValueError, LookupError, TypeError):\n"
        "        kid = 'mayor'\n"
        "    return kid if isinstance(kid, str) and key_of(kid) else 'mayor', jws.unproven(token, most)\n"
        f"{sabotage}\n"
        "target = t.target_named(sys.argv[1])\n"
        "t.try_out(target, target.start(pathlib.Path(sys.argv[2])), 600)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, target, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_the_check_of_commands_sees_what_is_permitted_and_what_is_not() -> None:
    from edge_agent.trust.policy import Access
    from fuzz import commands
    from fuzz.target import Script

    verdicts = {}
    for seed in commands.COMMANDS.seeds():
        token, access = commands.made(Script(seed), b"nonce-of-this-test")
        verdicts[seed] = commands.permitted(token, access, set())
        assert commands.permitted(token, access, {"nonce-of-this-test", "n" * 16, "r" * 16}) is None
    done = {verdict[1] for verdict in verdicts.values() if verdict}
    assert done == {
        *("status", "export", "hold", "hold_end", "holds", "clock_confirm", "search", "play", "maintain", "mode"),
        *("journal", "acknowledge", "incident", "incidents"),
    }
    assert sum(verdict is None for verdict in verdicts.values()) > 20
    token, access = commands.made(Script(b"\3\x42"), b"nonce-of-this-test")
    assert commands.permitted(token, Access.REMOTE, set()) is None
