"""Measure what an installation weighs, beside other tools that serve or watch models.

    python -m benchmarks.install_weight [NAME ...]

Each name below is installed by pip into an environment of its own, which is removed afterwards.
Without names, all of them are. MB are 2^20 bytes of the packages' files as published, without byte
code, which comes on top as far as modules are imported. pip itself is not counted. Required: at
most 45 packages and 650 MB for everything, 120 MB for serving.
"""

import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = {
    "serving alone": ("--require-hashes", "-r", "requirements-serve.lock"),
    "everything": ("--require-hashes", "-r", "requirements.lock"),
    "MLflow": ("mlflow",),
    "Evidently": ("evidently",),
    "BentoML": ("bentoml",),
}
MB = 2**20


@dataclass(frozen=True)
class Weight:
    """Number of packages, and size of their files in MB."""

    n_packages: int
    mb: float


def weigh(folder: Path) -> Weight:
    """Count the packages and the bytes below a folder."""
    n_bytes = sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir())
    return Weight(len(list(folder.glob("*.dist-info"))), n_bytes / MB)


def make_environment(folder: Path) -> Path:
    """Make an environment without packages, and return the folder of its packages."""
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    return packages


def install(folder: Path, requirements: Sequence[str]) -> Weight:
    """Make an environment, have pip install into it, and return the weight.

    Parameters
    ----------
    folder : Path
        A folder that does not exist yet.
    requirements : sequence of str
        Options of `pip install`, relative to the repository.
    """
    packages = make_environment(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    options = ["--quiet", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *options, *requirements], cwd=ROOT, check=True)
    return weigh(packages)


def measure(requirements: Sequence[str]) -> Weight:
    """Install into a temporary folder, and return the weight."""
    with tempfile.TemporaryDirectory() as name:
        return install(Path(name) / "environment", requirements)


def main(names: Sequence[str]) -> None:
    """Print a line for each name."""
    print(f"{'':15} packages      MB", flush=True)
    for name in names:
        found = measure(TOOLS[name])
        print(f"{name:15} {found.n_packages:8} {found.mb:7.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(TOOLS))
