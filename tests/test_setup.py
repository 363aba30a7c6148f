"""What setup.sh does, in an environment whose interpreter only writes down what it is told."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import Call, run_call

ROOT = Path(__file__).parent.parent
CITED = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[0]
# Answers like the interpreter of an environment; the codes come from files beside it.
INTERPRETER = """#!/bin/sh
here=$(dirname "$0")
printf '%s\\n' "$*" >> "$here/calls"
code() { [ ! -f "$here/$1" ] || exit "$(cat "$here/$1")"; }
case "$*" in
    --version) echo "Python 3.12.1" ;;
    "-c import sys"*) code old ;;
    "-m pip install"*) for last; do :; done; cat "$last" >> "$here/locked"
        [ ! -f "$here/slow" ] || { echo $$ >> "$here/slow"; exec sleep 60; }
        code pip ;;
    "-m scripts.fullprocess"*) echo "one line of the step" >&2; code fullprocess ;;
    "-m scripts.app"*) code app ;;
    "-m pytest"*) code pytest ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of what setup.sh needs, and the environment it finds active."""

    folder: Path
    environment: Path

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run setup.sh from elsewhere."""
        return subprocess.run(
            [str(self.folder / "setup.sh"), *arguments],
            cwd="/", capture_output=True, text=True, check=False,
            env=os.environ | {"CONDA_PREFIX": str(self.environment)} | changes,
        )  # fmt: skip

    def let_fail(self, what: str, code: int) -> None:
        """Let a command of the interpreter end with a code."""
        (self.environment / "bin" / what).write_text(str(code))

    def calls(self) -> list[str]:
        """Hand out what the interpreter was told since the last time, but for small questions."""
        path = self.environment / "bin" / "calls"
        told = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        # Files of a temporary folder have another name each time.
        return [re.sub(r"-r .*/", "-r ", call) for call in told if call.startswith("-m")]

    def locked(self) -> list[str]:
        """Hand out the lines of the lock files that pip was given since the last time."""
        path = self.environment / "bin" / "locked"
        lines = path.read_text().splitlines()
        path.unlink()
        return sorted(lines)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait at most ten seconds for a state."""
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout in a folder with a nasty name, before its first set-up."""
    made = Checkout(tmp_path / 'it\'s 100% "né"', tmp_path / "conda env")
    made.folder.mkdir()
    for name in ("setup.sh", "requirements.lock", "requirements-test.lock"):
        shutil.copy(ROOT / name, made.folder)
    python = made.environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(INTERPRETER)
    python.chmod(0o755)
    return made


PIP = (
    "-m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r "
)
# Both halves of a lock are installed at the same time, so in any order.
INSTALL = {f"{PIP}0.lock", f"{PIP}1.lock"}


def entries(name: str) -> list[str]:
    """Return the lines of a lock file of the project, without those before the first package."""
    lines = (ROOT / name).read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if "==" in line)
    return sorted(lines[first:])


@pytest.mark.parametrize("argument", ["-h", "--help"])
def test_help_says_how_to_call_it_and_does_nothing(checkout: Checkout, argument: str) -> None:
    done = checkout.run(argument)

    assert done.returncode == 0
    for usage in ("./setup.sh ", "--no-serve", "test [ARGS]"):
        assert usage in done.stdout
    assert checkout.calls() == []


@pytest.mark.parametrize("name", ["setup.sh", "automate.sh"])
def test_a_script_has_help_and_the_version_of_the_project_and_starts_nothing(name: str) -> None:
    called = [
        subprocess.run([ROOT / name, option], capture_output=True, text=True, check=True, cwd="/")
        for option in ("--version", "-h")
    ]

    assert called[0].stdout == f"{name} {CITED}\n"
    assert called[1].stdout.startswith(f"Usage: ./{name}")
    assert called[1].stderr == ""


@pytest.mark.parametrize("name", ["demo", "saas.make_data"])
def test_an_example_has_a_short_option_for_help(name: str) -> None:
    done = run_call(Call(f"examples.{name}", arguments=["-h"]))

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: python -m examples.{name}")


