"""The snapshot of the input and test folders, and the comparison with the last decided run."""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from scripts.core import check_limits
from scripts.core.config import FILE_NAME, Config
from scripts.core.errors import DatasetError
from scripts.core.files import KnownFile, RemotePath
from scripts.engine import input_folders
from scripts.engine.input_folders import Keep
from scripts.records.tables import FileRole, Verdict

MAX_NAMES = 5

log = logging.getLogger(__name__)


class Snapshot(Struct, frozen=True):
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


def fingerprint(
    inputs: Iterable[str], tests: Iterable[str], config: Config, outcomes: Iterable[str] = ()
) -> str:
    """Compute the fingerprint of a run: a hash of input, test data and relevant settings.

    Parameters
    ----------
    inputs, tests : iterable of str
        SHA-256 of the input and test files. A renamed file is not new, since names are left out.
    config : Config
        Schema, training and promotion settings, `ingestion.drop_duplicates`, the worth of a
        client with the costs, the share of held-out clients, the columns kept for people, and the
        limits of checks other than the usual ones.
    outcomes : iterable of str
        SHA-256 of the outcome files.

    Returns
    -------
    str
        A SHA-256 in hexadecimal.
    """
    # A moved installation keeps its fingerprint. Another production folder changes it.
    production = os.path.relpath(config.prod_deployment_path, config.output_folder_path)
    promotion = msgspec.structs.asdict(config.promotion)
    # Who approves is no evidence. Without both keys, earlier installations keep their fingerprint.
    del promotion["mode"]
    for key, default in (("rule", "better"), ("metric", "f1")):
        if promotion[key] == default:
            del promotion[key]
    settings: list[Any] = [
        config.schema.without_words(), config.training, promotion,
        config.ingestion.drop_duplicates, production,
    ]  # fmt: skip
    if config.outcomes is not None:
        # Only then, so that installations without outcome files keep their fingerprint.
        declared = msgspec.structs.asdict(config.outcomes)
        place = declared.pop("input_folder_path")
        shown = None if place is None else os.path.relpath(place, config.output_folder_path)
        settings += [declared, shown, sorted(outcomes)]
    if config.worklist.value is not None:
        settings.append([config.worklist.value, config.worklist.costs])
    if config.worklist.holdout_fraction > 0:
        settings.append([config.worklist.holdout_fraction, config.worklist.holdout_days])
    kept = [n for n in config.worklist.columns if n not in config.schema.features]
    if kept or config.schema.names:
        # A scoring keeps them, so the next run has to score again.
        settings.append([config.schema.names_for_people, kept])
    limits = check_limits.list_changed(config.checks)
    if limits:
        # So that the next run uses them. Without any, installations keep their fingerprint.
        settings.append(limits)
    encoded = msgspec.json.encode([sorted(inputs), sorted(tests), settings], order="sorted")
    return hashlib.sha256(encoded).hexdigest()


def identify(path: Path, sha256: str, config: Config) -> str:
    """Return the hash of a file, with the name if the name has the date of the rows."""
    own = config.schema.date_column
    is_dated_by_name = own is not None and own.column == FILE_NAME
    return f"{sha256} {path.name}" if is_dated_by_name else sha256


class Scan(NamedTuple):
    """The complete and the growing files of a folder, and the digests of the complete files."""

    settled: Sequence[Path]
    growing: Sequence[Path]
    seen: dict[str, KnownFile]


def list_places(config: Config) -> dict[FileRole, Path]:
    """Return the folders of the files to read, by role."""
    places = {FileRole.INPUT: config.input_folder_path}
    if not config.tests_latest_rows:
        places[FileRole.TEST] = config.test_data_path
    place = None if config.outcomes is None else config.outcomes.input_folder_path
    if place is not None and (isinstance(place, RemotePath) or place.exists()):
        places[FileRole.OUTCOME] = place
    return places


def check_test_folder(config: Config) -> None:
    """Check that a folder of test data is there, as after a suggestion without a split.

    Raises
    ------
    DatasetError
        If it is missing.
    """
    place = config.test_data_path
    if config.tests_latest_rows or isinstance(place, RemotePath) or place.exists():
        return
    raise DatasetError(
        f"There is no test data: {place} is missing. Name the folder of tables with labels in"
        f" test_data_path, or have a fifth of the clients split off: python -m scripts.config"
        f" suggest {config.input_folder_path} --split 0.2 prints the config.json for it."
    )


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
    found: dict[FileRole, Scan] = {}
    check_test_folder(config)
    for role, place in list_places(config).items():
        folder = input_folders.open_folder(place, config)
        found[role] = Scan(*folder.scan(config.ingestion.settle_s, known, keep))
    growing = [path.name for scan in found.values() for path in scan.growing]
    if growing:
        log.warning("Left %s for the next run: they are still being written.", growing)
    seen = {path: digest for scan in found.values() for path, digest in scan.seen.items()}
    hashes = {
        role: [identify(path, seen[str(path)].sha256, config) for path in scan.settled]
        for role, scan in found.items()
    }
    fingerprint_now = fingerprint(
        hashes[FileRole.INPUT],
        hashes.get(FileRole.TEST, []),
        config,
        hashes.get(FileRole.OUTCOME, []),
    )
    roles = (FileRole.INPUT, FileRole.TEST, *(role for role in found if role is FileRole.OUTCOME))
    nothing = Scan((), (), {})
    return Snapshot(
        {role: tuple(found.get(role, nothing).settled) for role in roles},
        {role: tuple(found.get(role, nothing).growing) for role in roles},
        seen,
        fingerprint_now,
    )


def is_release_lost(last: Mapping[str, Any], release_name: str | None) -> bool:
    """Return whether production lacks a release although the last run had enough data."""
    # Before the first approval nothing serves, whatever was decided.
    is_first = last["verdict"] == Verdict.HELD and last.get("release") is None
    expected = last["verdict"] in (Verdict.INSUFFICIENT, Verdict.WAITING) or is_first
    return release_name is None and not expected


def is_first_approved(last: Mapping[str, Any], release_name: str | None) -> bool:
    """Return whether the first candidate was approved since the last decided run.

    No client has a score then, and only a run scores clients.
    """
    # A later candidate that is not better than the one that waits is held.
    has_waited = last["verdict"] in (Verdict.WAITING, Verdict.HELD)
    return has_waited and last.get("release") is None and release_name is not None


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
        The release in production. Its disappearance is new, too, and its first approval.
    """
    if last is None or last["fingerprint"] != snapshot.fingerprint:
        return True
    return is_release_lost(last, release_name) or is_first_approved(last, release_name)


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
        return "no earlier run has a verdict"
    if last["fingerprint"] == snapshot.fingerprint:
        if is_release_lost(last, release_name):
            return "nothing is in production any more"
        if is_first_approved(last, release_name):
            return f"release {release_name} was approved, and no client has a score yet"
        return f"files and settings are those of run {last['id']}, which ended: {last['verdict']}"
    if {row["role"] for row in last_files} - set(FileRole):
        # Recorded before files had roles.
        return f"files or settings changed since run {last['id']}"
    rows = snapshot.rows()
    changes = [text for role in FileRole for text in compare_files(role, rows, last_files)]
    if changes:
        return "; ".join(changes)
    # A copy of a file changes the fingerprint, too.
    return f"settings, or the number of equal files, changed since run {last['id']}"
