"""The snapshot of the input and test folders, and the comparison with the last decided run."""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from scripts.core.config import Config
from scripts.core.files import KnownFile
from scripts.engine import input_folders
from scripts.engine.input_folders import Keep
from scripts.records.tables import FileRole, Verdict

MAX_NAMES = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The complete and the growing input and test files at the start of a run."""

    paths: dict[FileRole, tuple[Path, ...]]
    growing: dict[FileRole, tuple[Path, ...]]
    known: dict[str, KnownFile]
    fingerprint: str

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for the records from each file, without counts of rows."""
        return [
            {
                "role": role,
                "path": str(path),
                "sha256": self.known[str(path)].sha256,
                "n_bytes": self.known[str(path)].n_bytes,
                "n_rows": None,
                "n_rejected": None,
                "refused": None,
            }
            for role, paths in self.paths.items()
            for path in paths
        ]


def fingerprint(inputs: Iterable[str], tests: Iterable[str], config: Config) -> str:
    """Compute the fingerprint of a run: a hash of input, test data and relevant settings.

    Parameters
    ----------
    inputs, tests : iterable of str
        SHA-256 of the input and test files. A renamed file is not new, since names are left out.
    config : Config
        Schema, training and promotion settings, and `ingestion.drop_duplicates`.

    Returns
    -------
    str
        A SHA-256 in hexadecimal.
    """
    # A moved installation keeps its fingerprint. Another production folder changes it.
    production = os.path.relpath(config.prod_deployment_path, config.output_folder_path)
    settings = [
        config.schema, config.training, config.promotion, config.ingestion.drop_duplicates,
        production,
    ]  # fmt: skip
    encoded = msgspec.json.encode([sorted(inputs), sorted(tests), settings], order="sorted")
    return hashlib.sha256(encoded).hexdigest()


def take_snapshot(
    config: Config, known: Mapping[str, KnownFile], keep: Keep = input_folders.forget
) -> Snapshot:
    """Scan and hash the input and test files, with a short wait for growing files.

    Parameters
    ----------
    config : Config
        The installation.
    known : mapping of str to KnownFile
        The files hashed before, by path.
    keep : callable
        Called with each large file as soon as it has been hashed.

    Returns
    -------
    Snapshot
        The files, with the fingerprint of a run on the complete files.
    """
    settle_s = config.ingestion.settle_s
    input_folder = input_folders.open_folder(config.input_folder_path, config)
    test_folder = input_folders.open_folder(config.test_data_path, config)
    inputs, growing, seen = input_folder.scan(settle_s, known, keep)
    tests, growing_tests, seen_tests = test_folder.scan(settle_s, known, keep)
    if growing or growing_tests:
        names = [path.name for path in (*growing, *growing_tests)]
        log.warning("Left %s for the next run: they are still being written.", names)
    seen |= seen_tests
    fingerprint_now = fingerprint(
        (seen[str(path)].sha256 for path in inputs),
        (seen[str(path)].sha256 for path in tests),
        config,
    )
    return Snapshot(
        {FileRole.INPUT: tuple(inputs), FileRole.TEST: tuple(tests)},
        {FileRole.INPUT: tuple(growing), FileRole.TEST: tuple(growing_tests)},
        seen,
        fingerprint_now,
    )


def is_anything_new(
    last: Mapping[str, Any] | None, snapshot: Snapshot, release_name: str | None
) -> bool:
    """Return whether the fingerprint or the release has changed since the last decided run.

    Parameters
    ----------
    last : mapping or None
        The last run with a verdict.
    snapshot : Snapshot
        The files of now.
    release_name : str or None
        The release in production. Its disappearance is new, too.
    """
    if last is None or last["fingerprint"] != snapshot.fingerprint:
        return True
    return release_name is None and last["verdict"] != Verdict.INSUFFICIENT


def format_names(prefix: str, paths: Sequence[str]) -> list[str]:
    """Format a list of files: a prefix, the first few names, the number of the rest."""
    if not paths:
        return []
    names = [repr(Path(path).name) for path in paths[:MAX_NAMES]]
    rest = [f"{len(paths) - MAX_NAMES} more"] if len(paths) > MAX_NAMES else []
    return [f"{prefix} {', '.join(names + rest)}"]


def compare_files(
    role: FileRole, now: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Describe the new, changed and missing files of a role by contents, not by names."""
    old = {row["path"]: row["sha256"] for row in before if row["role"] == role}
    current = {row["path"]: row["sha256"] for row in now if row["role"] == role}
    known, kept = set(old.values()), set(current.values())
    fresh = [path for path, sha256 in current.items() if sha256 not in known]
    gone = [path for path, sha256 in old.items() if sha256 not in kept and path not in current]
    return [
        *format_names(f"new {role} files", [path for path in fresh if path not in old]),
        *format_names(f"changed {role} files", [path for path in fresh if path in old]),
        *format_names(f"{role} files gone:", gone),
    ]


def explain_news(
    last: Mapping[str, Any] | None,
    last_files: Sequence[Mapping[str, Any]],
    snapshot: Snapshot,
    release_name: str | None,
) -> str:
    """Describe the changes since the last decided run, for people."""
    if last is None:
        return "no run has come to a verdict yet"
    if last["fingerprint"] == snapshot.fingerprint:
        is_lost = release_name is None and last["verdict"] != Verdict.INSUFFICIENT
        same = f"files and settings are those of run {last['id']}, which ended: {last['verdict']}"
        return "nothing is in production any more" if is_lost else same
    if {row["role"] for row in last_files} - set(FileRole):
        # Recorded before files had roles.
        return f"files or settings changed since run {last['id']}"
    rows = snapshot.rows()
    changes = [text for role in FileRole for text in compare_files(role, rows, last_files)]
    if changes:
        return "; ".join(changes)
    # A copy of a file changes the fingerprint, too.
    return f"settings, or the number of equal files, changed since run {last['id']}"
