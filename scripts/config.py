"""Proposes a config.json for the CSV files of a folder, and lists clients who vanished."""

import logging
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from scripts.core import files, sentences
from scripts.core.console import keep_private, run_guarded, run_program, set_up_logging
from scripts.data import schema_suggestion, table_split, test_suggestion, vanished_clients
from scripts.data.schema_suggestion import Suggestion

# Results lie beside config.json, wherever that is.
RESULTS = {
    "output_folder_path": "ingesteddata",
    "output_model_path": "models",
    "prod_deployment_path": "production_deployment",
}

log = logging.getLogger(__name__)


def make_settings(suggestion: Suggestion, folder: Path, test: Path | None) -> dict[str, Any]:
    """Return a whole config.json for a suggestion.

    Parameters
    ----------
    suggestion : Suggestion
        The sections.
    folder : Path
        The input.
    test : Path or None
        The folder of test data, None where the latest rows are the test.

    Returns
    -------
    dict of str to object
        The settings, with whole paths to what is there already.
    """
    settings: dict[str, Any] = {"input_folder_path": str(folder.resolve())}
    settings |= RESULTS | {"test_data_path": None if test is None else str(test)}
    settings["schema"] = suggestion.section
    return settings | ({"outcomes": suggestion.outcomes} if suggestion.outcomes else {})


def split_off(
    paths: list[Path], suggestion: Suggestion, *, fraction: float, seed: int
) -> tuple[Path, Path | None]:
    """Write the tables of a split, and return the folders of input and test."""
    if suggestion.outcomes is not None:
        log.warning(
            "Nothing was split: the outcomes come later than the rows, and the latest period whose"
            " outcomes are known is the test by itself."
        )
        return paths[0].parent, None
    train, test = table_split.split_off(paths, suggestion.section, fraction=fraction, seed=seed)
    log.info("input_folder_path is now %s, and test_data_path %s.", train.parent, test.parent)
    return train.parent, test.parent


def find_test_folder(folder: Path, suggestion: Suggestion) -> Path | None:
    """Return the folder of test data without a split, None where the latest rows are the test."""
    if suggestion.tests_latest_rows:
        log.info("The latest rows whose outcome is known are the test: test_data_path is null.")
        return None
    test = folder.resolve().parent / "testdata"
    if test.is_dir():
        return test
    found = test_suggestion.find_folder(folder, suggestion.section)
    if found is not None:
        log.info("The folder %s has rows with labels: it is the test data.", found)
        return found
    log.warning(
        "There is no test data yet: --split 0.2 --seed 42 splits a fifth off into %s.", test
    )
    return test


@click.group()
def make_program() -> None:
    """Suggest settings for config.json, or list clients who vanished."""


@make_program.command("suggest")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--target", help="The target column, if known, such as Churn.")
@click.option(
    "--split", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Also write this share of the clients, such as 0.2, into testdata beside FOLDER, and the"
    " rest into traindata. With days the test is later than the rest.",
)  # fmt: skip
@click.option("--seed", default=42, show_default=True, help="Random seed of the split.")
def suggest_command(folder: Path, target: str | None, split: float | None, seed: int) -> None:
    """Print a config.json for the CSV files of FOLDER, with notices about the data."""

    def print_suggestion() -> None:
        """Print the suggested config, and log the notices."""
        paths = files.list_tables(folder)
        files.check_has_tables(paths, folder)
        suggestion = schema_suggestion.suggest(paths, target)
        for notice in suggestion.notices:
            log.info("%s", notice)
        if split is None:
            data, test = folder, find_test_folder(folder, suggestion)
        else:
            data, test = split_off(paths, suggestion, fraction=split, seed=seed)
        settings = msgspec.json.encode(make_settings(suggestion, data, test))
        click.echo(msgspec.json.format(settings).decode())

    keep_private()
    set_up_logging()
    sys.exit(run_guarded(print_suggestion))


@make_program.command("leavers")
@click.argument("folder", type=click.Path(path_type=Path))
def leavers_command(folder: Path) -> None:
    """Print a file of outcomes: the clients of FOLDER who vanished from later extracts.

    Also those whose rows have a day of leaving, or the status of those who left. Only for companies
    whose extracts list exactly the clients of their day. Run it again with each new extract, and
    write over the file before.
    """

    def print_leavers() -> None:
        """Print the clients as CSV, and log their number."""
        paths = files.list_tables(folder)
        files.check_has_tables(paths, folder)
        found = schema_suggestion.read_layout(paths)
        gone = vanished_clients.find(found.table, found.layout)
        days = vanished_clients.whole_days(found.layout)
        log.info(
            "%s left by %s, the newest of %d extracts.",
            sentences.count(len(gone), "client"), days[-1], len(days),
        )  # fmt: skip
        for notice in vanished_clients.describe_jumps(found.table, found.layout):
            log.warning("%s", notice)
        click.echo(gone.to_csv(index=False, lineterminator="\n"), nl=False)

    keep_private()
    set_up_logging()
    sys.exit(run_guarded(print_leavers))


if __name__ == "__main__":
    run_program(make_program)
