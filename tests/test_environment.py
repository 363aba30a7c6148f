"""One list of dependencies: pyproject.toml, its lock, environment.yml and the imports agree."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text()
# setup.sh installs the halves of the lock file that its function is given.
LOCKED_INSTALL = re.compile(
    r'(--require-hashes|"\$\{options\[@\]\}") -r (requirements[a-z-]*\.lock|"\$half")'
)
ENTRY = re.compile(
    r"^([A-Za-z0-9._-]+)==(\S+)(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+$"
)


def lock_entries(lock: str = LOCK) -> list[str]:
    """Split a lock into a text per package, without comments."""
    kept = [
        line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    return re.split(r"\n(?=\S)", "\n".join(kept))


def read_locked(lock: str) -> dict[str, str]:
    """Read the versions of a lock, by the names of the packages."""
    found = map(ENTRY.match, lock_entries(lock))
    return {canonicalize_name(match[1]): match[2] for match in found if match}


LOCKED = read_locked(LOCK)
TEST_LOCK = (ROOT / "requirements-test.lock").read_text()
TEST_LOCKED = read_locked(TEST_LOCK)
SERVE_LOCK = (ROOT / "requirements-serve.lock").read_text()
SERVE_LOCKED = read_locked(SERVE_LOCK)
SPARK_LOCK = (ROOT / "requirements-spark.lock").read_text()


POSTGRES_LOCK = (ROOT / "requirements-postgres.lock").read_text()


OF_RUNS = [*PROJECT["dependencies"], *EXTRAS["pipeline"]]


@pytest.mark.parametrize("line", OF_RUNS)
def test_every_requirement_is_locked_to_a_version_it_allows(line: str) -> None:
    requirement = Requirement(line)

    assert requirement.specifier.contains(LOCKED[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("line", EXTRAS["test"])
def test_every_requirement_of_the_tests_is_in_the_lock_of_the_tests_alone(line: str) -> None:
    requirement = Requirement(line)
    name = canonicalize_name(requirement.name)

    assert requirement.specifier.contains(TEST_LOCKED[name])
    assert name not in LOCKED or name == "packaging"


def test_the_tests_run_on_the_versions_of_the_installation() -> None:
    assert {name: TEST_LOCKED.get(name) for name in LOCKED} == LOCKED


def test_the_lock_for_serving_holds_what_the_service_needs_in_the_versions_of_a_run() -> None:
    wanted = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}

    assert wanted <= SERVE_LOCKED.keys()
    assert {name: LOCKED.get(name) for name in SERVE_LOCKED} == SERVE_LOCKED


def test_an_installation_has_at_most_45_packages() -> None:
    conditions = re.findall(r"^([A-Za-z0-9._-]+)==\S+(?: ; ([^\\\n]+))?", LOCK, re.MULTILINE)
    wanted = [name for name, text in conditions if not text or Marker(text.strip()).evaluate()]

    assert 30 < len(wanted) <= 45


@pytest.mark.parametrize(
    "entry",
    [
        entry
        for lock in (LOCK, SERVE_LOCK, TEST_LOCK, POSTGRES_LOCK)
        for entry in lock_entries(lock)
    ],
    ids=lambda entry: entry.split("==")[0],
)
def test_every_locked_package_has_one_version_and_its_hashes(entry: str) -> None:
    assert ENTRY.match(entry)


@pytest.mark.parametrize(
    "lock",
    [LOCK, SERVE_LOCK, TEST_LOCK, POSTGRES_LOCK],
    ids=["run", "serve", "test", "postgres"],
)
def test_a_lock_holds_no_address_and_no_option_but_hashes(lock: str) -> None:
    options = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", "\n".join(lock_entries(lock))))

    assert options == {"--hash"}
    assert "://" not in lock
    assert "@ " not in lock


def test_the_extra_for_a_cluster_has_a_lock_of_its_own() -> None:
    locked = read_locked(SPARK_LOCK)
    wanted = {canonicalize_name(Requirement(line).name): line for line in EXTRAS["spark"]}

    assert locked.keys() == wanted.keys()
    assert len(locked) == len(lock_entries(SPARK_LOCK))
    assert all(Requirement(line).specifier.contains(locked[n]) for n, line in wanted.items())
    assert {n: v for n, v in locked.items() if TEST_LOCKED.get(n, v) != v} == {}


def test_the_client_of_postgresql_has_a_lock_of_its_own_on_top_of_the_others() -> None:
    locked = read_locked(POSTGRES_LOCK)
    (line,) = EXTRAS["postgres"]

    assert locked.keys() == {"psycopg", "psycopg-binary"}
    assert Requirement(line).specifier.contains(locked["psycopg"])
    assert locked.items() <= TEST_LOCKED.items()
    assert locked.keys().isdisjoint(LOCKED | SERVE_LOCKED)
    # psycopg needs it before Python 3.13, and the lock of the client does not bring it.
    assert "typing-extensions" in SERVE_LOCKED


def test_setup_installs_by_hashes_only() -> None:
    assert re.search(r"local options=\([^)]*--require-hashes\)", (ROOT / "setup.sh").read_text())


@pytest.mark.parametrize(
    "name",
    [
        ".ci/run",
        "setup.sh",
        "docs/spark.md",
        "docs/scaling.md",
        "examples/deployment/Dockerfile",
        "scripts/core/capacity.py",
        "scripts/records/database.py",
    ],
)
def test_packages_are_installed_by_their_hashes_only(name: str) -> None:
    text = re.sub(r'"\n\s*"', "", (ROOT / name).read_text())
    commands = re.findall(r"-m pip install[^\n]*", text)

    assert commands
    assert [c for c in commands if not LOCKED_INSTALL.search(c)] == []


def test_environment_yml_takes_its_versions_from_the_lock() -> None:
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    (python,) = [line.removeprefix("- python=") for line in lines if "python=" in line]

    assert f"name: {PROJECT['name']}" in lines
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    after_pip = lines[lines.index("- pip:") + 1 :]
    assert after_pip == ["- -r requirements.lock"]
    assert lines[lines.index("dependencies:") + 1 :][:2] == [f"- python={python}", "- pip"]


def test_setup_wants_the_python_that_the_project_wants() -> None:
    wanted = PROJECT["requires-python"].removeprefix(">=")

    assert f"({wanted.replace('.', ', ')})" in (ROOT / "setup.sh").read_text()
    assert f"{wanted} or later" in (ROOT / "README.md").read_text()


def imported_modules(folder: Path) -> set[str]:
    """List the top-level modules that the files of a folder import."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"scripts", "tests", "examples", "benchmarks"}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("scripts", ["pipeline", "postgres", "spark"]),
        ("tests", ["pipeline", "postgres", "spark", "test"]),
        ("examples", ["pipeline", "test"]),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    # What flask is made of, scikit-learn computes with, and matplotlib writes pictures with.
    declared |= {canonicalize_name(name) for name in ("werkzeug", "scipy", "pillow")}
    providers = importlib.metadata.packages_distributions()

    undeclared = {
        module
        for module in imported_modules(ROOT / folder)
        if not declared & {canonicalize_name(name) for name in providers.get(module, [module])}
    }

    assert undeclared == set()


def test_the_citation_has_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
