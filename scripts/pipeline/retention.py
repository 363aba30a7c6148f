"""Retention: removal of old files, releases and records by the settings of config.json."""

# Other modules remove what is not old, or not of a run:
# - charts no longer in the index: `reports.chart_files`, which writes the index;
# - rows of the prediction log: `api.prediction_log`, since the service goes on without runs;
# - copies of the crontab: `scheduler.cron`, whose commands change the crontab;
# - logs of runs: automate.sh;
# - parts of a dataset in an object store: the next ingestion, which has a Spark session
#   (`spark.dataset`);
# - half-written files: `core.files`, at the failed write.

import logging
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.engine import Engine

from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config, RetentionSettings
from scripts.core.files import RemotePath
from scripts.pipeline import kept_inputs
from scripts.production import withdrawals
from scripts.records import (
    database,
    failed_logins,
    list_deliveries,
    outcome_records,
    predictions,
    runs,
    scoring_records,
)
from scripts.reports import chart_files

# With six runs an hour, not every run needs to search for old records.
FORGET_EVERY = 20

log = logging.getLogger(__name__)


def remove_half_written(config: Config) -> int:
    """Remove the files that killed programs left half written, and return their number.

    The lock is held. In the input folder only those of uploads are removed, since the company may
    be copying extracts into it.
    """
    models, prod = config.output_model_path, config.prod_deployment_path
    folders = [
        config.output_folder_path, kept_inputs.folder_of(config),
        *(config.output_folder_path / name for name in artifacts.FETCHED),
        models, chart_files.folder_of(models),
        prod, prod / artifacts.RELEASES, prod / artifacts.PENDING,
    ]  # fmt: skip
    n_removed = files.remove_leftovers(folders)
    if isinstance(config.input_folder_path, RemotePath):
        return n_removed
    uploads = list(
        config.input_folder_path.glob(files.temporary_name(artifacts.UPLOAD.format("*")))
    )
    for path in uploads:
        path.unlink()
    return n_removed + len(uploads)


def remove_all_but_latest(folder: Path, n_kept: int, spared: frozenset[str]) -> int:
    """Remove dated files except those of the newest stamps and of the spared stamps.

    Reports have stamps of their own and are counted separately.
    """
    by_stamp: dict[str, list[Path]] = {}
    for kind in set(Kind) - {Kind.REPORT}:
        for path in artifacts.list_exact(folder, kind):
            by_stamp.setdefault(artifacts.stamp_of(path), []).append(path)
    for path in artifacts.list_exact(folder, Kind.REPORT)[:-n_kept]:
        path.unlink()
    outdated = [stamp for stamp in sorted(by_stamp)[:-n_kept] if stamp not in spared]
    for stamp in outdated:
        for path in by_stamp[stamp]:
            files.remove(path)
    return len(outdated)


def remove_old_releases(prod_folder: Path, n_kept: int, served: Sequence[str] = ()) -> int:
    """Remove the oldest releases and return their number.

    Parameters
    ----------
    prod_folder : Path
        The deployment folder.
    n_kept : int
        The number of newest releases that stay anyway.
    served : sequence of str
        Names of releases that have served, the latest first, as far as known.

    Returns
    -------
    int
        Without the current release, the last release before it, and the target of a rollback:
        these are never removed.
    """
    current = artifacts.current_name(prod_folder)
    spared = {
        current,
        *[name for name in served if name != current][:1],
        *withdrawals.find_targets(prod_folder, served)[:1],
    }
    outdated = [
        path for path in artifacts.list_releases(prod_folder)[:-n_kept] if path.name not in spared
    ]
    for path in outdated:
        # Renamed first, so that a half-removed release never has a release's name.
        hidden = path.with_name(files.temporary_name(path.name))
        path.rename(hidden)
        shutil.rmtree(hidden)
    return len(outdated)


def forget_old_outcomes(engine: Engine, settings: RetentionSettings) -> int:
    """Remove the outcomes older than `retention.outcome_days`, and return their number."""
    if settings.outcome_days is None:
        return 0
    before = datetime.now(UTC) - timedelta(days=settings.outcome_days)
    return outcome_records.forget_old(engine, before)


def remove_old_files(engine: Engine, config: Config, model_stamp: str | None) -> None:
    """Remove files, releases and scores of clients beyond the retention settings.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records. They also name the releases that have served.
    config : Config
        `retention` and the folders.
    model_stamp : str or None
        The model in production, whose files stay.
    """
    with database.reading(engine) as connection:
        served = runs.served_releases(connection)
        wanted = runs.input_hashes(connection, config.retention.runs, model_stamp)
    n_scores = scoring_records.forget_old_scores(engine, config.retention.scorings)
    # After the scores, since outcomes of kept scores stay.
    n_outcomes = forget_old_outcomes(engine, config.retention)
    spared = frozenset() if model_stamp is None else frozenset({model_stamp})
    n_removed = sum(
        remove_all_but_latest(folder, config.retention.runs, spared)
        for folder in {config.output_folder_path, config.output_model_path}
    )
    n_releases = remove_old_releases(config.prod_deployment_path, config.retention.releases, served)
    n_inputs = kept_inputs.remove_unused(config, wanted if config.retention.inputs else set())
    if n_removed or n_releases or n_scores or n_outcomes or n_inputs:
        log.info(
            "Removed the files of %d old runs, %d old releases, %d old scores and %d old outcomes"
            " of clients, and %d kept inputs.",
            n_removed, n_releases, n_scores, n_outcomes, n_inputs,
        )  # fmt: skip


def forget_old_records(engine: Engine, config: Config, run_id: int) -> None:
    """Remove idle runs and what is old of runs, deliveries and logins, at every 20th run."""
    if run_id % FORGET_EVERY == 0:
        now = datetime.now(UTC)
        with database.writing(engine) as connection:
            runs.forget_old_runs(connection, config.retention.history)
            predictions.forget_open_hashes(connection)
            list_deliveries.forget_old(connection, now)
            failed_logins.forget_old(connection, now)
