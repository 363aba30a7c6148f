"""Runs the whole process: anything new? train; is the candidate better? deploy; then report."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from scripts import artifacts, database
from scripts.config import Config, read_config
from scripts.console import make_command
from scripts.database import KnownFile, Role, Status, Verdict
from scripts.errors import BusyError, InsufficientDataError, PipelineError

Made = TypeVar("Made")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The complete files that a run looks at."""

    input_paths: tuple[Path, ...]
    test_paths: tuple[Path, ...]
    known: dict[str, KnownFile]
    fingerprint: str


@dataclass
class Outcome:
    """What a run decided, as it is recorded."""

    verdict: Verdict
    reason: str
    facts: dict[str, Any] = field(default_factory=dict)
    readings: list[dict[str, Any]] = field(default_factory=list)
    durations_s: dict[str, float] = field(default_factory=dict)


def look_at(path: Path, known: dict[str, KnownFile]) -> KnownFile:
    """Give the state and digest of a file, hashing it only if its state has changed."""
    state = artifacts.file_state(path)
    before = known.get(str(path))
    if before is not None and (before.n_bytes, before.changed_ns, before.inode) == state:
        return before
    # What cannot be read is refused later, with its reason; here its name stands for it.
    readable = artifacts.is_readable(path)
    sha256 = artifacts.digest_file(path) if readable else artifacts.digest(str(path).encode())
    return KnownFile(*state, sha256)


def fingerprint(inputs: Iterable[str], tests: Iterable[str], config: Config) -> str:
    """Identify what a run would train and be judged on: contents and the settings that matter.

    Parameters
    ----------
    inputs, tests : iterable of str
        SHA-256 of the input and test files. Names do not count, so a renamed file is not new.
    config : Config
        Schema, training and promotion settings count.

    Returns
    -------
    str
        A SHA-256 in hexadecimal.
    """
    settings = [config.schema, config.training, config.promotion, str(config.prod_deployment_path)]
    spelled = msgspec.json.encode([sorted(inputs), sorted(tests), settings], order="sorted")
    return hashlib.sha256(spelled).hexdigest()


def take_snapshot(config: Config, known: dict[str, KnownFile]) -> Snapshot:
    """Look at the input and test files, waiting once for those that are being written."""
    settle_s = config.ingestion.settle_s
    inputs, growing = artifacts.settled_tables(config.input_folder_path, settle_s)
    tests, growing_tests = artifacts.settled_tables(config.test_data_path, settle_s)
    if growing or growing_tests:
        names = [path.name for path in (*growing, *growing_tests)]
        log.warning("Left %s for the next run: they are still being written.", names)
    seen = {str(path): look_at(path, known) for path in (*inputs, *tests)}
    print_of = fingerprint(
        (seen[str(path)].sha256 for path in inputs),
        (seen[str(path)].sha256 for path in tests),
        config,
    )
    return Snapshot(tuple(inputs), tuple(tests), seen, print_of)


def is_anything_new(last: Any, snapshot: Snapshot, release_name: str | None) -> bool:
    """Say whether a run could decide anything else than the last one that decided.

    Parameters
    ----------
    last : mapping or None
        The last run with a verdict.
    snapshot : Snapshot
        What is there now.
    release_name : str or None
        The release in production; one that has vanished is new, too.
    """
    if last is None or last["fingerprint"] != snapshot.fingerprint:
        return True
    return release_name is None and last["verdict"] != Verdict.INSUFFICIENT


def timed(durations_s: dict[str, float], name: str, step: Callable[[], Made]) -> Made:
    """Run a step and note how long it took."""
    started = time.monotonic()
    try:
        return step()
    finally:
        durations_s[name] = round(time.monotonic() - started, 3)


def describe_readings(readings: Iterable[Any], role: Role) -> list[dict[str, Any]]:
    """Turn what was read into rows for the records."""
    return [
        {
            "role": role,
            "path": str(reading.path),
            "sha256": reading.sha256,
            "n_bytes": reading.n_bytes,
            "n_rows": reading.n_rows,
            "n_rejected": 0 if reading.refused else len(reading.rejected),
            "refused": reading.refused,
        }
        for reading in readings
    ]


def run_steps(config: Config, snapshot: Snapshot) -> Outcome:
    """Ingest, train, score, decide and, if the candidate is better, deploy."""
    # Imported when there is work: these bring pandas and scikit-learn, and a run with nothing
    # new, six times an hour, must not pay for them.
    from scripts import deployment, ingestion, promotion, scoring, training  # noqa: PLC0415

    outcome = Outcome(Verdict.HELD, "")
    took = outcome.durations_s
    try:
        ingested = timed(
            took, "ingestion", lambda: ingestion.main(config, paths=snapshot.input_paths)
        )
        outcome.readings = describe_readings(ingested.readings, Role.INPUT)
        trained = timed(
            took, "training", lambda: training.main(config, dataset_path=ingested.dataset_path)
        )
        outcome.facts["stamp"] = trained.stamp
        scored = timed(took, "scoring", lambda: scoring.main(config, model_path=trained.model_path))
        outcome.readings += describe_readings(scored.readings, Role.TEST)
    except InsufficientDataError as error:
        log.warning("Insufficient data: %s", error)
        outcome.verdict, outcome.reason = Verdict.INSUFFICIENT, str(error)
        return outcome
    decision = timed(
        took, "promotion", lambda: promotion.main(config, model_path=trained.model_path)
    )
    outcome.reason = decision.reason
    outcome.facts |= {
        "candidate_f1": decision.candidate_f1,
        "production_f1": decision.production_f1,
    }
    if decision.answer is promotion.Answer.INSUFFICIENT:
        outcome.verdict = Verdict.INSUFFICIENT
    if decision.answer is promotion.Answer.DEPLOY:
        outcome.verdict = Verdict.DEPLOYED
        timed(
            took,
            "deployment",
            lambda: deployment.main(
                config, model_path=trained.model_path, dataset_path=ingested.dataset_path
            ),
        )
    return outcome


