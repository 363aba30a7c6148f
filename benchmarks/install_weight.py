"""Measure what an installation weighs, beside other tools that serve or watch models.

    python -m benchmarks.install_weight [NAME ...]

Each name below is installed into an environment of its own, which is removed afterwards: by pip as
the documentation says, or by setup.sh in a copy of the repository, with the first run. Without
names, all of them are. MB are 2^20 bytes. Byte code counts, since it lies on the disk of the user:
pip compiles every module, --no-compile leaves that to the first import, and the service is
imported here. pip itself and setuptools, which Python brings along, are not counted. Required: at
most 45 packages and 650 MB for everything, 120 MB for serving.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
# By setup.sh, which installs more than packages of pip; also the name of its line.
BY_SETUP = "everything"
SERVING = "serving alone"
TOOLS = {
    SERVING: ("--no-compile", "--require-hashes", "-r", "requirements-serve.lock"),
    BY_SETUP: (),
    "everything, pip": ("--require-hashes", "-r", "requirements.lock"),
    "MLflow": ("mlflow",),
    "Evidently": ("evidently",),
    "BentoML": ("bentoml",),
}
OF_PYTHON = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
MB = 2**20


@dataclass(frozen=True)
class Weight:
    """Number of packages, and size of their files and of the byte code in MB."""

    n_packages: int
    files_mb: float
    byte_code_mb: float

    @property
    def mb(self) -> float:
        """Size of everything."""
        return self.files_mb + self.byte_code_mb


def is_of_python(name: str) -> bool:
    """Return whether a package comes with each environment of Python."""
    return name.split("-")[0] in OF_PYTHON


def weigh(folder: Path) -> Weight:
    """Count the packages and the bytes below a folder."""
    tops = [path for path in folder.iterdir() if not is_of_python(path.name)]
    files = [p for top in tops for p in (top, *top.rglob("*")) if not p.is_dir()]
    size = dict.fromkeys((False, True), 0)
    for path in files:
        size[path.suffix == ".pyc"] += path.lstat().st_size
    n_packages = sum(path.suffix == ".dist-info" for path in tops)
    return Weight(n_packages, size[False] / MB, size[True] / MB)


def find_packages(environment: Path) -> Path:
    """Return the folder of the packages of an environment."""
    (packages,) = (environment / "lib").glob("python*/site-packages")
    return packages


def plain_environment() -> dict[str, str]:
    """Return the variables of this process, without those that change an installation."""
    unset = ("CONDA_PREFIX", "PYTHONDONTWRITEBYTECODE")
    return {name: text for name, text in os.environ.items() if name not in unset}


def install(folder: Path, requirements: Sequence[str]) -> Weight:
    """Make an environment, have pip install into it, and return the weight.

    Parameters
    ----------
    folder : Path
        A folder that does not exist yet.
    requirements : sequence of str
        Options of `pip install`, relative to the repository.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    options = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *options, *requirements], cwd=ROOT, check=True)
    return weigh(find_packages(folder))


def import_service(environment: Path) -> Weight:
    """Import the service, whose modules are compiled by that, and return the weight."""
    words = [str(environment / "bin" / "python"), "-c", "import scripts.app"]
    subprocess.run(words, cwd=ROOT, env=plain_environment(), check=True)
    return weigh(find_packages(environment))


def copy_repository(folder: Path) -> None:
    """Copy the files that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.rstrip("\0").split("\0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def set_up(folder: Path) -> Weight:
    """Have setup.sh install and run in a copy of the repository, and return the weight.

    Parameters
    ----------
    folder : Path
        A folder that does not exist yet.
    """
    copy_repository(folder)
    command = [str(folder / "setup.sh"), "--no-serve"]
    subprocess.run(command, env=plain_environment(), stdout=sys.stderr, check=True)
    return weigh(find_packages(folder / ".venv"))


def measure(name: str) -> Weight:
    """Install into a temporary folder, and return the weight."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "installed"
        if name == BY_SETUP:
            return set_up(folder)
        installed = install(folder, TOOLS[name])
        return import_service(folder) if name == SERVING else installed


def main(names: Sequence[str]) -> None:
    """Print a line for each name."""
    print(f"{'':15} packages   files MB   byte code MB   together MB", flush=True)
    for name in names:
        found = measure(name)
        sizes = f"{found.files_mb:10.0f} {found.byte_code_mb:14.0f} {found.mb:13.0f}"
        print(f"{name:15} {found.n_packages:8} {sizes}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(TOOLS))
