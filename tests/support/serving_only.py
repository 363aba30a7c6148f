"""Runs a program as an installation of requirements-serve.lock would: without what it lacks.

python -m tests.support.serving_only scripts.app [OPTIONS]
"""

import functools
import re
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

LOCK = Path(__file__).parents[2] / "requirements-serve.lock"


def normalise(name: str) -> str:
    """Return the name of a package in the form of package indexes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_locked() -> set[str]:
    """Read the names of the packages for serving."""
    return {normalise(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}


@functools.cache
def find_missing() -> set[str]:
    """Return the top modules that are installed here and not for serving."""
    locked = read_locked()
    return {
        module
        for module, providers in packages_distributions().items()
        if not locked & set(map(normalise, providers))
    } - {"scripts", "tests"}


class Refusing(MetaPathFinder):
    """A finder that is asked first, and has no module of a missing package."""

    def __init__(self) -> None:
        self.missing = find_missing()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for a missing package, as Python does."""
        if name.partition(".")[0] in self.missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, Refusing())
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
