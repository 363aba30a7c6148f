"""Reads what an installation left that kept its history in text files only."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from scripts import artifacts
from scripts.errors import DatasetError

# The date in a name: our stamp, 20240131, 2024-01-31 or 2024_01_31, with or without a time of day
# behind it.
DATE = re.compile(
    r"(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})(?:[T _.-]*(\d{2})[:_.-]?(\d{2})(?:[:_.-]?(\d{2}))?)?"
)
NAMES = {
    "dataset": re.compile(r"finaldata.*\.csv"),
    "ingested": re.compile(r"ingestedfiles.*\.txt"),
    "score": re.compile(r"latestscore.*\.txt"),
    "pickle": re.compile(r"trainedmodel.*\.pkl"),
    "model": re.compile(r"model_.*\.json"),
}
# Not the 1 of "F1: 0.57".
NUMBER = re.compile(r"(?<![\w.])[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
MAX_TEXT_BYTES = 2**20

log = logging.getLogger(__name__)


@dataclass
class LegacyRun:
    """What one run of such an installation left: its moment, and its files by kind."""

    stamp: str
    at: datetime
    files: dict[str, Path] = field(default_factory=dict)
    f1: float | None = None
    ingested: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int | None:
        """Count the rows of its dataset, if that is still there."""
        path = self.files.get("dataset")
        if path is None:
            return None
        with path.open("rb") as handle:
            return max(0, sum(1 for line in handle if line.strip()) - 1)


def moment_of(path: Path) -> datetime:
    """Read the date in a name; a file without one is as old as its last change."""
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    found = DATE.search(path.stem)
    if not found:
        return changed
    try:
        # The six groups are the six parts of a moment.
        return datetime(*(int(part) for part in found.groups(default="0")), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return changed


def kind_of(path: Path) -> str | None:
    """Say which of the known files a path is, by its name."""
    return next((kind for kind, name in NAMES.items() if name.fullmatch(path.name)), None)


def stamp_of(path: Path) -> str:
    """Name the run a file belongs to: the date in its name as it stands there, or nothing."""
    found = DATE.search(path.stem)
    return path.stem[found.start() :] if found else ""


def read_text(path: Path) -> str:
    """Read a small text file, whatever bytes are in it."""
    with path.open("rb") as handle:
        return handle.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def read_f1(path: Path) -> float | None:
    """Read the first number of a score's file; None if it has none that could be an F1."""
    found = NUMBER.search(read_text(path))
    f1 = float(found.group()) if found else None
    if f1 is None or not 0 <= f1 <= 1:
        log.warning("%s has no F1 between 0 and 1; its run is taken over without.", path)
        return None
    return f1


def read_names(path: Path) -> tuple[str, ...]:
    """Read names of files, one a line; also those of a list as Python prints it."""
    lines = (line.strip().strip("[],'\"") for line in re.split(r"[\n,]", read_text(path)))
    return tuple(line for line in lines if line.strip("[]'\" "))


def find_files(folder: Path) -> Iterator[Path]:
    """List the known files in a folder and below it, except in releases of our own."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; name the one of the old installation.")
    for path in sorted(folder.rglob("*")):
        if artifacts.RELEASES not in path.parts and not path.is_symlink() and path.is_file():
            yield path


def read_runs(folder: Path) -> list[LegacyRun]:
    """Read the runs that an installation left, oldest first.

    Parameters
    ----------
    folder : Path
        Searched with the folders below it.

    Returns
    -------
    list of LegacyRun
        One per date in the names of the files; the files without a date are one run more, as old
        as the oldest of them. Nothing is unpickled.

    Raises
    ------
    DatasetError
        If the folder is none, or has none of the known files.
    """
    runs: dict[str, LegacyRun] = {}
    for path in find_files(folder):
        kind = kind_of(path)
        if kind is None:
            continue
        stamp, at = stamp_of(path), moment_of(path)
        run = runs.setdefault(stamp, LegacyRun(stamp, at))
        run.at = min(run.at, at)
        # Of copies, as in a folder of practice models and one of production, the first counts.
        run.files.setdefault(kind, path)
    for run in runs.values():
        run.f1 = read_f1(run.files["score"]) if "score" in run.files else None
        run.ingested = read_names(run.files["ingested"]) if "ingested" in run.files else ()
    if not runs:
        raise DatasetError(
            f"{folder} has no finaldata, ingestedfiles, latestscore or trainedmodel file."
        )
    return sorted(runs.values(), key=lambda run: (run.at, run.stamp))
