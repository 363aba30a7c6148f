"""Queries for the history of the runs: runs, files, models, decisions, deployments, statistics."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict
from sqlalchemy.engine import Connection

from scripts.core.errors import RecordsError
from scripts.core.files import KnownFile
from scripts.records.tables import (
    DeploymentKind,
    FileRole,
    RowsOf,
    Status,
    Verdict,
    column_statistics,
    decisions,
    deployments,
    digests,
    files,
    models,
    production_scores,
    runs,
    states,
)

Row = Mapping[str, Any]
# Runs without any effect besides their row.
IDLE = sa.or_(
    runs.c.verdict.in_([Verdict.NOTHING_NEW, Verdict.POSTPONED]),
    runs.c.status == Status.SKIPPED,
)


def all_rows(connection: Connection, query: sa.Select[Any]) -> list[Row]:
    """Return the rows of a query."""
    return [dict(row) for row in connection.execute(query).mappings()]


def first_row(connection: Connection, query: sa.Select[Any]) -> Row | None:
    """Return the first row of a query, or None for an empty result."""
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else dict(row)


def newest_rows(
    connection: Connection, table: sa.Table, limit: int, offset: int = 0, **values: Any
) -> list[Row]:
    """List the rows of a table with given column values, by id, newest first."""
    query = sa.select(table).filter_by(**values).order_by(table.c.id.desc())
    return all_rows(connection, query.limit(limit).offset(offset))


def newest_row(connection: Connection, table: sa.Table, **values: Any) -> Row | None:
    """Return the newest row of a table with given column values, or None."""
    return next(iter(newest_rows(connection, table, 1, **values)), None)


def start_run(
    connection: Connection,
    now: datetime,
    status: Status = Status.RUNNING,
    trigger: str | None = None,
    versions: Mapping[str, str] | None = None,
    *,
    actor: str | None = None,
) -> int:
    """Record the start of a run, and return the id."""
    facts = {"trigger": trigger, "actor": actor, "versions": versions}
    result = connection.execute(runs.insert().values(started_at=now, status=status, **facts))
    key = result.inserted_primary_key
    if key is None:
        raise RecordsError("The database gave a new run no id.")
    return int(key[0])


def end_run(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record the end of a run, with columns of `runs` as facts."""
    connection.execute(runs.update().where(runs.c.id == run_id).values(**facts))


