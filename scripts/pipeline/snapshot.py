"""What a run finds in its folders, and whether anything of it is new."""

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
    """The complete files that a run looks at, and those that are still being written."""

    paths: dict[FileRole, tuple[Path, ...]]
    growing: dict[FileRole, tuple[Path, ...]]
    known: dict[str, KnownFile]
    fingerprint: str

    def rows(self) -> list[dict[str, Any]]:
        """Spell the files as rows for the records, before anything is read."""
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
    """Identify what a run would train and be judged on: contents and the settings that matter.

    Parameters
    ----------
    inputs, tests : iterable of str
        SHA-256 of the input and test files. Names do not count, so a renamed file is not new.
    config : Config
        Schema, training and promotion settings count, and whether equal rows are dropped.

    Returns
    -------
    str
        A SHA-256 in hexadecimal.
    """
    # Where the installation lies does not count, but which of its folders production is.
    production = os.path.relpath(config.prod_deployment_path, config.output_folder_path)
    settings = [
        config.schema, config.training, config.promotion, config.ingestion.drop_duplicates,
        production,
    ]  # fmt: skip
    spelled = msgspec.json.encode([sorted(inputs), sorted(tests), settings], order="sorted")
    return hashlib.sha256(spelled).hexdigest()


def take_snapshot(
    config: Config, known: Mapping[str, KnownFile], keep: Keep = input_folders.forget
) -> Snapshot:
    """Look at the input and test files, waiting once for those that are being written.

    Parameters
    ----------
    config : Config
        The installation.
    known : mapping of str to KnownFile
        The files hashed before, by path.
    keep : callable
        Is told of each large file as soon as it has been hashed.

    Returns
    -------
    Snapshot
        What is there.
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
    print_of = fingerprint(
        (seen[str(path)].sha256 for path in inputs),
        (seen[str(path)].sha256 for path in tests),
        config,
    )
    return Snapshot(
        {FileRole.INPUT: tuple(inputs), FileRole.TEST: tuple(tests)},
        {FileRole.INPUT: tuple(growing), FileRole.TEST: tuple(growing_tests)},
        seen,
        print_of,
    )


def is_anything_new(
    last: Mapping[str, Any] | None, snapshot: Snapshot, release_name: str | None
) -> bool:
    """Say whether a run could decide anything else than the last one that decided.

    Parameters
    ----------
    last : mapping or None
        The last run with a verdict.
    snapshot : Snapshot
        What is there now.
    release_name : str or None
        The release in production; one that has vanished is new, too.
    """
    if last is None or last["fingerprint"] != snapshot.fingerprint:
        return True
    return release_name is None and last["verdict"] != Verdict.INSUFFICIENT


def format_names(what: str, paths: Sequence[str]) -> list[str]:
    """Spell what happened to some files: the first few by name, the rest as a number."""
    if not paths:
        return []
    names = [repr(Path(path).name) for path in paths[:MAX_NAMES]]
    rest = [f"{len(paths) - MAX_NAMES} more"] if len(paths) > MAX_NAMES else []
    return [f"{what} {', '.join(names + rest)}"]


def compare_files(
    role: FileRole, now: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say which files of a role came, changed or went since an earlier run; names do not count."""
    was = {row["path"]: row["sha256"] for row in before if row["role"] == role}
    now_is = {row["path"]: row["sha256"] for row in now if row["role"] == role}
    known, kept = set(was.values()), set(now_is.values())
    fresh = [path for path, sha256 in now_is.items() if sha256 not in known]
    gone = [path for path, sha256 in was.items() if sha256 not in kept and path not in now_is]
    return [
        *format_names(f"new {role} files", [path for path in fresh if path not in was]),
        *format_names(f"changed {role} files", [path for path in fresh if path in was]),
        *format_names(f"{role} files gone:", gone),
    ]


def explain_news(
    last: Mapping[str, Any] | None,
    last_files: Sequence[Mapping[str, Any]],
    snapshot: Snapshot,
    release_name: str | None,
) -> str:
    """Say in words what is new; as `is_anything_new`, with the files of the last decided run."""
    if last is None:
        return "no run has come to a verdict yet"
    if last["fingerprint"] == snapshot.fingerprint:
        lost = release_name is None and last["verdict"] != Verdict.INSUFFICIENT
        same = f"files and settings are those of run {last['id']}, which ended: {last['verdict']}"
        return "nothing is in production any more" if lost else same
    if {row["role"] for row in last_files} - set(FileRole):
        # Recorded before files had roles.
        return f"files or settings changed since run {last['id']}"
    rows = snapshot.rows()
    found = [text for role in FileRole for text in compare_files(role, rows, last_files)]
    if found:
        return "; ".join(found)
    # The same contents in another number, such as a copy of a file, also make a fingerprint.
    return f"settings, or the number of equal files, changed since run {last['id']}"
