"""A run of the full process: with new data train, deploy the better model, report."""

import gc

if __name__ == "__main__":
    # Before the imports: a twentieth of a run with nothing new is garbage collection. The watchdog
    # switches it on again.
    gc.disable()

import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import click
from msgspec import Struct
from sqlalchemy.engine import Engine

from scripts.clients import delivery_state
from scripts.core import artifacts, console, erased_clients, files, packages, terminal
from scripts.core.config import Config, ping_url
from scripts.core.config_file import read_config
from scripts.core.console import check_reason, make_command, run_program
from scripts.core.errors import (
    BusyError,
    PipelineError,
    RecordsError,
    RunTimeoutError,
    describe_bug,
)
from scripts.core.files import KnownFile
from scripts.pipeline import history, retention, snapshot, watchdog
from scripts.pipeline.run import Request, Run
from scripts.pipeline.snapshot import Snapshot
from scripts.pipeline.watchdog import TimeLimits, Watch
from scripts.production import alerts, approval_alerts, audit
from scripts.records import approvals, audit_records, database, erasure_records, runs
from scripts.records.tables import FileRole, Status, Verdict

log = logging.getLogger(__name__)


class News(Struct, frozen=True):
    """The comparison of the folders with the last decided run, and the release in production."""

    snapshot: Snapshot
    is_new: bool
    explanation: str
    serving: str | None


def import_steps() -> ModuleType:
    """Import the steps of a run with work to do, and return their module."""
    with console.imports_without_gc(), packages.explaining_missing():
        # Not at the top: the steps bring pandas, scikit-learn and matplotlib, and a run with
        # nothing new, six times an hour, must not pay for them.
        from scripts.pipeline import steps  # noqa: PLC0415

    return steps


def finish_killed(config: Config, engine: Engine) -> None:
    """Complete an approval of a killed program, and log killed erasures."""
    with database.reading(engine) as connection:
        is_left = approvals.find_unfinished(connection) is not None
        n_killed = len(erasure_records.find_unfinished(connection))
        listed = erased_clients.read_list(config.prod_deployment_path)
        n_unknown = len(erasure_records.find_unknown(connection, listed)) if listed else 0
    if n_unknown:
        log.warning(
            "%d clients were erased after the backup of these records was made, and may be in them"
            " again: python -m scripts.clients repeat.", n_unknown,
        )  # fmt: skip
    if n_killed:
        log.warning(
            "%d erasures of clients were killed before their end; give the same commands again:"
            " python -m scripts.clients list.", n_killed,
        )  # fmt: skip
    if is_left:
        import_steps().finish_approval(config, engine)


def begin_run(config: Config, engine: Engine, request: Request, watch: Watch) -> Run:
    """Clean up after killed runs, record the start of a new run and return that run."""
    now = datetime.now(UTC)
    n_leftovers = retention.remove_half_written(config)
    finish_killed(config, engine)
    serving = artifacts.current_name(config.prod_deployment_path)
    with database.writing(engine) as connection:
        n_dead = runs.abort_dead_runs(connection, now)
        is_unrecorded = runs.record_found_release(connection, now, serving)
        run_id = runs.start_run(
            connection,
            now,
            trigger=request.trigger,
            actor=request.actor,
            versions={"python": sys.version.split()[0]},
        )
        audit_records.record_settings(
            connection, run_id, now, f"unknown, found by a run of {request.actor}",
            audit.describe_settings(config),
        )  # fmt: skip
    if n_leftovers or n_dead:
        log.warning("Recovered from %d dead runs and %d leftovers.", n_dead, n_leftovers)
    if is_unrecorded:
        log.warning("Recorded release %s, which was found serving.", serving)
    log.info("Run %d started by %s.", run_id, request.trigger)
    return Run(run_id, config, engine, watch, request)


def send_alerts(config: Config, engine: Engine) -> None:
    """Send the due alerts, or log the failure of the records."""
    now = datetime.now(UTC)
    try:
        approval_alerts.record_reminder(engine, now)
        alerts.send_due_alerts(engine, config, now)
    except RecordsError as error:
        # The end of the run must reach the caller all the same.
        log.error("The alerts could not be sent: %s", error)


