"""Approval of candidates by a person: a candidate is pending in a separate folder until then."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import Connection, Engine

from scripts.core import artifacts, files
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError, ReleaseError
from scripts.production import approval_alerts, new_release, release, rollback, withdrawals
from scripts.production.release import Release
from scripts.production.withdrawals import Withdrawal
from scripts.records import approvals, database, runs
from scripts.records.runs import Row
from scripts.records.tables import ApprovalState, DeploymentKind

FACTS = ("run_id", "release", "model_stamp", "f1")

log = logging.getLogger(__name__)


def pending_path(config: Config, name: str) -> Path:
    """Return the folder of a pending release."""
    return config.prod_deployment_path / artifacts.PENDING / name


def remove_other_candidates(config: Config, name: str) -> None:
    """Remove every pending release but a named one."""
    for path in artifacts.list_releases(config.prod_deployment_path, artifacts.PENDING):
        if path.name != name:
            files.remove(path)


def submit(
    engine: Engine, config: Config, made: Release, run_id: int, why: tuple[str, str]
) -> None:
    """Record a release as the pending candidate, in place of an earlier candidate.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    config : Config
        The installation, under the lock.
    made : Release
        The release in the folder of those that wait.
    run_id : int
        The run that made it.
    why : tuple of str
        Who started the run, and the reason of the gate.
    """
    now, (actor, reason) = datetime.now(UTC), why
    with database.writing(engine) as connection:
        earlier = approvals.find_waiting(connection)
        if earlier is not None:
            approvals.record_approval(
                connection, now, ApprovalState.REPLACED, actor=actor,
                reason=f"release {made.name} of run {run_id} is better and waits in its place",
                **{name: earlier[name] for name in FACTS},
            )  # fmt: skip
        approvals.record_approval(
            connection, now, ApprovalState.WAITING, made.name, run_id=run_id, actor=actor,
            model_stamp=made.manifest.model_stamp, f1=made.manifest.f1, reason=reason,
        )  # fmt: skip
        approval_alerts.record_waiting(connection, made.name, run_id, now, reason)
    remove_other_candidates(config, made.name)
    log.info("Release %s waits for approval, F1 %.4f.", made.name, made.manifest.f1)


def is_called(entry: Row, wanted: str) -> bool:
    """Return whether a candidate has a name or number."""
    name = str(entry["release"])
    return wanted == name or wanted.lstrip("0") == name.split("_")[0].lstrip("0")


def find_candidate(connection: Connection, wanted: str | None, states: set[ApprovalState]) -> Row:
    """Return the candidate to decide on, by default the pending one.

    Raises
    ------
    NotMadeYetError
        If no candidate waits.
    ReleaseError
        If the wanted one is not the candidate of now.
    """
    newest = approvals.newest_approval(connection)
    allowed = states if wanted is not None else {ApprovalState.WAITING}
    if newest is None or ApprovalState(newest["state"]) not in allowed:
        last = (
            ""
            if newest is None
            else f"; the last one, {newest['release']}, was {newest['state']} by {newest['actor']}"
        )
        raise NotMadeYetError(f"No candidate waits for approval{last}.")
    if wanted is not None and not is_called(newest, wanted):
        raise ReleaseError(
            f"Release {wanted} does not wait for approval; {newest['release']} is"
            f" {newest['state']}. Nothing was changed."
        )
    return newest


def forget_withdrawal(prod_folder: Path, name: str) -> None:
    """Remove a release from the withdrawn releases, since a person approved the release."""
    known = withdrawals.read_withdrawals(prod_folder)
    kept = [withdrawn for withdrawn in known if withdrawn.release != name]
    if len(kept) < len(known):
        withdrawals.write_withdrawals(prod_folder, kept)


def record_serving(
    connection: Connection, entry: Row, serving: Release, before: str | None
) -> None:
    """Record the deployment of an approved release."""
    now = datetime.now(UTC)
    runs.record_deployment(
        connection, now, DeploymentKind.DEPLOY, serving.name, run_id=entry["run_id"],
        previous_release=before, model_stamp=serving.manifest.model_stamp, f1=serving.manifest.f1,
        actor=entry["actor"], reason=f"approved: {entry['reason']}",
    )  # fmt: skip
    model = runs.find_model(connection, serving.manifest.model_stamp)
    if model is not None:
        score = {"n_rows": model["n_test_rows"] or 0}
        score |= {name: model[name] for name in ("f1", "f1_low", "f1_high")}
        new_release.record_new_release(connection, entry["run_id"], serving.name, now, **score)
    detail = f"release {serving.name} was approved by {entry['actor']}: {entry['reason']}"
    approval_alerts.record_decided(connection, entry, now, detail)


def let_serve(engine: Engine, config: Config, entry: Row) -> Release:
    """Move an approved release to the others, switch production to the release, and record both.

    A program killed at any call leaves an approval that `finish` completes.
    """
    prod_folder, name = config.prod_deployment_path, str(entry["release"])
    waiting, path = pending_path(config, name), prod_folder / artifacts.RELEASES / name
    if waiting.is_dir():
        files.make_folder(path.parent)
        waiting.rename(path)
        files.sync_folder(path.parent)
        files.sync_folder(waiting.parent)
    serving = release.load_release(path)
    forget_withdrawal(prod_folder, name)
    before = artifacts.current_name(prod_folder)
    if before != name:
        release.switch(prod_folder, path)
    with database.writing(engine) as connection:
        last = next(iter(runs.list_deployments(connection, 1)), None)
        if before == name:
            before = None if last is None else last["release"]
        record_serving(connection, entry, serving, before)
    log.info("Release %s serves, approved by %s: %s.", name, entry["actor"], entry["reason"])
    return serving


def finish(engine: Engine, config: Config) -> Release | None:
    """Complete an approval of a killed program, and return its release, or None."""
    with database.reading(engine) as connection:
        entry = approvals.find_unfinished(connection)
    return None if entry is None else let_serve(engine, config, entry)


def record_answer(
    connection: Connection, entry: Row, state: ApprovalState, actor: str, reason: str
) -> Row:
    """Record the decision of a person on a candidate, and return the new state."""
    facts = {name: entry[name] for name in FACTS}
    approvals.record_approval(
        connection, datetime.now(UTC), state, actor=actor, reason=reason, **facts
    )
    return {**entry, "state": state, "actor": actor, "reason": reason}


def approve(config: Config, *, release_name: str | None, reason: str, actor: str) -> Release:
    """Approve the pending candidate as the release in production.

    Parameters
    ----------
    config : Config
        The installation, under the lock.
    release_name : str or None
        The name or number of the candidate, by default the one that waits. A rejected candidate
        can still be approved by name, until another one takes its place.
    reason, actor : str
        Why, and who.

    Returns
    -------
    Release
        The release that serves.

    Raises
    ------
    NotMadeYetError
        If no candidate waits.
    ReleaseError
        If another candidate waits, or a file of the candidate is damaged.
    RecordsError
        If the approval cannot be recorded. Production is then as it was.
    """
    with database.open_records(
        config.database_url, wait_s=rollback.RECORDS_WAIT_S, may_change=False
    ) as engine:
        finish(engine, config)
        states = {ApprovalState.WAITING, ApprovalState.REJECTED}
        with database.reading(engine) as connection:
            entry = find_candidate(connection, release_name, states)
        # A damaged candidate must not be recorded as approved.
        release.load_release(pending_path(config, entry["release"]))
        with database.writing(engine) as connection:
            entry = record_answer(connection, entry, ApprovalState.APPROVED, actor, reason)
        return let_serve(engine, config, entry)


def reject(config: Config, *, release_name: str | None, reason: str, actor: str) -> str:
    """Reject the pending candidate without a change of production, and return its name.

    A later model of the same data and settings is held, like that of a release rolled back.

    Raises
    ------
    NotMadeYetError
        If no candidate waits.
    ReleaseError
        If another candidate waits.
    """
    with database.open_records(
        config.database_url, wait_s=rollback.RECORDS_WAIT_S, may_change=False
    ) as engine:
        with database.reading(engine) as connection:
            entry = find_candidate(connection, release_name, {ApprovalState.WAITING})
        name, prod_folder = str(entry["release"]), config.prod_deployment_path
        origin = rollback.describe_origin(pending_path(config, name))
        rejected = Withdrawal(
            release=name, at=datetime.now(UTC), actor=actor, reason=reason, origin=origin,
            kind="rejected",
        )  # fmt: skip
        known = withdrawals.read_withdrawals(prod_folder)
        withdrawals.write_withdrawals(prod_folder, [*known, rejected])
        with database.writing(engine) as connection:
            entry = record_answer(connection, entry, ApprovalState.REJECTED, actor, reason)
            detail = f"release {name} was rejected by {actor}: {reason}"
            approval_alerts.record_decided(connection, entry, datetime.now(UTC), detail)
    log.info("Release %s was rejected by %s: %s.", name, actor, reason)
    return name
