"""Ends runs and approvals before their k-th file-system call, where a person approves.

    python -m tests.support.approving CONFIG FIRST STEP

Each time only an approved release may serve, and the next approval must complete. The first
candidate of the installation waits. Prints counts as JSON; anything wrong is an error.
"""

import json
import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scripts import apicalls, diagnostics, fullprocess, reporting
from scripts.core import artifacts, config_file
from scripts.core.config import Config
from scripts.production import approval, release
from scripts.records import database, runs, tables
from scripts.records.tables import ApprovalState
from tests.conftest import make_rows, write_csv
from tests.support.faults import DIED, ENDED, code_of, count_calls, in_child

WHO = {"reason": "for a test", "actor": "ada"}


def approve(config: Config) -> None:
    """Approve the candidate that waits."""
    approval.approve(config, release_name=None, **WHO)


def run_on_news(config: Config) -> None:
    """Run on so many new rows that a better candidate is made."""
    write_csv(config.input_folder_path / "news.csv", make_rows(600, 5))
    fullprocess.main(config)


def approved_names(config: Config) -> set[str]:
    """Return the names of all releases that were ever approved."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        rows = runs.newest_rows(connection, tables.approvals, 1000)
    return {row["release"] for row in rows if row["state"] == ApprovalState.APPROVED}


def serving(config: Config) -> str | None:
    """Return the name of the release that serves, which must be whole."""
    current = release.load_current(config.prod_deployment_path)
    return None if current is None else current.name


def check(config: Config) -> None:
    """Check that only approved releases serve, and that the next run and approval complete."""
    assert {serving(config)} - {None} <= approved_names(config)
    assert code_of(in_child(lambda: run_on_news(config))) == ENDED
    assert {serving(config)} - {None} <= approved_names(config)
    waits = artifacts.list_releases(config.prod_deployment_path, artifacts.PENDING)
    if waits:
        approve(config)
        assert serving(config) == waits[0].name
    assert serving(config) in approved_names(config)
    assert not list(config.prod_deployment_path.rglob("*.tmp"))


def die_before_calls(
    config: Config, work: Callable[[Config], None], first: int, step: int
) -> tuple[int, int]:
    """End the work before its k-th call for increasing k, and count deaths and early services."""
    folder, k, n_served = config.prod_deployment_path.parent, first, 0
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept, symlinks=True)
    while True:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder, symlinks=True)

        def work_until_call(limit: int = k) -> None:
            left = [limit]

            def at_call() -> None:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(DIED)

            count_calls(at_call)
            work(config)

        code = code_of(in_child(work_until_call))
        if code == ENDED:
            shutil.rmtree(kept)
            return (k - first) // step, n_served
        assert code == DIED
        n_served += serving(config) is not None
        check(config)
        k += step


def main(config_path: Path, first: int, step: int) -> None:
    """Kill approvals, then runs, and print the counts."""
    diagnostics.outdated_packages = lambda *_arguments: "not asked"
    # What follows a decision is not what is tried here, and most of the time of a run.
    reporting.main = lambda config, **_options: config.prod_deployment_path
    apicalls.main = lambda config, **_options: config.prod_deployment_path
    diagnostics.main = lambda config, **_options: config.prod_deployment_path
    warnings.simplefilter("ignore", DeprecationWarning)
    config, counts = config_file.read_config(config_path), Counter[str]()
    for name, work in (("approvals", approve), ("runs", run_on_news)):
        n_deaths, n_served = die_before_calls(config, work, first, step)
        counts[f"deaths of {name}"] = n_deaths
        counts[f"served already, {name}"] = n_served
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
