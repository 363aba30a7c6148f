"""Proposes a config.json for the CSV files of a folder."""

import logging
import sys
from pathlib import Path

import click
import msgspec

from scripts.core import files
from scripts.core.console import keep_private, run_guarded, run_program, set_up_logging
from scripts.data import schema_suggestion

log = logging.getLogger(__name__)


@click.group()
def make_program() -> None:
    """Suggest settings for config.json."""


@make_program.command("suggest")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--target", help="The target column, if known, such as Churn.")
@click.option(
    "--split", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Also write this share of the rows, such as 0.2, into testdata beside FOLDER, and the"
    " rest into traindata.",
)  # fmt: skip
@click.option("--seed", default=42, show_default=True, help="Random seed of the split.")
def suggest_command(folder: Path, target: str | None, split: float | None, seed: int) -> None:
    """Print a `schema` section for the CSV files of FOLDER, with notices about the data."""

    def print_suggestion() -> None:
        paths = files.list_tables(folder)
        files.check_has_tables(paths, folder)
        suggestion = schema_suggestion.suggest(paths, target)
        for notice in suggestion.notices:
            log.info("%s", notice)
        section = msgspec.json.encode({"schema": suggestion.section})
        click.echo(msgspec.json.format(section).decode())
        if split is not None:
            train, test = schema_suggestion.split_off(
                paths, suggestion.section, fraction=split, seed=seed
            )
            log.info(
                "Set input_folder_path to %s and test_data_path to %s.", train.parent, test.parent
            )
        else:
            log.info("--split 0.2 --seed 42 would split off a test table.")

    keep_private()
    set_up_logging()
    sys.exit(run_guarded(print_suggestion))


if __name__ == "__main__":
    run_program(make_program)