def deliver_list(run: Run) -> None:
    """Send the weekly mail and the events of the list, if any is due. No failure is the run's."""
    now = datetime.now(UTC)
    try:
        if delivery_state.is_anything_due(run.engine, run.config, now):
            import_steps().deliver_list(run, now)
    except RunTimeoutError:
        raise
    except Exception as error:
        # Also a bug here must not turn a good run into a failed one. The next run tries again.
        told = str(error) if isinstance(error, PipelineError | OSError) else describe_bug(error)
        log.error("The list was not delivered, and the next run tries again: %s", told)


@contextlib.contextmanager
def failure_recorded(run: Run) -> Iterator[None]:
    """Record an error of the run, and send alerts at its start and end."""
    # A run that is killed each time never comes to its end, so the next one alerts at its start.
    send_alerts(run.config, run.engine)
    try:
        yield
    except Exception as error:
        # Recorded, then raised again: a failed run is a result, also one that fails by a bug.
        run.end_failed(error)
        deliver_list(run)
        raise
    else:
        deliver_list(run)
    finally:
        send_alerts(run.config, run.engine)


def keep_digest(engine: Engine, path: str, digest: KnownFile) -> None:
    """Record the digest of a large file at once, for the run after a killed one."""
    with database.writing(engine) as connection:
        runs.replace_known_file(connection, path, digest)


def find_news(run: Run) -> News:
    """Compare the input and test files with those of the last decided run."""
    with database.reading(run.engine) as connection:
        known, last = runs.known_files(connection), runs.last_decided_run(connection)
    keep = functools.partial(keep_digest, run.engine)
    snap = run.step("looking for new data", snapshot.take_snapshot, run.config, known, keep)
    # Now, and not at the end: a run that fails has hashed the files all the same.
    if snap.known != known:
        with database.writing(run.engine) as connection:
            runs.replace_known_files(connection, snap.known)
    serving = artifacts.current_name(run.config.prod_deployment_path)
    is_new = snapshot.is_anything_new(last, snap, serving)
    last_files: list[runs.Row] = []
    if is_new and last is not None:
        with database.reading(run.engine) as connection:
            last_files = runs.files_of_run(connection, last["id"])
    explanation = snapshot.explain_news(last, last_files, snap, serving)
    return News(snap, is_new, explanation, serving)


def observe_live(run: Run, serving: str | None) -> None:
    """Measure the drift of the logged live rows, if a comparison is due."""
    try:
        if alerts.is_live_due(run.engine, run.config, serving, datetime.now(UTC)):
            import_steps().observe_live(run)
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Live rows were not compared, and the run goes on: %s", error)


def act_on(run: Run, news: News) -> None:
    """Do the steps for new data, or none, and set the verdict and the reason of the run."""
    if news.snapshot.growing[FileRole.TEST]:
        # This run would measure on one part of the test data, and the next run on all of it.
        run.verdict, run.reason = Verdict.POSTPONED, "test data is still being written"
    elif news.is_new or run.request.force_reason is not None:
        log.info("Run %d trains: %s.", run.id, run.request.force_reason or news.explanation)
        import_steps().do_steps(run, news.snapshot)
    else:
        unread = files.describe_unread(run.config.input_folder_path, run.config.other_folders)
        run.verdict = Verdict.NOTHING_NEW
        run.reason = f"{news.explanation}; {unread}" if unread else news.explanation
        observe_live(run, news.serving)


def end_run(run: Run, fingerprint: str) -> Verdict:
    """Record the end of a run without an error and return the verdict."""
    verdict = Verdict(str(run.verdict))
    run.end(
        Status.FINISHED,
        verdict=verdict,
        # A postponed run decided nothing, so the next one must look again.
        fingerprint=None if verdict is Verdict.POSTPONED else fingerprint,
        release=artifacts.current_name(run.config.prod_deployment_path),
    )
    log.info("Run %d ended: %s (%s).", run.id, verdict, run.reason)
    return verdict


def record_skipped(config: Config, request: Request, reason: str) -> None:
    """Record a skipped run: another program was writing."""
    now = datetime.now(UTC)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        run_id = runs.start_run(
            connection, now, Status.SKIPPED, request.trigger, actor=request.actor
        )
        runs.end_run(connection, run_id, ended_at=now, reason=reason)
    log.info("Run %d skipped: it overlaps another one.", run_id)


