"""Garbage is looked for in what a run makes, not in what it has imported; help is left out."""

import gc
import inspect
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


def test_a_program_begins_and_ends_its_imports() -> None:
    garbage.begin()
    assert not gc.isenabled()
    assert inspect.getdoc(garbage.begin) is None

    garbage.end()
    assert gc.isenabled()
    assert (inspect.getdoc(garbage.begin) or "").startswith("Import from here on")


def test_help_is_left_out_while_importing_and_back_afterwards() -> None:
    """Help of the tests."""
    with garbage.importing():
        assert inspect.getdoc(test_help_is_left_out_while_importing_and_back_afterwards) is None

    found = inspect.getdoc(test_help_is_left_out_while_importing_and_back_afterwards)
    assert found == "Help of the tests."


def test_an_import_that_fails_brings_help_back() -> None:
    getdoc = inspect.getdoc

    with pytest.raises(ImportError), garbage.importing():
        raise ImportError

    assert inspect.getdoc is getdoc


def test_what_is_imported_without_its_help_works_the_same() -> None:
    code = (
        "import contextlib, sys\n"
        "from scripts import garbage\n"
        "with garbage.importing() if sys.argv[1] == 'lean' else contextlib.nullcontext():\n"
        "    import matplotlib.figure, scipy.stats, sklearn.linear_model\n"
        "print(scipy.stats.ks_2samp([1, 2, 3, 4], [3, 4, 5, 6]))\n"
        "print(scipy.stats.norm(2, 3).ppf(0.9), scipy.stats.rankdata([3, 1, 2]))\n"
        "print(sklearn.linear_model.LogisticRegression().fit([[0], [1], [3]], [0, 1, 1]).coef_)\n"
        "line = matplotlib.figure.Figure().subplots().plot([1, 2], lw=3)[0]\n"
        "print(line.get_linewidth(), len(scipy.stats.ks_2samp.__doc__ or ''))\n"
    )

    lean, usual = (
        subprocess.run(
            [sys.executable, "-c", code, kind], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for kind in ("lean", "usual")
    )

    assert lean[:-1] == usual[:-1]
    assert int(lean[-1]) < int(usual[-1]) / 2


def test_what_comes_later_is_looked_through() -> None:
    garbage.set_aside()
    circle: list[object] = []
    circle.append(circle)
    del circle

    assert gc.collect() >= 1


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
