"""Garbage is looked for in objects of a run, not in imported modules."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import garbage

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collector as it was."""
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_looked_for_while_importing() -> None:
    with garbage.importing():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_has_been_imported_is_never_looked_through_again() -> None:
    before = gc.get_freeze_count()

    with garbage.importing():
        made = [[number] for number in range(1000)]

    assert gc.get_freeze_count() >= before + len(made)


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), garbage.importing():
        raise ImportError

    assert gc.isenabled()


def test_what_comes_later_is_looked_through() -> None:
    garbage.set_aside()
    circle: list[object] = []
    circle.append(circle)
    del circle

    assert gc.collect() >= 1


def test_training_as_a_program_imports_without_looking_for_garbage_and_then_looks() -> None:
    code = (
        "import gc, runpy, sys\n"
        "sys.argv = ['training', '--config', '/nowhere/config.json']\n"
        "from scripts import console\n"
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


def test_a_run_imports_without_looking_for_garbage_and_then_looks() -> None:
    # Of the program's own imports, the last one is `snapshot`; of a run's, the watchdog.
    code = (
        "import gc, runpy, sys\n"
        "sys.argv = ['fullprocess', '--history', '1', '--config', '/nowhere/config.json']\n"
        "try:\n"
        "    runpy.run_module('scripts.fullprocess', run_name='__main__')\n"
        "except SystemExit:\n"
        "    print(gc.isenabled())\n"
        "from scripts import deadline\n"
        "with deadline.limit(60, print):\n"
        "    print(gc.isenabled())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["False", "True"]
