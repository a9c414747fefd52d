"""Commands are loaded when they are called, and the help that needs none of them says what they say."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from pydantic import Field
from typer.main import get_command
from typer.testing import CliRunner

from edge_agent.cli import app as agent_app
from edge_agent.cli import archive_app
from edge_agent.cli import config_app as agent_config
from edge_agent.cli import keys_app as agent_keys
from edge_agent.desk.cli import app as desk_app
from edge_agent.desk.cli import keys_app as desk_keys
from edge_agent.toml_file import Section
from tests.peers.quick import table_of

GROUPS = {
    "edge-agent": agent_app,
    "edge-agent archive": archive_app,
    "edge-agent config": agent_config,
    "edge-agent keys": agent_keys,
    "edge-desk": desk_app,
    "edge-desk keys": desk_keys,
}
HEAVY = ("av", "cv2", "numpy", "boto3", "paho", "pydantic", "rich.progress", "edge_agent.config", "edge_agent.uplink")


@pytest.mark.parametrize("name", GROUPS)
def test_each_line_of_the_help_is_what_the_command_says_of_itself(name: str) -> None:
    for command, later in table_of(GROUPS[name]).items():
        paragraph = later.load(command).help.partition("\n\n")[0]
        assert later.line == " ".join(paragraph.split()), command


@pytest.mark.parametrize("name", GROUPS)
def test_each_command_that_is_loaded_tells_its_own_options(name: str) -> None:
    for command, later in table_of(GROUPS[name]).items():
        top, *inner = name.split()
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(GROUPS[top], [*inner, command, "--help"])
        assert shown.exit_code == 0, shown.output
        own = [option for parameter in later.load(command).params for option in parameter.opts if option[0] == "-"]
        assert all(option in shown.output for option in own), (command, own)


def test_a_command_that_is_not_there_is_told_with_one_that_is() -> None:
    shown = CliRunner().invoke(agent_app, ["prode"])
    assert shown.exit_code == 2
    assert "probe" in shown.output


def test_groups_keep_commands_registered_with_them_beside_the_table() -> None:
    assert list(get_command(agent_app).commands)[:2] == ["run", "version"]  # type: ignore[attr-defined]


def test_each_command_loads_by_itself_whatever_was_loaded_before() -> None:
    places = {later.place.partition(":")[0] for app in GROUPS.values() for later in table_of(app).values()}
    asked = (
        "import os, sys, importlib\nimport pydantic, rich.table, cryptography.x509, edge_agent.terminal\n"
        "for place in sys.argv[1:]:\n"
        "    if not os.fork():\n        importlib.import_module(place)\n        os._exit(0)\n"
        "    assert os.wait()[1] == 0, place\n"
        "print('loaded', len(sys.argv) - 1)"
    )
    command = [sys.executable, "-c", asked, *sorted(places)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert shown.stdout == f"loaded {len(places)}\n", shown.stderr


@pytest.mark.parametrize("module", ["edge_agent.cli", "edge_agent.desk.cli"])
def test_help_loads_nothing_heavy(module: str) -> None:
    asked = (
        f"import sys, contextlib\nfrom {module} import app\n"
        "with contextlib.suppress(SystemExit):\n    app(['--help'])\n"
        "print('LOADED', *sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    loaded = shown.stdout.partition("LOADED")[2].split()
    assert "edge_agent.later" in loaded
    assert not [name for name in loaded if name in HEAVY or name.startswith(tuple(f"{one}." for one in HEAVY))]


def test_the_recorder_child_loads_no_picture_library_and_no_broker() -> None:
    asked = "import sys, edge_agent.capture.recorder\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(shown.stdout.split())
    assert not loaded & {"av", "cv2", "numpy", "boto3", "paho", "tinydb", "jwt", "rich", "typer", "edge_agent.config"}


def test_a_model_that_is_built_at_its_first_use_is_whole_for_every_thread() -> None:
    for _ in range(20):

        class Inner(Section):
            name: str = Field(pattern="^[a-z]+$")

        class Outer(Section):
            inner: tuple[Inner, ...]
            count: int = 3

        assert not Outer.__pydantic_complete__, "it is built when it is used"
        together = Barrier(8)

        def use(model: type[Outer] = Outer, start: Barrier = together) -> Outer:
            start.wait(30)
            return model.model_validate({"inner": ({"name": "a"},)})

        with ThreadPoolExecutor(8) as threads:
            made = [one.result() for one in [threads.submit(use) for _ in range(8)]]
        assert {(type(one), one.inner[0].name, one.count) for one in made} == {(Outer, "a", 3)}
