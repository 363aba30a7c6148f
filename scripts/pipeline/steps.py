"""The steps of a run with work: train, decide, deploy, then score today's clients and report."""

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scripts import (
    apicalls,
    deployment,
    diagnostics,
    ingestion,
    promotion,
    reporting,
    scoring,
    training,
)
from scripts.clients import score_clients as client_scores
from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.errors import (
    InsufficientDataError,
    NoServiceError,
    PipelineError,
    RunTimeoutError,
)
from scripts.data import read_report
from scripts.ingestion import Ingestion
from scripts.pipeline import retention
from scripts.pipeline.run import Run
from scripts.pipeline.snapshot import Snapshot
from scripts.production import observation, promotion_gate
from scripts.production.monitor import MonitoringResult
from scripts.production.run_context import RunContext
from scripts.records.tables import FileRole, Verdict
from scripts.training import Training

VERDICTS = {
    promotion_gate.GateVerdict.DEPLOY: Verdict.DEPLOYED,
    promotion_gate.GateVerdict.INSUFFICIENT: Verdict.INSUFFICIENT,
}

log = logging.getLogger(__name__)


def ingest(run: Run, snap: Snapshot, context: RunContext) -> Ingestion:
    """Read the input files into a dataset, and record what was found in each."""
    paths = snap.paths[FileRole.INPUT]
    ingested = run.step(
        "ingestion", lambda: ingestion.main(run.config, paths=paths, context=context)
    )
    run.record_readings(ingested.readings, FileRole.INPUT)
    return ingested


def observe(run: Run, context: RunContext, dataset_path: Path) -> MonitoringResult | None:
    """Look for drift, with the release that has served until now; a failure undoes nothing."""
    found = None
    try:
        found = observation.observe(run.engine, run.id, context, dataset_path)
        observation.observe_live(run.engine, run.id, context)
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("monitoring did not succeed, which undoes nothing: %s", error)
    return found


def train(
    run: Run, context: RunContext, ingested: Ingestion, found: MonitoringResult | None
) -> Training:
    """Fit a model to the dataset, which monitoring may have left in memory, and record it."""
    trained = run.step(
        "training",
        lambda: training.main(
            run.config,
            dataset_path=ingested.dataset_path,
            read=None if found is None else found.read,
            context=context,
        ),
    )
    run.facts["stamp"] = trained.stamp
    run.record_model(trained, ingested.dropped)
    return trained


def decide(run: Run, context: RunContext, trained: Training) -> None:
    """Score the candidate, compare it with production and, if it is better, deploy it."""
    config, model_path = run.config, trained.model_path
    scored = run.step(
        "scoring", lambda: scoring.main(config, model_path=model_path, context=context)
    )
    run.record_readings(scored.readings, FileRole.TEST)
    run.record_scores(scored.evaluation)
    decision = run.step(
        "promotion", lambda: promotion.main(config, model_path=model_path, context=context)
    )
    run.record_decision(decision)
    run.reason = decision.reason
    run.facts["candidate_f1"] = decision.candidate_f1
    run.facts["production_f1"] = decision.production_f1
    if decision.answer is promotion_gate.GateVerdict.DEPLOY:
        made = run.step(
            "deployment",
            lambda: deployment.main(
                config,
                model_path=model_path,
                dataset_path=trained.dataset_path,
                f1=scored.evaluation.f1,
                context=context,
            ),
        )
        run.record_deployment(made, decision.production_release)
        run.is_first_release = decision.production_release is None
        observation.record_new_release(run.engine, run.id, made.name, scored.evaluation)
    run.verdict = VERDICTS.get(decision.answer, Verdict.HELD)


def score_clients(run: Run, context: RunContext, ingested: Ingestion) -> None:
    """Score today's clients with what serves now; whatever fails here undoes nothing."""
    found = ingested.clients, ingested.dataset_path
    try:
        run.step(
            "clients",
            lambda: client_scores.main(run.config, run.engine, run.id, *found, context=context),
        )
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Today's clients were not scored, which undoes nothing: %s", error)


def report(run: Run, context: RunContext, found: MonitoringResult | None) -> None:
    """Measure, draw and ask the service; whatever fails here undoes nothing."""
    # A run that made no model has no times to tell.
    durations_s = run.durations_s if "stamp" in run.facts else {}
    measured = diagnostics.RunMeasurements(durations_s, found)
    draw = functools.partial(
        reporting.main, engine=run.engine, pdf=run.verdict is Verdict.DEPLOYED,
        durations_s=run.durations_s, context=context,
    )  # fmt: skip
    watchers: dict[str, Callable[[Config], object]] = {
        "diagnostics": functools.partial(diagnostics.main, measured=measured, context=context),
        # After the diagnostics, of which the report tells.
        "reporting": draw,
        "apicalls": functools.partial(apicalls.main, context=context),
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


def remove_old_files(run: Run, context: RunContext) -> None:
    """Remove what is older than the retention settings keep."""
    current = context.current_release()
    stamp = None if current is None else current.manifest.model_stamp
    retention.remove_old_files(run.engine, run.config, stamp)


# Several steps may read the test data, and need not say again what of them is not used.
@read_report.logged_once()
def do_steps(run: Run, snap: Snapshot) -> None:
    """Do the steps of a run for which there is something to do, from ingestion to retention."""
    context = RunContext(run.config)
    run.record_snapshot(snap)
    ingested = ingest(run, snap, context)
    found = run.step("monitoring", lambda: observe(run, context, ingested.dataset_path))
    try:
        trained = train(run, context, ingested, found)
        if found is not None:
            # Nobody else needs the dataset, which may be most of what is in memory.
            found = replace(found, read=None)
        decide(run, context, trained)
    except InsufficientDataError as error:
        log.warning("Insufficient data: %s", error)
        run.verdict, run.reason = Verdict.INSUFFICIENT, str(error)
    if artifacts.current_name(run.config.prod_deployment_path) is not None:
        score_clients(run, context, ingested)
        context.engine.close()
        report(run, context, found)
    run.step("retention", lambda: remove_old_files(run, context))