@pytest.mark.parametrize("argument", ["--serve", "tests", "-x"])
def test_an_unknown_argument_is_refused(checkout: Checkout, argument: str) -> None:
    done = checkout.run(argument)

    assert done.returncode == 64
    assert "Usage: ./setup.sh" in done.stderr
    assert checkout.calls() == []


def test_it_installs_runs_the_pipeline_and_serves(checkout: Checkout) -> None:
    done = checkout.run()

    assert done.returncode == 0, done.stderr
    called = checkout.calls()
    assert set(called[:2]) == INSTALL
    assert called[2:] == ["-m scripts.fullprocess", "-m scripts.app"]
    assert checkout.locked() == entries("requirements.lock")
    assert "-m scripts.apicalls" in done.stdout
    python = checkout.environment / "bin" / "python"
    assert (checkout.folder / ".python-path").read_text() == f"{python}\n"


def test_no_serve_stops_before_serving(checkout: Checkout) -> None:
    assert checkout.run("--no-serve").returncode == 0

    assert checkout.calls()[2:] == ["-m scripts.fullprocess"]


def test_a_second_call_installs_nothing(checkout: Checkout) -> None:
    checkout.run("--no-serve")
    checkout.calls()
    installed = checkout.environment / ".adras-installed-requirements.lock"
    before = installed.stat().st_mtime_ns

    assert checkout.run("--no-serve").returncode == 0

    assert checkout.calls() == ["-m scripts.fullprocess"]
    assert installed.stat().st_mtime_ns == before


def test_a_changed_lock_is_installed(checkout: Checkout) -> None:
    checkout.run("--no-serve")
    checkout.calls()
    with (checkout.folder / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")

    checkout.run("--no-serve")

    called = checkout.calls()
    assert set(called[:2]) == INSTALL
    assert called[2:] == ["-m scripts.fullprocess"]


def test_test_hands_its_arguments_and_the_code_of_the_suite_on(checkout: Checkout) -> None:
    checkout.let_fail("pytest", 5)

    done = checkout.run("test", "-k", "a b")

    assert done.returncode == 5
    called = checkout.calls()
    assert set(called[:2]) == set(called[2:4]) == INSTALL
    assert called[4:] == ["-m pytest -n auto --dist worksteal -k a b"]
    assert checkout.locked() == sorted(
        entries("requirements.lock") + entries("requirements-test.lock")
    )


def test_demo_installs_what_runs_and_plays(checkout: Checkout) -> None:
    assert checkout.run("demo", "--no-serve").returncode == 0

    called = checkout.calls()
    assert set(called[:2]) == INSTALL
    assert called[2:] == ["-m examples.demo --no-serve"]


def test_a_failed_installation_is_one_line_and_is_repeated(checkout: Checkout) -> None:
    checkout.let_fail("pip", 1)

    first = checkout.run()
    second = checkout.run()

    assert first.returncode == second.returncode == 69
    assert first.stderr == (
        "setup.sh: the packages could not be installed; is the package index reachable?\n"
    )
    called = checkout.calls()
    assert (len(called), set(called)) == (4, INSTALL)


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_interrupted_installation_leaves_no_pip_behind(checkout: Checkout) -> None:
    slow = checkout.environment / "bin" / "slow"
    slow.touch()
    variables = os.environ | {"CONDA_PREFIX": str(checkout.environment)}
    command = [str(checkout.folder / "setup.sh")]
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: len(slow.read_text().split()) == 2)
        process.send_signal(signal.SIGINT)
        code = process.wait(10)

    pips = [int(pid) for pid in slow.read_text().split()]
    wait_until(lambda: not any(map(is_alive, pips)))
    assert code == 130
    assert "-m scripts.fullprocess" not in checkout.calls()


@pytest.mark.parametrize("code", [65, 74, 78, 1])
def test_a_failed_pipeline_ends_it_with_its_code_and_is_not_served(
    checkout: Checkout, code: int
) -> None:
    checkout.let_fail("fullprocess", code)

    done = checkout.run()

    assert done.returncode == code
    assert done.stderr.splitlines() == [
        "one line of the step",
        f"setup.sh: the full process ended with exit code {code}.",
    ]
    assert "-m scripts.app" not in checkout.calls()


