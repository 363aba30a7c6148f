"""Retention: removes the files, releases and records that are older than the settings keep.

What other modules remove is not old, or not of a run:

- charts that the index no longer lists, by the one who writes the index (`gallery`);
- the rows of the prediction log, by the service, which goes on without runs (`predictionlog`);
- copies of the crontab, by the command that changes it (`cron`);
- the logs of runs, by `automate.sh`;
- the parts of a dataset in an object store, by the next ingestion, which has a session of Spark
  (`sparkparts`);
- half a file, by whoever would have written it whole, or by the next run (`durable`).
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.engine import Engine

from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.production import withdrawals
from scripts.records import clients, database, predictions, runs

# Six runs an hour need not each look for what is old.
FORGET_EVERY = 20

log = logging.getLogger(__name__)


def remove_all_but_latest(folder: Path, n_kept: int, spared: frozenset[str]) -> int:
    """Remove dated files whose stamp is not among the newest; stamps in spared always stay.

    Reports have times of their own, and are counted by themselves.
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
    """Remove the oldest releases, and count them.

    Parameters
    ----------
    prod_folder : Path
        The deployment folder.
    n_kept : int
        So many of the newest stay anyway.
    served : sequence of str
        Names of releases that have served, the latest first, as far as is known.

    Returns
    -------
    int
        Never among the removed are the current one, the last one that served before it, and the
        one to which a rollback would lead.
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
        # Renamed first, so that a half-removed release never bears a release's name.
        hidden = path.with_name(f".{path.name}{files.TEMPORARY_SUFFIX}")
        path.rename(hidden)
        shutil.rmtree(hidden)
    return len(outdated)


def remove_old_files(engine: Engine, config: Config, model_stamp: str | None) -> None:
    """Remove the files, releases and clients' scores that are older than the settings keep.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records. They also name the releases that have served.
    config : Config
        `retention` and the folders.
    model_stamp : str or None
        The model in production, whose files stay.
    """
    with database.writing(engine) as connection:
        served = runs.served_releases(connection)
        n_scores = clients.forget_old_scores(connection, config.retention.scorings)
    spared = frozenset() if model_stamp is None else frozenset({model_stamp})
    n_removed = sum(
        remove_all_but_latest(folder, config.retention.runs, spared)
        for folder in {config.output_folder_path, config.output_model_path}
    )
    n_releases = remove_old_releases(config.prod_deployment_path, config.retention.releases, served)
    if n_removed or n_releases or n_scores:
        log.info(
            "Removed the files of %d old runs, %d old releases and %d old scores of clients.",
            n_removed, n_releases, n_scores,
        )  # fmt: skip


def forget_old_records(engine: Engine, config: Config, run_id: int) -> None:
    """Forget the idle runs and the details of runs before the newest, at every 20th run."""
    if run_id % FORGET_EVERY == 0:
        with database.writing(engine) as connection:
            runs.forget_old_runs(connection, config.retention.history)
            predictions.forget_open_hashes(connection)
