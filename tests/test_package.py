"""What importing any part of the package sets up."""

import ast
import json
import os
import subprocess
import sys
import tomllib

import pytest

from tests.support import programs
from tests.support.service import ROOT

CODE = """
import json, scripts.training
from threadpoolctl import threadpool_info
print(json.dumps([p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]))
"""


@pytest.mark.parametrize(("given", "n_threads"), [(None, 1), ("2", min(2, os.cpu_count() or 1))])
def test_linear_algebra_keeps_to_one_thread_unless_told_otherwise(
    given: str | None, n_threads: int
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if given:
        env["OPENBLAS_NUM_THREADS"] = given

    found = subprocess.run(
        [sys.executable, "-c", CODE], env=env, check=True, capture_output=True, text=True
    )

    pools = json.loads(found.stdout)
    assert pools
    assert set(pools) == {n_threads}


def test_few_imports_lie_inside_functions_each_below_its_reason() -> None:
    lazy = []
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        lines = path.read_text().splitlines()
        lazy += [(path.name, lines[k - 1]) for k, line in enumerate(lines) if "PLC0415" in line]

    assert [name for name, above in lazy if not above.lstrip().startswith("# ")] == []
    assert len(lazy) <= 8


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))

    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def ask(*arguments: str) -> str:
    """Run the interpreter in the project and return its standard output."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_the_package_lists_each_program_within_80_columns() -> None:
    lines = ask("-m", "scripts").splitlines()

    listed = [line.split()[2] for line in lines if line.startswith("python -m ")]
    assert listed == [f"scripts.{name}" for name in programs.MODULES]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", programs.MODULES)
def test_each_program_has_its_options_of_help_and_version(name: str) -> None:
    lines = programs.run(name, "-h").stdout.splitlines()

    options = [line.split()[:2] for line in lines if line.startswith("  -")]
    assert ["-h,", "--help"] in options
    assert ["--version", "Show"] in options


def test_the_version_is_that_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert ask("-m", "scripts.database", "--version") == f"python -m scripts.database {version}\n"
