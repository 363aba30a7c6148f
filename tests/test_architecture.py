"""The page on the architecture names files and functions that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
# In backticks: a path with a suffix or a closing slash, and perhaps a name in the file.
NAMED = re.compile(r"`([\w./*-]*(?:\.(?:py|md|toml|sh)|/))(?::([\w.]+))?`")
PLACES = sorted({match.groups("") for match in NAMED.finditer(PAGE)})


def find(path: str) -> Path:
    """Return the place of a path: below scripts/ if it is there, else below the root."""
    inside = ROOT / "scripts" / path
    return inside if inside.exists() else ROOT / path


def names_in(nodes: list[ast.stmt], prefix: str = "") -> set[str]:
    """Return the names defined by statements, with the class before a member."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(prefix + node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {prefix + node.name} | names_in(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
    return names


@cache
def list_names(path: str) -> set[str]:
    """List the functions, classes, methods and variables of a module."""
    return names_in(ast.parse(find(path).read_text()).body)


def test_every_path_and_function_that_the_page_names_exists() -> None:
    lacking = [path for path, _ in PLACES if not find(path).exists()]
    lacking += [
        f"{path}:{name}"
        for path, name in PLACES
        if name and find(path).exists() and name not in list_names(path)
    ]

    assert lacking == []


def test_the_page_answers_at_least_twenty_questions() -> None:
    questions = re.findall(r"^\| [A-Z][^|]*\? \|", PAGE, re.MULTILINE)

    assert len(questions) >= 20


@pytest.mark.parametrize(
    ("question", "n_most"),
    [
        ("How is a row rejected?", 8),
        ("How is the threshold chosen?", 8),
        ("Who removes old files and records?", 5),
    ],
)
def test_an_answer_needs_few_files(question: str, n_most: int) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {question}"))

    assert len({match[1] for match in NAMED.finditer(row)}) <= n_most


def test_the_way_of_a_request_needs_few_files() -> None:
    way = PAGE.split("## The way of a request")[1].split("These are twelve files")[0]

    assert len({match[1] for match in NAMED.finditer(way)}) <= 12


def test_every_package_has_a_rank() -> None:
    drawing = PAGE.split("## The ranks")[1].split("## The way of a run")[0]
    packages = {path.parent.name for path in (ROOT / "scripts").glob("*/__init__.py")}
    commands = {path.stem for path in (ROOT / "scripts").glob("[!_]*.py")}

    assert {name for name in packages | commands if not re.search(rf"\b{name}\b", drawing)} == set()
