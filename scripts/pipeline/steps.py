"""The steps of a training run, in order: from ingestion to retention."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from msgspec.structs import replace
from sqlalchemy.engine import Engine

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
from scripts.clients import list_delivery, shadow
from scripts.clients import score_clients as client_scores
from scripts.core import artifacts, time_slices
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import (
    InsufficientDataError,
    NoServiceError,
    PipelineError,
    RunTimeoutError,
)
from scripts.data import read_report
from scripts.data.dated_rows import History
from scripts.data.read_report import FileReading
from scripts.engine.dated_ingest import DatedIntake, ImmatureRowsError, ReadRows
from scripts.ingestion import Ingestion
from scripts.pipeline import kept_inputs, reproduction, retention, run_checks, run_comparison
from scripts.pipeline.run import Parameters, Result, Run
from scripts.pipeline.snapshot import Snapshot
from scripts.production import approval, group_evaluation, observation, pending_comparison
from scripts.production.monitor import MonitoringResult
from scripts.production.promotion_gate import Decision, GateVerdict
from scripts.production.run_context import RunContext
from scripts.production.shadow_types import ShadowComparison
from scripts.records import database, runs
from scripts.records.tables import FileRole, Verdict
from scripts.scoring import Scoring
from scripts.training import Training

VERDICTS = {
    GateVerdict.DEPLOY: Verdict.DEPLOYED,
    GateVerdict.INSUFFICIENT: Verdict.INSUFFICIENT,
    GateVerdict.WAIT: Verdict.WAITING,
}

log = logging.getLogger(__name__)


def observe_live(run: Run) -> None:
    """Measure the drift of the logged live rows in a run with nothing new."""
    run.step("live rows", observation.observe_live, run.engine, run.id, RunContext(run.config))


def record_readings(
    run: Run, readings: Sequence[FileReading], dated: DatedIntake | ReadRows | None
) -> None:
    """Record the reports of the input files, outcome files and test files."""
    run.record_readings(readings, FileRole.INPUT)
    if dated is not None:
        run.record_readings(dated.test_readings, FileRole.TEST)
        run.record_readings(dated.outcome_readings, FileRole.OUTCOME)


def ingest(run: Run, snap: Snapshot, context: RunContext) -> Ingestion:
    """Read the input files into a dataset and record a report of each file."""
    paths = context.input_paths = snap.paths[FileRole.INPUT]
    try:
        ingested = run.step("ingestion", ingestion.main, run.config, paths=paths, context=context)
    except ImmatureRowsError as error:
        record_readings(run, error.read.readings, error.read)
        raise
    context.n_clients = len(ingested.clients)
    record_readings(run, ingested.readings, ingested.dated)
    return ingested


def monitor(run: Run, context: RunContext, dataset_path: Path) -> MonitoringResult | None:
    """Measure the drift of the release in production, or log the failure."""
    result = None
    try:
        result = observation.observe(run.engine, run.id, context, dataset_path)
        observation.observe_live(run.engine, run.id, context)
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Monitoring failed, and the run goes on: %s", error)
    return result


def keep_inputs(run: Run) -> None:
    """Keep a copy of each training file, if retention.inputs is set."""
    if run.config.retention.inputs:
        with database.reading(run.engine) as connection:
            recorded = runs.files_of_run(connection, run.id)
        run.step("keeping inputs", kept_inputs.keep, run.config, recorded)


def train(
    run: Run, context: RunContext, ingested: Ingestion, monitored: MonitoringResult | None
) -> Training:
    """Fit a model to the dataset and record the model."""
    trained = run.step(
        "training",
        training.main,
        run.config,
        dataset_path=ingested.dataset_path,
        # Monitoring has scanned a large dataset already.
        scan=None if monitored is None else monitored.scan,
        context=context,
    )
    run.facts["stamp"] = trained.stamp
    origin = reproduction.describe_origin(run.config, trained.model_path)
    run.record_model(trained, ingested, origin)
    keep_inputs(run)
    return trained


def score(run: Run, context: RunContext, trained: Training) -> Scoring:
    """Measure the candidate on the test data and record its scores."""
    path = trained.model_path
    run.n_judged = run.count_judged()
    scored = run.step(
        "scoring",
        scoring.main,
        run.config,
        model_path=path,
        context=context,
        n_judged=run.n_judged,
    )
    if not run.config.schema.date:
        # The test rows of dated files come from the ingestion, which recorded its own readings.
        run.record_readings(scored.readings, FileRole.TEST)
    run.record_scores(scored.evaluation)
    return scored


def measure_groups(run: Run, context: RunContext, trained: Training) -> None:
    """Measure the candidate by groups of clients and record the metrics, or log the failure."""
    if not run.config.evaluation.groups:
        return
    try:
        measured = run.step("groups", group_evaluation.main, context, trained.model)
        run.record_groups([group.as_row() for group in measured])
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Groups were not measured, and the run goes on: %s", error)


def check_candidate(
    run: Run, context: RunContext, ingested: Ingestion, trained: Training, scored: Scoring
) -> list[str]:
    """Check data and candidate, record the findings, and return the refusing alarms."""
    findings = [
        *run_checks.check_ingestion(ingested, run.config),
        *run_checks.check_candidate(run, context, ingested, trained, scored),
    ]
    run_checks.record(run, findings)
    return run_checks.find_refusals(run, findings)


def cast_shadow(
    run: Run, context: RunContext, ingested: Ingestion, trained: Training
) -> ShadowComparison | None:
    """Score today's clients by the candidate beside production, or log the failure.

    None before the first release.
    """
    production = context.current_release()
    if production is None:
        return None
    try:
        return run.step(
            "shadow",
            shadow.main,
            context,
            run.engine,
            candidate=trained.model,
            production=production,
            table=ingested.clients,
            dataset_path=ingested.dataset_path,
        )
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("The candidate has no shadow beside production, and the run goes on: %s", error)
        why = f"the comparison failed: {error}"
        return ShadowComparison(
            production_release=production.name, why_no_clients=why, why_no_requests=why
        )


def decide(
    run: Run,
    context: RunContext,
    trained: Training,
    *,
    refusals: Sequence[str],
    beside: ShadowComparison | None,
) -> Decision:
    """Compare the candidate with production, and record the decision with its shadow."""
    decision = run.step(
        "promotion",
        promotion.main,
        run.config,
        model_path=trained.model_path,
        context=context,
        refusals=refusals,
        n_judged=run.n_judged,
    )
    if run.config.promotion.mode == "approve":
        decision = pending_comparison.wait_for_approval(
            run.engine, context, trained.model_path, decision
        )
    run.record_decision(decision, beside)
    run.reason = decision.reason
    run.facts["candidate_f1"] = decision.candidate_f1
    run.facts["production_f1"] = decision.production_f1
    return decision


def deploy(
    run: Run, context: RunContext, trained: Training, scored: Scoring, decision: Decision
) -> None:
    """Make the candidate the release in production and record the deployment."""
    release = run.step(
        "deployment",
        deployment.main,
        run.config,
        model_path=trained.model_path,
        dataset_path=trained.dataset_path,
        f1=scored.evaluation.f1,
        context=context,
    )
    run.record_deployment(release, decision.production_release)
    run.is_first_release = decision.production_release is None
    observation.record_new_release(run.engine, run.id, release.name, scored.evaluation)


def wait_for_approval(
    run: Run, context: RunContext, trained: Training, scored: Scoring, decision: Decision
) -> None:
    """Make the candidate a pending release, for the approval of a person."""
    release = run.step(
        "deployment",
        deployment.make_candidate,
        run.config,
        model_path=trained.model_path,
        dataset_path=trained.dataset_path,
        f1=scored.evaluation.f1,
        context=context,
    )
    why = (run.request.actor, decision.reason)
    approval.submit(run.engine, run.config, release, run.id, why)
    run.reason = f"release {release.name} waits for approval: {decision.reason}"


def reproduce(config: Config, run_id: int) -> Path:
    """Reproduce the model of an earlier run, compare the hashes, and return the model's path."""
    return reproduction.main(config, run_id=run_id)


