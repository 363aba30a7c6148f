"""Dies just before the k-th file-system call of a deployment or a rollback, as often as asked.

The modules are imported once, and each death is a fork. `python -m tests.support.dying CONFIG`
reads lines of JSON, `[k, release or null]`, and answers each with `[exit code, calls made]`.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import deployment
from scripts.core import config_file
from scripts.production import rollback

ROOT = Path(__file__).parents[2]
CALLS = ("fsync", "symlink", "mkdir", "rename", "replace", "unlink", "open")
DEAD = 9


class Mortal:
    """Process for deployments and rollbacks in a fork, with a death at a chosen call."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def act(self, k: int, release_name: str | None = None) -> tuple[int, int]:
        """Act and die before the k-th call, or never for 0, and return exit code and calls."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([k, release_name]), file=self.process.stdin, flush=True)
        code, n_calls = json.loads(self.process.stdout.readline())
        return int(code), int(n_calls)


@contextmanager
def mortal(config_path: Path) -> Iterator[Mortal]:
    """Start a Mortal process, and end the process at the end of the test."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.dying", str(config_path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # A fork of a process with threads could wait for a lock of one of them.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        yield Mortal(process)


def act_in_a_fork(config_path: Path, k: int, release_name: str | None, writer: int) -> None:
    """Count the calls and die before the k-th, or never for a negative k."""
    made = 0

    def count(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*args: object, **kwargs: object) -> object:
            nonlocal made
            made += 1
            if made == k:
                os._exit(DEAD)
            return real(*args, **kwargs)

        setattr(module, name, call)

    settings = config_file.read_config(config_path)
    for name in CALLS:
        count(os, name)
    count(io, "open")
    if release_name is None:
        deployment.main(settings)
    else:
        rollback.main(settings, release_name=release_name, reason="for a test")
    os.write(writer, str(made).encode())


def answer(config_path: Path) -> None:
    """Answer each line of the standard input."""
    for line in sys.stdin:
        k, release_name = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                act_in_a_fork(config_path, k, release_name, writer)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        made = os.read(reader, 64)
        os.close(reader)
        status = os.waitpid(child, 0)[1]
        print(json.dumps([os.waitstatus_to_exitcode(status), int(made or b"0")]), flush=True)


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
