"""What a run with work does: train, decide, deploy, then whatever tells of it."""

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from scripts import (
    apicalls,
    artifacts,
    clientscoring,
    database,
    deployment,
    diagnostics,
    findings,
    ingestion,
    notices,
    promotion,
    release,
    reporting,
    scoring,
    training,
)
from scripts.config import Config
from scripts.database import Role, Verdict
from scripts.errors import InsufficientDataError, NoServiceError, PipelineError, RunTimeoutError
from scripts.running import Run
from scripts.snapshot import Snapshot

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


def train_and_decide(run: Run, snap: Snapshot) -> None:
    """Ingest, train, score, decide and, if the candidate is better, deploy."""
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
        run.is_first_release = decision.production_release is None
        notices.start_over(run.engine, run.id, made.name, scored.evaluation)
    run.verdict = verdicts.get(decision.answer, Verdict.HELD)


def score_clients(run: Run) -> None:
    """Score today's clients with what serves now; whatever fails here undoes nothing."""
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
        except NoServiceError as error:
            # Before the first release there was nothing to serve.
            level = logging.INFO if run.is_first_release else logging.WARNING
            log.log(level, "The service was not asked, which undoes nothing: %s", error)
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
    # Every step reads the test data, and need not say again what of them is not used.
    with findings.logged_once():
        work_step_by_step(run, snap)


def work_step_by_step(run: Run, snap: Snapshot) -> None:
    """Train, decide, score today's clients, report, and remove what is old."""
    run.record_snapshot(snap)
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
