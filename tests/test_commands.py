"""Every command of the README and of docs is run, in a copy of an installation."""

import importlib.util
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from examples import demo
from examples.demo import Demo
from scripts.core import artifacts
from scripts.core.config_file import read_config
from tests.support.programs import Call, run_call

ROOT = Path(__file__).parent.parent
WIDTH = 80
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# In a block of code, behind a prompt or not; or in backticks, over the end of a line or not.
IN_BLOCK = re.compile(r"^ +(?:\$ )?(python -m (?:scripts|benchmarks|examples)\b.*)$", re.MULTILINE)
IN_TEXT = re.compile(r"`(python\s+-m\s+(?:scripts|benchmarks|examples)\b[^`]*)`")
SET_UP = re.compile(r"(?:^ +|`)\./setup\.sh ?([a-z-]*)", re.MULTILINE)
# These serve, change a crontab, train, or measure for minutes. Their options are checked here.
# test_tour, test_automate, test_cron_daemon, test_promotion and the tests of each program run them.
ONLY_CHECKED = ("scripts.app", "scripts.automate", "scripts.backtest", "scripts.promotion simulate")
TRAINING = ("--force", "--reproduce", "--config examples")
# Done, or the documented answer to a name or a day that this installation does not have.
EXIT_CODES = (0, 65, 66, 69)
# The clients of the pages, and which of the list take their places.
CLIENTS = {"acme": 0, "globex": 1, "initech": 2, "ACME GmbH": 3}
# JSON and JSON lines for other programs.
FOR_PROGRAMS = ("scripts.config suggest", "scripts.database audit", "scripts.fullprocess --compare")


def read_commands(pattern: re.Pattern[str]) -> list[str]:
    """List the commands of all pages, once each, without comments and redirections."""
    found = set()
    for path in PAGES:
        for command in pattern.findall(path.read_text()):
            words = shlex.split(command, comments=True)
            words = words[: words.index(">")] if ">" in words else words
            if "<" not in command:
                found.add(shlex.join(words[2:]))
    return sorted(found)


BLOCKS, MENTIONS = map(read_commands, (IN_BLOCK, IN_TEXT))


@dataclass(frozen=True)
class Place:
    """A folder with the installations and files that the pages name, and the first clients."""

    folder: Path
    clients: list[str]

    def call(self, command: str, *more: str) -> CompletedProcess[str]:
        """Run a program at a terminal of 80 columns."""
        module, *words = shlex.split(command)
        named = [self.clients[CLIENTS[word]] if word in CLIENTS else word for word in words]
        changed = {"ADRAS_CONFIG": str(self.folder / "config.json"), "COLUMNS": str(WIDTH)}
        call = Call(module, "", (*named, *more), str(self.folder), os.environ | changed)
        return run_call(call)


@pytest.fixture(scope="module")
def place(played: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The folder in which the commands run."""
    folder = tmp_path_factory.mktemp("commands")
    config = read_config(played.config_path)
    clients = [entry.client for entry in demo.read_list(config, 9)]
    shutil.copytree(played.folder, folder, symlinks=True, dirs_exist_ok=True)
    for name in ("acme", "demo"):
        (folder / name).symlink_to(folder, target_is_directory=True)
    (table,) = list((folder / "data").glob("*.csv"))[-1:]
    shutil.copy(table, folder / "TABLE.csv")
    (folder / "results.csv").write_text(f"client,result\n{clients[0]},reached\n")
    (folder / "FOLDER").symlink_to(folder / "data", target_is_directory=True)
    (folder / "backups").mkdir()
    settings = json.loads(played.config_path.read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"api": {"token_file": "tokens"}}))
    made = Place(folder, clients)
    (folder / "audit.jsonl").write_text(made.call("scripts.database audit").stdout)
    yield made
    assert (config.prod_deployment_path / artifacts.CURRENT).exists()


def is_run(command: str) -> bool:
    """Whether a command is run, instead of its options checked."""
    is_short = not any(word in command for word in TRAINING)
    return command.startswith("scripts.") and not command.startswith(ONLY_CHECKED) and is_short


@pytest.fixture(scope="module")
def ended(place: Place) -> dict[str, CompletedProcess[str]]:
    """Every command that is run, with the exit code and what it said."""
    return {command: place.call(command) for command in BLOCKS if is_run(command)}


def test_every_command_runs_and_ends_with_a_documented_code(
    ended: dict[str, CompletedProcess[str]],
) -> None:
    codes = {command: done.returncode for command, done in ended.items()}

    assert {c: ended[c].stderr for c, code in codes.items() if code not in EXIT_CODES} == {}
    assert {c: done.stderr for c, done in ended.items() if "Traceback" in done.stderr} == {}
    assert len(codes) > 20
    assert sum(code == 0 for code in codes.values()) > 0.6 * len(codes)


def test_no_command_writes_a_line_longer_than_80_columns_but_for_a_path(
    ended: dict[str, CompletedProcess[str]],
) -> None:
    shown = {c: done.stdout for c, done in ended.items() if not c.startswith(FOR_PROGRAMS)}
    long = [
        (command, line)
        for command, text in shown.items()
        for line in text.splitlines()
        # A path is not broken, so that it can be copied. It then has a line to itself.
        if len(line) > WIDTH and len(line.split()) > 1
    ]

    assert long == []
    assert {c: text for c, text in shown.items() if re.search(r"\d\d:\d\d\.\d+", text)} == {}
    assert sum(map(bool, shown.values())) > 15


def test_every_other_command_has_the_options_that_the_program_has(place: Place) -> None:
    # The help is shown after all options have been read.
    others = [c for c in (*BLOCKS, *MENTIONS) if c.startswith("scripts.") and not is_run(c)]
    others += [command for command in MENTIONS if is_run(command)]
    ended = {command: place.call(command, "--help") for command in others}

    assert {c: done.stderr for c, done in ended.items() if done.returncode != 0} == {}
    assert [c for c, done in ended.items() if max(map(len, done.stdout.splitlines())) > WIDTH] == []


def test_every_benchmark_and_example_of_a_command_is_there() -> None:
    modules = {shlex.split(command)[0] for command in (*BLOCKS, *MENTIONS)}

    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_setup_has_every_mode_of_the_pages() -> None:
    modes = {mode for path in PAGES for mode in SET_UP.findall(path.read_text())}

    assert modes == {"", "demo", "test", "--no-serve"}
