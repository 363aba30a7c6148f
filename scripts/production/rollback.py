"""Rollback to an earlier release, and the list and the check of every release."""

import difflib
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from scripts.core import artifacts, console, terminal
from scripts.core.config import Config
from scripts.core.errors import ModelError, NotMadeYetError, RecordsError, ReleaseError
from scripts.model import logistic_model
from scripts.production import release, withdrawals
from scripts.production.release import Release
from scripts.production.withdrawals import Withdrawal
from scripts.records import database, runs
from scripts.records.tables import DeploymentKind

# Long enough for a run to write a row; the service does not wait for the records.
RECORDS_WAIT_S = 5.0
HISTORY_LIMIT = 10_000
HEADER = ("release", "state", "F1", "model", "when (UTC)", "how", "who", "why")

log = logging.getLogger(__name__)


def find_release(prod_folder: Path, wanted: str) -> Path:
    """Find a release by name or number, with the nearest name in the error."""
    releases = artifacts.list_releases(prod_folder)
    by_name = {path.name: path for path in releases}
    by_number = {str(int(path.name.split("_")[0])): path for path in releases}
    path = by_name.get(wanted) or by_number.get(wanted.lstrip("0"))
    if path is None:
        near = difflib.get_close_matches(wanted, list(by_name), n=1, cutoff=0)
        hint = f" did you mean {near[0]}?" if near else ""
        raise ReleaseError(
            f"There is no release {wanted};{hint} python -m scripts.deployment list shows"
            f" all {len(releases)}."
        )
    return path


def choose_release(prod_folder: Path, wanted: str | None, served: Sequence[str]) -> Release:
    """Load the target of a rollback: the wanted or else the previous release."""
    if wanted is None:
        targets = withdrawals.find_targets(prod_folder, served)
        if not targets:
            raise ReleaseError(
                f"{prod_folder} has no earlier release to go back to. To serve a release that was"
                " rolled back itself, name the release."
            )
        chosen = prod_folder / artifacts.RELEASES / targets[0]
    else:
        chosen = find_release(prod_folder, wanted)
    if chosen.name == artifacts.current_name(prod_folder):
        raise ReleaseError(f"{chosen.name} is in production already; nothing was switched.")
    try:
        return release.load_release(chosen)
    except ReleaseError as error:
        others = [
            name for name in withdrawals.find_targets(prod_folder, served) if name != chosen.name
        ]
        hint = f"name another one: {', '.join(others)}" if others else "there is no other one"
        raise ReleaseError(f"{error} Nothing was switched; {hint}.") from error


def describe_origin(folder: Path) -> str | None:
    """Return the origin of a release's model, None if the model is unreadable."""
    try:
        return withdrawals.origin_of(logistic_model.load_model(folder / release.MODEL))
    except ModelError as error:
        log.warning("%s A run may therefore promote the same model again.", error)
        return None


def record_withdrawal(prod_folder: Path, withdrawn: Withdrawal, target: str) -> None:
    """Add a release to the withdrawals and remove the target, with a warning on failure."""
    kept = [
        w
        for w in withdrawals.known_withdrawals(prod_folder)
        if w.release not in (withdrawn.release, target)
    ]
    try:
        withdrawals.write_withdrawals(prod_folder, [*kept, withdrawn])
    except OSError as error:
        log.warning(
            "%s could not be written (%s); a run may promote the model of %s again.",
            artifacts.WITHDRAWN, error.strerror, withdrawn.release,
        )  # fmt: skip


def read_history(config: Config) -> list[Mapping[str, Any]]:
    """Read the deployments and rollbacks, newest first, none from unusable records."""
    try:
        with (
            database.open_records(config.database_url, wait_s=RECORDS_WAIT_S) as engine,
            database.reading(engine) as connection,
        ):
            return list(runs.list_deployments(connection, HISTORY_LIMIT))
    except (RecordsError, OSError) as error:
        log.warning("%s The history of the releases is left out.", error)
        return []


