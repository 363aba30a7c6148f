"""Output and exit codes of a step as a command, and garbage collection during imports."""

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.core import console, errors, files
from scripts.core.config import Config
from scripts.core.errors import PipelineError

ROOT = Path(__file__).parents[2]
# What BSD's sysexits.h calls these ends of a program, and its numbers.
CODES = {
    "DatasetError": 65, "InsufficientDataError": 65, "ModelError": 65, "ReleaseError": 65,
    "NotMadeYetError": 66, "ServiceUnavailableError": 69, "RecordsError": 74, "BusyError": 75,
    "ConfigError": 78,
}  # fmt: skip


def expected_failures() -> list[type[PipelineError]]:
    """List every failure the programs expect."""
    direct = PipelineError.__subclasses__()
    return [kind for parent in direct for kind in (parent, *parent.__subclasses__())]


@pytest.mark.parametrize("name", CODES)
def test_every_expected_failure_has_its_code(name: str) -> None:
    assert getattr(errors, name).exit_code == CODES[name]


@pytest.mark.parametrize("kind", expected_failures())
def test_an_expected_failure_is_one_line_and_its_code(
    kind: type[PipelineError], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise kind("what was found")

    assert console.run_guarded(fail) == kind.exit_code
    assert caplog.messages == ["what was found"]
    assert caplog.records[0].exc_info is None
    assert 1 <= kind.exit_code < 126


def test_a_full_disk_is_one_line_and_74(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device", "/data/x")

    assert console.run_guarded(fail) == 74
    assert "No space left on device: '/data/x'" in caplog.text


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        console.run_guarded(lambda: 1 / 0)


def test_a_message_with_line_ends_is_one_line_of_the_log(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    console.set_up_logging()

    log = logging.getLogger("x")
    log.warning("Refused %s.", "a\n2026-01-01T00:00:00Z INFO app: all is well\u2028\x1b[2J.csv")

    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(r"Refused a\n2026-01-01T00:00:00Z INFO app: all is well\u2028\x1b[2J.csv.")


PROGRAM = '''
import sys
import click
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import DatasetError

def main(config: Config, *, how: str) -> str:
    """Do the one thing this program is for.

    Notes that are not for the command line.
    """
    if how == "wrong":
        raise DatasetError("the data is wrong")
    if how == "bug":
        raise ZeroDivisionError("a bug")
    print(config.input_folder_path)
    return how

run_as_script(main, exclusive=True, options=[click.Option(["--how"], help="How to do it.")])
'''


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the program from above."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_a_program_runs_with_the_chosen_config_and_its_own_options(config_path: Path) -> None:
    done = call("--config", str(config_path), "--how", "right")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{config_path.parent / 'input'}\n"


def test_a_program_takes_the_config_of_the_environment(config_path: Path) -> None:
    done = call("--how", "right", ADRAS_CONFIG=str(config_path))

    assert done.stdout == f"{config_path.parent / 'input'}\n"


def test_help_is_the_first_sentence_and_every_option() -> None:
    done = call("--help")

    assert done.returncode == 0
    assert "Do the one thing this program is for." in done.stdout
    assert "How to do it." in done.stdout
    assert "--config" in done.stdout
    assert "Notes" not in done.stdout


def test_an_unknown_option_is_2() -> None:
    done = call("--hwo", "x")

    assert done.returncode == 2
    assert "Did you mean '--how'?" in done.stderr


def test_an_expected_failure_is_a_dated_line_without_traceback(config_path: Path) -> None:
    done = call("--config", str(config_path), "--how", "wrong")

    assert done.returncode == 65
    (line,) = done.stderr.splitlines()
    assert line.endswith("Z ERROR console: the data is wrong")


def test_a_bug_shows_where_it_happened(config_path: Path) -> None:
    done = call("--config", str(config_path), "--how", "bug")

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


def test_a_program_that_writes_waits_for_nobody(config: Config, config_path: Path) -> None:
    with files.exclusive_lock(config.prod_deployment_path):
        done = call("--config", str(config_path), "--how", "right")

    assert done.returncode == 75
    assert done.stdout == ""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Restore the state of the garbage collector."""
    yield
    gc.unfreeze()
    gc.enable()


def test_no_garbage_collection_runs_during_imports() -> None:
    with console.imports_without_gc():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_imported_objects_are_exempt_from_garbage_collection() -> None:
    before = gc.get_freeze_count()

    with console.imports_without_gc():
        objects = [[number] for number in range(1000)]

    assert gc.get_freeze_count() >= before + len(objects)


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), console.imports_without_gc():
        raise ImportError

    assert gc.isenabled()


def test_later_objects_are_collected() -> None:
    console.freeze_gc()
    circle: list[object] = []
    circle.append(circle)
    del circle

    assert gc.collect() >= 1


def test_training_as_a_program_pauses_garbage_collection_during_imports_only() -> None:
    code = (
        "import gc, runpy, sys\n"
        "sys.argv = ['training', '--config', '/nowhere/config.json']\n"
        "from scripts.core import console\n"
        "show = lambda *_, **__: print(gc.isenabled(), gc.get_freeze_count() > 0)\n"
        "console.run_as_script = show\n"
        "disable = gc.disable\n"
        "gc.disable = lambda: print('off') or disable()\n"
        "runpy.run_module('scripts.training', run_name='__main__')\n"
        # Python itself turns the collector off while it ends.
        "gc.disable = disable\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["off", "True", "True"]


def test_a_run_pauses_garbage_collection_during_imports_only() -> None:
    # Of the program's own imports, the last one is `snapshot`; of a run's, the watchdog.
    code = (
        "import gc, runpy, sys\n"
        "sys.argv = ['fullprocess', '--history', '1', '--config', '/nowhere/config.json']\n"
        "try:\n"
        "    runpy.run_module('scripts.fullprocess', run_name='__main__')\n"
        "except SystemExit:\n"
        "    print(gc.isenabled())\n"
        "from scripts.pipeline import watchdog\n"
        "with watchdog.limit(60, print):\n"
        "    print(gc.isenabled())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["False", "True"]