def record_past_run(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record a run of an imported history under a given id."""
    connection.execute(runs.insert().values(id=run_id, **facts))


def lowest_run_id(connection: Connection) -> int:
    """Return the upper limit for ids of imported runs: 0, or the lowest imported id."""
    lowest = connection.execute(sa.select(sa.func.min(runs.c.id))).scalar()
    return min(0, lowest if lowest is not None else 0)


def past_stamps(connection: Connection, trigger: str) -> set[str]:
    """Return the stamps of the runs with a trigger."""
    stamps = sa.select(runs.c.stamp).where(runs.c.trigger == trigger)
    return {str(stamp) for stamp in connection.execute(stamps).scalars()}


def abort_dead_runs(connection: Connection, now: datetime) -> int:
    """Mark the runs without an end as aborted and return their number, under the lock."""
    reason = "the run was killed, or the machine stopped"
    dead = runs.update().where(runs.c.status == Status.RUNNING)
    return connection.execute(
        dead.values(status=Status.ABORTED, ended_at=now, reason=reason)
    ).rowcount


def find_run(connection: Connection, run_id: int) -> Row | None:
    """Return the run with an id."""
    return first_row(connection, sa.select(runs).where(runs.c.id == run_id))


def last_decided_run(connection: Connection) -> Row | None:
    """Return the last run with a training and a verdict."""
    return first_row(
        connection,
        sa.select(runs)
        .where(runs.c.status == Status.FINISHED, sa.not_(IDLE))
        # An imported run has no fingerprint to compare with new data.
        .where(runs.c.fingerprint.is_not(None))
        .order_by(runs.c.id.desc()),
    )


def time_out_run(connection: Connection, run_id: int, now: datetime, reason: str) -> None:
    """Record the timeout of a killed run, also after its entry as aborted by a later run."""
    killed = runs.update().where(
        runs.c.id == run_id, runs.c.status.in_([Status.RUNNING, Status.ABORTED])
    )
    connection.execute(killed.values(status=Status.TIMEOUT, ended_at=now, reason=reason))


def forget_old_runs(connection: Connection, n_kept: int) -> int:
    """Delete details of the runs before the newest, and return the number of deleted rows.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    n_kept : int
        Number of the newest runs with all details.

    Returns
    -------
    int
        Deleted rows: older runs that had nothing to do or did not start, and files and column
        statistics of the remaining older runs. Runs that trained, failed or died are never
        deleted, nor are models, decisions, deployments and scores.
    """
    newest = sa.select(runs.c.id).order_by(runs.c.id.desc()).offset(n_kept).limit(1)
    oldest_id = connection.execute(newest).scalar()
    if oldest_id is None:
        return 0
    # The next run compares its files with those of the last decided run.
    decided = last_decided_run(connection)
    spared_id = 0 if decided is None else decided["id"]
    n_removed = 0
    for table in (files, column_statistics):
        old = table.delete().where(table.c.run_id <= oldest_id, table.c.run_id != spared_id)
        n_removed += connection.execute(old).rowcount
    released = states.update().where(states.c.run_id <= oldest_id).values(run_id=None)
    connection.execute(released)
    idle = runs.delete().where(runs.c.id <= oldest_id, IDLE)
    return n_removed + connection.execute(idle).rowcount


def last_finished_run(connection: Connection) -> Row | None:
    """Return the last run with the status finished."""
    finished = sa.select(runs).where(runs.c.status == Status.FINISHED)
    return first_row(connection, finished.order_by(runs.c.id.desc()))


def latest_runs(connection: Connection, limit: int, offset: int = 0) -> list[Row]:
    """List the last runs, newest first."""
    return newest_rows(connection, runs, limit, offset)


def input_hashes(connection: Connection, n_runs: int, model_stamp: str | None) -> set[str]:
    """Return the SHA-256 of the files of the newest runs with a model, and of one further model."""
    newest = sa.select(models.c.run_id).order_by(models.c.id.desc()).limit(n_runs).subquery()
    spared = sa.select(models.c.run_id).where(models.c.stamp == model_stamp)
    wanted = sa.select(files.c.sha256).where(
        sa.or_(files.c.run_id.in_(sa.select(newest.c.run_id)), files.c.run_id.in_(spared))
    )
    return set(connection.execute(wanted).scalars())


def record_model(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record the model of a run, with columns of `models` as facts."""
    connection.execute(models.insert().values(run_id=run_id, **facts))


def record_scores(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record the scores of a run's model, with columns of `models` as facts."""
    connection.execute(models.update().where(models.c.run_id == run_id).values(**facts))


def find_model(connection: Connection, stamp: str) -> Row | None:
    """Return the newest model with a stamp."""
    return newest_row(connection, models, stamp=stamp)


def record_decision(
    connection: Connection, run_id: int, decided_at: datetime, **facts: Any
) -> None:
    """Record a promotion decision, with columns of `decisions` as evidence."""
    connection.execute(decisions.insert().values(run_id=run_id, decided_at=decided_at, **facts))


def list_decisions(connection: Connection, limit: int, offset: int = 0) -> list[Row]:
    """List the promotion decisions, newest first."""
    return newest_rows(connection, decisions, limit, offset)


def record_deployment(
    connection: Connection, at: datetime, kind: DeploymentKind, release: str, **facts: Any
) -> None:
    """Record a deployment or rollback, with columns of `deployments` as facts.

    The fact `actor` is required.
    """
    connection.execute(deployments.insert().values(at=at, kind=kind, release=release, **facts))


def record_found_release(connection: Connection, now: datetime, serving: str | None) -> bool:
    """Record the deployment of the present release, if missing, and return whether it was.

    A run killed between the switch and its record leaves the record to the next run.
    """
    newest = sa.select(deployments.c.release).order_by(deployments.c.id.desc()).limit(1)
    before = connection.execute(newest).scalar()
    if serving is None or serving == before:
        return False
    record_deployment(
        connection, now, DeploymentKind.DEPLOY, serving, previous_release=before,
        actor="recovery", reason="found serving; how it came to serve was not recorded",
    )  # fmt: skip
    return True


def list_deployments(connection: Connection, limit: int, offset: int = 0) -> list[Row]:
    """List the deployments and rollbacks, newest first."""
    return newest_rows(connection, deployments, limit, offset)


def served_releases(connection: Connection) -> list[str]:
    """List the names of the deployed releases without repetition, latest first."""
    names = connection.execute(sa.select(deployments.c.release).order_by(deployments.c.id.desc()))
    return list(dict.fromkeys(names.scalars()))


def record_column_statistics(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record the column statistics of a run, as rows of `column_statistics`."""
    if rows:
        connection.execute(column_statistics.insert(), [{"run_id": run_id, **row} for row in rows])


def column_statistics_of_run(
    connection: Connection, run_id: int, role: RowsOf = RowsOf.DATASET
) -> list[Row]:
    """List the column statistics of a run, in the order of recording."""
    query = sa.select(column_statistics).filter_by(run_id=run_id, role=role)
    return all_rows(connection, query.order_by(column_statistics.c.id))


def list_column_statistics(
    connection: Connection,
    column: str,
    limit: int,
    offset: int = 0,
    role: RowsOf = RowsOf.DATASET,
) -> list[Row]:
    """List the statistics of a column over the runs, newest first."""
    return newest_rows(connection, column_statistics, limit, offset, column=column, role=role)


def record_production_score(
    connection: Connection, run_id: int, release: str, **facts: Any
) -> None:
    """Record the score of production on the test data, with columns of the table as facts."""
    connection.execute(production_scores.insert().values(run_id=run_id, release=release, **facts))


def last_ended_run(connection: Connection) -> Row | None:
    """Return the last run with an end, successful or not."""
    ended = [Status.FINISHED, Status.FAILED, Status.TIMEOUT, Status.ABORTED]
    return first_row(
        connection, sa.select(runs).where(runs.c.status.in_(ended)).order_by(runs.c.id.desc())
    )


def known_files(connection: Connection) -> dict[str, KnownFile]:
    """Return the digests of earlier runs, by path of the file."""
    return {
        row["path"]: KnownFile(row["n_bytes"], row["changed_ns"], int(row["inode"]), row["sha256"])
        for row in all_rows(connection, sa.select(digests))
    }


def digest_row(path: str, file: KnownFile) -> Row:
    """Return the row of a hashed file in `digests`."""
    # An inode is an unsigned number of 64 bits, too large for an integer column.
    return {"path": path, **asdict(file), "inode": str(file.inode)}


def replace_known_files(connection: Connection, known: Mapping[str, KnownFile]) -> None:
    """Replace all digests by those of the given files."""
    connection.execute(digests.delete())
    rows = [digest_row(path, file) for path, file in known.items()]
    if rows:
        connection.execute(digests.insert(), rows)


def replace_known_file(connection: Connection, path: str, file: KnownFile) -> None:
    """Replace the digest of a file."""
    connection.execute(digests.delete().where(digests.c.path == path))
    connection.execute(digests.insert(), [digest_row(path, file)])


def record_files(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record the files of a run, as rows of `files`."""
    if rows:
        connection.execute(files.insert(), [{"run_id": run_id, **row} for row in rows])


def replace_files(connection: Connection, run_id: int, role: FileRole, rows: Sequence[Row]) -> None:
    """Replace the files of a run with a role by more complete rows."""
    connection.execute(files.delete().where(files.c.run_id == run_id, files.c.role == role))
    record_files(connection, run_id, [{"role": role, **row} for row in rows])


def files_of_run(connection: Connection, run_id: int) -> list[Row]:
    """List the files of a run in reading order."""
    return all_rows(connection, sa.select(files).filter_by(run_id=run_id).order_by(files.c.id))