def compare(config: Config, pair: tuple[int, int], *, as_json: bool) -> None:
    """Compare two runs, and print the comparison."""
    run_comparison.main(config, run_a=pair[0], run_b=pair[1], as_json=as_json)


def finish_approval(config: Config, engine: Engine) -> None:
    """Complete an approval left by a killed program, or log the failure."""
    try:
        approval.finish(engine, config)
    except (PipelineError, OSError) as error:
        log.warning("The approved release does not serve: %s", error)


def score_clients(
    run: Run, context: RunContext, table: pd.DataFrame, dataset_path: Path, history: History | None
) -> None:
    """Score today's clients with the release in production, or log the failure."""
    try:
        scored = run.step(
            "clients",
            client_scores.main,
            run.config,
            run.engine,
            run.id,
            table,
            dataset_path,
            history=history,
            context=context,
        )
        findings = run_checks.check_list(run, context, scored)
        run_checks.record(run, [*findings, *run_checks.check_values(table, context)])
    except RunTimeoutError:
        raise
    except (PipelineError, OSError) as error:
        log.warning("Today's clients were not scored, and the run goes on: %s", error)


def report_step(
    run: Run,
    name: str,
    function: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> None:
    """Call the function of a reporting step, or log the failure."""
    try:
        run.step(name, function, *args, **kwargs)
    except RunTimeoutError:
        raise
    except NoServiceError as error:
        # Before the first release there was nothing to serve.
        level = logging.INFO if run.is_first_release else logging.WARNING
        log.log(level, "The service was not called, and the run goes on: %s", error)
    except (PipelineError, OSError) as error:
        log.warning("The step %s failed, and the run goes on: %s", name, error)


def report(run: Run, context: RunContext, monitored: MonitoringResult | None) -> None:
    """Draw the charts, measure the release in production and call the service."""
    config = run.config
    # The package index answers after many seconds. Only the diagnostics wait.
    asked = diagnostics.start_asking(config)
    report_step(
        run,
        "reporting",
        reporting.main,
        config,
        engine=run.engine,
        pdf=True,
        durations_s=dict(run.durations_s),
        context=context,
    )
    # Without a model there are no durations of both steps to report.
    durations_s = run.durations_s if "stamp" in run.facts else {}
    measured = diagnostics.RunMeasurements(durations_s, monitored)
    report_step(
        run, "diagnostics", diagnostics.main, config,
        measured=measured, context=context, asked=asked,
    )  # fmt: skip
    report_step(run, "apicalls", apicalls.main, config, context=context)


def remove_old_files(run: Run, context: RunContext) -> None:
    """Remove files and releases beyond the retention settings."""
    current = context.current_release()
    stamp = None if current is None else current.manifest.model_stamp
    retention.remove_old_files(run.engine, run.config, stamp)


def act_without_training(run: Run, context: RunContext, read: ReadRows) -> None:
    """Check the files of dated rows, and score today's clients if an earlier model serves."""
    run_checks.record(run, run_checks.check_extracts(read, run.config))
    current = context.current_release()
    if current is not None:
        # Of dated rows, the schema is all that is read of a dataset.
        path = artifacts.find_latest(run.config.output_folder_path, Kind.SCHEMA, "ingestion")
        score_clients(run, context, read.clients, path, read.history)
        context.engine.close()
        report(run, context, None)
    run.step("retention", remove_old_files, run, context)


def deliver_list(run: Run, now: datetime) -> None:
    """Send the weekly mail and the events of the list, as far as they are due."""
    list_delivery.deliver(run.engine, run.config, now, run.id)


# Several steps read the test data: the first one logs the rejected rows.
@read_report.logged_once()
def do_steps(run: Run, snap: Snapshot) -> None:
    """Do the steps of a training run, from ingestion to retention."""
    # Not where the priority is lowered: a run with nothing new does not pay for the import.
    time_slices.lengthen()
    context = RunContext(run.config)
    run.record_snapshot(snap)
    try:
        ingested = ingest(run, snap, context)
    except InsufficientDataError as error:
        # No outcome of dated rows is known yet.
        log.warning("Insufficient data: %s", error)
        run.verdict, run.reason = Verdict.INSUFFICIENT, str(error)
        if isinstance(error, ImmatureRowsError):
            act_without_training(run, context, error.read)
        return
    monitored = run.step("monitoring", monitor, run, context, ingested.dataset_path)
    try:
        trained = train(run, context, ingested, monitored)
        if monitored is not None:
            # No later step needs the dataset, which may be most of the memory in use.
            monitored = replace(monitored, scan=None)
        scored = score(run, context, trained)
        measure_groups(run, context, trained)
        refusals = run.step("checks", check_candidate, run, context, ingested, trained, scored)
        beside = cast_shadow(run, context, ingested, trained)
        decision = decide(run, context, trained, refusals=refusals, beside=beside)
        if decision.answer is GateVerdict.DEPLOY:
            deploy(run, context, trained, scored, decision)
        elif decision.answer is GateVerdict.WAIT:
            wait_for_approval(run, context, trained, scored, decision)
        run.verdict = VERDICTS.get(decision.answer, Verdict.HELD)
    except InsufficientDataError as error:
        run_checks.record(run, run_checks.check_without_model(context, ingested))
        run_checks.check_rejected_labels(ingested.readings, error)
        log.warning("Insufficient data: %s", error)
        run.verdict, run.reason = Verdict.INSUFFICIENT, str(error)
    if artifacts.current_name(run.config.prod_deployment_path) is not None:
        history = None if ingested.dated is None else ingested.dated.history
        score_clients(run, context, ingested.clients, ingested.dataset_path, history)
        context.engine.close()
        report(run, context, monitored)
    run.step("retention", remove_old_files, run, context)