def report(config: Config, outcome: Outcome) -> None:
    """Measure, draw and ask the service; whatever fails here undoes nothing."""
    # As above: matplotlib and requests are for runs with work only.
    from scripts import apicalls, diagnostics, reporting  # noqa: PLC0415

    watchers: dict[str, Callable[[Config], object]] = {
        "reporting": reporting.main,
        "diagnostics": diagnostics.main,
        "apicalls": apicalls.main,
    }
    for name, main_of in watchers.items():
        try:
            timed(outcome.durations_s, name, lambda step=main_of: step(config))  # type: ignore[misc]
        except (PipelineError, OSError) as error:
            log.warning("%s did not succeed, which undoes nothing: %s", name, error)


def tidy_up(config: Config) -> None:
    """Remove what is older than the retention settings keep."""
    # As above: these bring numpy.
    from scripts import deployment, release  # noqa: PLC0415

    current = release.load_current(config.prod_deployment_path)
    spared = frozenset() if current is None else frozenset({current.manifest.model_stamp})
    n_removed = sum(
        artifacts.remove_all_but_latest(folder, config.retention.runs, spared)
        for folder in {config.output_folder_path, config.output_model_path}
    )
    n_releases = deployment.remove_old_releases(
        config.prod_deployment_path, config.retention.releases
    )
    if n_removed or n_releases:
        log.info("Removed the files of %d old runs and %d old releases.", n_removed, n_releases)


def recover(config: Config, engine: Any, now: datetime) -> None:
    """Put right what a killed run left behind."""
    prod_folder = config.prod_deployment_path
    folders = [config.output_folder_path, config.output_model_path, prod_folder]
    n_leftovers = artifacts.remove_leftovers([*folders, prod_folder / artifacts.RELEASES])
    with database.writing(engine) as connection:
        n_dead = database.abort_dead_runs(connection, now)
    if n_leftovers or n_dead:
        log.warning("Recovered from %d dead runs and %d leftovers.", n_dead, n_leftovers)


def decide_and_record(config: Config, engine: Any, run_id: int) -> Verdict:
    """Do the run that has been recorded as started, and record how it ends."""
    with database.writing(engine) as connection:
        known, last = database.known_files(connection), database.last_decided_run(connection)
    snapshot = take_snapshot(config, known)
    target = artifacts.current_target(config.prod_deployment_path)
    if last is not None and not is_anything_new(last, snapshot, target):
        reason = f"files and settings are those of run {last['id']}, which ended: {last['verdict']}"
        outcome = Outcome(Verdict.NOTHING_NEW, reason)
    else:
        outcome = run_steps(config, snapshot)
        if artifacts.current_target(config.prod_deployment_path) is not None:
            report(config, outcome)
        tidy_up(config)
    target = artifacts.current_target(config.prod_deployment_path)
    with database.writing(engine) as connection:
        if snapshot.known != known:
            database.replace_known_files(connection, snapshot.known)
        database.record_files(connection, run_id, outcome.readings)
        database.end_run(
            connection,
            run_id,
            status=Status.FINISHED,
            ended_at=datetime.now(UTC),
            verdict=outcome.verdict,
            reason=outcome.reason,
            fingerprint=snapshot.fingerprint,
            release=target and Path(target).name,
            durations_s=outcome.durations_s,
            **outcome.facts,
        )
    log.info("Run %d ended: %s (%s).", run_id, outcome.verdict, outcome.reason)
    return outcome.verdict


def run_recorded(config: Config, engine: Any) -> Verdict:
    """Record a run from its start to its end, also when it fails."""
    now = datetime.now(UTC)
    recover(config, engine, now)
    with database.writing(engine) as connection:
        run_id = database.start_run(connection, now)
    try:
        return decide_and_record(config, engine, run_id)
    except Exception as error:
        # Recorded, then raised again: a failed run is a result, also one that fails by a bug.
        with database.writing(engine) as connection:
            database.end_run(
                connection,
                run_id,
                status=Status.FAILED,
                ended_at=datetime.now(UTC),
                reason=str(error) if isinstance(error, PipelineError) else repr(error),
            )
        raise


def record_skipped(config: Config, reason: str) -> None:
    """Record that a run did not start because another program was writing."""
    now = datetime.now(UTC)
    with database.open_records(config.database_url) as engine, database.writing(engine) as row:
        run_id = database.start_run(row, now, Status.SKIPPED)
        database.end_run(row, run_id, ended_at=now, reason=reason)


def main(config: Config) -> Verdict:
    """Run the whole process once, if there is anything new, and record it.

    Raises
    ------
    BusyError
        If another program of this installation is writing.
    PipelineError
        If a step fails; production is then as it was.
    """
    try:
        with (
            artifacts.exclusive_lock(config.prod_deployment_path),
            database.open_records(config.database_url) as engine,
        ):
            return run_recorded(config, engine)
    except BusyError as error:
        record_skipped(config, str(error))
        raise


def run_from(config_path: Path) -> None:
    """Run the whole process once: ingest, train, score, decide, deploy, report."""
    main(read_config(config_path))


if __name__ == "__main__":
    make_command(run_from, ()).main()
