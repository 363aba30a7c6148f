"""An installation of requirements-serve.lock: the service without pandas, scikit-learn or Polars.

.ci/run installs the lock into an environment of its own. Elsewhere the interpreter of the tests
refuses what the lock lacks.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from benchmarks import install_weight
from scripts import data
from scripts.app import create_app
from scripts.core.config_file import read_config
from scripts.core.errors import NotInstalledError
from scripts.data import table_reader
from tests.conftest import HEADER, SMALL_ROWS
from tests.support import clientele, import_graph, serving_only
from tests.support.service import ALL_ROUTES, ROOT, make_row, served

SERVING = ("app", "automate", "database", "users", "worklist")
# Where such a program asks for a package of runs, and says so without it.
GATES = {"scripts/data/table_reader.py:import_polars"}
MAX_MB, MAX_PACKAGES = 120, 27


@dataclass(frozen=True)
class Interpreter:
    """A Python with the packages of the lock, and the words before the name of a program."""

    python: str
    before: tuple[str, ...]

    def start(self, program: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            [self.python, *self.before, program, *options],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return the interpreter of the installation."""
    if "ADRAS_CI" not in os.environ:
        return Interpreter(sys.executable, ("-m", "tests.support.serving_only"))
    folder = tmp_path_factory.mktemp("serve") / "venv"
    install_weight.install(folder, install_weight.TOOLS[install_weight.SERVING])
    installed = install_weight.import_service(folder)
    assert installed.mb <= MAX_MB
    assert installed.n_packages <= MAX_PACKAGES
    return Interpreter(str(folder / "bin" / "python"), ("-m",))


@pytest.mark.parametrize("program", SERVING)
def test_a_program_that_serves_can_import_only_what_is_in_the_lock_for_serving(
    program: str,
) -> None:
    missing = serving_only.find_missing()
    assert {"pandas", "sklearn", "matplotlib", "polars", "pyarrow", "scipy"} <= missing

    found = import_graph.find_packages(f"scripts.{program}", GATES)

    assert {name: place for name, place in found.items() if name in missing} == {}


def test_the_lock_for_serving_is_a_small_part_of_the_lock() -> None:
    locked = serving_only.read_locked()

    assert not locked & {"pandas", "scikit-learn", "matplotlib", "polars", "scipy", "pyarrow"}
    assert 15 < len(locked) <= MAX_PACKAGES


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "scripts.data.polars_ingest", raising=False)
    # Another test may have imported the module, which then is a name of its package.
    monkeypatch.delattr(data, "polars_ingest", raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(NotInstalledError, match=r"package polars, .* -r requirements\.lock"):
        table_reader.import_polars()


def test_a_run_in_an_installation_for_serving_is_one_line_and_exit_69(
    interpreter: Interpreter, config_path: Path
) -> None:
    done = interpreter.start("scripts.fullprocess", "--config", str(config_path))

    assert done.returncode == 69
    assert "needs the package" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# Every path that answers GET, with a client or a file filled in.
GETS = [re.sub(r"{\w+}", "x", route.path) for route in ALL_ROUTES if route.method == "GET"]
TABLE = "\n".join([HEADER, *SMALL_ROWS[:9]])


def send_table(url: str, path: str) -> requests.Response:
    """Send a table as the form of a page does."""
    files = {"table": ("t.csv", TABLE)}
    return requests.post(url + path, files=files, headers={"Origin": url}, timeout=10)


def test_the_service_answers_every_question_as_the_full_installation_does(
    interpreter: Interpreter, config_path: Path
) -> None:
    clientele.score_twice(read_config(config_path))
    whole = create_app(config_path).test_client()
    program = (*interpreter.before, "scripts.app")

    with served(config_path, program=program, python=interpreter.python) as (url, _):
        answers = {
            path: requests.get(url + path, timeout=10, allow_redirects=False) for path in GETS
        }
        predicted = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=10)
        ranked, added = (send_table(url, f"/dashboard/{name}") for name in ("rank", "upload"))

    assert {path: answer.status_code for path, answer in answers.items()} == {
        path: whole.get(path).status_code for path in answers
    }
    assert answers["/dashboard/worklist"].status_code == 200
    assert predicted.json()["probabilities"] == pytest.approx([1 / 2])
    assert (ranked.status_code, added.status_code) == (200, 201)