def record_switch(
    config: Config, kind: DeploymentKind, serving: Release, previous: str | None, reason: str
) -> None:
    """Record the switch to a release, with a warning on failure: the release serves already."""
    try:
        with (
            database.open_records(config.database_url, wait_s=RECORDS_WAIT_S) as engine,
            database.writing(engine) as connection,
        ):
            runs.record_deployment(
                connection,
                datetime.now(UTC),
                kind,
                serving.name,
                previous_release=previous,
                model_stamp=serving.manifest.model_stamp,
                f1=serving.manifest.f1,
                actor=console.actor(),
                reason=reason,
            )
    except (RecordsError, OSError) as error:
        log.warning("Release %s SERVES, BUT THIS IS NOT IN THE RECORDS: %s", serving.name, error)


def main(config: Config, *, release_name: str | None, reason: str) -> Release:
    """Roll back to the previous or the named release, with a reason."""
    prod_folder = config.prod_deployment_path
    # A named release needs no records, which may be the broken part.
    history = read_history(config) if release_name is None else []
    target = choose_release(prod_folder, release_name, [row["release"] for row in history])
    left = artifacts.current_name(prod_folder)
    if left is not None:
        # Recorded before the switch: if the program is killed in between, `left` serves on.
        origin = describe_origin(prod_folder / artifacts.RELEASES / left)
        withdrawn = Withdrawal(
            release=left, at=datetime.now(UTC), actor=console.actor(), reason=reason, origin=origin
        )
        record_withdrawal(prod_folder, withdrawn, target.name)
    release.switch(prod_folder, target.path)
    log.info(
        "Rolled back from release %s to %s, F1 %.4f, by %s: %s.",
        left, target.name, target.manifest.f1, console.actor(), reason,
    )  # fmt: skip
    record_switch(config, DeploymentKind.ROLLBACK, target, left, reason)
    return target


def describe_release(folder: Path, state: str, last: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the row of a release: state, F1, model and last deployment."""
    try:
        manifest = release.read_manifest(folder)
        facts = (f"{manifest.f1:.4f}", manifest.model_stamp)
    except ReleaseError:
        facts = ("damaged", "")
    if last is None:
        return (folder.name, state, *facts, "", "not recorded", "", "")
    when = f"{last['at']:%Y-%m-%d %H:%M:%S}"
    came = (when, str(last["kind"]), last["actor"], last["reason"] or "")
    return (folder.name, state, *facts, *came)


def list_releases(config: Config) -> list[tuple[str, ...]]:
    """Return a row per release in the columns of HEADER, newest first."""
    prod_folder = config.prod_deployment_path
    withdrawn = {w.release: w for w in withdrawals.known_withdrawals(prod_folder)}
    last: dict[str, Mapping[str, Any]] = {}
    for row in read_history(config):
        last.setdefault(row["release"], row)
    current = artifacts.current_name(prod_folder)
    rows = []
    for folder in reversed(artifacts.list_releases(prod_folder)):
        state = "current" if folder.name == current else ""
        if not state and (left := withdrawn.get(folder.name)):
            state = f"rolled back by {left.actor}: {left.reason}"
        rows.append(describe_release(folder, state, last.get(folder.name)))
    return rows


def check_has_releases(releases: Collection[object]) -> None:
    """Raise if there is no release to show."""
    if not releases:
        raise NotMadeYetError("There is no release yet; run python -m scripts.fullprocess.")


def show_releases(config: Config) -> None:
    """Show every release: F1, model, and time, kind, actor and reason of the deployment."""
    rows = list_releases(config)
    check_has_releases(rows)
    click.echo(terminal.format_columns([HEADER, *rows]))


def find_all_faults(prod_folder: Path) -> dict[str, list[str]]:
    """Return the faults of each release by name, an empty list for a whole release."""
    faults = {
        folder.name: release.find_faults(folder) for folder in artifacts.list_releases(prod_folder)
    }
    current = artifacts.current_name(prod_folder)
    if current is not None and current not in faults:
        faults[current] = [f"{artifacts.CURRENT} leads to a missing folder"]
    return faults


def verify(config: Config) -> None:
    """Check every file of every release against the manifest, and show the faults."""
    faults = find_all_faults(config.prod_deployment_path)
    check_has_releases(faults)
    for name, lines in faults.items():
        click.echo(f"{name} {'damaged: ' + ' '.join(lines) if lines else 'whole'}")
    n_damaged = sum(bool(lines) for lines in faults.values())
    if n_damaged:
        raise ReleaseError(f"{n_damaged} of {len(faults)} releases are damaged; see above.")
    log.info("Checked %d releases: all are whole.", len(faults))
