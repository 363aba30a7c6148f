"""The output of --history and --dry-run: a table of past runs, the plan of the next run."""

from collections.abc import Sequence
from datetime import timedelta

from scripts.core import artifacts, terminal
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError
from scripts.core.files import KnownFile
from scripts.pipeline import snapshot
from scripts.pipeline.snapshot import Snapshot
from scripts.records import database, runs
from scripts.records.runs import Row
from scripts.records.tables import FileRole, Status

HEADER = ("run", "started (UTC)", "took", "trigger", "ended", "F1", "production", "release", "why")


def read_runs(config: Config, n_runs: int) -> list[Row]:
    """Read the last runs, newest first.

    Raises
    ------
    NotMadeYetError
        If there has been no run.
    """
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        return runs.latest_runs(connection, n_runs)


def format_f1(f1: float | None) -> str:
    """Format an F1 for a table, None as an empty cell."""
    return "" if f1 is None else f"{f1:.4f}"


def format_duration(run: Row) -> str:
    """Format the duration of a run, from a minute on in whole seconds."""
    if run["ended_at"] is None:
        return ""
    duration: timedelta = run["ended_at"] - run["started_at"]
    seconds = max(0.0, duration.total_seconds())
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def format_run(run: Row) -> tuple[str, ...]:
    """Format a run as the cells of a row."""
    why = " ".join(filter(None, [run["reason"], run["error"]])).replace("\n", " ")
    return (
        str(run["id"]),
        f"{run['started_at']:%Y-%m-%d %H:%M:%S}",
        format_duration(run),
        run["trigger"] or "",
        run["verdict"] or run["status"],
        format_f1(run["candidate_f1"]),
        format_f1(run["production_f1"]),
        run["release"] or "",
        why,
    )


def format_runs(rows: Sequence[Row]) -> str:
    """Format runs, given newest first, as a table with the newest run last."""
    return terminal.format_columns([HEADER, *(format_run(row) for row in reversed(rows))])


def read_past(config: Config) -> tuple[dict[str, KnownFile], Row | None, list[Row], Row | None]:
    """Read the known files, the last decided run with its files, and the current run."""
    try:
        with (
            database.open_records(config.database_url, may_change=False) as engine,
            database.reading(engine) as connection,
        ):
            last = runs.last_decided_run(connection)
            files = [] if last is None else runs.files_of_run(connection, last["id"])
            newest = runs.latest_runs(connection, 1)
            running = newest[0] if newest and newest[0]["status"] == Status.RUNNING else None
            return runs.known_files(connection), last, files, running
    except NotMadeYetError:
        return {}, None, [], None


def format_plan(snap: Snapshot, serving: str | None) -> list[str]:
    """Describe the files and the comparison of a training run."""
    n_inputs, n_tests = len(snap.paths[FileRole.INPUT]), len(snap.paths[FileRole.TEST])
    action = "deploy it, as nothing is in production"
    if serving is not None:
        action = f"deploy it if it is better than release {serving}"
    return [
        f"It would train on {n_inputs} input files, compare on {n_tests} test files, and {action}."
    ]


def describe_plan(config: Config, force_reason: str | None) -> str:
    """Describe the next run and its reason without any change on disk.

    Parameters
    ----------
    config : Config
        The installation.
    force_reason : str or None
        Why the run would train although nothing is new.

    Returns
    -------
    str
        A few lines for a person.
    """
    known, last, last_files, running = read_past(config)
    snap = snapshot.take_snapshot(config, known)
    serving = artifacts.current_name(config.prod_deployment_path)
    news = snapshot.explain_news(last, last_files, snap, serving)
    lines = []
    if running is not None:
        lines.append(f"Run {running['id']} is at work or was killed; a live one must end first.")
    if snap.growing[FileRole.TEST]:
        lines.append("A run would wait for the next time: test data is still being written.")
    elif snapshot.is_anything_new(last, snap, serving):
        lines += [f"A run would train: {news}.", *format_plan(snap, serving)]
    elif force_reason is not None:
        lines += [f"A run would train: forced ({force_reason}).", *format_plan(snap, serving)]
    else:
        lines.append(f"A run would do nothing: {news}.")
    return "\n".join(lines)
