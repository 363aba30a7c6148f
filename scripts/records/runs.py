"""The history of the runs, and the questions asked of it.

The files that runs have read, and what was known of those hashed before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
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
# Runs that left nothing but their row.
IDLE = sa.or_(
    runs.c.verdict.in_([Verdict.NOTHING_NEW, Verdict.POSTPONED]),
    runs.c.status == Status.SKIPPED,
)


def start_run(
    connection: Connection,
    now: datetime,
    status: Status = Status.RUNNING,
    trigger: str | None = None,
    versions: Mapping[str, str] | None = None,
) -> int:
    """Record that a run starts, and return its id."""
    result = connection.execute(
        runs.insert().values(started_at=now, status=status, trigger=trigger, versions=versions)
    )
    key = result.inserted_primary_key
    if key is None:
        raise RecordsError("The database gave a new run no id.")
    return int(key[0])


def end_run(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record how a run ended; facts are columns of `runs`."""
    connection.execute(runs.update().where(runs.c.id == run_id).values(**facts))


def record_past_run(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record a run of a history that is taken over, under an id of its own."""
    connection.execute(runs.insert().values(id=run_id, **facts))


def lowest_run_id(connection: Connection) -> int:
    """Find the id below which past runs go: 0, or the lowest of those taken over already."""
    lowest = connection.execute(sa.select(sa.func.min(runs.c.id))).scalar()
    return min(0, lowest if lowest is not None else 0)


def past_stamps(connection: Connection, trigger: str) -> set[str]:
    """List the stamps of the runs that were taken over."""
    taken = sa.select(runs.c.stamp).where(runs.c.trigger == trigger)
    return {str(stamp) for stamp in connection.execute(taken).scalars()}


def abort_dead_runs(connection: Connection, now: datetime) -> int:
    """Mark runs that never ended as aborted, and count them; only the holder of the lock may."""
    reason = "the run was killed, or the machine stopped"
    dead = runs.update().where(runs.c.status == Status.RUNNING)
    return connection.execute(
        dead.values(status=Status.ABORTED, ended_at=now, reason=reason)
    ).rowcount


def first_row(connection: Connection, query: sa.Select[Any]) -> Row | None:
    """Give the first row of a question; None if it has no answer."""
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else dict(row)


def newest_rows(
    connection: Connection, table: sa.Table, limit: int, offset: int = 0, **wanted: Any
) -> list[Row]:
    """List rows of a table by id, newest first; `wanted` are values that columns must have."""
    query = sa.select(table).filter_by(**wanted).order_by(table.c.id.desc())
    return [dict(row) for row in connection.execute(query.limit(limit).offset(offset)).mappings()]


def find_run(connection: Connection, run_id: int) -> Row | None:
    """Find a run by its id."""
    return first_row(connection, sa.select(runs).where(runs.c.id == run_id))


def last_decided_run(connection: Connection) -> Row | None:
    """Find the last run that trained and came to a verdict."""
    return first_row(
        connection,
        sa.select(runs)
        .where(runs.c.status == Status.FINISHED, sa.not_(IDLE))
        # A run of a history that was taken over says nothing about what is new.
        .where(runs.c.fingerprint.is_not(None))
        .order_by(runs.c.id.desc()),
    )


def time_out_run(connection: Connection, run_id: int, now: datetime, reason: str) -> None:
    """Record that a run had to be killed; a next run may have found it dead already."""
    killed = runs.update().where(
        runs.c.id == run_id, runs.c.status.in_([Status.RUNNING, Status.ABORTED])
    )
    connection.execute(killed.values(status=Status.TIMEOUT, ended_at=now, reason=reason))


def forget_old_runs(connection: Connection, n_kept: int) -> int:
    """Forget what nobody will ask of the runs before the newest ones, and count what went.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    n_kept : int
        So many of the newest runs are kept whole.

    Returns
    -------
    int
        Rows removed: of older runs those that had nothing to do or did not start, and the files
        and column statistics of the others. A run that trained, failed or died stays for ever,
        and so do models, decisions, deployments and scores.
    """
    newest = sa.select(runs.c.id).order_by(runs.c.id.desc()).offset(n_kept).limit(1)
    oldest_id = connection.execute(newest).scalar()
    if oldest_id is None:
        return 0
    # What is new is told by comparing with the files of this one.
    decided = last_decided_run(connection)
    spared = None if decided is None else decided["id"]
    removed = 0
    for table in (files, column_statistics):
        old = table.delete().where(table.c.run_id <= oldest_id, table.c.run_id != (spared or 0))
        removed += connection.execute(old).rowcount
    released = states.update().where(states.c.run_id <= oldest_id).values(run_id=None)
    connection.execute(released)
    idle = runs.delete().where(runs.c.id <= oldest_id, IDLE)
    return removed + connection.execute(idle).rowcount


def last_finished_run(connection: Connection) -> Row | None:
    """Find the last run that ended well, whatever its verdict."""
    finished = sa.select(runs).where(runs.c.status == Status.FINISHED)
    return first_row(connection, finished.order_by(runs.c.id.desc()))


def latest_runs(connection: Connection, limit: int, offset: int = 0) -> list[Row]:
    """List the last runs, newest first."""
    return newest_rows(connection, runs, limit, offset)


def record_model(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record a model that a run trained; facts are columns of `models`."""
    connection.execute(models.insert().values(run_id=run_id, **facts))


def record_scores(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record how good a run's model is; facts are columns of `models`."""
    connection.execute(models.update().where(models.c.run_id == run_id).values(**facts))


def find_model(connection: Connection, stamp: str) -> Row | None:
    """Find the newest model with a stamp."""
    found = newest_rows(connection, models, 1, stamp=stamp)
    return found[0] if found else None


def record_decision(
    connection: Connection, run_id: int, decided_at: datetime, **facts: Any
) -> None:
    """Record what a promotion decided, and on what evidence; facts are columns of `decisions`."""
    connection.execute(decisions.insert().values(run_id=run_id, decided_at=decided_at, **facts))


def list_decisions(connection: Connection, limit: int, offset: int = 0) -> list[Row]:
    """List the promotion decisions, newest first."""
    return newest_rows(connection, decisions, limit, offset)


def record_deployment(
    connection: Connection, at: datetime, kind: DeploymentKind, release: str, **facts: Any
) -> None:
    """Record that a release began to serve; facts are columns of `deployments`, actor is needed."""
    connection.execute(deployments.insert().values(at=at, kind=kind, release=release, **facts))


def record_found_release(connection: Connection, now: datetime, serving: str | None) -> bool:
    """Record the release that serves, if whoever let it serve could not, and say whether so.

    A run killed between the switch and its record leaves this to the next one.
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
    """List the releases that have served, the latest first, each once."""
    names = connection.execute(sa.select(deployments.c.release).order_by(deployments.c.id.desc()))
    return list(dict.fromkeys(names.scalars()))


def record_column_statistics(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record what a run's dataset looks like; the keys are columns of `column_statistics`."""
    if rows:
        connection.execute(column_statistics.insert(), [{"run_id": run_id, **row} for row in rows])


def column_statistics_of_run(
    connection: Connection, run_id: int, role: RowsOf = RowsOf.DATASET
) -> list[Row]:
    """List the statistics of the columns that a run recorded, in the order recorded."""
    query = sa.select(column_statistics).filter_by(run_id=run_id, role=role)
    rows = connection.execute(query.order_by(column_statistics.c.id)).mappings()
    return [dict(row) for row in rows]


def list_column_statistics(
    connection: Connection,
    column: str,
    limit: int,
    offset: int = 0,
    role: RowsOf = RowsOf.DATASET,
) -> list[Row]:
    """List the statistics of one column over the runs, newest first."""
    return newest_rows(connection, column_statistics, limit, offset, column=column, role=role)


def record_production_score(
    connection: Connection, run_id: int, release: str, **facts: Any
) -> None:
    """Record how production does on current test data; facts are columns of its table."""
    connection.execute(production_scores.insert().values(run_id=run_id, release=release, **facts))


def last_ended_run(connection: Connection) -> Row | None:
    """Find the last run that came to an end of its own, good or bad."""
    ended = [Status.FINISHED, Status.FAILED, Status.TIMEOUT, Status.ABORTED]
    return first_row(
        connection, sa.select(runs).where(runs.c.status.in_(ended)).order_by(runs.c.id.desc())
    )


def known_files(connection: Connection) -> dict[str, KnownFile]:
    """List the files hashed before, by path."""
    rows = connection.execute(sa.select(digests)).mappings()
    return {
        row["path"]: KnownFile(row["n_bytes"], row["changed_ns"], int(row["inode"]), row["sha256"])
        for row in rows
    }


def replace_known_files(connection: Connection, known: Mapping[str, KnownFile]) -> None:
    """Remember the files hashed now, and forget all others."""
    connection.execute(digests.delete())
    # An inode is an unsigned number of 64 bits, which no integer column holds.
    rows = [
        {"path": path, **asdict(file), "inode": str(file.inode)} for path, file in known.items()
    ]
    if rows:
        connection.execute(digests.insert(), rows)


def replace_known_file(connection: Connection, path: str, file: KnownFile) -> None:
    """Remember one file hashed now, and nothing else of it."""
    connection.execute(digests.delete().where(digests.c.path == path))
    row = {"path": path, **asdict(file), "inode": str(file.inode)}
    connection.execute(digests.insert(), [row])


def record_files(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record the files that a run read; the keys are columns of `files`."""
    if rows:
        connection.execute(files.insert(), [{"run_id": run_id, **row} for row in rows])


def replace_files(connection: Connection, run_id: int, role: FileRole, rows: Sequence[Row]) -> None:
    """Record again the files that a run read for a role, knowing more of them."""
    connection.execute(files.delete().where(files.c.run_id == run_id, files.c.role == role))
    record_files(connection, run_id, [{"role": role, **row} for row in rows])


def files_of_run(connection: Connection, run_id: int) -> list[Row]:
    """List the files that a run read, in the order in which it read them."""
    query = sa.select(files).where(files.c.run_id == run_id).order_by(files.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]