def test_another_run_at_work_is_no_failure(checkout: Checkout) -> None:
    checkout.let_fail("fullprocess", 75)

    assert checkout.run().returncode == 0

    assert checkout.calls()[-1] == "-m scripts.app"


def test_the_code_of_the_service_is_handed_on(checkout: Checkout) -> None:
    checkout.let_fail("app", 69)

    assert checkout.run().returncode == 69


def test_an_old_python_is_said(checkout: Checkout) -> None:
    checkout.let_fail("old", 1)

    done = checkout.run()

    assert done.returncode == 69
    assert "is older than 3.11; use Python 3.11 or later" in done.stderr
    assert checkout.calls() == []


def path_with(folder: Path, *commands: str) -> str:
    """Make a folder of commands to be the whole PATH."""
    folder.mkdir()
    always = (
        "bash",
        "env",
        "dirname",
        "readlink",
        "cat",
        "sha256sum",
        "mktemp",
        "awk",
        "find",
        "rm",
    )
    for command in (*commands, *always):
        found = shutil.which(command)
        assert found is not None
        (folder / command).symlink_to(found)
    return str(folder)


def test_a_machine_without_python_is_told_so(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run(CONDA_PREFIX="", PATH=path_with(tmp_path / "bin"))

    assert done.returncode == 69
    assert done.stderr == "setup.sh: python3 is missing; install Python 3.11 or later.\n"


def test_without_conda_an_environment_is_made_once(checkout: Checkout, tmp_path: Path) -> None:
    # A python3 whose venv module makes an environment with the interpreter from above.
    path = path_with(tmp_path / "bin", "mkdir", "cp")
    (tmp_path / "bin" / "python3").write_text(
        f"#!/bin/sh\necho made >> '{tmp_path}/venvs'\n"
        f'mkdir -p "$4/bin" && cp \'{checkout.environment}/bin/python\' "$4/bin/python"\n'
    )
    (tmp_path / "bin" / "python3").chmod(0o755)

    codes = [checkout.run("--no-serve", CONDA_PREFIX="", PATH=path).returncode for _ in range(2)]

    assert codes == [0, 0]
    assert (tmp_path / "venvs").read_text() == "made\n"
    assert (checkout.folder / ".venv" / "bin" / "calls").exists()


KEPT = {
    "numpy/core.py", "pyarrow/lib.cpython-312.so", "pyarrow/libarrow.so.26",
    "pyarrow/libarrow_python.so.26", "pandas/core.pyi", "flask/tests/x.py", "numpy.libs/libblas.so",
    "PIL/_imaging.cpython.so", "pillow.libs/libpng.so.16",
}  # fmt: skip
TRIMMED = {
    "numpy/tests/x.py", "scipy/stats/tests/data/x.npy", "numpy/include/n.h", "pandas/core.pyx",
    "pyarrow/include/arrow/api.h", "pyarrow/libarrow_flight.so.26", "pyarrow/libarrow_s3.so.26",
    "pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.26.1.0", "pyarrow/_s3fs.cpython.so",
    "fontTools/varLib/iup.c", "PIL/_avif.cpython.so", "pillow.libs/libavif-1.so.16",
}  # fmt: skip


def add_packages(environment: Path) -> Path:
    """Make the files of some packages in an environment."""
    packages = environment / "lib" / "python3.12" / "site-packages"
    for name in KEPT | TRIMMED:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    return packages


def list_files(folder: Path) -> set[str]:
    """Return the files below a folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_files_that_no_program_loads_are_removed_from_an_environment_of_its_own(
    checkout: Checkout,
) -> None:
    shutil.copytree(checkout.environment, checkout.folder / ".venv")
    packages = add_packages(checkout.folder / ".venv")

    assert checkout.run("--no-serve", CONDA_PREFIX="").returncode == 0

    assert list_files(packages) == KEPT


def test_an_environment_of_conda_keeps_all_files(checkout: Checkout) -> None:
    packages = add_packages(checkout.environment)

    assert checkout.run("--no-serve").returncode == 0

    assert list_files(packages) == KEPT | TRIMMED
