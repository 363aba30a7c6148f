"""Runs the whole process: anything new? train; is the candidate better? deploy; then report."""

import gc

if __name__ == "__main__":
    # Before anything is imported: of a run with nothing new it is a twentieth (scripts/garbage.py).
    # The watchdog switches it on again.
    gc.disable()

import functools
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy.engine import Engine

from scripts import (
    artifacts,
    database,
    deadline,
    filebook,
    gallery,
    garbage,
    heartbeat,
    history,
    notices,
    snapshot,
)
from scripts.config import Config, ping_url, read_config
from scripts.console import make_command
from scripts.database import Role, Status, Verdict
from scripts.deadline import Watch
from scripts.errors import (
    BusyError,
    InsufficientDataError,
    PipelineError,
    RecordsError,
    RunTimeoutError,
)
from scripts.running import Request, Run, name_of
from scripts.snapshot import Snapshot

# Six runs an hour need not each look for what is old.
FORGET_EVERY = 20
log = logging.getLogger(__name__)


def observe(run: Run, dataset_path: Path) -> None:
    """Look for drift, with the release that has served until now; a failure undoes nothing."""
    try:
        run.found = notices.observe(run.engine, run.id, run.config, dataset_path)
        notices.observe_live(run.engine, run.id, run.config)
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("monitoring did not succeed, which undoes nothing: %s", error)


def observe_live(run: Run, serving: str | None) -> None:
    """Look for drift in what production is asked, if there is anything new to see."""
    try:
        if notices.is_live_due(run.engine, run.config, serving, datetime.now(UTC)):
            run.step("live rows", lambda: notices.observe_live(run.engine, run.id, run.config))
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Live rows were not compared, which undoes nothing: %s", error)


def tell(config: Config, engine: Engine) -> None:
    """Tell who wants to know what changed; that this fails must not hide how a run ended."""
    try:
        notices.tell(engine, config, datetime.now(UTC))
    except RecordsError as error:
        log.error("What changed could not be told: %s", error)


def import_steps() -> None:
    """Import everything that a run with work needs, at once."""
    # Only when there is work: these bring pandas, scikit-learn and matplotlib, and a run with
    # nothing new, six times an hour, must not pay for them.
    with garbage.importing():
        from scripts import (  # noqa: F401, PLC0415
            apicalls,
            clientscoring,
            deployment,
            diagnostics,
            ingestion,
            promotion,
            reporting,
            scoring,
            training,
        )


def train_and_decide(run: Run, snap: Snapshot) -> None:
    """Ingest, train, score, decide and, if the candidate is better, deploy."""
    # As above, by now without a cost.
    from scripts import deployment, ingestion, promotion, scoring, training  # noqa: PLC0415

    config = run.config
    ingested = run.step("ingestion", lambda: ingestion.main(config, paths=snap.paths[Role.INPUT]))
    run.ingested = ingested
    run.record_readings(ingested.readings, Role.INPUT)
    run.step("monitoring", lambda: observe(run, ingested.dataset_path))
    trained = run.step(
        "training",
        lambda: training.main(config, dataset_path=ingested.dataset_path, read=run.take_read()),
    )
    run.facts["stamp"] = trained.stamp
    run.record_model(trained)
    scored = run.step("scoring", lambda: scoring.main(config, model_path=trained.model_path))
    run.record_readings(scored.readings, Role.TEST)
    run.record_scores(scored.evaluation)
    decision = run.step("promotion", lambda: promotion.main(config, model_path=trained.model_path))
    run.record_decision(decision)
    run.reason = decision.reason
    run.facts["candidate_f1"] = decision.candidate_f1
    run.facts["production_f1"] = decision.production_f1
    verdicts = {
        promotion.Answer.DEPLOY: Verdict.DEPLOYED,
        promotion.Answer.INSUFFICIENT: Verdict.INSUFFICIENT,
    }
    if decision.answer is promotion.Answer.DEPLOY:
        made = run.step(
            "deployment",
            lambda: deployment.main(
                config,
                model_path=trained.model_path,
                dataset_path=ingested.dataset_path,
                f1=scored.evaluation.f1,
            ),
        )
        run.record_deployment(made, decision.production_release)
        notices.start_over(run.engine, run.id, made.name, scored.evaluation)
    run.verdict = verdicts.get(decision.answer, Verdict.HELD)


def score_clients(run: Run) -> None:
    """Score today's clients with what serves now; whatever fails here undoes nothing."""
    # As above.
    from scripts import clientscoring  # noqa: PLC0415

    if run.ingested is None:
        return
    found = run.ingested.clients, run.ingested.dataset_path
    try:
        run.step("clients", lambda: clientscoring.main(run.config, run.engine, run.id, *found))
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Today's clients were not scored, which undoes nothing: %s", error)