def main(config: Config, *, request: Request | None = None, watch: Watch | None = None) -> Verdict:
    """Run the whole process once, without new data no step, and record the run.

    Parameters
    ----------
    config : Config
        The installation.
    request : Request, optional
        The trigger of the run, and the reason to train although no data is new.
    watch : Watch, optional
        The watchdog, to which each step is reported.

    Returns
    -------
    Verdict
        The decision of the run.

    Raises
    ------
    BusyError
        If another program of this installation is writing.
    PipelineError
        If a step fails; production is then as it was.
    """
    request, watch = request or Request(), watch or Watch()
    try:
        with (
            files.exclusive_lock(config.prod_deployment_path),
            watchdog.ping_around(ping_url(config)),
            database.open_records(config.database_url) as engine,
            erased_clients.refused(erased_clients.find(config.prod_deployment_path)),
        ):
            run = begin_run(config, engine, request, watch)
            with failure_recorded(run):
                news = find_news(run)
                act_on(run, news)
                verdict = end_run(run, news.snapshot.fingerprint)
            retention.forget_old_records(engine, config, run.id)
            return verdict
    except BusyError as error:
        record_skipped(config, request, str(error))
        raise


def record_timeout(config: Config, run_id: int, reason: str) -> None:
    """Record the timeout of a killed run, from the process of the watchdog."""
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        runs.time_out_run(connection, run_id, datetime.now(UTC), reason)
    watchdog.ping(ping_url(config), watchdog.Signal.FAIL)


def start_run(config: Config, request: Request) -> None:
    """Start a run in the background, under a watchdog with the time limits of config.json."""
    console.give_way()
    record = functools.partial(record_timeout, config)
    whole = config.run.limit_minutes
    limits = TimeLimits(config.run.timeout_minutes * 60, None if whole is None else whole * 60)
    with watchdog.limit(limits, record) as watch:
        main(config, request=request, watch=watch)


def show_or_start(
    config_path: Path,
    *,
    trigger: str,
    force: str | None,
    is_dry: bool,
    n_runs: int | None,
    reproduced: int | None,
    compared: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Run the whole process once: ingest, train, score, decide, deploy, report."""
    config = read_config(config_path)
    if as_json and compared is None:
        raise click.UsageError("--json is the form of --compare, as in --compare 12 15 --json.")
    if compared is not None:
        import_steps().compare(config, compared, as_json=as_json)
    elif reproduced is not None:
        import_steps().reproduce(config, reproduced)
    elif n_runs is not None:
        click.echo(history.format_runs(history.read_runs(config, n_runs)))
    elif is_dry:
        terminal.echo(history.describe_plan(config, force))
    else:
        start_run(config, Request(trigger, force))


OPTIONS = (
    click.Option(
        ["--trigger"],
        envvar="ADRAS_TRIGGER",
        default="hand",
        help="The trigger of this run, for the records (default: $ADRAS_TRIGGER, else hand).",
    ),
    click.Option(
        ["--force"],
        metavar="REASON",
        callback=check_reason,
        help="Train although no data is new; the reason goes to the records.",
    ),
    click.Option(
        ["--dry-run", "is_dry"],
        is_flag=True,
        help="Describe the next run and its reason; change nothing.",
    ),
    click.Option(
        ["--history", "n_runs"],
        type=click.IntRange(min=1),
        metavar="N",
        help="Show the last N runs; change nothing.",
    ),
    click.Option(
        ["--reproduce", "reproduced"],
        type=click.IntRange(min=1),
        metavar="RUN",
        help="Make the model of an earlier run again, and compare it by its hash.",
    ),
    click.Option(
        ["--compare", "compared"],
        type=(int, int),
        metavar="A B",
        help="Compare two runs: settings, files, terms, metrics, lists; change nothing.",
    ),
    click.Option(["--json", "as_json"], is_flag=True, help="Print the comparison as JSON."),
)

if __name__ == "__main__":
    run_program(make_command(show_or_start, OPTIONS))
