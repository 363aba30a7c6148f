"""Starts programs in milliseconds: as forks of a process that has imported them all.

A start of Python with pandas and scikit-learn takes more than a second of CPU time, most of the
time of a test of a message or a mode. `python -m tests.support.programs` reads a list of calls per
line of JSON, runs them at the same time, and answers with their exit codes.
"""

import atexit
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
# A package with a `__main__.py` is a program as well.
MODULES = sorted(
    {path.stem for path in (ROOT / "scripts").glob("[!_]*.py")}
    | {path.parent.name for path in (ROOT / "scripts").glob("*/__main__.py")}
)


@dataclass(frozen=True)
class Call:
    """The call of a program, `python -m MODULE ARGUMENTS`, or of code, as after `python -c`."""

    module: str = ""
    code: str = ""
    arguments: Sequence[str] = ()
    folder: str = str(ROOT)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    umask: int = 0o077
    output_path: str = os.devnull
    error_path: str = os.devnull


@cache
def importer() -> "subprocess.Popen[str]":
    """Start the process with all imports. The end of its input, at the end of this one, ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.programs"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # A fork of a process with threads could wait for a lock of one of them.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    atexit.register(process.communicate)
    return process


def run_together(calls: Sequence[Call]) -> list[int]:
    """Run programs at the same time, and return their exit codes."""
    process = importer()
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps([asdict(call) for call in calls]), file=process.stdin, flush=True)
    return list(json.loads(process.stdout.readline()))


def run_call(call: Call) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end and return its exit code, output and errors."""
    with tempfile.TemporaryDirectory() as place:
        output, errors = Path(place) / "output", Path(place) / "errors"
        (code,) = run_together([replace(call, output_path=str(output), error_path=str(errors))])
        return subprocess.CompletedProcess(
            call.arguments, code, output.read_text(), errors.read_text()
        )


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of the project to its end."""
    return run_call(Call(f"scripts.{program}", arguments=arguments))


def run_code(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run code to its end."""
    return run_call(Call(code=code, arguments=arguments))


def become(call: Call) -> None:
    """Turn this process into a program."""
    for descriptor, path in enumerate((os.devnull, call.output_path, call.error_path)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(call.folder)
    os.umask(call.umask)
    os.environ.clear()
    os.environ.update(call.environment)
    sys.path[0] = call.folder
    sys.argv = ["-c", *call.arguments]
    if call.code:
        exec(compile(call.code, "<string>", "exec"), {"__name__": "__main__"})
        return
    # The program is imported already, as a module of its name.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    runpy.run_module(call.module, run_name="__main__", alter_sys=True)


def end_as(call: Call) -> NoReturn:
    """Run a program in this process, and end without the tidying of a thousand modules."""
    code = 1
    try:
        become(call)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer() -> None:
    """Run the programs of each line of the standard input."""
    for module in MODULES:
        importlib.import_module(f"scripts.{module}")
    for line in sys.stdin:
        children = []
        # A process that a program leaves behind, as a watchdog, holds the writing end.
        reader, writer = os.pipe()
        for members in json.loads(line):
            child = os.fork()
            if child == 0:
                end_as(Call(**members))
            children.append(child)
        os.close(writer)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        os.read(reader, 1)
        os.close(reader)
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    answer()