def report(run: Run) -> None:
    """Measure, draw and ask the service; whatever fails here undoes nothing."""
    # As above.
    from scripts import apicalls, diagnostics, reporting  # noqa: PLC0415

    # A run that made no model has no times to tell.
    durations_s = run.durations_s if "stamp" in run.facts else {}
    measured = diagnostics.Measured(durations_s, run.found)
    draw = functools.partial(
        reporting.main, engine=run.engine, pdf=run.verdict is Verdict.DEPLOYED,
        durations_s=run.durations_s,
    )  # fmt: skip
    watchers: dict[str, Callable[[Config], object]] = {
        "diagnostics": functools.partial(diagnostics.main, measured=measured),
        # After the diagnostics, of which the report tells.
        "reporting": draw,
        "apicalls": apicalls.main,
    }
    for name, main_of in watchers.items():
        try:
            run.step(name, functools.partial(main_of, run.config))
        except RunTimeoutError:
            raise
        except (PipelineError, OSError) as error:
            log.warning("%s did not succeed, which undoes nothing: %s", name, error)


def leave_cluster() -> None:
    """Give a cluster's cores back as soon as they are not needed any more."""
    # PySpark is for who has a cluster, so it is asked for only where a step has used it.
    cluster = sys.modules.get("scripts.cluster")
    if cluster is not None:
        cluster.close_session()


def tidy_up(run: Run) -> None:
    """Remove what is older than the retention settings keep."""
    # As above.
    from scripts import deployment, release  # noqa: PLC0415

    config = run.config
    with database.reading(run.engine) as connection:
        served = database.served_releases(connection)
    current = release.load_current(config.prod_deployment_path)
    spared = frozenset() if current is None else frozenset({current.manifest.model_stamp})
    n_removed = sum(
        artifacts.remove_all_but_latest(folder, config.retention.runs, spared)
        for folder in {config.output_folder_path, config.output_model_path}
    )
    n_releases = deployment.remove_old_releases(
        config.prod_deployment_path, config.retention.releases, served
    )
    if n_removed or n_releases:
        log.info("Removed the files of %d old runs and %d old releases.", n_removed, n_releases)


def work(run: Run, snap: Snapshot) -> None:
    """Do a run for which there is something to do."""
    run.record_snapshot(snap)
    import_steps()
    try:
        train_and_decide(run, snap)
    except InsufficientDataError as error:
        log.warning("Insufficient data: %s", error)
        run.verdict, run.reason = Verdict.INSUFFICIENT, str(error)
    if artifacts.current_target(run.config.prod_deployment_path) is not None:
        score_clients(run)
        leave_cluster()
        report(run)
    run.step("retention", lambda: tidy_up(run))


def look_and_work(run: Run) -> Verdict:
    """Look for what is new, do what is to be done, and record how the run ends."""
    config, prod_folder = run.config, run.config.prod_deployment_path
    with database.reading(run.engine) as connection:
        known, last = filebook.known_files(connection), database.last_decided_run(connection)
    snap = run.step("looking for new data", lambda: snapshot.take_snapshot(config, known))
    serving = name_of(artifacts.current_target(prod_folder))
    is_new = snapshot.is_anything_new(last, snap, serving)
    last_files: list[database.Row] = []
    if is_new and last is not None:
        with database.reading(run.engine) as connection:
            last_files = filebook.files_of_run(connection, last["id"])
    news = snapshot.explain_news(last, last_files, snap, serving)
    if snap.growing[Role.TEST]:
        # Half of the test data would be judged on, and the other half the next time.
        run.verdict, run.reason = Verdict.POSTPONED, "test data is still being written"
    elif is_new or run.request.force_reason is not None:
        log.info("Run %d trains: %s.", run.id, run.request.force_reason or news)
        work(run, snap)
    else:
        run.verdict, run.reason = Verdict.NOTHING_NEW, news
        observe_live(run, serving)
    if snap.known != known:
        with database.writing(run.engine) as connection:
            filebook.replace_known_files(connection, snap.known)
    run.end(
        Status.FINISHED,
        verdict=run.verdict,
        # A postponed run decided nothing, so the next one must look again.
        fingerprint=None if run.verdict is Verdict.POSTPONED else snap.fingerprint,
        release=name_of(artifacts.current_target(prod_folder)),
    )
    log.info("Run %d ended: %s (%s).", run.id, run.verdict, run.reason)
    return Verdict(str(run.verdict))


def recover(config: Config, engine: Engine, request: Request, now: datetime) -> int:
    """Put right what a killed run left behind, and record that this one starts; return its id."""
    prod_folder = config.prod_deployment_path
    models_folder = config.output_model_path
    folders = [config.output_folder_path, models_folder, gallery.folder_of(models_folder)]
    folders += [prod_folder, prod_folder / artifacts.RELEASES]
    n_leftovers = artifacts.remove_leftovers(folders)
    serving = name_of(artifacts.current_target(prod_folder))
    with database.writing(engine) as connection:
        n_dead = database.abort_dead_runs(connection, now)
        is_unrecorded = database.record_found_release(connection, now, serving)
        run_id = database.start_run(
            connection, now, trigger=request.trigger, versions={"python": sys.version.split()[0]}
        )
    if n_leftovers or n_dead:
        log.warning("Recovered from %d dead runs and %d leftovers.", n_dead, n_leftovers)
    if is_unrecorded:
        log.warning("Recorded release %s, which was found serving.", serving)
    return run_id


def run_recorded(config: Config, engine: Engine, request: Request, watch: Watch) -> Verdict:
    """Record a run from its start to its end, also when it fails."""
    run = Run(recover(config, engine, request, datetime.now(UTC)), config, engine, watch, request)
    log.info("Run %d started by %s.", run.id, request.trigger)
    # A run that is killed each time never comes to its end, so the next one tells at its start.
    tell(config, engine)
    try:
        verdict = look_and_work(run)
    except Exception as error:
        # Recorded, then raised again: a failed run is a result, also one that fails by a bug.
        run.end_badly(error)
        raise
    finally:
        tell(config, engine)
    if run.id % FORGET_EVERY == 0:
        with database.writing(engine) as connection:
            database.forget_old_runs(connection, config.retention.history)
    return verdict


def record_skipped(config: Config, request: Request, reason: str) -> None:
    """Record that a run did not start because another program was writing."""
    now = datetime.now(UTC)
    with database.open_records(config.database_url) as engine, database.writing(engine) as row:
        run_id = database.start_run(row, now, Status.SKIPPED, request.trigger)
        database.end_run(row, run_id, ended_at=now, reason=reason)
    log.info("Run %d skipped: it overlaps another one.", run_id)


def main(config: Config, *, request: Request | None = None, watch: Watch | None = None) -> Verdict:
    """Run the whole process once, if there is anything new, and record it.

    Parameters
    ----------
    config : Config
        The installation.
    request : Request, optional
        What started the run, and why it must train although nothing is new.
    watch : Watch, optional
        Is told the steps.

    Returns
    -------
    Verdict
        What the run decided.

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
            artifacts.exclusive_lock(config.prod_deployment_path),
            heartbeat.told(ping_url(config)),
            database.open_records(config.database_url) as engine,
        ):
            return run_recorded(config, engine, request, watch)
    except BusyError as error:
        record_skipped(config, request, str(error))
        raise


def record_timeout(config: Config, run_id: int, reason: str) -> None:
    """Record that a run had to be killed, from the process that did it."""
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        database.time_out_run(connection, run_id, datetime.now(UTC), reason)
    heartbeat.ping(ping_url(config), heartbeat.Signal.FAIL)


def run_limited(config: Config, request: Request) -> None:
    """Run the whole process once, and end it if it takes too long."""
    record = functools.partial(record_timeout, config)
    with deadline.limit(config.run.timeout_minutes * 60, record) as watch:
        main(config, request=request, watch=watch)


def run_from(
    config_path: Path, trigger: str, force: str | None, is_dry: bool, n_runs: int | None
) -> None:
    """Run the whole process once: ingest, train, score, decide, deploy, report."""
    config = read_config(config_path)
    if n_runs is not None:
        click.echo(history.spell_runs(history.read_runs(config, n_runs)))
    elif is_dry:
        click.echo(history.foresee(config, force))
    else:
        run_limited(config, Request(trigger, force))


OPTIONS = (
    click.Option(
        ["--trigger"],
        envvar="ADRAS_TRIGGER",
        default="hand",
        help="What starts this run, for the records (default: $ADRAS_TRIGGER, else hand).",
    ),
    click.Option(
        ["--force"],
        metavar="REASON",
        help="Train although nothing is new; say why, for the records.",
    ),
    click.Option(
        ["--dry-run", "is_dry"],
        is_flag=True,
        help="Say what a run would do, and why; change nothing.",
    ),
    click.Option(
        ["--history", "n_runs"],
        type=click.IntRange(min=1),
        metavar="N",
        help="Show the last N runs; change nothing.",
    ),
)

if __name__ == "__main__":
    make_command(run_from, OPTIONS).main()
